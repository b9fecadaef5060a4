//! A key in memory: its settings and its versions, ready to be used.

use std::collections::BTreeMap;

use mainstay_types::Timestamp;
use zeroize::Zeroizing;

use crate::cipher::NonceSource;
use crate::entry::{Entry, Settings, StoredVersion};
use crate::material::{Material, derive_cipher};
use crate::rejection::Rejection;
use crate::wire::{self, Alphabet, Noun};

/// A key, ready to be used. It has neither `Debug` nor `Clone`: nobody is to see or to copy what is in it.
pub struct Key {
    pub name: String,
    pub settings: Settings,
    pub versions: BTreeMap<u32, Version>,
}

/// A version of a key, ready to be used.
pub struct Version {
    pub created: Timestamp,
    pub material: Material,
    /// As the API shows it; none where there is none to show.
    pub public_key: Option<String>,
    hmac_key: Zeroizing<Vec<u8>>,
}

impl Key {
    /// Makes a stored key ready. For an RSA key with many versions that takes milliseconds.
    pub fn open(name: &str, entry: &Entry) -> Result<Self, Rejection> {
        let settings = entry.settings.clone();
        let open = |(number, stored): (&u32, &StoredVersion)| {
            let material = Material::open(&settings, stored.key.bytes())?;
            let public_key = material.public_key()?;
            let hmac_key = if matches!(material, Material::Hmac) { &stored.key } else { &stored.hmac_key };
            let hmac_key = Zeroizing::new(hmac_key.bytes().to_vec());
            Ok((*number, Version { created: stored.created, material, public_key, hmac_key }))
        };
        let versions = entry.versions.iter().map(open).collect::<Result<_, Rejection>>()?;
        Ok(Self { name: name.to_owned(), settings, versions })
    }

    pub fn version(&self, version: u32) -> Result<&Version, Rejection> {
        self.versions.get(&version).ok_or_else(|| Rejection::mistake("no such key version"))
    }

    /// Whether using the private key takes so long that other requests would have to wait.
    pub fn is_slow(&self) -> bool {
        self.versions.values().next_back().is_some_and(|version| matches!(version.material, Material::Rsa(_)))
    }

    /// Encrypts what is base64 in `plaintext` with a version; 0 is the latest.
    pub fn encrypt(
        &self,
        version: i64,
        context: &[u8],
        aad: &[u8],
        plaintext: &str,
    ) -> Result<(String, u32), Rejection> {
        if !self.settings.key_type.encrypts() {
            return Err(self.cannot("encryption"));
        }
        let version = self.encrypting_version(version, "encryption")?;
        let derived;
        let (cipher, source) = match &self.version(version)?.material {
            Material::Cipher(cipher) => (cipher, NonceSource::Random),
            Material::DerivedCipher(prk) => {
                derived = derive_cipher(prk, self.settings.key_type, context)?;
                let convergent = self.settings.convergent;
                let source = if convergent { NonceSource::Convergent(&derived.nonces) } else { NonceSource::Random };
                (&derived.cipher, source)
            }
            Material::Rsa(pair) => {
                let ciphertext = pair.encrypt(&Zeroizing::new(wire::decode(plaintext)?))?;
                return Ok((wire::write(version, &ciphertext, Alphabet::Standard), version));
            }
            _ => return Err(self.cannot("encryption")),
        };
        // Room for everything at once: growing would leave copies of the plaintext behind.
        let mut buffer = Vec::with_capacity(plaintext.len() / 4 * 3 + 3 + cipher.overhead());
        buffer.resize(cipher.nonce_length(), 0);
        wire::decode_onto(plaintext, &mut buffer)?;
        cipher.seal(&mut buffer, &source, aad)?;
        Ok((wire::write(version, &buffer, Alphabet::Standard), version))
    }

    /// Decrypts a ciphertext, to base64.
    pub fn decrypt(&self, context: &[u8], aad: &[u8], ciphertext: &str) -> Result<String, Rejection> {
        if !self.settings.key_type.encrypts() {
            return Err(self.cannot("decryption"));
        }
        let (version, encoded) = wire::split(ciphertext, Noun::Ciphertext)?;
        let version = self.decrypting_version(version, "invalid ciphertext: version is too new")?;
        let decoded = wire::decode_exactly(encoded, Alphabet::Standard);
        let decoded = decoded.map_err(|_| Rejection::mistake("invalid ciphertext: could not decode base64"))?;
        let mut buffer = Zeroizing::new(decoded);
        match &self.version(version)?.material {
            Material::Cipher(cipher) => cipher.open(&mut buffer, aad).map(wire::encode),
            Material::DerivedCipher(prk) => {
                let derived = derive_cipher(prk, self.settings.key_type, context)?;
                derived.cipher.open(&mut buffer, aad).map(wire::encode)
            }
            Material::Rsa(pair) => pair.decrypt(&buffer).map(|plaintext| wire::encode(&plaintext)),
            _ => Err(self.cannot("decryption")),
        }
    }

    /// The key for MACs of a version.
    pub fn hmac_key(&self, version: u32) -> Result<&[u8], Rejection> {
        let latest = self.settings.latest_version;
        if version > latest {
            let text = format!("key version does not exist; latest key version is {latest}");
            return Err(Rejection::mistake(text));
        }
        let key = &self.version(version)?.hmac_key;
        if key.is_empty() {
            return Err(Rejection::mistake("no HMAC key exists for that key version"));
        }
        Ok(key)
    }

    /// Which version makes something new, where the caller asks for one or, with 0, for the latest.
    pub fn encrypting_version(&self, asked: i64, purpose: &str) -> Result<u32, Rejection> {
        let settings = &self.settings;
        let requested = |what: &str| Rejection::mistake(format!("requested version for {purpose} is {what}"));
        match u32::try_from(asked) {
            Ok(0) => Ok(settings.latest_version),
            Err(_) if asked < 0 => Err(requested("negative")),
            Ok(version) if version <= settings.latest_version => {
                if version < settings.min_encryption_version {
                    return Err(requested("less than the minimum encryption key version"));
                }
                Ok(version)
            }
            _ => Err(requested("higher than the latest key version")),
        }
    }

    /// The version of something that was made, where it may still be used.
    pub fn decrypting_version(&self, version: u32, too_new: &'static str) -> Result<u32, Rejection> {
        if version > self.settings.latest_version {
            return Err(Rejection::mistake(too_new));
        }
        if version < self.settings.min_decryption_version {
            return Err(Rejection::mistake("ciphertext or signature version is disallowed by policy (too old)"));
        }
        Ok(version)
    }

    fn cannot(&self, purpose: &str) -> Rejection {
        Rejection::mistake(format!("message {purpose} not supported for key type {}", self.settings.key_type))
    }
}
