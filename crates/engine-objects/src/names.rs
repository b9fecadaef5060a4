//! What things are called in the object store.

use mainstay_bucket::BucketName;
use mainstay_engine::InstanceSpec;
use mainstay_types::InstanceId;

/// Characters of an instance's name that its bucket's has: with a hyphen and the id, as many as a bucket's may have.
const NAME_LENGTH: usize = 50;

/// The bucket that an instance is provided with: its name, so that people know it, and its id, since names are unique in a
/// tenant only, and buckets everywhere.
pub(crate) fn bucket(instance: &InstanceSpec) -> BucketName {
    let name = instance.name.as_str();
    let start = &name[..name.len().min(NAME_LENGTH)];
    let suffix = instance.id.suffix();
    let named = format!("{start}-{suffix}").parse();
    // A few beginnings are reserved, which no id has.
    named.or_else(|_| instance.id.as_str().parse()).expect("an id is a bucket's name")
}

/// The account that the store's identity belongs to. It is nobody's: ids of instances are drawn from 60 bits, and this is
/// none of them but by a chance that never comes.
pub(crate) fn identity_account() -> InstanceId {
    InstanceId::from_random(0)
}

/// The bucket of the store's identity.
pub(crate) fn identity_bucket() -> BucketName {
    "mainstay-identity".parse().expect("it is a bucket's name")
}

#[cfg(test)]
mod tests {
    use mainstay_engine::InstanceSpec;
    use mainstay_types::{InstanceId, Parameters};

    use super::{bucket, identity_bucket};

    #[test]
    fn a_bucket_tells_its_instance() {
        let named = |name: &str| {
            let (id, name) = (InstanceId::from_random(33), name.parse().unwrap());
            bucket(&InstanceSpec { id, name, parameters: Parameters::default() }).to_string()
        };
        assert_eq!(named("photos"), "photos-110000000000");
        assert_eq!(named(&"x".repeat(63)), format!("{}-110000000000", "x".repeat(50)));
        assert_eq!(named(&format!("{}-x", "x".repeat(49))), format!("{}--110000000000", "x".repeat(49)));
        assert_eq!(named("xn--bcher-kva"), "i-110000000000");
        assert_eq!(identity_bucket().as_str(), "mainstay-identity");
    }
}
