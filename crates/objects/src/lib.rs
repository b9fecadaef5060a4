//! Buckets, objects, versions and uploads: content on the data plane, the index on storage.
