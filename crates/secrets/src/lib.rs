//! The secret custody service: mounts, tokens, leases, audit, wrapping.
