//! What a call of the command line has to have come to.

use serde_json::Value;

use super::layer::Cli;

impl Cli {
    /// What a call printed that has to succeed.
    #[track_caller]
    pub fn succeed(self) -> String {
        assert_eq!(self.code, 0, "{self:#?}");
        self.stdout
    }

    /// The same as JSON, for calls with `-o json`.
    #[track_caller]
    pub fn json(self) -> Value {
        let text = self.succeed();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    /// The messages of a call that has to end with this code and print no data.
    #[track_caller]
    pub fn fail(self, code: i32) -> String {
        assert_eq!((self.code, self.stdout.as_str()), (code, ""), "{self:#?}");
        self.stderr
    }
}

/// The URI of a binding, as it was answered when it was made or rotated.
#[track_caller]
pub fn uri_of(bound: &Value) -> String {
    bound["credentials"]["uri"].as_str().unwrap_or_else(|| panic!("{bound}")).to_owned()
}
