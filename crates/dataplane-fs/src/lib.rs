//! The data plane in this process, on the local file system (seed-fs).
