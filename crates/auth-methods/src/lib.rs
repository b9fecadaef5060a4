//! The auth methods AppRole, userpass and JWT.
