//! What a node checks a password with (RabbitMQ, "Passwords": base64 of four bytes of salt and SHA-256 of salt and
//! password). Computed here, so that the node is never told the password itself.
//!
//! A single round is enough for what we draw: nobody tries all values of 160 random bits.

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mainstay_engine::EngineError;
use secrecy::{ExposeSecret, SecretString};

/// The name that RabbitMQ gives this way.
pub(crate) const ALGORITHM: &str = "rabbit_password_hashing_sha256";

/// Random, so that two users with one password are not seen to have it.
pub(crate) type Salt = [u8; 4];

/// A new salt.
pub(crate) fn salt() -> Result<Salt, EngineError> {
    let mut salt = Salt::default();
    getrandom::fill(&mut salt).map_err(|error| EngineError::transient(format!("no random bytes: {error}")))?;
    Ok(salt)
}

/// A salt that is always the same for a secret of ours, so that what we write about it is too.
pub(crate) fn salt_of(secret: &SecretString) -> Salt {
    let mut digest = Context::new(&SHA256);
    digest.update(b"salt");
    digest.update(secret.expose_secret().as_bytes());
    let mut salt = Salt::default();
    salt.copy_from_slice(&digest.finish().as_ref()[..4]);
    salt
}

/// What a password is checked with.
pub(crate) fn verifier(salt: Salt, password: &SecretString) -> String {
    let mut digest = Context::new(&SHA256);
    digest.update(&salt);
    digest.update(password.expose_secret().as_bytes());
    STANDARD.encode([&salt, digest.finish().as_ref()].concat())
}

#[cfg(test)]
mod tests {
    use super::verifier;

    #[test]
    fn the_example_of_the_documentation() {
        // RabbitMQ, "Passwords", "Computing Password Hash": salt 908D C60A, password test12.
        let salt = [0x90, 0x8d, 0xc6, 0x0a];
        assert_eq!(verifier(salt, &"test12".into()), "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR");
    }
}
