//! Where objects are kept, and how they are reached.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_bucket::BucketName;
use secrecy::SecretString;

use super::super::key::Key;
use super::super::mistake::{Mistake, echo};
use super::super::{DataPlaneMode, ObjectBackend, ObjectStore, RuntimeEnvironment, Rustfs, S3};
use super::{Reader, absolute_path, base_url, one_of};

/// What clients assume that know of no regions.
const DEFAULT_REGION: &str = "us-east-1";
/// A region of our own: for Amazon's first one boto3 and the AWS command line presign URLs in the old way (version 2), which
/// nothing here takes.
const OWN_REGION: &str = "mainstay";
/// Resolves to this machine with its subdomains (RFC 6761, section 6.3).
const DEFAULT_DOMAIN: &str = "localhost";
/// An hour: far longer than an upload stays between its last byte and its place in the index.
const DEFAULT_GRACE: u64 = 3600;
/// Less would be within reach of a slow commit, more would keep deleted bytes for longer than a year.
const GRACE: std::ops::RangeInclusive<u64> = 60..=31_536_000;
/// What fits into the address of a Unix socket (unix(7): 108 bytes) with room for a temporary name beside it.
const LONGEST_SOCKET: usize = 100;

/// What a store behind `rustfs` needs, and `seed-fs` does not.
const OF_RUSTFS: [Key; 6] = [
    Key::ObjectStoreEndpoint,
    Key::ObjectStoreRegion,
    Key::ObjectStoreBucket,
    Key::ObjectStorePrefix,
    Key::ObjectStoreAccessKeyId,
    Key::ObjectStoreSecretAccessKey,
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Driver {
    SeedFs,
    Rustfs,
}

/// In development objects are kept beside the rest where nobody says otherwise. In production somebody has to say.
pub(super) fn object_store(
    reader: &mut Reader<'_>,
    environment: RuntimeEnvironment,
    data_dir: &Path,
) -> Option<ObjectStore> {
    let named = reader.read(Key::ObjectStoreDriver, |text| {
        one_of(text, [Driver::SeedFs, Driver::Rustfs], |driver| match driver {
            Driver::SeedFs => "seed-fs",
            Driver::Rustfs => "rustfs",
        })
    });
    let unnamed = reader.origin(Key::ObjectStoreDriver).is_none();
    let default = (unnamed && environment == RuntimeEnvironment::Development).then_some(Driver::SeedFs);
    let grace = reader.read(Key::ObjectStoreGraceSeconds, |text| match text.parse::<u64>() {
        Ok(seconds) if GRACE.contains(&seconds) => Ok(seconds),
        _ => Err(format!("is {}, which is no such number", echo(text))),
    });
    let backend = match named.or(default) {
        Some(Driver::Rustfs) => ObjectBackend::Rustfs(rustfs(reader)?),
        driver => {
            refuse_keys_of_rustfs(reader);
            driver.map(|_| ObjectBackend::SeedFs(data_dir.join("objects")))?
        }
    };
    Some(ObjectStore { backend, grace: Duration::from_secs(grace.unwrap_or(DEFAULT_GRACE)) })
}

fn rustfs(reader: &mut Reader<'_>) -> Option<Rustfs> {
    let endpoint = reader.read(Key::ObjectStoreEndpoint, |text| base_url(text, "a store"));
    let region = reader.read_or(Key::ObjectStoreRegion, name, DEFAULT_REGION);
    let bucket = reader.read(Key::ObjectStoreBucket, |text| match text.parse::<BucketName>() {
        Ok(bucket) => Ok(bucket.to_string()),
        Err(_) => Err(format!("is {}, which is no bucket's name", echo(text))),
    });
    let prefix = reader.read_or(Key::ObjectStorePrefix, prefix, "mainstay");
    let access_key_id = reader.read(Key::ObjectStoreAccessKeyId, name);
    let secret = reader.read(Key::ObjectStoreSecretAccessKey, |text| Ok(SecretString::from(text)));
    for key in
        [Key::ObjectStoreEndpoint, Key::ObjectStoreBucket, Key::ObjectStoreAccessKeyId, Key::ObjectStoreSecretAccessKey]
    {
        if reader.origin(key).is_none() {
            let remedy = "set it; the driver rustfs needs an endpoint, a bucket and an access key";
            let problem = "is not set, while Storage:ObjectStore:Driver is rustfs";
            reader.mistakes.push(Mistake::about(key, None, problem, remedy));
        }
    }
    Some(Rustfs {
        endpoint: endpoint?,
        region,
        bucket: bucket?,
        prefix,
        access_key_id: access_key_id?,
        secret_access_key: secret?,
    })
}

fn refuse_keys_of_rustfs(reader: &mut Reader<'_>) {
    for key in OF_RUSTFS {
        if let Some(origin) = reader.origin(key) {
            let remedy = "remove it, or set Storage:ObjectStore:Driver to rustfs";
            let problem = "is set, while Storage:ObjectStore:Driver is not rustfs";
            reader.mistakes.push(Mistake::about(key, Some(origin), problem, remedy));
        }
    }
}

pub(super) fn data_plane(reader: &mut Reader<'_>, data_dir: &Path) -> DataPlaneMode {
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Mode {
        InProcess,
        Remote,
    }
    let mode = reader.read(Key::DataPlaneMode, |text| {
        one_of(text, [Mode::InProcess, Mode::Remote], |mode| match mode {
            Mode::InProcess => "inproc",
            Mode::Remote => "remote",
        })
    });
    let socket = reader.read(Key::DataPlaneSocket, socket);
    match mode {
        Some(Mode::Remote) => DataPlaneMode::Remote(socket.unwrap_or_else(|| data_dir.join("dataplane/plane.sock"))),
        _ => DataPlaneMode::InProcess,
    }
}

fn socket(text: &str) -> Result<PathBuf, String> {
    if text.len() > LONGEST_SOCKET {
        return Err(format!("is {} bytes long", text.len()));
    }
    absolute_path(text)
}

pub(super) fn s3(reader: &mut Reader<'_>) -> S3 {
    S3 {
        region: reader.read_or(Key::S3Region, name, OWN_REGION),
        domain: reader.read_or(Key::S3Domain, domain, DEFAULT_DOMAIN),
    }
}

pub(super) fn name(text: &str) -> Result<String, String> {
    let fits = (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!("is {}, which has other than letters, digits, '-', '_' and '.'", echo(text)))
    }
}

fn prefix(text: &str) -> Result<String, String> {
    let segment = |segment: &str| name(segment).is_ok() && segment != "." && segment != "..";
    if text.split('/').all(segment) {
        Ok(text.to_owned())
    } else {
        Err(format!("is {}, which is no prefix", echo(text)))
    }
}

fn domain(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    if lower.split('.').all(label) { Ok(lower) } else { Err(format!("is {}, which is no domain name", echo(text))) }
}
