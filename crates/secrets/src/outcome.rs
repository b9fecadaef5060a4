//! What became of a request inside custody, before it is written as Vault's envelope.

use mainstay_secrets_engine::Answer;
use serde_json::Value;

/// An answer with what was made for it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) answer: Answer,
    /// The lease that was made, or renewed.
    pub(crate) lease: Option<OutcomeLease>,
    /// The token that was made, or renewed.
    pub(crate) auth: Option<Value>,
    /// The accessor of that token, for whoever gets it wrapped.
    pub(crate) wrapped_accessor: Option<String>,
    /// The answer is Vault's envelope already: it was wrapped, and comes out as it went in.
    pub(crate) unwrapped: Option<Value>,
    /// Vault gives `data` beside the envelope's own fields too, for clients older than the envelope.
    pub(crate) inject: bool,
}

/// A lease, as the envelope tells it.
#[derive(Debug)]
pub(crate) struct OutcomeLease {
    pub(crate) id: String,
    pub(crate) renewable: bool,
    pub(crate) seconds: u64,
}

impl Outcome {
    pub(crate) fn answer(answer: Answer) -> Self {
        Self { answer, ..Self::default() }
    }

    /// The same with its data beside the envelope too.
    pub(crate) fn injected(self) -> Self {
        Self { inject: true, ..self }
    }
}
