//! Random bits for ids and tokens, from the operating system's generator.

use secrecy::SecretString;

/// Draws the bits of a new id, for the `from_random` of the id types.
pub fn draw_id() -> u64 {
    // The kernel's generator fails only before it was ever seeded, which on a machine that runs services is long ago.
    getrandom::u64().expect("the operating system's generator works")
}

/// Draws a secret for a token: letters and digits, more than 160 bits.
pub fn draw_secret() -> SecretString {
    mainstay_custody::draw_secret().expect("the operating system's generator works")
}
