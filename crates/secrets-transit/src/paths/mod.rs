//! What each path does: fields in, answer out.

pub mod admin;
pub mod backup;
pub mod crypt;
pub mod export;
pub mod hmac;
mod items;
pub mod random;
pub mod settings;
pub mod sign;
