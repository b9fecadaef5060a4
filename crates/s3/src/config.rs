//! What can be chosen.

use std::time::Duration;

/// How the S3 API presents itself.
#[derive(Debug, Clone)]
pub struct S3Config {
    /// The region that requests are signed for. `us-east-1`, which clients take where nobody tells them, is always accepted.
    pub region: String,
    /// Domains below which a bucket's name can stand (`BUCKET.DOMAIN`), in lowercase and without a port.
    pub domains: Vec<String>,
    pub limits: Limits,
}

/// What one client can take from the others.
#[derive(Debug, Clone)]
pub struct Limits {
    pub connections: usize,
    pub head_timeout: Duration,
    /// How slowly a body may come: at least so many bytes ...
    pub pace_bytes: u64,
    /// ... within so much waiting for them.
    pub pace_within: Duration,
    /// How long a client may take less than `pace_bytes` of an answer.
    pub write_timeout: Duration,
    /// How long a client may go on sending a body that was refused.
    pub linger: Duration,
    pub drain: Duration,
    /// A form's file and fields, which are held in memory.
    pub form_bytes: usize,
    /// XML, which is held in memory.
    pub xml_bytes: usize,
    /// What all forms and XML that are held at the same time may take; others wait.
    pub held_bytes: usize,
    /// What all uploads may hold in memory at the same time, in bytes; others wait.
    pub upload_bytes: u64,
    /// What all downloads may hold in memory at the same time, in bytes; others wait.
    pub download_bytes: u64,
    /// How long an upload or a download waits for memory before its client is told to come back.
    pub memory_wait: Duration,
}

/// Connections at the same time: more than the applications of a handful of machines open, at some 20 KiB each.
const CONNECTIONS: usize = 1024;
/// How long a client may take to send the head of a request, or to begin the next one: pools of clients keep connections
/// for some seconds.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Half a kilobyte each second is slower than any line that a body would be sent over.
const PACE_BYTES: u64 = 16 << 10;
const PACE_WITHIN: Duration = Duration::from_secs(30);
/// A client that reads next to nothing for so long is taken for dead: TCP alone would wait for hours. The system says
/// only of a third of what it buffers that it was taken, so that this is longer than for bodies.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// Clients that send all before they read have the answer then, where they send fast. Who has more is cut off.
const LINGER: Duration = Duration::from_secs(5);
/// How long the requests in progress may take once the layer stops.
const DRAIN: Duration = Duration::from_secs(10);
/// A form is sent by a browser, and s3s holds its file; what is larger is put by other means.
const FORM_BYTES: usize = 16 << 20;
/// Completing an upload of 10,000 parts with their checksums takes some 2 MiB.
const XML_BYTES: usize = 4 << 20;
/// Two forms and some XML, or sixteen of the largest XML bodies: the memory that a layer may take is 100 MiB.
const HELD_BYTES: usize = 40 << 20;

/// Thirty-two large uploads, or three hundred small ones: more than two cores can hash at the same time.
const UPLOAD_BYTES: u64 = 64 << 20;
/// Two hundred and fifty-six clients that read slowly; from one that reads fast the next piece is taken in no time.
const DOWNLOAD_BYTES: u64 = 64 << 20;
/// Shorter than the minute after which clients give up a request that nothing is heard of.
const MEMORY_WAIT: Duration = Duration::from_secs(15);

impl Default for S3Config {
    /// Virtual hosts below `localhost`, which resolvers know without being told (RFC 6761, section 6.3).
    fn default() -> Self {
        let domains = ["s3.localhost", "localhost"].map(str::to_owned).to_vec();
        Self { region: "mainstay".to_owned(), domains, limits: Limits::default() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            head_timeout: HEAD_TIMEOUT,
            pace_bytes: PACE_BYTES,
            pace_within: PACE_WITHIN,
            write_timeout: WRITE_TIMEOUT,
            linger: LINGER,
            drain: DRAIN,
            form_bytes: FORM_BYTES,
            xml_bytes: XML_BYTES,
            held_bytes: HELD_BYTES,
            upload_bytes: UPLOAD_BYTES,
            download_bytes: DOWNLOAD_BYTES,
            memory_wait: MEMORY_WAIT,
        }
    }
}

impl S3Config {
    /// Whether requests may be signed for a region.
    pub(crate) fn accepts_region(&self, region: &str) -> bool {
        region == self.region || region == DEFAULT_REGION
    }
}

/// What clients sign for where nobody tells them.
pub(crate) const DEFAULT_REGION: &str = "us-east-1";
