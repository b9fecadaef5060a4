//! Forms at rest: what goes in comes out, or an error.

use std::sync::Arc;

use bytes::Bytes;
use mainstay_content::{BufferPool, Damage, Encoder, GROUP_LEN, Header, Reader, digest, encode};
use mainstay_dataplane::{Compression, ContentKey, KeyId, ServeError};
use proptest::prelude::{prop_assert, prop_assert_eq};

use crate::{key, noise, text};

const PIECE_GROUPS: u64 = 4;

fn stored(content: &[u8], compression: Compression, key: Option<&ContentKey>) -> (Header, Bytes) {
    encode(Encoder::new(compression, key), &digest(content, false), Bytes::copy_from_slice(content))
}

/// Reads a range as an implementation of the data plane does.
fn read(reader: &Reader, stored: &Bytes, range: std::ops::Range<u64>) -> Result<Vec<u8>, Damage> {
    let pool = BufferPool::new(PIECE_GROUPS as usize * GROUP_LEN, 2);
    let mut rest = range.clone();
    let mut content = Vec::new();
    while let Some(piece) = reader.piece(&rest, PIECE_GROUPS) {
        let end = (piece.stored.end as usize).min(stored.len());
        let start = (piece.stored.start as usize).min(end);
        content.extend_from_slice(&reader.open(&piece, stored.slice(start..end), &pool)?);
        rest.start += piece.len();
    }
    Ok(content)
}

fn forms() -> [(Compression, Option<ContentKey>); 4] {
    [
        (Compression::None, None),
        (Compression::Zstd, None),
        (Compression::None, Some(key(7))),
        (Compression::Zstd, Some(key(7))),
    ]
}

#[test]
fn every_form_gives_back_what_was_stored() {
    for len in [0, 1, GROUP_LEN - 1, GROUP_LEN, GROUP_LEN + 1, 4 * GROUP_LEN, 9 * GROUP_LEN + 100] {
        for content in [noise(len), text(len)] {
            for (compression, key) in forms() {
                let (header, stored) = stored(&content, compression, key.as_ref());
                assert_eq!(header.stored_len(), stored.len() as u64);
                assert_eq!(header.size(), len as u64);
                assert_eq!(header.key(), key.as_ref().map(|key| key.id));
                let (header, taken) = Header::decode(&header.encode()).unwrap();
                assert_eq!(taken, header.encode().len());
                let reader = Reader::new(Arc::new(header), key.as_ref()).unwrap();
                let all = reader.range(None).unwrap();
                assert_eq!(read(&reader, &stored, all).unwrap(), content, "{len} bytes, {compression:?}, {key:?}");
            }
        }
    }
}

#[test]
fn compression_makes_smaller_or_leaves_alone() {
    let (_, small) = stored(&text(1 << 20), Compression::Zstd, None);
    assert!(small.len() < 1 << 18, "{} bytes", small.len());
    let (_, same) = stored(&noise(1 << 20), Compression::Zstd, None);
    assert_eq!(same.len(), 1 << 20);
    let (_, sealed) = stored(&noise(1 << 20), Compression::Zstd, Some(&key(1)));
    assert_eq!(sealed.len(), (1 << 20) + 16 * 16, "one tag for each block");
}

#[test]
fn what_is_encrypted_shows_nothing_and_is_never_the_same_twice() {
    let content = text(3 * GROUP_LEN);
    let (_, first) = stored(&content, Compression::None, Some(&key(1)));
    let (_, second) = stored(&content, Compression::None, Some(&key(1)));
    assert_ne!(first, second);
    assert!(!first.windows(16).any(|window| window == &content[..16]));
}

#[test]
fn encrypted_content_wants_its_own_key() {
    let content = noise(GROUP_LEN + 9);
    let (header, stored) = stored(&content, Compression::None, Some(&key(5)));
    let header = Arc::new(header);
    assert_eq!(Reader::new(header.clone(), None).err(), Some(KeyId(5)));
    assert_eq!(Reader::new(header.clone(), Some(&key(6))).err(), Some(KeyId(5)));
    let forged = ContentKey::new(KeyId(5), [9; 32].into());
    let reader = Reader::new(header.clone(), Some(&forged)).unwrap();
    assert_eq!(read(&reader, &stored, 0..5), Err(Damage::Sealed(0)));
    let plain = stored_plainly(&content);
    assert!(Reader::new(Arc::new(plain), Some(&key(6))).is_ok(), "a key that is not needed does no harm");
}

fn stored_plainly(content: &[u8]) -> Header {
    stored(content, Compression::None, None).0
}

#[test]
fn ranges_outside_are_refused() {
    let reader = Reader::new(Arc::new(stored_plainly(&noise(100))), None).unwrap();
    assert_eq!(reader.range(None), Ok(0..100));
    assert_eq!(reader.range(Some(100..100)), Ok(100..100));
    assert_eq!(reader.piece(&(100..100), 4), None);
    #[allow(clippy::reversed_empty_ranges, reason = "that is what is refused")]
    for outside in [0..101, 101..101, 5..4, u64::MAX..0, 0..u64::MAX] {
        assert_eq!(reader.range(Some(outside)), Err(ServeError::RangeOutside { size: 100 }));
    }
}

#[test]
fn blocks_cannot_change_places_nor_be_cut_off() {
    let content = [noise(GROUP_LEN), noise(GROUP_LEN), noise(GROUP_LEN)].concat();
    let (header, stored) = stored(&content, Compression::None, Some(&key(1)));
    let reader = Reader::new(Arc::new(header), Some(&key(1))).unwrap();
    let block = GROUP_LEN + 16;
    let swapped = [&stored[block..2 * block], &stored[..block], &stored[2 * block..]].concat().into();
    assert_eq!(read(&reader, &swapped, 0..10), Err(Damage::Sealed(0)));
    let cut = stored.slice(..2 * block);
    let found = Damage::Length { expected: 3 * block as u64, found: 2 * block as u64 };
    assert_eq!(read(&reader, &cut, 0..3 * GROUP_LEN as u64), Err(found));
    assert_eq!(read(&reader, &cut, 5..6).unwrap(), content[5..6], "what is whole is readable");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn any_range_of_any_form(len in 1usize..700_000, a: proptest::sample::Index, b: proptest::sample::Index, form in 0usize..4) {
        let content = text(len);
        let (compression, key) = forms()[form].clone();
        let (header, stored) = stored(&content, compression, key.as_ref());
        let reader = Reader::new(Arc::new(header), key.as_ref()).unwrap();
        let (a, b) = (a.index(len + 1), b.index(len + 1));
        let range = a.min(b) as u64..a.max(b) as u64;
        prop_assert_eq!(read(&reader, &stored, range).unwrap(), &content[a.min(b)..a.max(b)]);
    }

    #[test]
    fn a_flipped_stored_bit_never_gives_other_bytes(len in 1usize..300_000, bit: proptest::sample::Index, form in 0usize..4) {
        let content = text(len);
        let (compression, key) = forms()[form].clone();
        let (header, stored) = stored(&content, compression, key.as_ref());
        let bit = bit.index(stored.len() * 8);
        let mut flipped = stored.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let reader = Reader::new(Arc::new(header), key.as_ref()).unwrap();
        // zstd may ignore a bit of its own framing; then what comes out is right.
        if let Ok(read) = read(&reader, &flipped.into(), 0..len as u64) {
            prop_assert!(compression == Compression::Zstd && key.is_none() && read == content);
        }
    }

    #[test]
    fn pieces_do_not_matter(len in 1usize..300_000, cuts in proptest::collection::vec(0usize..300_000, 0..6)) {
        let content = Bytes::from(text(len));
        let whole = encode(Encoder::new(Compression::Zstd, None), &digest(&content, false), content.clone());
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(len)).collect();
        cuts.sort_unstable();
        let mut encoder = Encoder::new(Compression::Zstd, None);
        let (mut stored, mut start) = (Vec::new(), 0);
        for cut in cuts.into_iter().chain([len]) {
            stored.extend_from_slice(&encoder.update(content.slice(start..cut)));
            start = cut;
        }
        let (last, table) = encoder.finish();
        stored.extend_from_slice(&last);
        prop_assert_eq!(&stored, &whole.1);
        let form = whole.0.form().clone();
        prop_assert_eq!(Header::new(&digest(&content, false), form, table), whole.0);
    }
}
