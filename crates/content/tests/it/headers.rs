//! Headers at rest.

use bytes::Bytes;
use mainstay_content::{Damage, Encoder, GROUP_LEN, Header, digest, encode};
use mainstay_dataplane::{Compression, KeyId};
use proptest::prelude::{prop_assert, prop_assert_eq};

use crate::{key, text};

/// What version 1 wrote of 70,000 bytes of text, compressed and encrypted with key 3.
const VERSION_1: &str = include_str!("header-v1.hex");

fn header() -> Header {
    let content = Bytes::from(text(3 * GROUP_LEN));
    encode(Encoder::new(Compression::Zstd, Some(&key(3))), &digest(&content, false), content).0
}

#[test]
fn version_1_is_read_for_ever() {
    let encoded: Vec<u8> = (0..VERSION_1.trim().len() / 2)
        .map(|n| u8::from_str_radix(&VERSION_1[2 * n..2 * n + 2], 16).unwrap())
        .collect();
    let (header, taken) = Header::decode(&encoded).unwrap();
    assert_eq!(taken, encoded.len());
    assert_eq!(header.encode(), encoded);
    let content = text(70_000);
    assert_eq!(header.address(), digest(&content, false).address());
    assert_eq!(header.sha256(), digest(&content, false).sha256);
    assert_eq!((header.size(), header.key()), (70_000, Some(KeyId(3))));
    assert_eq!(header.form().compression, Compression::Zstd);
}

#[test]
fn a_header_is_followed_by_anything() {
    let encoded = header().encode();
    let followed = [&encoded[..], b"anything"].concat();
    assert_eq!(Header::decode(&followed), Ok((header_of(&encoded), encoded.len())));
    assert_eq!(Header::decode(&[]), Err(Damage::Header("it is empty")));
    assert_eq!(Header::decode(&[9, 1, 2]), Err(Damage::Version(9)));
}

fn header_of(encoded: &[u8]) -> Header {
    Header::decode(encoded).unwrap().0
}

#[test]
fn the_header_of_a_small_object_is_small() {
    let content = Bytes::from(text(4096));
    let (header, _) = encode(Encoder::new(Compression::None, None), &digest(&content, true), content);
    let len = header.encode().len();
    assert!(len <= 100, "{len} bytes");
}

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    let encoded = header().encode();
    for bit in 0..encoded.len() * 8 {
        let mut flipped = encoded.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Header::decode(&flipped).is_err(), "bit {bit}");
    }
    for len in 0..encoded.len() {
        assert!(Header::decode(&encoded[..len]).is_err(), "cut to {len}");
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        prop_assert!(Header::decode(&bytes).is_err());
    }

    /// With the digest made anew over what was changed, the parser itself is what must hold.
    #[test]
    fn forged_headers_do_not_make_it_panic(at: proptest::sample::Index, with: u8, cut: proptest::sample::Index) {
        let mut forged = header().encode();
        forged.truncate(forged.len() - 16);
        let at = 1 + at.index(forged.len() - 1);
        forged[at] = with;
        let kept = 2 + cut.index(forged.len() * 4);
        forged.truncate(kept);
        let check = blake3::hash(&forged);
        forged.extend_from_slice(&check.as_bytes()[..16]);
        if let Ok((header, _)) = Header::decode(&forged) {
            prop_assert_eq!(Header::decode(&header.encode()).map(|(header, _)| header), Ok(header));
        }
    }
}
