//! PEM, as Vault writes it: lines of 64, without a line break at the end.

use mainstay_secrets_engine::Refusal;
use pem::{EncodeConfig, LineEnding, Pem};

/// How many blocks a bundle has at most: as many as an authority's whole family, and no reason to work for long.
const MOST_BLOCKS: usize = 100;

pub fn encode(label: &str, der: &[u8]) -> String {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&Pem::new(label, der), config).trim_end().to_owned()
}

/// The blocks of a bundle, in their order.
pub fn decode(text: &str) -> Result<Vec<Pem>, Refusal> {
    let blocks = pem::parse_many(text).map_err(|error| Refusal::invalid(format!("the PEM cannot be read: {error}")))?;
    if blocks.len() > MOST_BLOCKS {
        return Err(Refusal::invalid(format!("a PEM bundle has at most {MOST_BLOCKS} blocks")));
    }
    Ok(blocks)
}
