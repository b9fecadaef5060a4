//! ACL policies of secret custody: who may do what at which path of the Vault HTTP API.
//!
//! [`Policy::parse`] reads what people write, in HCL or JSON. An [`Acl`] is what the policies of one token come to
//! together; it is built once and asked for each request. Nothing in here knows a clock, a file or a socket.
//!
//! Vault's policies are written in the first version of HCL, which current HCL parsers do not read: it knows no line
//! ends, several attributes may stand on one line, keys may be quoted, and `${` means nothing. It is a small language,
//! so that its reader is here, in `hcl.rs`.

mod acl;
mod builtin;
mod capability;
mod hcl;
mod json;
mod name;
mod parameters;
mod pattern;
mod policy;
mod tree;

pub use acl::{Acl, Decision, Operation};
pub use builtin::{ADMIN, BUILT_IN, DEFAULT, OPERATOR, RESPONSE_WRAPPING, VIEWER};
pub use hcl::SyntaxError;
pub use name::{InvalidName, PolicyName, Protected};
pub use policy::{InvalidPolicy, InvalidRule, Policy};
