//! What the engine offers, and the parameters of its instances read back.

use mainstay_bucket::{BucketName, Encryption, ObjectLock, Policy, Settings, Versioning};
use mainstay_objects::Limits;
use mainstay_types::{Offering, ParameterKind, ParameterSpec, Parameters, Plan};

/// Buckets that one instance can be allowed. All buckets are held in memory, 1 KiB each.
const MOST_BUCKETS: i64 = 1_000;
const SWITCH: ParameterKind = ParameterKind::Choice(&["off", "on"]);

/// The offering of this engine.
pub(crate) fn offering(shared_port: u16) -> Offering {
    let parameter = |name, description, kind| ParameterSpec { name, description, kind, plans: &[Plan::Shared] };
    let count = |max| ParameterKind::Integer { min: 1, max };
    Offering {
        contract: "s3/v1".parse().expect("the contract's name is valid"),
        engine: "objectstore".parse().expect("the engine's name is valid"),
        plans: vec![Plan::Shared],
        parameters: vec![
            parameter("buckets", "Buckets that the instance may have, its own among them", count(MOST_BUCKETS)),
            parameter("max_bytes", "Bytes that all its buckets may hold together", count(i64::MAX)),
            parameter("max_objects", "Objects and versions that all its buckets may hold together", count(i64::MAX)),
            parameter("versioning", "Whether its bucket keeps earlier versions from the beginning", SWITCH),
            parameter("object_lock", "Whether its bucket can lock versions, which it keeps then", SWITCH),
            parameter("encryption", "Whether its bucket encrypts at rest what says nothing of it", SWITCH),
            parameter(
                "access",
                "Whether anybody may read the objects of its bucket, without an access key",
                ParameterKind::Choice(&["private", "public-read"]),
            ),
        ],
        shared_port,
        follows: Vec::new(),
    }
}

/// What all buckets of an instance may hold together.
pub(crate) fn limits(parameters: &Parameters) -> Limits {
    let defaults = Limits::default();
    Limits {
        buckets: number(parameters, "buckets").unwrap_or(defaults.buckets),
        bytes: number(parameters, "max_bytes"),
        objects: number(parameters, "max_objects"),
    }
}

/// The settings that an instance's bucket begins with. Later its owner changes them over S3.
pub(crate) fn settings(parameters: &Parameters, bucket: &BucketName) -> Settings {
    let lock = is(parameters, "object_lock", "on");
    let versions = lock || is(parameters, "versioning", "on");
    Settings {
        versioning: if versions { Versioning::Enabled } else { Versioning::Unversioned },
        lock: lock.then(ObjectLock::default),
        encryption: is(parameters, "encryption", "on").then_some(Encryption::Aes256),
        policy: is(parameters, "access", "public-read").then(|| public_read(bucket)),
        ..Settings::default()
    }
}

fn public_read(bucket: &BucketName) -> Policy {
    let text = format!(
        "{{\"Version\":\"2012-10-17\",\"Statement\":[{{\"Sid\":\"PublicRead\",\"Effect\":\"Allow\",\"Principal\":\"*\",\
         \"Action\":\"s3:GetObject\",\"Resource\":\"arn:aws:s3:::{bucket}/*\"}}]}}"
    );
    Policy::parse(&text, bucket).expect("the policy is well-formed, whatever the bucket is called")
}

fn is(parameters: &Parameters, name: &str, value: &str) -> bool {
    parameters.get(name) == Some(value)
}

/// A parameter whose value the offering has been held against when it was set.
fn number<T: std::str::FromStr>(parameters: &Parameters, name: &str) -> Option<T> {
    parameters.get(name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use mainstay_bucket::{Encryption, Settings, Versioning};
    use mainstay_objects::Limits;
    use mainstay_types::Parameters;

    use super::{limits, offering, settings};

    fn parameters(pairs: &[(&str, &str)]) -> Parameters {
        for (name, value) in pairs {
            let offering = offering(1);
            let spec = offering.parameters.iter().find(|spec| spec.name == *name).unwrap();
            assert_eq!(spec.kind.check(value), Ok(()), "{name}");
        }
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn parameters_make_limits_and_settings() {
        let bucket = "photos-000000000000".parse().unwrap();
        assert_eq!(limits(&Parameters::default()), Limits { buckets: 1, bytes: None, objects: None });
        assert_eq!(settings(&Parameters::default(), &bucket), Settings::default());
        let bounded = parameters(&[("buckets", "5"), ("max_bytes", "9223372036854775807"), ("max_objects", "3")]);
        assert_eq!(limits(&bounded), Limits { buckets: 5, bytes: Some(i64::MAX as u64), objects: Some(3) });

        let versioned = settings(&parameters(&[("versioning", "on")]), &bucket);
        assert_eq!((versioned.versioning, versioned.lock), (Versioning::Enabled, None));
        let locked = settings(&parameters(&[("object_lock", "on"), ("versioning", "off")]), &bucket);
        assert!(locked.lock.is_some() && locked.versioning == Versioning::Enabled, "a lock needs versions");
        let encrypted = settings(&parameters(&[("encryption", "on")]), &bucket);
        assert_eq!(encrypted.encryption, Some(Encryption::Aes256));
        let public = settings(&parameters(&[("access", "public-read")]), &bucket);
        assert!(public.policy.is_some_and(|policy| policy.is_public()));
    }
}
