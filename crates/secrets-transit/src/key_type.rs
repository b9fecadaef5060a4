//! The types of keys, and what each can do.

use aws_lc_rs::rsa::KeySize;
use serde::{Deserialize, Serialize};

/// The type of a key. Its text is the one of the API and of what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KeyType {
    #[serde(rename = "aes128-gcm96")]
    Aes128Gcm96,
    #[serde(rename = "aes256-gcm96")]
    Aes256Gcm96,
    #[serde(rename = "chacha20-poly1305")]
    ChaCha20Poly1305,
    #[serde(rename = "xchacha20-poly1305")]
    XChaCha20Poly1305,
    #[serde(rename = "ed25519")]
    Ed25519,
    #[serde(rename = "ecdsa-p256")]
    EcdsaP256,
    #[serde(rename = "ecdsa-p384")]
    EcdsaP384,
    #[serde(rename = "ecdsa-p521")]
    EcdsaP521,
    #[serde(rename = "rsa-2048")]
    Rsa2048,
    #[serde(rename = "rsa-3072")]
    Rsa3072,
    #[serde(rename = "rsa-4096")]
    Rsa4096,
    #[serde(rename = "hmac")]
    Hmac,
}

/// Types of the same make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Symmetric,
    Ed25519,
    Ecdsa,
    Rsa(KeySize),
    Hmac,
}

/// Every type, with its text and the number that Vault's backups have for it.
pub const TYPES: [(KeyType, &str, u8); 12] = [
    (KeyType::Aes256Gcm96, "aes256-gcm96", 0),
    (KeyType::EcdsaP256, "ecdsa-p256", 1),
    (KeyType::Ed25519, "ed25519", 2),
    (KeyType::Rsa2048, "rsa-2048", 3),
    (KeyType::Rsa4096, "rsa-4096", 4),
    (KeyType::ChaCha20Poly1305, "chacha20-poly1305", 5),
    (KeyType::EcdsaP384, "ecdsa-p384", 6),
    (KeyType::EcdsaP521, "ecdsa-p521", 7),
    (KeyType::Aes128Gcm96, "aes128-gcm96", 8),
    (KeyType::Rsa3072, "rsa-3072", 9),
    (KeyType::Hmac, "hmac", 10),
    (KeyType::XChaCha20Poly1305, "xchacha20-poly1305", 11),
];

impl KeyType {
    /// The type with a name of the API.
    pub fn named(name: &str) -> Option<Self> {
        TYPES.iter().find(|(_, text, _)| *text == name).map(|(key_type, ..)| *key_type)
    }

    /// The type with a number of Vault's backups.
    pub fn numbered(number: u8) -> Option<Self> {
        TYPES.iter().find(|(.., known)| *known == number).map(|(key_type, ..)| *key_type)
    }

    pub fn name(self) -> &'static str {
        self.row().1
    }

    pub fn number(self) -> u8 {
        self.row().2
    }

    pub fn family(self) -> Family {
        match self {
            Self::Aes128Gcm96 | Self::Aes256Gcm96 | Self::ChaCha20Poly1305 | Self::XChaCha20Poly1305 => {
                Family::Symmetric
            }
            Self::Ed25519 => Family::Ed25519,
            Self::EcdsaP256 | Self::EcdsaP384 | Self::EcdsaP521 => Family::Ecdsa,
            Self::Rsa2048 => Family::Rsa(KeySize::Rsa2048),
            Self::Rsa3072 => Family::Rsa(KeySize::Rsa3072),
            Self::Rsa4096 => Family::Rsa(KeySize::Rsa4096),
            Self::Hmac => Family::Hmac,
        }
    }

    /// How many bytes a raw symmetric key has.
    pub fn cipher_key_length(self) -> usize {
        if self == Self::Aes128Gcm96 { 16 } else { 32 }
    }

    pub fn encrypts(self) -> bool {
        matches!(self.family(), Family::Symmetric | Family::Rsa(_))
    }

    pub fn signs(self) -> bool {
        matches!(self.family(), Family::Ed25519 | Family::Ecdsa | Family::Rsa(_))
    }

    pub fn derives(self) -> bool {
        matches!(self.family(), Family::Symmetric | Family::Ed25519)
    }

    /// Whether ciphertexts can be bound to further data.
    pub fn takes_associated_data(self) -> bool {
        self.family() == Family::Symmetric
    }

    fn row(self) -> &'static (Self, &'static str, u8) {
        TYPES.iter().find(|(key_type, ..)| *key_type == self).expect("every type is in the table, a test says")
    }
}

impl std::fmt::Display for KeyType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::{KeyType, TYPES};

    #[test]
    fn a_type_has_one_name_everywhere() {
        for (key_type, name, number) in TYPES {
            assert_eq!((KeyType::named(name), KeyType::numbered(number)), (Some(key_type), Some(key_type)));
            assert_eq!((key_type.name(), key_type.number()), (name, number));
            assert_eq!(serde_json::to_value(key_type).unwrap(), name);
        }
        assert_eq!(KeyType::named("AES256-GCM96"), None);
    }
}
