//! `sys/tools`: random bytes and hashes.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mainstay_secrets_engine::{Answer, Refusal};
use serde_json::json;
use zeroize::Zeroizing;

use crate::asked::Asked;
use crate::outcome::Outcome;

/// The most random bytes that are given at once, as Vault's.
const MOST_BYTES: u64 = 128 * 1024;

/// Serves `random...` and `hash...`, given what follows `sys/tools/`.
pub(crate) fn handle(asked: &Asked<'_>, rest: &str) -> Result<Outcome, Refusal> {
    if !asked.is_write() {
        return Err(Refusal::UnsupportedOperation);
    }
    let (tool, argument) = rest.split_once('/').unwrap_or((rest, ""));
    let fields = asked.fields();
    let encode = |bytes: &[u8], usual: &str| {
        let format = fields.text("format")?;
        match format.as_deref().unwrap_or(usual) {
            "hex" => Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
            "base64" => Ok(STANDARD.encode(bytes)),
            other => {
                Err(Refusal::invalid(format!("unsupported encoding format {other:?}; must be \"hex\" or \"base64\"")))
            }
        }
    };
    match tool {
        "random" => {
            let count = match argument.rsplit('/').next().unwrap_or("").parse() {
                Ok(count) => count,
                Err(_) => fields.count("bytes")?.unwrap_or(32),
            };
            if count == 0 || count > MOST_BYTES {
                return Err(Refusal::invalid(format!("\"bytes\" should be 1 to {MOST_BYTES}")));
            }
            let mut bytes = Zeroizing::new(vec![0; count as usize]);
            getrandom::fill(&mut bytes).map_err(|error| Refusal::failed("no random bytes", error))?;
            Ok(Outcome::answer(Answer::data(json!({ "random_bytes": encode(&bytes, "base64")? }))))
        }
        "hash" => {
            let named = fields.text("algorithm")?;
            let name = if argument.is_empty() { named.as_deref().unwrap_or("sha2-256") } else { argument };
            let algorithm = match name {
                "sha2-224" => &digest::SHA224,
                "sha2-256" => &digest::SHA256,
                "sha2-384" => &digest::SHA384,
                "sha2-512" => &digest::SHA512,
                "sha3-256" => &digest::SHA3_256,
                "sha3-384" => &digest::SHA3_384,
                "sha3-512" => &digest::SHA3_512,
                other => return Err(Refusal::invalid(format!("unsupported algorithm {other}"))),
            };
            let input = fields.bytes("input")?.ok_or_else(|| Refusal::invalid("missing input"))?;
            let sum = digest::digest(algorithm, &input);
            Ok(Outcome::answer(Answer::data(json!({ "sum": encode(sum.as_ref(), "hex")? }))))
        }
        _ => Err(Refusal::UnsupportedPath),
    }
}
