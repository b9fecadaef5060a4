//! The hash tree: every group is verified by it, and every flipped bit is found.

use mainstay_content::{Damage, GROUP_LEN, Tree};
use mainstay_dataplane::Address;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq};

use crate::noise;

/// Lengths around the edges of groups, and any others.
fn lengths() -> impl Strategy<Value = usize> {
    (0usize..9, any::<bool>(), 0usize..GROUP_LEN).prop_flat_map(|(groups, edge, rest)| {
        let edges = [-1i64, 0, 1].map(|near| (groups as i64 * GROUP_LEN as i64 + near).max(0) as usize);
        if edge { proptest::sample::select(edges.to_vec()).boxed() } else { Just(groups * GROUP_LEN + rest).boxed() }
    })
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn every_run_of_groups_is_verified_alone(len in lengths(), first: u64, count: u64) {
        let bytes = noise(len);
        let tree = Tree::of(&bytes);
        prop_assert_eq!(tree.address(), Address::of(&bytes));
        prop_assert_eq!(tree.groups(), len.div_ceil(GROUP_LEN) as u64);
        let decoded = Tree::decode(tree.address(), tree.size(), tree.encoded()).unwrap();
        prop_assert_eq!(&decoded, &tree);
        if len > 0 {
            let first = first % tree.groups();
            let end = first + 1 + count % (tree.groups() - first);
            let run = &bytes[first as usize * GROUP_LEN..(end as usize * GROUP_LEN).min(len)];
            prop_assert_eq!(decoded.verify(first, run), Ok(()));
            prop_assert!(decoded.verify(first + 1, run).is_err(), "groups have their places");
            let cut = &run[..run.len() - 1];
            prop_assert!(cut.len().is_multiple_of(GROUP_LEN) || decoded.verify(first, cut).is_err(), "a group is verified whole");
            prop_assert!(decoded.verify(u64::MAX - first, run).is_err());
        }
    }

    #[test]
    fn a_flipped_bit_of_the_content_is_found(len in lengths(), bit: proptest::sample::Index) {
        if len > 0 {
            let mut bytes = noise(len);
            let tree = Tree::of(&bytes);
            let bit = bit.index(len * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let offset = (bit / 8 / GROUP_LEN * GROUP_LEN) as u64;
            prop_assert_eq!(tree.verify(0, &bytes), Err(Damage::Bytes { offset }));
        }
    }

    #[test]
    fn a_flipped_bit_of_the_tree_is_found(len in 2 * GROUP_LEN - 3..6 * GROUP_LEN, bit: proptest::sample::Index) {
        let tree = Tree::of(&noise(len));
        let mut encoded = tree.encoded().to_vec();
        let bit = bit.index(encoded.len() * 8);
        encoded[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(Tree::decode(tree.address(), tree.size(), &encoded), Err(Damage::Tree));
    }

    #[test]
    fn a_tree_is_that_of_its_size_alone(len in lengths(), other in lengths()) {
        let tree = Tree::of(&noise(len));
        let decoded = Tree::decode(tree.address(), other as u64, tree.encoded());
        // Whether content of one group, or of none, has the length that is said shows when its bytes are verified.
        let single = len.max(other) <= GROUP_LEN;
        match decoded {
            Ok(decoded) if len != other => {
                let bytes = noise(len);
                // The last group only is shorter: what comes before is what it was.
                prop_assert!(single || len.div_ceil(GROUP_LEN) == other.div_ceil(GROUP_LEN));
                // Nothing at all is well under any root.
                prop_assert!(bytes.is_empty() || decoded.verify(0, &bytes).is_err());
            }
            Ok(_) => {}
            Err(_) => prop_assert!(len != other),
        }
    }
}

#[test]
fn every_group_must_be_itself() {
    let bytes = noise(5 * GROUP_LEN + 77);
    let tree = Tree::of(&bytes);
    for flipped in 0..6 {
        let mut bytes = bytes.clone();
        bytes[flipped * GROUP_LEN + 5] ^= 0x10;
        for (number, group) in (0..).zip(bytes.chunks(GROUP_LEN)) {
            assert_eq!(
                tree.verify(number, group).is_ok(),
                number != flipped as u64,
                "group {number}, flipped {flipped}"
            );
        }
    }
}

#[test]
fn sizes_that_nothing_has_are_refused() {
    let tree = Tree::of(&noise(3 * GROUP_LEN));
    for size in [0, u64::MAX, u64::MAX - 1, 1 << 63] {
        assert_eq!(Tree::decode(tree.address(), size, tree.encoded()), Err(Damage::Tree), "{size}");
    }
}
