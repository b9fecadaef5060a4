//! The S3 API over HTTP.
