//! Keys as text for people and other programs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// How many characters a line of a PEM text has (RFC 7468, section 2).
const LINE: usize = 64;

/// A PEM text, with a line end after its last line.
pub fn encode(label: &str, der: &[u8]) -> String {
    let body = zeroize::Zeroizing::new(STANDARD.encode(der));
    let mut text = String::with_capacity(body.len() + body.len() / LINE + 2 * label.len() + 40);
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    for start in (0..body.len()).step_by(LINE) {
        text.push_str(&body[start..body.len().min(start + LINE)]);
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// The private key within a `PrivateKeyInfo` (RFC 5208); for RSA it is the one of PKCS#1.
pub fn private_key_within(pkcs8: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    const OCTET_STRING: u8 = 0x04;
    let (info, _) = element(pkcs8, SEQUENCE)?;
    let (_version, rest) = element(info, INTEGER)?;
    let (_algorithm, rest) = element(rest, SEQUENCE)?;
    element(rest, OCTET_STRING).map(|(key, _)| key)
}

/// The content of a DER element, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first()?;
    let (short, rest) = rest.split_first()?;
    let (length, rest) = match short {
        0..=0x7f => (usize::from(*short), rest),
        0x81..=0x84 => {
            let (long, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
            (long.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    (*first == tag).then(|| rest.split_at_checked(length)).flatten()
}

#[cfg(test)]
mod tests {
    use super::{encode, private_key_within};

    #[test]
    fn lines_are_64_characters() {
        let text = encode("PUBLIC KEY", &[0; 91]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[0], lines[lines.len() - 1]), ("-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----"));
        assert_eq!(lines[1..lines.len() - 1].iter().map(|line| line.len()).collect::<Vec<_>>(), [64, 60]);
    }

    #[test]
    fn what_is_no_private_key_info_holds_none() {
        assert_eq!(private_key_within(&[0x30, 9, 2, 1, 0, 0x30, 0, 4, 2, 7, 8]), Some(&[7, 8][..]));
        for cut in 0..11 {
            assert_eq!(private_key_within(&[0x30, 9, 2, 1, 0, 0x30, 0, 4, 2, 7, 8][..cut]), None);
        }
        assert_eq!(private_key_within(&[0x30, 0x85, 1, 1, 1, 1, 1]), None);
    }
}
