//! What is drawn at random: tokens, accessors, ids.

use mainstay_custody::draw_secret;
use mainstay_secrets_engine::Refusal;
use mainstay_types::TokenId;
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

/// What every token of this layer begins with, so that scanners for leaked secrets can know one.
pub(crate) const TOKEN_PREFIX: &str = "mst_";

/// How many letters and digits follow: 142 bits. With its prefix a token has 28 characters, Vault's length since 1.10,
/// which clients that make one-time pads for `generate-root` count on.
pub(crate) const TOKEN_LETTERS: usize = 24;

/// A new token.
pub(crate) fn token() -> Result<Zeroizing<String>, Refusal> {
    Ok(Zeroizing::new(format!("{TOKEN_PREFIX}{}", letters(TOKEN_LETTERS)?.as_str())))
}

/// A new accessor: a token id like those of the native API, since both name tokens.
pub(crate) fn accessor() -> Result<TokenId, Refusal> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(no_random)?;
    Ok(TokenId::from_random(u64::from_be_bytes(bytes)))
}

/// Letters and digits, at most as many as a secret has.
pub(crate) fn letters(count: usize) -> Result<Zeroizing<String>, Refusal> {
    let secret = draw_secret().map_err(no_random)?;
    Ok(Zeroizing::new(secret.expose_secret().chars().take(count).collect()))
}

/// A random key or salt.
pub(crate) fn key() -> Result<[u8; 32], Refusal> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(no_random)?;
    Ok(bytes)
}

fn no_random(error: getrandom::Error) -> Refusal {
    Refusal::failed("the operating system gives no random bytes", error)
}
