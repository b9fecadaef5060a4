//! The data plane on any S3-compatible store (rustfs).
