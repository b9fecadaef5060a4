//! Checksums of bytes, and of what is made of parts.

use std::num::NonZeroU32;

use aws_lc_rs::digest;
use crc_fast::CrcAlgorithm;
use mainstay_bucket::{Checksum, ChecksumAlgorithm, ChecksumKind, InvalidChecksum};

/// Computes a checksum piece by piece.
pub enum Digester {
    Crc(ChecksumAlgorithm, Box<crc_fast::Digest>),
    Sha(ChecksumAlgorithm, Box<digest::Context>),
}

impl Digester {
    pub fn new(algorithm: ChecksumAlgorithm) -> Self {
        match algorithm {
            ChecksumAlgorithm::Sha1 => {
                Self::Sha(algorithm, Box::new(digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY)))
            }
            ChecksumAlgorithm::Sha256 => Self::Sha(algorithm, Box::new(digest::Context::new(&digest::SHA256))),
            ChecksumAlgorithm::Crc32 => Self::Crc(algorithm, crc(CrcAlgorithm::Crc32IsoHdlc)),
            ChecksumAlgorithm::Crc32c => Self::Crc(algorithm, crc(CrcAlgorithm::Crc32Iscsi)),
            ChecksumAlgorithm::Crc64Nvme => Self::Crc(algorithm, crc(CrcAlgorithm::Crc64Nvme)),
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc(_, crc) => crc.update(bytes),
            Self::Sha(_, sha) => sha.update(bytes),
        }
    }

    pub fn finish(self) -> Checksum {
        let checksum = match self {
            Self::Crc(algorithm, crc) => full_crc(algorithm, crc.finalize()),
            Self::Sha(algorithm, sha) => Checksum::full_object(algorithm, sha.finish().as_ref()),
        };
        always(checksum)
    }
}

fn crc(algorithm: CrcAlgorithm) -> Box<crc_fast::Digest> {
    Box::new(crc_fast::Digest::new(algorithm))
}

fn full_crc(algorithm: ChecksumAlgorithm, value: u64) -> Result<Checksum, InvalidChecksum> {
    let bytes = value.to_be_bytes();
    Checksum::full_object(algorithm, &bytes[bytes.len() - algorithm.length()..])
}

fn always(checksum: Result<Checksum, InvalidChecksum>) -> Checksum {
    checksum.unwrap_or_else(|error| unreachable!("every algorithm gives as many bytes as it says: {error}"))
}

/// The checksum of parts that follow each other: of all their bytes where it can be put together, of their checksums
/// otherwise. None where a part has no such checksum, or the algorithm cannot.
pub fn of_parts<'a>(
    algorithm: ChecksumAlgorithm,
    kind: ChecksumKind,
    parts: impl Iterator<Item = (u64, Option<&'a Checksum>)>,
) -> Option<Checksum> {
    let fits = |checksum: &&Checksum| checksum.algorithm() == algorithm && checksum.kind() == ChecksumKind::FullObject;
    let mut parts = parts.map(|(size, checksum)| Some((size, checksum.filter(fits)?)));
    match kind {
        ChecksumKind::FullObject => parts.try_fold(None, |whole, part| {
            let (size, checksum) = part?;
            Some(Some(match whole {
                None => checksum.clone(),
                Some(whole) => combine(&whole, checksum, size)?,
            }))
        })?,
        ChecksumKind::Composite => {
            let mut digester = Digester::new(algorithm);
            let mut count = 0;
            for part in parts {
                digester.update(part?.1.value());
                count += 1;
            }
            Checksum::composite(algorithm, digester.finish().value(), NonZeroU32::new(count)?).ok()
        }
    }
}

/// The CRC of bytes from the CRC of their beginning and that of the rest.
pub fn combine(beginning: &Checksum, rest: &Checksum, rest_size: u64) -> Option<Checksum> {
    let algorithm = match beginning.algorithm() {
        ChecksumAlgorithm::Crc32 => CrcAlgorithm::Crc32IsoHdlc,
        ChecksumAlgorithm::Crc32c => CrcAlgorithm::Crc32Iscsi,
        ChecksumAlgorithm::Crc64Nvme => CrcAlgorithm::Crc64Nvme,
        ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => return None,
    };
    let number = |checksum: &Checksum| checksum.value().iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
    let whole = match rest_size {
        0 => number(beginning),
        _ => crc_fast::checksum_combine(algorithm, number(beginning), number(rest), rest_size),
    };
    full_crc(beginning.algorithm(), whole).ok()
}

#[cfg(test)]
mod tests {
    use mainstay_bucket::{Checksum, ChecksumAlgorithm, ChecksumKind};

    use super::{Digester, of_parts};

    fn checksum(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Checksum {
        let mut digester = Digester::new(algorithm);
        bytes.chunks(4).for_each(|piece| digester.update(piece));
        digester.finish()
    }

    #[test]
    fn check_values_of_all_algorithms() {
        for (algorithm, expected) in [
            (ChecksumAlgorithm::Crc32, "y/Q5Jg=="),
            (ChecksumAlgorithm::Crc32c, "4waSgw=="),
            (ChecksumAlgorithm::Crc64Nvme, "rosUhgp5mIg="),
            (ChecksumAlgorithm::Sha1, "98O8HYCOBHMq32eZZczDTKeuNEE="),
            (ChecksumAlgorithm::Sha256, "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="),
        ] {
            // All CRC catalogues give their checks for these nine digits.
            assert_eq!(checksum(algorithm, b"123456789").to_string(), expected, "{algorithm}");
        }
    }

    #[test]
    fn parts_are_put_together() {
        for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Crc64Nvme] {
            let parts = [&b"1234"[..], b"", b"56789"].map(|part| (part.len() as u64, checksum(algorithm, part)));
            let parts = parts.iter().map(|(size, checksum)| (*size, Some(checksum)));
            let whole = of_parts(algorithm, ChecksumKind::FullObject, parts);
            assert_eq!(whole, Some(checksum(algorithm, b"123456789")));
        }
        let part = checksum(ChecksumAlgorithm::Sha256, b"a");
        let composite =
            |algorithm| of_parts(algorithm, ChecksumKind::Composite, [(1, Some(&part)), (1, Some(&part))].into_iter());
        let expected = checksum(ChecksumAlgorithm::Sha256, &[part.value(), part.value()].concat()).to_string();
        assert_eq!(composite(ChecksumAlgorithm::Sha256).unwrap().to_string(), format!("{expected}-2"));
        assert_eq!(composite(ChecksumAlgorithm::Sha1), None);
        assert_eq!(of_parts(ChecksumAlgorithm::Sha1, ChecksumKind::Composite, [(1, None)].into_iter()), None);
    }
}
