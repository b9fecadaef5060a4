//! Logs for people and programs, and traces for a collector where one is named.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use mainstay_s3::noise;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use tracing::{Event, Subscriber, info, warn};
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::TryInitError;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::config::{Log, LogFormat, Telemetry};

/// Spans that wait for the collector. A span is some 500 bytes, so that a dead collector costs a megabyte; what
/// does not fit is dropped.
const QUEUE_SPANS: usize = 2048;

/// Spans in one request: a quarter of the queue, so that a request under way leaves room for what comes meanwhile.
const BATCH_SPANS: usize = 512;

/// How long a span waits for others to be sent with.
const BATCH_DELAY: Duration = Duration::from_secs(5);

/// How long one request to the collector may take. It runs on a thread of its own, where nobody waits for it.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// What dependencies tell that is no news of the layer's: PostgreSQL's notices, such as that a role is a member already.
/// The S3 API has more of that. Whoever wants any of it names its target in Log:Filter, where a later directive for the same
/// target takes the place of this one.
const QUIETER: &str = "sqlx::postgres::notice=warn";

/// How long the end of the process waits for the last spans: they are worth less than a prompt stop.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest answer that is read; a collector's own is a few bytes.
const ANSWER_LIMIT: u64 = 64 * 1024;

/// What has to be ended in order when the process ends.
#[must_use = "the last spans are sent by `shutdown`"]
pub struct Tracing {
    provider: Option<SdkTracerProvider>,
}

/// Why logging or tracing could not begin.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("the log filter is not valid; see Log:Filter in docs/configuration.md")]
    Filter(#[source] ParseError),
    #[error("traces cannot be sent to the collector; see Telemetry:OtlpEndpoint in docs/configuration.md")]
    Exporter(#[source] ExporterBuildError),
    #[error("logging has begun already in this process")]
    Twice(#[source] TryInitError),
}

/// Begins to log to standard error, and to trace where a collector is named; no thread is started otherwise.
///
/// Whether the collector can be reached is not waited for: it may come and go, which is logged each time.
pub fn init(log: &Log, telemetry: &Telemetry) -> Result<Tracing, TelemetryError> {
    let tracing = Tracing::start(telemetry)?;
    let terminal = std::io::stderr().is_terminal();
    let subscriber = subscriber(log, terminal, std::io::stderr, &tracing)?;
    tracing_subscriber::util::SubscriberInitExt::try_init(subscriber).map_err(TelemetryError::Twice)?;
    Ok(tracing)
}

// === impl Tracing ===

impl Tracing {
    fn start(telemetry: &Telemetry) -> Result<Self, TelemetryError> {
        let Some(endpoint) = &telemetry.otlp_endpoint else { return Ok(Self { provider: None }) };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new())
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{endpoint}/v1/traces"))
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(TelemetryError::Exporter)?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE_SPANS)
            .with_max_export_batch_size(BATCH_SPANS)
            .with_scheduled_delay(BATCH_DELAY)
            .build();
        let resource = Resource::builder()
            .with_service_name("mainstay")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        let provider = SdkTracerProvider::builder().with_span_processor(processor).with_resource(resource).build();
        Ok(Self { provider: Some(provider) })
    }

    /// Sends the spans that wait, for two seconds at most. Blocks.
    pub fn shutdown(self) {
        let Some(provider) = self.provider else { return };
        if let Err(error) = provider.shutdown_with_timeout(SHUTDOWN_TIMEOUT) {
            warn!(%error, "the last traces did not reach the collector");
        }
    }
}

// === The subscriber ===

fn subscriber<W>(
    log: &Log,
    terminal: bool,
    writer: W,
    tracing: &Tracing,
) -> Result<impl Subscriber + Send + Sync + use<W>, TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let directives = format!("{QUIETER},{},{}", noise::FILTERS, log.filter);
    let filter = EnvFilter::try_new(directives).map_err(TelemetryError::Filter)?;
    let quiet = (!log.filter.contains(noise::TARGET)).then_some(WithoutNoise);
    let lines = match is_json(log.format, terminal) {
        true => fmt::layer().json().flatten_event(true).with_writer(writer).boxed(),
        false => fmt::layer().with_ansi(terminal && !no_color()).with_target(false).with_writer(writer).boxed(),
    };
    let traces = tracing.provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer().with_tracer(provider.tracer("mainstay")).with_location(false).with_threads(false)
    });
    Ok(tracing_subscriber::registry().with(filter).with(quiet).with(lines).with(traces))
}

fn is_json(format: LogFormat, terminal: bool) -> bool {
    match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    }
}

/// Whether the person at the terminal wants no colours (<https://no-color.org>).
fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Lets pass of the S3 API's log what says why a request failed, and nothing of each that was refused.
struct WithoutNoise;

impl<S: Subscriber> Layer<S> for WithoutNoise {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        !noise::is_noise(event)
    }
}

// === Collector ===

/// Sends spans with the HTTP client that the command line uses too: the processor calls it on a thread of its own
/// and outside of any async runtime, where a blocking client is what it asks for.
#[derive(Debug)]
struct Collector {
    agent: ureq::Agent,
    /// Whether the last request failed, so that a lasting failure is logged once.
    failing: AtomicBool,
}

impl Collector {
    fn new() -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(EXPORT_TIMEOUT)).http_status_as_error(false);
        Self { agent: ureq::Agent::new_with_config(config.build()), failing: AtomicBool::new(false) }
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ureq::Error> {
        let (head, body) = request.into_parts();
        let (head, mut body) = self.agent.run(Request::from_parts(head, &body[..]))?.into_parts();
        let body = body.with_config().limit(ANSWER_LIMIT).read_to_vec()?;
        Ok(Response::from_parts(head, body.into()))
    }

    fn note(&self, failure: Option<String>) {
        let failed_before = self.failing.swap(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(reason) if !failed_before => {
                warn!(reason, "traces do not reach the collector of Telemetry:OtlpEndpoint and are dropped meanwhile");
            }
            None if failed_before => info!("traces reach the collector again"),
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let outcome = self.send(request);
        self.note(match &outcome {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("it answers {}", answer.status())),
            Err(error) => Some(error.to_string()),
        });
        Ok(outcome?)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};
    use std::thread::JoinHandle;
    use std::time::{Duration, Instant};

    use super::{QUEUE_SPANS, SHUTDOWN_TIMEOUT, Tracing, is_json, subscriber};
    use crate::config::{Log, LogFormat, Telemetry};

    fn log(format: LogFormat) -> Log {
        Log { format, filter: "info".to_owned() }
    }

    fn tracing_to(listener: &TcpListener) -> Tracing {
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        Tracing::start(&Telemetry { otlp_endpoint: Some(endpoint) }).unwrap()
    }

    /// Answers one request with the given status line and gives back its first line and its body.
    fn answer_one(listener: TcpListener, status: &'static str) -> JoinHandle<(String, Vec<u8>)> {
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let head: Vec<String> =
                reader.by_ref().lines().map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
            let length =
                head.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
            let mut body = vec![0; length.unwrap()];
            reader.read_exact(&mut body).unwrap();
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
            (head[0].clone(), body)
        })
    }

    /// A writer that a test can read.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn logged(format: LogFormat, terminal: bool, tracing: &Tracing, work: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(&log(format), terminal, move || writer.clone(), tracing).unwrap();
        tracing::subscriber::with_default(subscriber, work);
        lines.text()
    }

    #[test]
    fn people_get_text_on_a_terminal_and_programs_get_json() {
        for (format, terminal, json) in [
            (LogFormat::Auto, true, false),
            (LogFormat::Auto, false, true),
            (LogFormat::Text, false, false),
            (LogFormat::Json, true, true),
        ] {
            assert_eq!(is_json(format, terminal), json, "{format:?} {terminal}");
        }
        let none = Tracing::start(&Telemetry { otlp_endpoint: None }).unwrap();
        let work = || tracing::info_span!("bind", instance = "shop").in_scope(|| tracing::info!(port = 7432, "bound"));
        let json = logged(LogFormat::Auto, false, &none, work);
        let line: serde_json::Value = serde_json::from_str(json.trim()).unwrap();
        assert_eq!(
            (&line["message"], &line["port"], &line["span"]["instance"]),
            (&"bound".into(), &7432.into(), &"shop".into())
        );
        let text = logged(LogFormat::Text, false, &none, work);
        assert!(text.contains("bound") && text.contains("instance=\"shop\"") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn notices_of_postgresql_are_logged_where_they_are_wanted() {
        let none = Tracing::start(&Telemetry { otlp_endpoint: None }).unwrap();
        for (filter, wanted) in [("info", false), ("debug", false), ("info,sqlx::postgres::notice=info", true)] {
            let lines = Lines::default();
            let writer = lines.clone();
            let log = Log { format: LogFormat::Json, filter: filter.to_owned() };
            let subscriber = subscriber(&log, false, move || writer.clone(), &none).unwrap();
            tracing::subscriber::with_default(subscriber, || {
                tracing::info!(target: "sqlx::postgres::notice", "already exists");
                tracing::info!("heard");
            });
            assert_eq!(lines.text().contains("already exists"), wanted, "{filter}");
            assert!(lines.text().contains("heard"), "{filter}");
        }
    }

    #[test]
    fn of_the_s3_api_only_causes_are_logged_with_their_requests() {
        let none = Tracing::start(&Telemetry { otlp_endpoint: None }).unwrap();
        let its_own = format_args!("S3Error(Inner {{ code: InternalError, message: None, source: Some(Broken) }})");
        let refused = format_args!("S3Error(Inner {{ code: NoSuchKey, message: None, source: None }})");
        for (filter, all) in [("info", false), ("warn", false), ("info,s3s::ops=error", true)] {
            let lines = Lines::default();
            let writer = lines.clone();
            let log = Log { format: LogFormat::Json, filter: filter.to_owned() };
            let subscriber = subscriber(&log, false, move || writer.clone(), &none).unwrap();
            tracing::subscriber::with_default(subscriber, || {
                tracing::error_span!("s3", request = "0A").in_scope(|| {
                    tracing::error!(target: "s3s::ops", err = ?its_own, "op returns error");
                    tracing::error!(target: "s3s::ops", err = ?refused, "op returns error");
                    tracing::error!(target: "s3s::service", "an answer");
                });
            });
            let text = lines.text();
            assert_eq!(text.matches("Broken").count(), 1, "{filter}: {text}");
            assert!(text.contains(r#""request":"0A""#), "{filter}: {text}");
            assert_eq!(text.contains("NoSuchKey"), all, "{filter}: {text}");
            assert!(!text.contains("an answer"), "{filter}: {text}");
        }
    }

    #[test]
    fn nothing_is_started_without_a_collector() {
        assert!(Tracing::start(&Telemetry { otlp_endpoint: None }).unwrap().provider.is_none());
    }

    #[test]
    fn spans_reach_the_collector_when_the_process_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tracing = tracing_to(&listener);
        let collector = answer_one(listener, "200 OK");
        logged(LogFormat::Json, false, &tracing, || {
            tracing::info_span!("create_instance", tenant = "acme").in_scope(|| ())
        });
        tracing.shutdown();
        let (request, body) = collector.join().unwrap();
        assert_eq!(request, "POST /v1/traces HTTP/1.1");
        for expected in
            ["service.name", "mainstay", "service.version", env!("CARGO_PKG_VERSION"), "create_instance", "acme"]
        {
            assert!(body.windows(expected.len()).any(|window| window == expected.as_bytes()), "{expected} is missing");
        }
    }

    /// Makes many times more spans than the queue holds, and says how long work and end took.
    fn flood(tracing: Tracing) -> (Duration, Duration) {
        let started = Instant::now();
        logged(LogFormat::Json, false, &tracing, || {
            for number in 0..10 * QUEUE_SPANS {
                tracing::info_span!("work", number).in_scope(|| ());
            }
        });
        let worked = started.elapsed();
        tracing.shutdown();
        (worked, started.elapsed() - worked)
    }

    /// What the work would have to exceed to have waited for the collector even once; the machine may be busy.
    const NOT_BLOCKED: Duration = Duration::from_secs(4);

    #[test]
    fn a_collector_that_is_away_delays_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tracing = tracing_to(&listener);
        drop(listener);
        let (worked, ended) = flood(tracing);
        assert!(worked < NOT_BLOCKED && ended < SHUTDOWN_TIMEOUT + NOT_BLOCKED, "{worked:?} {ended:?}");
    }

    #[test]
    fn a_collector_that_never_answers_delays_only_the_end_and_that_within_its_bound() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (worked, ended) = flood(tracing_to(&listener));
        assert!(worked < NOT_BLOCKED && ended < SHUTDOWN_TIMEOUT + NOT_BLOCKED, "{worked:?} {ended:?}");
    }

    #[test]
    fn a_lasting_failure_is_logged_once_and_its_end_too() {
        let none = Tracing { provider: None };
        let text = logged(LogFormat::Text, false, &none, || {
            let collector = super::Collector::new();
            for failure in [None, Some("refused".to_owned()), Some("refused".to_owned()), None, None] {
                collector.note(failure);
            }
        });
        assert_eq!(text.matches("do not reach").count(), 1, "{text}");
        assert_eq!(text.matches("reach the collector again").count(), 1, "{text}");
    }
}
