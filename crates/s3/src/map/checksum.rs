//! Checksums: five fields of which one is told at most.

use mainstay_bucket::{Checksum, ChecksumAlgorithm, ChecksumKind};
use s3s::dto::ChecksumType;

use crate::error::{Failure, Result};

/// The values of the five fields, in the order of [`ChecksumAlgorithm::ALL`].
pub type Fields<'a> = [Option<&'a String>; 5];

/// The one checksum that a request tells.
pub fn told_checksum(fields: Fields<'_>) -> Result<Option<Checksum>> {
    let mut told =
        ChecksumAlgorithm::ALL.into_iter().zip(fields).filter_map(|(algorithm, text)| Some((algorithm, text?)));
    let Some((algorithm, text)) = told.next() else { return Ok(None) };
    if told.next().is_some() {
        return Err(Failure::invalid_request(
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
        ));
    }
    let invalid = |_| Failure::invalid_request(format!("Value for {} header is invalid.", algorithm.header()));
    Checksum::parse(algorithm, text).map(Some).map_err(invalid)
}

/// The five fields of a request or of an entry.
macro_rules! told_checksums {
    ($input:expr) => {
        [
            $input.checksum_crc32.as_ref(),
            $input.checksum_crc32c.as_ref(),
            $input.checksum_crc64nvme.as_ref(),
            $input.checksum_sha1.as_ref(),
            $input.checksum_sha256.as_ref(),
        ]
    };
}

/// Fills in the five fields of an answer or of an entry.
macro_rules! tell_checksum {
    ($output:expr, $checksum:expr) => {
        if let Some(checksum) = $checksum {
            let checksum: &mainstay_bucket::Checksum = checksum;
            let field = match checksum.algorithm() {
                mainstay_bucket::ChecksumAlgorithm::Crc32 => &mut $output.checksum_crc32,
                mainstay_bucket::ChecksumAlgorithm::Crc32c => &mut $output.checksum_crc32c,
                mainstay_bucket::ChecksumAlgorithm::Crc64Nvme => &mut $output.checksum_crc64nvme,
                mainstay_bucket::ChecksumAlgorithm::Sha1 => &mut $output.checksum_sha1,
                mainstay_bucket::ChecksumAlgorithm::Sha256 => &mut $output.checksum_sha256,
            };
            *field = Some(checksum.to_string());
        }
    };
}

pub(crate) use {tell_checksum, told_checksums};

/// Whether a checksum is of an object's bytes or of its parts' checksums.
pub fn checksum_kind(checksum: Option<&Checksum>) -> Option<ChecksumType> {
    checksum.map(|checksum| kind_told(checksum.kind()))
}

pub fn kind_told(kind: ChecksumKind) -> ChecksumType {
    ChecksumType::from_static(kind.as_str())
}
