//! The envelope: a payload and who signed it, as DSSE 1.0 has it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::canonical;
use crate::key::{KeyId, PublicKey, SigningKey};
use crate::statement::Statement;

/// What the payload is: an in-toto statement.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// Evidence as it is handed out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Envelope {
    /// The statement in base64: what is signed are these very bytes, not what they mean.
    pub payload: String,
    pub payload_type: String,
    pub signatures: Vec<Signature>,
}

/// A signature over the type and the payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    pub keyid: KeyId,
    /// In base64.
    pub sig: String,
}

/// Why an envelope proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("its payload is of type {0:?}, which is no statement of this kind")]
    PayloadType(String),
    #[error("its payload, its type or its signature was changed: it does not verify with key {0}")]
    Signature(KeyId),
    #[error("it bears no signature")]
    Unsigned,
    #[error("it is signed with key {0}, which is not one of those that are trusted here")]
    UnknownKey(KeyId),
    #[error("its payload or its signature is no base64")]
    Encoding,
    #[error("its statement is not of a form that this version reads: {0}")]
    Form(String),
}

impl Envelope {
    /// Signs a statement.
    pub fn seal(statement: &Statement, key: &SigningKey) -> Self {
        let statement = serde_json::to_value(statement).expect("a statement has text for its keys");
        let payload = canonical::to_bytes(&statement);
        let sig = STANDARD.encode(key.sign(&message(PAYLOAD_TYPE, &payload)));
        Self {
            payload: STANDARD.encode(payload),
            payload_type: PAYLOAD_TYPE.to_owned(),
            signatures: vec![Signature { keyid: key.public().id(), sig }],
        }
    }

    /// The statement, if one of these keys signed it as it is.
    pub fn open(&self, trusted: &[PublicKey]) -> Result<Statement, Flaw> {
        if self.payload_type != PAYLOAD_TYPE {
            return Err(Flaw::PayloadType(self.payload_type.clone()));
        }
        let payload = self.decoded()?;
        let message = message(&self.payload_type, &payload);
        let mut flaw = Flaw::Unsigned;
        for signature in &self.signatures {
            let Some(key) = trusted.iter().find(|key| key.id() == signature.keyid) else {
                flaw = Flaw::UnknownKey(signature.keyid.clone());
                continue;
            };
            let bytes = STANDARD.decode(&signature.sig).map_err(|_| Flaw::Encoding)?;
            if !key.verifies(&message, &bytes) {
                return Err(Flaw::Signature(signature.keyid.clone()));
            }
            return read(&payload);
        }
        Err(flaw)
    }

    /// What it claims, whether that is true or not: to name what was changed.
    pub fn claims(&self) -> Option<Statement> {
        read(&self.decoded().ok()?).ok()
    }

    /// The file that it is written to: a form of its own, whose bytes are the same whoever writes it.
    pub fn to_file(&self) -> String {
        // In one form, too: the fields of these types come in the order of their names, and none is a map.
        serde_json::to_string_pretty(self).expect("an envelope has text for its keys") + "\n"
    }

    fn decoded(&self) -> Result<Vec<u8>, Flaw> {
        STANDARD.decode(&self.payload).map_err(|_| Flaw::Encoding)
    }
}

fn read(payload: &[u8]) -> Result<Statement, Flaw> {
    let statement: Statement = serde_json::from_slice(payload).map_err(|error| Flaw::Form(error.to_string()))?;
    match statement.is_known() {
        true => Ok(statement),
        false => Err(Flaw::Form("its types are others".to_owned())),
    }
}

/// What is signed: DSSE's pre-authentication encoding.
fn message(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    /// The example of the protocol's own text, as its signature's message has it.
    #[test]
    fn the_message_is_that_of_the_protocol() {
        let message = super::message("http://example.com/HelloWorld", b"hello world");
        assert_eq!(message, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }
}
