//! ACL policies of secret custody: HCL and JSON, matching, capabilities.
