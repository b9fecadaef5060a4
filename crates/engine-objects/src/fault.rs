//! What went wrong in the object store, in the words of engines.

use mainstay_engine::EngineError;
use mainstay_objects::{AccessKeyError, Error, IngestError};

/// An index that does not answer may do so later; what the rules refuse they refuse again.
pub(crate) fn of_index(what: &str) -> impl FnOnce(Error) -> EngineError {
    move |error| match error {
        Error::Refused(refusal) => {
            EngineError::permanent(format!("{what}: {refusal}"), "look at the instance with `mainstay get`")
        }
        Error::Index(error) => EngineError::transient_from(what.to_owned(), error),
    }
}

/// A data plane that takes nothing now may do so later.
pub(crate) fn of_ingest(what: &str) -> impl FnOnce(IngestError) -> EngineError {
    move |error| EngineError::transient_from(what.to_owned(), error)
}

/// Keys are out of reach while custody is sealed.
pub(crate) fn of_access_key(what: &str) -> impl FnOnce(AccessKeyError) -> EngineError {
    move |error| match error {
        AccessKeyError::Index(error) => of_index(what)(error),
        AccessKeyError::Keys(error) => EngineError::transient_from(what.to_owned(), error),
    }
}
