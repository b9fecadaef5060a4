//! Revocation lists (RFC 5280, 5).

use der::asn1::Uint;
use mainstay_secrets_engine::Refusal;
use mainstay_types::Timestamp;
use x509_cert::Version;
use x509_cert::crl::{RevokedCert, TbsCertList};
use x509_cert::ext::pkix::CrlNumber;

use crate::certificate::{Certificate, Serial};
use crate::extension::{authority_key_identifier, extension};
use crate::key::PrivateKey;
use crate::signature::{self, Hash, unencodable};
use crate::template::time;

/// What a list is made from.
pub struct List<'a> {
    pub issuer: &'a Certificate,
    pub number: u64,
    pub this_update: Timestamp,
    pub next_update: Timestamp,
    /// Serial numbers, with the moment of revocation.
    pub revoked: &'a [(Serial, Timestamp)],
}

/// Makes a list, in DER.
pub fn make(list: &List<'_>, key: &PrivateKey, hash: Hash) -> Result<Vec<u8>, Refusal> {
    let entry = |(serial, moment): &(Serial, Timestamp)| {
        Ok(RevokedCert {
            serial_number: serial.to_asn1()?,
            revocation_date: time(*moment)?,
            crl_entry_extensions: None,
        })
    };
    let revoked: Vec<_> = list.revoked.iter().map(entry).collect::<Result<_, der::Error>>().map_err(unencodable)?;
    let revoked = Some(revoked).filter(|revoked| !revoked.is_empty());
    let number = CrlNumber(Uint::new(&list.number.to_be_bytes()).map_err(unencodable)?);
    signature::sign(key, hash, |algorithm| {
        Ok(TbsCertList {
            version: Version::V2,
            signature: algorithm,
            issuer: list.issuer.subject().clone(),
            this_update: time(list.this_update)?,
            next_update: Some(time(list.next_update)?),
            revoked_certificates: revoked.clone(),
            crl_extensions: Some(vec![
                authority_key_identifier(&list.issuer.key_identifier())?,
                extension(false, &number)?,
            ]),
        })
    })
}
