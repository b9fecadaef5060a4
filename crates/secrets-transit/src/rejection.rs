//! Why one operation with a key was not done.

use std::borrow::Cow;

use aws_lc_rs::error::Unspecified;
use mainstay_secrets_engine::Refusal;

/// Why one operation with a key was not done. In a batch it concerns one item; alone it is the answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Something that the caller sent is wrong.
    #[error("{0}")]
    Mistake(Cow<'static, str>),
    /// The engine could not do what is asked.
    #[error("{0}")]
    Failure(Cow<'static, str>),
}

impl Rejection {
    pub fn mistake(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Mistake(text.into())
    }

    pub fn failure(text: impl Into<Cow<'static, str>>) -> Self {
        Self::Failure(text.into())
    }
}

impl From<Unspecified> for Rejection {
    /// The library never says why; whoever can say more does so where it happens.
    fn from(_: Unspecified) -> Self {
        Self::failure("the cryptographic library refused the operation")
    }
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Mistake(text) => Self::Invalid(text.into_owned()),
            Rejection::Failure(text) => Self::Failed { what: text.into_owned(), source: None },
        }
    }
}
