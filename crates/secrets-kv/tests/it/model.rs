//! Version 2 against a model of it that keeps everything in maps.

use std::collections::BTreeMap;

use mainstay_secrets_engine::{Operation, Refusal};
use mainstay_types::Timestamp;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use serde_json::json;

use crate::{Kv, START, body};

const PATHS: [&str; 3] = ["a", "a/1", "b/c"];

#[derive(Debug, Clone)]
enum Step {
    Write { cas: Option<u64> },
    Patch { cas: Option<u64> },
    Delete,
    DeleteVersions(Vec<u64>),
    Undelete(Vec<u64>),
    Destroy(Vec<u64>),
    Remove,
    KeepVersions(u32),
    DeleteAfter(u64),
    Configure { max_versions: u32, delete_after: i64 },
    Wait(u64),
}

#[derive(Debug, Default)]
struct Model {
    now: u64,
    max_versions: u32,
    /// Negative: never.
    delete_after: i64,
    secrets: BTreeMap<&'static str, Secret>,
}

#[derive(Debug, Default)]
struct Secret {
    current: u64,
    max_versions: u32,
    delete_after: u64,
    versions: BTreeMap<u64, ModelVersion>,
}

#[derive(Debug)]
struct ModelVersion {
    /// None when it is destroyed.
    value: Option<BTreeMap<String, u64>>,
    deleted_at: Option<u64>,
}

impl Model {
    fn deletion(&self, secret: &Secret) -> Option<u64> {
        let limits = [u64::try_from(self.delete_after).unwrap_or(0), secret.delete_after];
        let shortest = limits.into_iter().filter(|limit| *limit > 0).min();
        shortest.filter(|_| self.delete_after >= 0).map(|seconds| self.now + seconds)
    }

    /// Takes a step and answers what the engine should: a version, "ok", or the reason.
    fn take(&mut self, path: &'static str, step: &Step, serial: u64) -> String {
        match step {
            Step::Wait(seconds) => self.now += seconds,
            Step::Configure { max_versions, delete_after } => {
                (self.max_versions, self.delete_after) = (*max_versions, *delete_after);
            }
            Step::KeepVersions(count) => self.secrets.entry(path).or_default().max_versions = *count,
            Step::DeleteAfter(seconds) => self.secrets.entry(path).or_default().delete_after = *seconds,
            Step::Remove => drop(self.secrets.remove(path)),
            Step::Write { cas } => return self.write(path, *cas, BTreeMap::from([("w".to_owned(), serial)])),
            Step::Patch { cas } => {
                let Some(secret) = self.secrets.get(path) else { return "404".to_owned() };
                if cas.is_some_and(|cas| cas != secret.current) {
                    return "mismatch".to_owned();
                }
                let Some(mut value) = self.readable(path, secret.current) else { return "404".to_owned() };
                value.insert("p".to_owned(), serial);
                return self.write(path, *cas, value);
            }
            Step::Delete => {
                let current = self.secrets.get(path).map_or(0, |secret| secret.current);
                self.mark_deleted(path, &[current]);
            }
            Step::DeleteVersions(numbers) => self.mark_deleted(path, numbers),
            Step::Undelete(numbers) => {
                let Some(deletion) = self.secrets.get(path).map(|secret| self.deletion(secret)) else {
                    return "ok".to_owned();
                };
                let secret = self.secrets.get_mut(path).expect("it is there");
                for number in numbers {
                    if let Some(version) = secret.versions.get_mut(number).filter(|version| version.value.is_some()) {
                        version.deleted_at = deletion;
                    }
                }
            }
            Step::Destroy(numbers) => {
                let versions = self.secrets.get_mut(path).map(|secret| &mut secret.versions).into_iter().flatten();
                versions.filter(|(number, _)| numbers.contains(number)).for_each(|(_, version)| version.value = None);
            }
        }
        "ok".to_owned()
    }

    fn write(&mut self, path: &'static str, cas: Option<u64>, value: BTreeMap<String, u64>) -> String {
        let current = self.secrets.get(path).map_or(0, |secret| secret.current);
        if cas.is_some_and(|cas| cas != current) {
            return "mismatch".to_owned();
        }
        self.secrets.entry(path).or_default();
        let deleted_at = self.deletion(&self.secrets[path]);
        let limit = match self.max_versions.max(self.secrets[path].max_versions) {
            0 => 10,
            limit => u64::from(limit),
        };
        let secret = self.secrets.get_mut(path).expect("it is there");
        secret.current += 1;
        secret.versions.insert(secret.current, ModelVersion { value: Some(value), deleted_at });
        secret.versions.retain(|number, _| number + limit > secret.current);
        secret.current.to_string()
    }

    fn mark_deleted(&mut self, path: &str, numbers: &[u64]) {
        for number in numbers {
            if self.readable(path, *number).is_some() {
                let now = self.now;
                let secret = self.secrets.get_mut(path).expect("it is there");
                secret.versions.get_mut(number).expect("it is readable").deleted_at = Some(now);
            }
        }
    }

    fn readable(&self, path: &str, number: u64) -> Option<BTreeMap<String, u64>> {
        let version = self.secrets.get(path)?.versions.get(&number)?;
        version.value.clone().filter(|_| version.deleted_at.is_none_or(|time| time > self.now))
    }
}

/// Takes the same step in the engine.
async fn take(kv: &mut Kv, path: &str, step: &Step, serial: u64) -> String {
    let options = |cas: &Option<u64>| cas.map_or(json!({}), |cas| json!({ "cas": cas }));
    let (operation, path, data) = match step {
        Step::Wait(seconds) => {
            kv.now = kv.now.plus_seconds(*seconds);
            return "ok".to_owned();
        }
        Step::Configure { max_versions, delete_after } => {
            let data = json!({"max_versions": max_versions, "delete_version_after": delete_after});
            (Operation::Update, "config".to_owned(), data)
        }
        Step::KeepVersions(count) => (Operation::Update, format!("metadata/{path}"), json!({ "max_versions": count })),
        Step::DeleteAfter(seconds) => {
            (Operation::Update, format!("metadata/{path}"), json!({ "delete_version_after": seconds }))
        }
        Step::Remove => (Operation::Delete, format!("metadata/{path}"), json!({})),
        Step::Write { cas } => {
            (Operation::Update, format!("data/{path}"), json!({"data": {"w": serial}, "options": options(cas)}))
        }
        Step::Patch { cas } => {
            (Operation::Patch, format!("data/{path}"), json!({"data": {"p": serial}, "options": options(cas)}))
        }
        Step::Delete => (Operation::Delete, format!("data/{path}"), json!({})),
        Step::DeleteVersions(numbers) => (Operation::Update, format!("delete/{path}"), json!({ "versions": numbers })),
        Step::Undelete(numbers) => (Operation::Update, format!("undelete/{path}"), json!({ "versions": numbers })),
        Step::Destroy(numbers) => (Operation::Update, format!("destroy/{path}"), json!({ "versions": numbers })),
    };
    match kv.try_call(operation, &path, data).await {
        Ok(answer) if answer.status == Some(404) => "404".to_owned(),
        Ok(answer) => answer.data.map_or("ok".to_owned(), |data| data["version"].to_string()),
        Err(Refusal::NotFound) => "404".to_owned(),
        Err(Refusal::Invalid(text)) if text.contains("did not match") => "mismatch".to_owned(),
        Err(error) => panic!("{step:?}: {error:?}"),
    }
}

/// All that can be read is the model's.
async fn compare(kv: &Kv, model: &Model) {
    for path in PATHS {
        let metadata = kv.try_call(Operation::Read, &format!("metadata/{path}"), json!({})).await;
        let Some(secret) = model.secrets.get(path) else {
            assert!(matches!(metadata, Err(Refusal::NotFound)), "{path}");
            continue;
        };
        let metadata = body(metadata.expect("it is there"));
        assert_eq!(metadata["current_version"], json!(secret.current), "{path}");
        let versions = secret.versions.iter().map(|(number, version)| {
            let time = version.deleted_at.map(|time| START.plus_seconds(time).to_string()).unwrap_or_default();
            (number.to_string(), (json!(time), json!(version.value.is_none())))
        });
        let found = metadata["versions"].as_object().expect("an object").iter();
        let found = found.map(|(number, version)| {
            (number.clone(), (version["deletion_time"].clone(), version["destroyed"].clone()))
        });
        assert_eq!(found.collect::<BTreeMap<_, _>>(), versions.collect(), "{path}");
        for number in 1..=secret.current + 1 {
            let read = kv.try_call(Operation::Read, &format!("data/{path}"), json!({ "version": number })).await;
            let read = read.ok().filter(|answer| answer.status.is_none()).map(|answer| body(answer)["data"].clone());
            assert_eq!(read, model.readable(path, number).map(|value| json!(value)), "{path} version {number}");
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let cas = proptest::option::weighted(0.3, 0..5_u64).boxed();
    let numbers = proptest::collection::vec(1..8_u64, 1..4).boxed();
    prop_oneof![
        6 => cas.clone().prop_map(|cas| Step::Write { cas }),
        2 => cas.prop_map(|cas| Step::Patch { cas }),
        2 => Just(Step::Delete),
        2 => numbers.clone().prop_map(Step::DeleteVersions),
        2 => numbers.clone().prop_map(Step::Undelete),
        1 => numbers.prop_map(Step::Destroy),
        1 => Just(Step::Remove),
        1 => (0..4_u32).prop_map(Step::KeepVersions),
        1 => (0..20_u64).prop_map(Step::DeleteAfter),
        1 => (0..6_u32, -2..20_i64).prop_map(|(max_versions, delete_after)| Step::Configure { max_versions, delete_after }),
        1 => (0..15_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    #[test]
    fn the_engine_does_as_the_model_does(
        steps in proptest::collection::vec((0..PATHS.len(), step()), 1..40),
        opened_again_after in any::<proptest::sample::Index>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let storage = mainstay_secrets_engine::Storage::scratch().await;
            let mut kv = Kv::open(storage.clone(), "2").await;
            let mut model = Model::default();
            for (serial, (path, step)) in steps.iter().enumerate() {
                let expected = model.take(PATHS[*path], step, serial as u64);
                assert_eq!(take(&mut kv, PATHS[*path], step, serial as u64).await, expected, "{step:?}");
                if serial == opened_again_after.index(steps.len()) {
                    let now: Timestamp = kv.now;
                    kv = Kv { now, ..Kv::open(storage.clone(), "2").await };
                }
                compare(&kv, &model).await;
            }
            let values = storage.keys("versions/", None, 1000).await.expect("keys");
            let kept = model.secrets.values().flat_map(|secret| secret.versions.values());
            assert_eq!(values.len(), kept.filter(|version| version.value.is_some()).count(), "{values:?}");
        });
    }
}
