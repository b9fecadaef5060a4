//! Digests against what their standards say.

use mainstay_content::{Digester, GROUP_LEN, digest};
use mainstay_dataplane::{Address, Expect, Md5, Measure, Sha256};

use crate::noise;

#[test]
fn digests_are_those_of_the_standards() {
    // RFC 1321, A.5; FIPS 180-4 by NIST's examples; BLAKE3 by its official test vectors (of nothing) and b3sum.
    let vectors = [
        (
            "",
            "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "d41d8cd98f00b204e9800998ecf8427e",
        ),
        (
            "abc",
            "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "900150983cd24fb0d6963f7d28e17f72",
        ),
    ];
    for (text, blake3, sha256, md5) in vectors {
        let found = digest(text.as_bytes(), true);
        assert_eq!(found.address().to_string(), format!("blake3:{blake3}"));
        assert_eq!(found.sha256.to_string(), sha256);
        assert_eq!(found.md5.unwrap().to_string(), md5);
        assert_eq!(found.size(), text.len() as u64);
    }
    assert_eq!(digest(b"abc", false).md5, None);
    let million = digest(&[b'a'; 1_000_000], true);
    assert_eq!(million.sha256.to_string(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    assert_eq!(million.md5.unwrap().to_string(), "7707d6ae4e027c70eea2a935c2296f21");
}

/// The input of BLAKE3's official vectors is 0, 1, ... 250, 0, ...
#[test]
fn the_address_is_plain_blake3() {
    let lengths = [
        1,
        1024,
        1025,
        GROUP_LEN - 1,
        GROUP_LEN,
        GROUP_LEN + 1,
        2 * GROUP_LEN,
        3 * GROUP_LEN + 5,
        31 * GROUP_LEN,
        1 << 22,
    ];
    for len in lengths {
        let bytes: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
        assert_eq!(digest(&bytes, false).address(), Address::of(&bytes), "of {len} bytes");
    }
    let official: Vec<u8> = (0..102_400).map(|n| (n % 251) as u8).collect();
    let expected = "blake3:bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085";
    assert_eq!(digest(&official, false).address().to_string(), expected);
}

proptest::proptest! {
    #[test]
    fn pieces_do_not_matter(len in 0usize..400_000, cuts in proptest::collection::vec(0usize..400_000, 0..8)) {
        let bytes = noise(len);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(len)).collect();
        cuts.sort_unstable();
        let mut digester = Digester::new(true);
        let mut start = 0;
        for cut in cuts.into_iter().chain([len]) {
            digester.update(&bytes[start..cut]);
            start = cut;
        }
        let found = digester.finish();
        assert_eq!(found, digest(&bytes, true));
        assert_eq!(found.address(), Address::of(&bytes));
    }
}

#[test]
fn what_was_said_before_is_compared() {
    let found = digest(b"abc", true);
    let right = Expect { size: Some(3), sha256: Some(found.sha256), md5: found.md5 };
    assert_eq!(found.meet(&right), Ok(()));
    assert_eq!(found.meet(&Expect::default()), Ok(()));
    assert_eq!(found.meet(&Expect { size: Some(4), ..right.clone() }), Err(Measure::Size));
    assert_eq!(found.meet(&Expect { sha256: Some(Sha256([0; 32])), ..right.clone() }), Err(Measure::Sha256));
    assert_eq!(found.meet(&Expect { md5: Some(Md5([0; 16])), ..right.clone() }), Err(Measure::Md5));
    assert_eq!(digest(b"abc", false).meet(&right), Err(Measure::Md5), "what was not computed meets no expectation");
}
