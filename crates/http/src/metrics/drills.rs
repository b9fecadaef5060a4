//! What drills have shown: how the last one of each instance went, and how many there were.

use std::sync::atomic::AtomicU64;

use mainstay_domain::view::{Instance, View};
use mainstay_types::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// Instances that have series of their own, in the order of their tenants and names. Each costs four; what comes beyond is counted, so
/// that a layer with very many of them does not take its monitoring down.
const MOST_INSTANCES: usize = 1_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InstanceLabels {
    tenant: String,
    instance: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

type Seconds = Family<InstanceLabels, Gauge<f64, AtomicU64>>;

pub(super) fn register(registry: &mut Registry, view: &View) {
    let counts = view.drill_counts();
    let drills = Family::<ResultLabels, Counter>::default();
    for (result, count) in [("passed", counts.passed), ("failed", counts.failed)] {
        drills.get_or_create(&ResultLabels { result }).inc_by(count);
    }
    registry.register("mainstay_drills", "Drills by their result, since there is a journal", drills);

    let passed = Family::<InstanceLabels, Gauge>::default();
    let (ended, recovery, loss) = (Seconds::default(), Seconds::default(), Seconds::default());
    let drilled = || view.instances().filter(|instance| instance.recovery.drilled_at.is_some());
    for instance in drilled().take(MOST_INSTANCES) {
        let labels = InstanceLabels::of(instance);
        let known = &instance.recovery;
        passed.get_or_create(&labels).set(i64::from(known.drill_failed.is_none()));
        if let Some(at) = known.drilled_at {
            ended.get_or_create(&labels).set(at.seconds_since(Timestamp::EPOCH));
        }
        if let Some(proof) = &known.proof {
            recovery.get_or_create(&labels).set(proof.recovery_time_milliseconds as f64 / 1e3);
            loss.get_or_create(&labels).set(proof.loss_milliseconds as f64 / 1e3);
        }
    }
    registry.register("mainstay_drill_passed", "Whether an instance's last drill passed", passed);
    for (name, help, family) in [
        ("mainstay_drill_timestamp", "When an instance's last drill ended", ended),
        ("mainstay_drill_recovery_time", "Time to recover that the last drill that passed has measured", recovery),
        ("mainstay_drill_data_loss", "Span of changes that were missing in the last drill that passed", loss),
    ] {
        registry.register_with_unit(name, help, Unit::Seconds, family);
    }
    let unlisted = Gauge::<i64>::default();
    unlisted.set(drilled().skip(MOST_INSTANCES).count() as i64);
    registry.register("mainstay_drill_instances_unlisted", "Drilled instances without series of their own", unlisted);
}

impl InstanceLabels {
    fn of(instance: &Instance) -> Self {
        Self { tenant: instance.tenant.to_string(), instance: instance.name.to_string() }
    }
}
