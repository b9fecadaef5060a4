//! `random` and `hash`: what needs no key.

use aws_lc_rs::rand;
use mainstay_secrets_engine::{Answer, Refusal, Request};
use zeroize::Zeroizing;

use crate::hashing::Hash;
use crate::paths::items::answer;
use crate::rejection::Rejection;
use crate::wire;

/// How many random bytes one request gets at most, as with Vault.
const MOST_RANDOM_BYTES: i64 = 128 * 1024;
const DEFAULT_RANDOM_BYTES: i64 = 32;

/// Random bytes of aws-lc's generator, which the operating system seeds. Every source is that one: there is no other.
pub fn random(request: &Request, path: &[&str]) -> Result<Answer, Refusal> {
    let fields = request.fields();
    let is_source = |text: &str| matches!(text, "platform" | "seal" | "all");
    let (source, count) = match path {
        [] => (fields.text("source")?, None),
        [source] if is_source(source) => (Some((*source).to_owned()), None),
        [count] => (None, Some(*count)),
        [source, count, ..] => (Some((*source).to_owned()), Some(*count)),
    };
    if let Some(source) = source.filter(|source| !is_source(source)) {
        let text = format!("unsupported entropy source {source:?}; must be \"platform\" or \"seal\", or \"all\"");
        return Err(Refusal::Invalid(text));
    }
    let count = match count {
        Some(count) => count.parse().map_err(|_| {
            Refusal::invalid(format!(
                "error parsing url-set byte count: strconv.Atoi: parsing {count:?}: invalid syntax"
            ))
        })?,
        None => fields.integer("bytes")?.unwrap_or(DEFAULT_RANDOM_BYTES),
    };
    if count < 1 {
        return Err(Refusal::invalid("\"bytes\" cannot be less than 1"));
    }
    if count > MOST_RANDOM_BYTES {
        return Err(Refusal::invalid(format!("\"bytes\" should be less than {MOST_RANDOM_BYTES}")));
    }
    let format = Format::parse(fields.text("format")?.as_deref().unwrap_or("base64"))?;
    let mut bytes = Zeroizing::new(vec![0; count as usize]);
    rand::fill(&mut bytes).map_err(Rejection::from)?;
    Ok(answer([("random_bytes", format.write(&bytes).into())]))
}

pub fn hash(request: &Request, algorithm: Option<&str>) -> Result<Answer, Refusal> {
    let fields = request.fields();
    let input = fields.text("input")?.ok_or_else(|| Refusal::invalid("input missing"))?;
    let input = wire::decode(&input);
    let input = input.map_err(|error| Refusal::invalid(format!("unable to decode input as base64: {error}")))?;
    let format = Format::parse(fields.text("format")?.as_deref().unwrap_or("hex"))?;
    let algorithm = match algorithm {
        Some(algorithm) => algorithm.to_owned(),
        None => fields.text("algorithm")?.unwrap_or_else(|| "sha2-256".to_owned()),
    };
    // SHA-1 is there for signatures of others only.
    let hash = Hash::named(&algorithm).filter(|hash| *hash != Hash::Sha1);
    let hash = hash.ok_or_else(|| Refusal::invalid(format!("unsupported algorithm {algorithm}")))?;
    Ok(answer([("sum", format.write(hash.digest(&input).as_ref()).into())]))
}

/// How bytes are written.
enum Format {
    Hex,
    Base64,
}

impl Format {
    fn parse(name: &str) -> Result<Self, Refusal> {
        match name {
            "hex" => Ok(Self::Hex),
            "base64" => Ok(Self::Base64),
            _ => {
                let text = format!("unsupported encoding format {name}; must be \"hex\" or \"base64\"");
                Err(Refusal::Invalid(text))
            }
        }
    }

    fn write(&self, bytes: &[u8]) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        match self {
            Self::Hex => {
                let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
                digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
            }
            Self::Base64 => wire::encode(bytes),
        }
    }
}
