//! Certificates as they were read, and serial numbers.

use std::fmt;
use std::str::FromStr;

use der::{Decode, Encode};
use mainstay_types::Timestamp;
use x509_cert::SubjectPublicKeyInfo;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, SubjectKeyIdentifier};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;

use crate::pem;
use crate::signature::{Signed, key_identifier};

/// A serial number: up to 20 bytes, big endian, without zeros before it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(Vec<u8>);

/// A certificate that could be read.
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    parsed: x509_cert::Certificate,
}

// === impl Serial ===

impl Serial {
    /// The longest that RFC 5280, 4.1.2.2 allows.
    const LONGEST: usize = 20;

    pub fn new(bytes: &[u8]) -> Self {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        Self(bytes[zeros..].to_vec())
    }

    /// Reads what [`key`](Self::key) wrote.
    pub fn from_key(key: &str) -> Option<Self> {
        key.parse().ok()
    }

    /// The name in storage: hexadecimal with hyphens between.
    pub fn key(&self) -> String {
        self.to_string().replace(':', "-")
    }

    pub fn to_asn1(&self) -> Result<SerialNumber, der::Error> {
        SerialNumber::new(&self.0)
    }
}

impl From<&SerialNumber> for Serial {
    fn from(serial: &SerialNumber) -> Self {
        Self::new(serial.as_bytes())
    }
}

/// Hexadecimal with colons between, as everyone writes serial numbers.
impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            let colon = if at == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02x}")?;
        }
        Ok(())
    }
}

/// Some text is no serial number.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a serial number is hexadecimal, with colons or hyphens between the bytes")]
pub struct InvalidSerial;

impl FromStr for Serial {
    type Err = InvalidSerial;

    fn from_str(text: &str) -> Result<Self, InvalidSerial> {
        let bytes = text.split([':', '-']).map(|byte| {
            let is_byte = byte.len() == 2 && byte.bytes().all(|digit| digit.is_ascii_hexdigit());
            is_byte.then(|| u8::from_str_radix(byte, 16).ok()).flatten()
        });
        let bytes: Vec<u8> = bytes.collect::<Option<_>>().ok_or(InvalidSerial)?;
        if bytes.len() > Self::LONGEST + 1 {
            return Err(InvalidSerial);
        }
        Ok(Self::new(&bytes))
    }
}

// === impl Certificate ===

impl Certificate {
    pub fn from_der(der: &[u8]) -> Result<Self, der::Error> {
        Ok(Self { der: der.to_vec(), parsed: x509_cert::Certificate::from_der(der)? })
    }

    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Without a line break at the end.
    pub fn pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.der)
    }

    pub fn serial(&self) -> Serial {
        self.tbs().serial_number().into()
    }

    pub fn subject(&self) -> &Name {
        self.tbs().subject()
    }

    pub fn issuer(&self) -> &Name {
        self.tbs().issuer()
    }

    pub fn public_key(&self) -> &SubjectPublicKeyInfo {
        self.tbs().subject_public_key_info()
    }

    pub fn not_before(&self) -> Timestamp {
        moment(self.tbs().validity().not_before)
    }

    pub fn not_after(&self) -> Timestamp {
        moment(self.tbs().validity().not_after)
    }

    pub fn tbs(&self) -> &x509_cert::TbsCertificate {
        self.parsed.tbs_certificate()
    }

    /// By which the certificates below name this one's key.
    pub fn key_identifier(&self) -> Vec<u8> {
        match self.tbs().get_extension::<SubjectKeyIdentifier>() {
            Ok(Some((_, identifier))) => identifier.0.as_bytes().to_vec(),
            _ => key_identifier(self.public_key()),
        }
    }

    pub fn is_ca(&self) -> bool {
        matches!(self.tbs().get_extension::<BasicConstraints>(), Ok(Some((_, constraints))) if constraints.ca)
    }

    /// How many authorities may follow below this one. None where nothing is said.
    pub fn path_length(&self) -> Option<u8> {
        let (_, constraints) = self.tbs().get_extension::<BasicConstraints>().ok()??;
        constraints.path_len_constraint
    }

    /// Whether the certificate lets its key sign revocation lists: where it says nothing, everything is allowed.
    pub fn may_sign_lists(&self) -> bool {
        match self.tbs().get_extension::<KeyUsage>() {
            Ok(Some((_, usage))) => usage.crl_sign(),
            Ok(None) => true,
            Err(_) => false,
        }
    }

    /// Whether an authority signed this certificate, by name and by signature.
    pub fn is_signed_by(&self, authority: &Certificate) -> bool {
        self.issuer() == authority.subject()
            && Signed::from_der(&self.der).is_ok_and(|signed| signed.is_by(authority.public_key()))
    }

    pub fn is_self_issued(&self) -> bool {
        self.issuer() == self.subject()
    }

    /// Who signs, whichever certificate says so: an authority that has its certificate renewed with the same name and
    /// key is the same one, and has one revocation list.
    pub fn authority(&self) -> Vec<u8> {
        let mut who = self.subject().to_der().unwrap_or_default();
        who.extend(self.public_key().to_der().unwrap_or_default());
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &who).as_ref().to_vec()
    }
}

fn moment(time: x509_cert::time::Time) -> Timestamp {
    Timestamp::EPOCH.plus_seconds(time.to_unix_duration().as_secs())
}

#[cfg(test)]
mod tests {
    use super::{InvalidSerial, Serial};

    #[test]
    fn serial_numbers_are_read_with_colons_and_with_hyphens() {
        let serial = Serial::new(&[0, 0x0a, 0xff]);
        assert_eq!(serial.to_string(), "0a:ff");
        assert_eq!(serial.key(), "0a-ff");
        assert_eq!("0A:ff".parse(), Ok(serial.clone()));
        assert_eq!(Serial::from_key("0a-ff"), Some(serial));
        for text in ["", "a", "0a:", "+a:00", "../../key", "0a ff"] {
            assert_eq!(text.parse::<Serial>(), Err(InvalidSerial), "{text}");
        }
        assert!([0u8; 22].map(|_| "00").join(":").parse::<Serial>().is_err());
    }
}
