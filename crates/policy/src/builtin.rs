//! The policies that come with each namespace. One can read them through the API, and change all but the last.

use crate::name::PolicyName;

/// What every token may do.
pub const DEFAULT: &str = include_str!("builtin/default.hcl");
/// The role `admin`: everything in its namespace.
pub const ADMIN: &str = include_str!("builtin/admin.hcl");
/// The role `operator`: runs the applications.
pub const OPERATOR: &str = include_str!("builtin/operator.hcl");
/// The role `viewer`: sees what there is, and no secret.
pub const VIEWER: &str = include_str!("builtin/viewer.hcl");
/// What a wrapping token may do.
pub const RESPONSE_WRAPPING: &str = include_str!("builtin/response-wrapping.hcl");

/// All of them by name.
pub const BUILT_IN: [(&str, &str); 5] = [
    (PolicyName::DEFAULT, DEFAULT),
    ("admin", ADMIN),
    ("operator", OPERATOR),
    ("viewer", VIEWER),
    (PolicyName::RESPONSE_WRAPPING, RESPONSE_WRAPPING),
];
