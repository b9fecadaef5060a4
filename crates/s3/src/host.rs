//! Buckets in the name of the host.

use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};
use s3s::validation::NameValidation;

/// Finds the bucket in `BUCKET.DOMAIN`. Any other host is one that paths begin with the bucket at: an address, a proxy's
/// name, a container's.
#[derive(Debug, Clone)]
pub struct Domains {
    /// The longest first: `s3.localhost` is no bucket of `localhost`.
    domains: Vec<String>,
}

/// What can name a bucket.
pub struct Names;

impl Domains {
    pub fn new(mut domains: Vec<String>) -> Self {
        domains.iter_mut().for_each(|domain| domain.make_ascii_lowercase());
        domains.sort_by_key(|domain| std::cmp::Reverse(domain.len()));
        Self { domains }
    }

    /// The bucket in a host's name.
    pub fn bucket_of<'a>(&self, host: &'a str) -> Option<&'a str> {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        for domain in &self.domains {
            let at = name.len().checked_sub(domain.len())?;
            // Not every place in the name is one where a character begins.
            let Some(end) = name.get(at..) else { continue };
            if end.eq_ignore_ascii_case(domain) {
                return name[..at].strip_suffix('.').filter(|bucket| !bucket.is_empty());
            }
        }
        None
    }
}

impl S3Host for Domains {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let found = VirtualHost::new(host);
        Ok(match self.bucket_of(host) {
            Some(bucket) => found.with_bucket(bucket.to_ascii_lowercase()),
            None => found,
        })
    }
}

impl NameValidation for Names {
    fn validate_bucket_name(&self, name: &str) -> bool {
        name.parse::<mainstay_bucket::BucketName>().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::Domains;

    #[test]
    fn buckets_in_hosts() {
        let domains = Domains::new(vec!["localhost".to_owned(), "s3.localhost".to_owned()]);
        for (host, bucket) in [
            ("photos.localhost:7401", Some("photos")),
            ("photos.s3.localhost", Some("photos")),
            ("my.photos.LOCALHOST", Some("my.photos")),
            ("s3.localhost:7401", None),
            ("localhost", None),
            (".localhost", None),
            ("notlocalhost", None),
            ("example.org", None),
            ("127.0.0.1:7401", None),
            ("[::1]:7401", None),
            ("ö.localhos", None),
            ("", None),
        ] {
            assert_eq!(domains.bucket_of(host), bucket, "{host}");
        }
    }
}
