//! Metrics in the Prometheus text format, named after the OpenTelemetry semantic conventions.

mod drills;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use mainstay_types::Role;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tracing::Instrument;

use crate::api::{Api, ApiState};
use crate::caller::Caller;
use crate::problem::Problem;

/// The bucket boundaries that the OpenTelemetry conventions give for HTTP durations, in seconds.
const DURATION_BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// What is counted while requests are answered.
pub(crate) struct HttpMetrics {
    durations: Family<RequestLabels, Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    http_request_method: String,
    /// The route's pattern, never the path: paths hold names, and their number has no bound.
    http_route: String,
    http_response_status_code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: String,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        Self { durations: Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS)) }
    }
}

/// Measures every request, and gives it a span.
pub(crate) async fn measure(State(api): ApiState, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str).to_owned();
    let method = match request.method().as_str() {
        // The conventions' rule for methods that nobody knows: their number has no bound either.
        known @ ("GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "HEAD" | "OPTIONS") => known.to_owned(),
        _ => "_OTHER".to_owned(),
    };
    let span = tracing::info_span!("request", method, route, tenant = tracing::field::Empty);
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    span.in_scope(|| tracing::debug!(status, elapsed_ms = started.elapsed().as_millis() as u64, "answered"));
    let labels = RequestLabels { http_request_method: method, http_route: route, http_response_status_code: status };
    api.http_metrics.durations.get_or_create(&labels).observe(started.elapsed().as_secs_f64());
    response
}

/// The page that Prometheus reads. It shows every tenant's numbers, so it needs a token for every tenant.
pub(crate) async fn page(State(api): ApiState, caller: Caller) -> Result<Response, Problem> {
    caller.require(Role::Viewer)?;
    caller.require_all_tenants()?;
    let mut registry = Registry::default();
    registry.register_with_unit(
        "http_server_request_duration",
        "Duration of HTTP server requests",
        Unit::Seconds,
        api.http_metrics.durations.clone(),
    );
    layer(&mut registry, &api);
    process(&mut registry, &api);
    let mut page = String::new();
    text::encode_registry(&mut page, &registry).map_err(|error| Problem::internal(&error))?;
    engines(&mut page, &api).await.map_err(|error| Problem::internal(&error))?;
    text::encode_eof(&mut page).map_err(|error| Problem::internal(&error))?;
    let kind = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    Ok((kind, page).into_response())
}

/// What the view says of the layer.
fn layer(registry: &mut Registry, api: &Api) {
    let view = api.control.view();
    gauge(registry, "mainstay_journal_sequence", "Sequence number of the newest event", view.sequence());
    let bindings = view.bindings().filter(|binding| binding.is_live()).count();
    gauge(registry, "mainstay_bindings", "Bindings that give access", bindings as u64);
    let in_progress = view.operations().filter(|operation| !operation.is_finished()).count();
    gauge(registry, "mainstay_operations_in_progress", "Operations in progress", in_progress as u64);
    let instances = view.instances().map(|instance| {
        instance.visible_state(view.cluster(&instance.cluster).map(|cluster| &**cluster)).0.to_string()
    });
    by_state(registry, "mainstay_instances", "Instances by state", instances);
    let now = mainstay_types::Timestamp::now();
    let recoveries = view.instances().map(|instance| {
        let protected = view.points_of(instance).next().is_some();
        instance.recovery.state(protected, now).to_string()
    });
    by_state(registry, "mainstay_instances_recovery", "Instances by how far their recovery is proven", recoveries);
    drills::register(registry, &view);
    let clusters = view.clusters().map(|cluster| cluster.state.to_string());
    by_state(registry, "mainstay_clusters", "Clusters by state", clusters);
}

fn by_state(registry: &mut Registry, name: &str, help: &str, states: impl Iterator<Item = String>) {
    let family = Family::<StateLabels, Gauge>::default();
    for state in states {
        family.get_or_create(&StateLabels { state }).inc();
    }
    registry.register(name, help, family);
}

/// What the operating system says of this process.
fn process(registry: &mut Registry, api: &Api) {
    let resident = std::fs::read_to_string("/proc/self/status").ok().and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
    });
    if let Some(bytes) = resident {
        let usage = Gauge::<i64>::default();
        usage.set(bytes as i64);
        registry.register_with_unit("process_memory_usage", "Resident memory", Unit::Bytes, usage);
    }
    let uptime = Gauge::<f64, std::sync::atomic::AtomicU64>::default();
    uptime.set(api.started.elapsed().as_secs_f64());
    registry.register_with_unit("process_uptime", "Time since the control plane started", Unit::Seconds, uptime);
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge = Gauge::<i64>::default();
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    registry.register(name, help, gauge);
}

/// What the engines say of their clusters. Their figures are named by them, so they are written here line by line.
async fn engines(page: &mut String, api: &Api) -> std::fmt::Result {
    let mut by_name: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (cluster, figures) in api.control.figures().await {
        for (figure, value) in figures {
            let name = figure.replace('.', "_");
            let labels = format!("{{cluster=\"{}\",engine=\"{}\"}}", cluster.name, cluster.engine);
            by_name.entry(name.clone()).or_default().push(format!("{name}{labels} {value}"));
        }
    }
    for (name, lines) in by_name {
        writeln!(page, "# TYPE {name} gauge")?;
        for line in lines {
            writeln!(page, "{line}")?;
        }
    }
    Ok(())
}
