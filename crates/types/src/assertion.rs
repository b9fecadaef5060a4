//! What an owner says of the data, for drills to ask.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// The parameter of an instance that has its assertions as text.
pub const ASSERTIONS_PARAMETER: &str = "drill.assertions";

/// What stands between a question and its answer.
const ARROW: &str = "=>";

/// Something that has to be true of an instance's data.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    /// In the engine's own language: a statement of SQL, a command of Redis.
    #[n(0)]
    pub query: String,
    /// What it has to answer, as the engine's command-line client prints it, without space around it.
    #[n(1)]
    pub expect: String,
}

/// All assertions of an instance, in the order in which they are asked.
///
/// As text each is a line, `QUERY => ANSWER`. What does not fit into lines, such as an answer of several rows, makes the whole a JSON
/// array of `{"query", "expect"}`. The same assertions are always written alike.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assertions(pub Vec<Assertion>);

/// Why a text is no assertion. It says what would be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("lines of the form QUERY=>ANSWER, or a JSON array of {{\"query\", \"expect\"}}: {0}")]
pub struct InvalidAssertions(String);

// === impl Assertion ===

impl Assertion {
    /// Whether it is read back from a line of its own.
    fn fits_a_line(&self) -> bool {
        self.to_string().parse().as_ref() == Ok(self)
            && !self.to_string().contains(['\n', '\r'])
            && !self.query.starts_with('[')
    }
}

impl FromStr for Assertion {
    type Err = InvalidAssertions;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.rsplit_once(ARROW) {
            Some((query, expect)) if !query.trim().is_empty() => {
                Ok(Self { query: query.trim().to_owned(), expect: expect.trim().to_owned() })
            }
            _ => Err(InvalidAssertions(format!("{text:?} is none"))),
        }
    }
}

impl fmt::Display for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {ARROW} {}", self.query, self.expect)
    }
}

// === impl Assertions ===

impl FromStr for Assertions {
    type Err = InvalidAssertions;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let assertions: Vec<Assertion> = match text.trim_start().starts_with('[') {
            true => serde_json::from_str(text).map_err(|error| InvalidAssertions(error.to_string()))?,
            false => text.lines().filter(|line| !line.trim().is_empty()).map(str::parse).collect::<Result<_, _>>()?,
        };
        match assertions.iter().any(|assertion| assertion.query.trim().is_empty()) {
            true => Err(InvalidAssertions("one asks nothing".to_owned())),
            false => Ok(Self(assertions)),
        }
    }
}

impl fmt::Display for Assertions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.iter().all(Assertion::fits_a_line) {
            return f.write_str(&serde_json::to_string(&self.0).map_err(|_| fmt::Error)?);
        }
        let lines: Vec<String> = self.0.iter().map(Assertion::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};

    use super::{Assertion, Assertions};

    fn assertion(query: &str, expect: &str) -> Assertion {
        Assertion { query: query.to_owned(), expect: expect.to_owned() }
    }

    #[test]
    fn an_assertion_is_a_query_and_its_answer() {
        let read = |text: &str| text.parse::<Assertions>().map(|read| read.0);
        assert_eq!(read("SELECT count(*) >= 1 FROM t => t"), Ok(vec![assertion("SELECT count(*) >= 1 FROM t", "t")]));
        assert_eq!(read("GET k=>a=>b\n\n DBSIZE => "), Ok(vec![assertion("GET k=>a", "b"), assertion("DBSIZE", "")]));
        assert_eq!(read(r#" [{"query":"KEYS *","expect":"a\nb"}]"#), Ok(vec![assertion("KEYS *", "a\nb")]));
        assert_eq!(read(""), Ok(Vec::new()));
        for bad in ["SELECT 1", "=>1", "a=>b\nc", "[", r#"[{"query":"x"}]"#, r#"[{"query":" ","expect":"1"}]"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let error = read("SELECT 1").unwrap_err().to_string();
        assert!(error.contains("QUERY=>ANSWER") && error.contains("\"SELECT 1\" is none"), "{error}");
    }

    #[test]
    fn simple_ones_are_written_as_lines() {
        let two = Assertions(vec![assertion("DBSIZE", "2"), assertion("GET k", "a b")]);
        assert_eq!(two.to_string(), "DBSIZE => 2\nGET k => a b");
        assert_eq!(Assertions(vec![assertion("x", "a=>b")]).to_string(), r#"[{"query":"x","expect":"a=>b"}]"#);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(pairs in proptest::collection::vec(("[a=> \n\r\\[]{0,6}x", any::<String>().prop_map(|text| text + "=> \n")), 0..4)) {
            let all = Assertions(pairs.iter().map(|(query, expect)| assertion(query, expect)).collect());
            prop_assert_eq!(all.to_string().parse(), Ok(all));
            let plain = Assertions(pairs.iter().map(|(query, _)| assertion(query, "1")).collect());
            prop_assert_eq!(plain.to_string().parse(), Ok(plain));
        }
    }
}
