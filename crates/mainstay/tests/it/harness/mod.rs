//! What the tests stand on: a layer of one's own, its clients, and a way to wait.

mod api;
mod guardian;
mod layer;
mod ports;
mod wait;

pub use api::{Answer, Api};
pub use layer::{Cli, Layer, Options};
pub use wait::until;
