//! The auth methods AppRole, userpass and JWT: who may have a token, and what that token may do.
//!
//! Each is a [`Kind`](mainstay_secrets_engine::Kind). They answer a login with what is to be in the token; whoever
//! serves the API makes it. Paths, fields and error texts are Vault's. Where Vault answers 500 to what is the client's
//! mistake, they answer 400 with the same text.

mod approle;
mod entry_name;
mod jwt;
mod keyed_hash;
mod network;
mod record;
mod stripes;
mod token_params;
mod userpass;

pub use approle::ApproleKind;
pub use jwt::JwtKind;
pub use userpass::UserpassKind;
