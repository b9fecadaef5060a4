//! The native API: authentication, parsing, error mapping
