//! Tokens: what they are, where they are kept, and the paths of `auth/token`.

mod create;
mod entry;
mod paths;
mod roles;
mod store;

pub(crate) use create::{from_login, plain, root};
pub(crate) use entry::{Bearer, TokenEntry, TokenKey, TokenKind};
pub(crate) use paths::{SUDO, handle};
pub(crate) use store::Tokens;
