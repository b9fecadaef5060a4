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

/// Ids that are no instances': the last of their 60 bits, which none draws but by a chance that never comes.
const SCRATCH: u64 = ((1 << 60) - 1) << SCRATCH_BITS & ((1 << 60) - 1);
const SCRATCH_BITS: u32 = 20;

/// An account that a restore puts buckets together in.
pub(crate) fn scratch_account(number: u32) -> InstanceId {
    InstanceId::from_random(SCRATCH | u64::from(number) & ((1 << SCRATCH_BITS) - 1))
}

/// Whether an account is one that a restore made.
pub(crate) fn is_scratch_account(id: &InstanceId) -> bool {
    // The lowest bits come first.
    let own = (SCRATCH_BITS / 5) as usize;
    let all = InstanceId::from_random(SCRATCH);
    id.suffix()[own..] == all.suffix()[own..]
}

/// A bucket of such an account, by its number.
pub(crate) fn scratch_bucket(account: &InstanceId, number: usize) -> BucketName {
    format!("restored-{}-{number}", account.suffix()).parse().expect("it is a bucket's name")
}

/// What a bucket is called that comes back, perhaps in another instance than it was in: the one that was provided is the one that is
/// provided, and others keep their names, which another instance's can not have beside them.
pub(crate) fn restored(name: &BucketName, instance: &InstanceSpec, origin: &InstanceId) -> BucketName {
    let is_provided = name.as_str().ends_with(&format!("-{}", origin.suffix())) || name.as_str() == origin.as_str();
    if is_provided {
        return bucket(instance);
    }
    if instance.id == *origin {
        return name.clone();
    }
    let start = &name.as_str()[..name.as_str().len().min(NAME_LENGTH)];
    let named = format!("{}-{}", start.trim_end_matches(['-', '.']), instance.id.suffix()).parse();
    named.unwrap_or_else(|_| name.clone())
}

#[cfg(test)]
mod tests {
    use mainstay_engine::InstanceSpec;
    use mainstay_types::{InstanceId, Parameters};

    use super::{bucket, identity_bucket, is_scratch_account, restored, scratch_account};

    #[test]
    fn what_comes_back_has_a_name_of_its_instance() {
        let spec = |id: u64| {
            let (id, name) = (InstanceId::from_random(id), "photos".parse().unwrap());
            InstanceSpec { id, name, parameters: Parameters::default() }
        };
        let (origin, other) = (spec(33), spec(1));
        let names = |name: &str, to| restored(&name.parse().unwrap(), to, &origin.id).to_string();
        assert_eq!(names("photos-110000000000", &origin), "photos-110000000000");
        assert_eq!(names("photos-110000000000", &other), "photos-100000000000");
        assert_eq!(names("more", &origin), "more");
        assert_eq!(names("more", &other), "more-100000000000");
    }

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
        assert!(is_scratch_account(&scratch_account(0)) && is_scratch_account(&scratch_account(u32::MAX)));
        assert!([0, 70, 1 << 59].iter().all(|bits| !is_scratch_account(&InstanceId::from_random(*bits))));
        assert_eq!(identity_bucket().as_str(), "mainstay-identity");
    }
}
