//! What the tests stand on: a layer of one's own, its clients, and a way to wait.

mod api;
mod chance;
mod disk;
mod guardian;
mod layer;
mod outcome;
mod ports;
mod processes;
mod vault;
mod wait;

pub use api::{Answer, Api};
pub use chance::{Chance, soak, with_seeds};
pub use disk::{Filler, may_mount, mount_small_disk};
pub use layer::{Layer, Options};
pub use outcome::uri_of;
pub use processes::{is_alive, kill_process, runtime};
pub use vault::{Vault, raw};
pub use wait::until;
