//! The native API on `/api/v1`, the Vault API on `/v1`, and beside them health, metrics and the OpenAPI document.
//!
//! A handler parses, asks the control plane, and maps the answer; it decides nothing.

mod api;
mod caller;
mod desk;
mod document;
mod finish;
mod health;
mod input;
mod metrics;
mod native;
mod problem;
mod serve;
mod vault;
mod window;

pub use api::{Api, router};
pub use desk::{CopyStanding, DeskError, RecoveryDesk, RepositoryDamage, Standing, Verification};
pub use document::openapi;
pub use problem::{CODES, Problem};
pub use serve::{Limits, serve, serve_within};
pub use window::{RecoverySpan, RecoveryWindow};
