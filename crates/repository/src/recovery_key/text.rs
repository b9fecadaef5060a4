//! Secrets as people type them: groups of characters, each with a check of its own.

use zeroize::Zeroizing;

/// Crockford's base 32: no letter looks like a digit.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Characters of a group that carry bits, before the one that checks them.
const DATA: usize = 4;

/// Bytes of the checksum over all, at the end: whatever the checks of groups miss.
const CHECKSUM_LEN: usize = 3;

const CHECKSUM: &str = "mainstay key text 1: checksum";

/// The longest text that is looked at.
const LONGEST_TEXT: usize = 1000;

/// Text that is no recovery key or share. It is not repeated: it may be one with a slip of the pen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeyText {
    #[error("it does not begin with {expected}; give it whole, as it was printed")]
    Prefix { expected: &'static str },
    #[error("it has {found} characters after its beginning instead of {expected}; give it whole, as it was printed")]
    Length { expected: usize, found: usize },
    #[error("group {group} of {groups} has a typing error; compare it with the print")]
    Group { group: usize, groups: usize },
    #[error("its checksum does not fit, though each group does; compare it with the print, group by group")]
    Checksum,
}

pub(super) fn encode(prefix: &str, bytes: &[u8]) -> Zeroizing<String> {
    let checked = Zeroizing::new([bytes, &checksum(prefix, bytes)].concat());
    let count = (checked.len() * 8).div_ceil(5 * DATA);
    // Never grown, so that no copy is left behind.
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + count * (DATA + 2)));
    text.push_str(prefix);
    for group in 0..count {
        let symbols: [u8; DATA] = std::array::from_fn(|place| bits(&checked, 5 * (group * DATA + place)));
        text.push('-');
        text.extend(symbols.map(|symbol| char::from(ALPHABET[usize::from(symbol)])));
        text.push(char::from(ALPHABET[usize::from(check(group, &symbols))]));
    }
    text
}

pub(super) fn decode<const N: usize>(prefix: &'static str, text: &str) -> Result<Zeroizing<[u8; N]>, InvalidKeyText> {
    let mut typed = Zeroizing::new(String::with_capacity(LONGEST_TEXT));
    let kept = text.chars().filter(|letter| !letter.is_whitespace() && *letter != '-');
    typed.extend(kept.take(LONGEST_TEXT / 4).map(|letter| letter.to_ascii_uppercase()));
    let typed = typed.strip_prefix(prefix).ok_or(InvalidKeyText::Prefix { expected: prefix })?;
    let groups = ((N + CHECKSUM_LEN) * 8).div_ceil(5 * DATA);
    let (expected, found) = (groups * (DATA + 1), typed.chars().count());
    if found != expected {
        return Err(InvalidKeyText::Length { expected, found });
    }
    let letters: Zeroizing<Vec<char>> = Zeroizing::new(typed.chars().collect());
    let mut checked = Zeroizing::new(vec![0u8; N + CHECKSUM_LEN]);
    for (group, letters) in letters.chunks(DATA + 1).enumerate() {
        let wrong = InvalidKeyText::Group { group: group + 1, groups };
        let mut symbols = Zeroizing::new([0; DATA + 1]);
        for (symbol, letter) in symbols.iter_mut().zip(letters) {
            *symbol = value(*letter).ok_or(wrong.clone())?;
        }
        let (data, [checking]) = symbols.split_first_chunk::<DATA>().ok_or(wrong.clone())? else {
            return Err(wrong);
        };
        if check(group, data) != *checking {
            return Err(wrong);
        }
        for (place, symbol) in data.iter().enumerate() {
            put_bits(&mut checked, 5 * (group * DATA + place), *symbol).ok_or(InvalidKeyText::Checksum)?;
        }
    }
    let (bytes, sum) = checked.split_at(N);
    if sum != checksum(prefix, bytes) {
        return Err(InvalidKeyText::Checksum);
    }
    let mut decoded = Zeroizing::new([0; N]);
    decoded.copy_from_slice(bytes);
    Ok(decoded)
}

/// A sum over the field of 32 elements in which each character has a weight of its own and each group a summand: it finds
/// every wrong character, every two that changed places, and groups that did.
fn check(group: usize, symbols: &[u8; DATA]) -> u8 {
    let mut sum = (group % 32) as u8;
    for symbol in symbols {
        sum = times_x(sum ^ symbol);
    }
    sum
}

/// Times x, modulo x^5 + x^2 + 1.
fn times_x(element: u8) -> u8 {
    let shifted = element << 1;
    if shifted & 32 == 0 { shifted } else { shifted ^ 0b10_0101 }
}

fn checksum(prefix: &str, bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
    let material = Zeroizing::new([prefix.as_bytes(), bytes].concat());
    let derived = Zeroizing::new(blake3::derive_key(CHECKSUM, &material));
    *derived.first_chunk().expect("32 bytes begin with 3")
}

/// Five bits from a place on; zeros after the end.
fn bits(bytes: &[u8], place: usize) -> u8 {
    let byte = |at: usize| u16::from(bytes.get(at).copied().unwrap_or(0));
    let pair = byte(place / 8) << 8 | byte(place / 8 + 1);
    (pair >> (11 - place % 8) & 31) as u8
}

/// Puts five bits at a place; nothing where bits after the end are not zero.
fn put_bits(bytes: &mut [u8], place: usize, symbol: u8) -> Option<()> {
    let pair = u16::from(symbol) << (11 - place % 8);
    for (at, bits) in [(place / 8, (pair >> 8) as u8), (place / 8 + 1, pair as u8)] {
        match bytes.get_mut(at) {
            Some(byte) => *byte |= bits,
            None if bits != 0 => return None,
            None => {}
        }
    }
    Some(())
}

fn value(letter: char) -> Option<u8> {
    let letter = match letter {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    ALPHABET.iter().position(|symbol| char::from(*symbol) == letter).map(|place| place as u8)
}

#[cfg(test)]
mod tests {
    use super::{ALPHABET, InvalidKeyText, decode, encode};

    const GROUPS: usize = 14;

    fn text() -> Vec<u8> {
        let bytes: [u8; 32] = std::array::from_fn(|at| (at * 71 + 3) as u8);
        let text = encode("T1", &bytes);
        assert_eq!(*decode::<32>("T1", &text).unwrap(), bytes);
        text.as_bytes().to_vec()
    }

    fn found(text: &[u8]) -> InvalidKeyText {
        decode::<32>("T1", std::str::from_utf8(text).unwrap()).expect_err("a typing error is found")
    }

    #[test]
    fn every_wrong_character_is_found_in_its_group() {
        let right = text();
        for group in 0..GROUPS {
            for place in 0..5 {
                let at = 3 + group * 6 + place;
                for wrong in ALPHABET.iter().filter(|wrong| **wrong != right[at]) {
                    let mut typed = right.clone();
                    typed[at] = *wrong;
                    assert_eq!(found(&typed), InvalidKeyText::Group { group: group + 1, groups: GROUPS });
                }
            }
        }
    }

    #[test]
    fn what_changed_places_is_found() {
        let right = text();
        for at in 3..right.len() - 1 {
            let mut typed = right.clone();
            typed.swap(at, at + 1);
            if typed.iter().filter(|byte| **byte != b'-').ne(right.iter().filter(|byte| **byte != b'-')) {
                found(&typed);
            }
        }
        for (one, other) in [(0, 1), (2, 9), (5, 13)] {
            let mut typed = right.clone();
            for place in 0..5 {
                typed.swap(3 + one * 6 + place, 3 + other * 6 + place);
            }
            assert_eq!(found(&typed), InvalidKeyText::Group { group: one + 1, groups: GROUPS });
        }
    }

    #[test]
    fn text_that_is_not_whole_is_refused() {
        let right = text();
        assert_eq!(found(b""), InvalidKeyText::Prefix { expected: "T1" });
        assert_eq!(found(&right[1..]), InvalidKeyText::Prefix { expected: "T1" });
        for len in 2..right.len() {
            found(&right[..len]);
        }
        found(&[&right[..], b"0"].concat());
        found(&[&right[..3], &b"-".repeat(5000), "é".repeat(70).as_bytes()].concat());
    }
}
