//! Errors as people read them.

/// An error and its causes, as one sentence.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    #[derive(Debug, thiserror::Error)]
    #[error("the door is closed")]
    struct Door(#[source] std::fmt::Error);

    #[test]
    fn causes_follow_what_they_caused() {
        let text = "the door is closed: an error occurred when formatting an argument";
        assert_eq!(super::chain(&Door(std::fmt::Error)), text);
    }
}
