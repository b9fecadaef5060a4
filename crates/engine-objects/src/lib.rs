//! The built-in object store as an engine.
