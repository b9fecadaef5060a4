//! The transit secrets engine: cryptography as a service. Keys are made and kept here and never leave, unless their
//! owner made them exportable; callers send plaintext and get ciphertext, signatures, MACs.
//!
//! Layouts and derivations are Vault's, so that what another Vault encrypted is decrypted here with the same raw key:
//! `vault:vN:` and base64 of nonce, ciphertext and tag; HKDF-SHA256 of the raw key with the context as its info, without
//! a salt; and for convergent encryption a nonce that is the HMAC-SHA256 of the plaintext with 32 further derived bytes.
//!
//! Nonces of 96 bits are random. NIST SP 800-38D (8.3) allows 2^32 encryptions with one key version that way, and like
//! Vault we leave it to `auto_rotate_period` and the operator to rotate before that; `xchacha20-poly1305` has no such
//! bound in practice, and derived keys have it for each context apart.

mod cipher;
mod ecdsa;
mod engine;
mod entry;
mod hashing;
mod key;
mod key_type;
mod keyring;
mod material;
mod paths;
mod pem;
mod rejection;
mod rsa;
mod signing;
mod wire;

pub use engine::TransitKind;
