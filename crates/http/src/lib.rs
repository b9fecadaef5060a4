//! The native API on `/api/v1`, and beside it health, metrics and the OpenAPI document.
//!
//! A handler parses, asks the control plane, and maps the answer; it decides nothing.

mod api;
mod caller;
mod health;
mod input;
mod metrics;
mod native;
mod problem;
mod serve;

pub use api::{Api, openapi, router};
pub use problem::{CODES, Problem};
pub use serve::serve;
