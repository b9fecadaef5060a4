//! Which pages of other origins a browser lets use a bucket (Fetch standard, "CORS protocol").

use minicbor::{Decode, Encode};

/// The rules of a bucket, asked in their order.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct CorsRules(#[n(0)] Vec<CorsRule>);

/// Origins, and what their pages may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct CorsRule {
    #[n(0)]
    pub id: Option<String>,
    /// With one `*` at most, which stands for any text.
    #[n(1)]
    pub allowed_origins: Vec<String>,
    /// `GET`, `PUT`, `POST`, `DELETE`, `HEAD`.
    #[n(2)]
    pub allowed_methods: Vec<String>,
    /// What a preflight may ask for; with one `*` at most.
    #[n(3)]
    pub allowed_headers: Vec<String>,
    /// What a page may read of an answer.
    #[n(4)]
    pub expose_headers: Vec<String>,
    #[n(5)]
    pub max_age_seconds: Option<u32>,
}

/// Why rules were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CorsError {
    #[error("there are {0} CORS rules: give one at least and {LIMIT} at most")]
    Count(usize),
    #[error("a CORS rule names no origin or no method")]
    Incomplete,
    #[error("the method {0:?} is unsupported in CORS rules: use GET, PUT, POST, DELETE or HEAD")]
    Method(String),
    #[error("{0:?} has more than one `*`")]
    Wildcards(String),
    #[error("the exposed header {0:?} has a `*`, or is no header's name")]
    Exposed(String),
    #[error("a CORS rule's id has more than 255 characters")]
    Id,
}

/// What is answered to a page of another origin: the values of the headers `Access-Control-...`. With them goes
/// `Vary: Origin, Access-Control-Request-Headers, Access-Control-Request-Method`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub allow_origin: String,
    /// Whether `Access-Control-Allow-Credentials: true` is sent; never with the origin `*`.
    pub allow_credentials: bool,
    pub allow_methods: String,
    pub allow_headers: Option<String>,
    pub expose_headers: Option<String>,
    pub max_age_seconds: Option<u32>,
}

/// As many as Amazon S3 takes.
const LIMIT: usize = 100;
const ID_LIMIT: usize = 255;
const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];

impl CorsRules {
    /// Rules that are put.
    pub fn new(rules: Vec<CorsRule>) -> Result<Self, CorsError> {
        if !(1..=LIMIT).contains(&rules.len()) {
            return Err(CorsError::Count(rules.len()));
        }
        rules.iter().try_for_each(check)?;
        Ok(Self(rules))
    }

    pub fn iter(&self) -> impl Iterator<Item = &CorsRule> {
        self.0.iter()
    }

    /// What is answered to a page of some origin that uses a method, and for a preflight asks for headers; none where no
    /// rule allows it.
    pub fn answer(&self, origin: &str, method: &str, requested_headers: &[&str]) -> Option<Answer> {
        let rule = self.0.iter().find(|rule| rule.allows(origin, method, requested_headers))?;
        let anybody = rule.allowed_origins.iter().any(|allowed| allowed == "*");
        let list = |texts: &[String]| (!texts.is_empty()).then(|| texts.join(", "));
        let requested: Vec<String> = requested_headers.iter().map(|header| header.to_ascii_lowercase()).collect();
        Some(Answer {
            allow_origin: if anybody { "*".to_owned() } else { origin.to_owned() },
            allow_credentials: !anybody,
            allow_methods: rule.allowed_methods.join(", "),
            allow_headers: list(&requested),
            expose_headers: list(&rule.expose_headers),
            max_age_seconds: rule.max_age_seconds,
        })
    }
}

impl CorsRule {
    fn allows(&self, origin: &str, method: &str, requested_headers: &[&str]) -> bool {
        let header_allowed = |requested: &&str| {
            let requested = requested.to_ascii_lowercase();
            self.allowed_headers.iter().any(|allowed| matches_wildcard(&allowed.to_ascii_lowercase(), &requested))
        };
        self.allowed_methods.iter().any(|allowed| allowed == method)
            && self.allowed_origins.iter().any(|allowed| matches_wildcard(allowed, origin))
            && requested_headers.iter().all(header_allowed)
    }
}

/// Whether text is that of a pattern in which the one `*`, where there is one, stands for any text.
fn matches_wildcard(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end),
    }
}

fn check(rule: &CorsRule) -> Result<(), CorsError> {
    if rule.allowed_origins.is_empty() || rule.allowed_methods.is_empty() {
        return Err(CorsError::Incomplete);
    }
    if rule.id.as_ref().is_some_and(|id| id.chars().count() > ID_LIMIT) {
        return Err(CorsError::Id);
    }
    if let Some(method) = rule.allowed_methods.iter().find(|method| !METHODS.contains(&method.as_str())) {
        return Err(CorsError::Method(method.clone()));
    }
    let patterns = rule.allowed_origins.iter().chain(&rule.allowed_headers);
    if let Some(pattern) = patterns.into_iter().find(|pattern| pattern.matches('*').count() > 1) {
        return Err(CorsError::Wildcards(pattern.clone()));
    }
    let is_name =
        |name: &String| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    match rule.expose_headers.iter().find(|name| !is_name(name)) {
        Some(name) => Err(CorsError::Exposed(name.clone())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{CorsError, CorsRule, CorsRules};

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn rule(methods: &[&str], origins: &[&str]) -> CorsRule {
        CorsRule { allowed_methods: texts(methods), allowed_origins: texts(origins), ..CorsRule::default() }
    }

    #[test]
    fn origins() {
        let rules = CorsRules::new(vec![
            rule(&["GET"], &["*suffix"]),
            rule(&["GET"], &["start*end"]),
            rule(&["GET"], &["prefix*"]),
            rule(&["PUT"], &["*.put"]),
        ])
        .unwrap();
        let cases = [
            ("foo.suffix", "GET", Some("GET")),
            ("foo.bar", "GET", None),
            ("foo.suffix.get", "GET", None),
            ("startend", "GET", Some("GET")),
            ("start12end", "GET", Some("GET")),
            ("0start12end", "GET", None),
            ("stend", "GET", None),
            ("prefix", "GET", Some("GET")),
            ("prefix.suffix", "GET", Some("GET")),
            ("bla.prefix", "GET", None),
            ("foo.suffix", "PUT", None),
            ("foo.suffix", "DELETE", None),
            ("foo.put", "PUT", Some("PUT")),
        ];
        for (origin, method, expected) in cases {
            let answer = rules.answer(origin, method, &[]);
            assert_eq!(answer.as_ref().map(|answer| answer.allow_methods.as_str()), expected, "{origin} {method}");
            if let Some(answer) = answer {
                assert_eq!((answer.allow_origin.as_str(), answer.allow_credentials), (origin, true));
            }
        }
    }

    #[test]
    fn what_is_answered() {
        let rules = CorsRules::new(vec![CorsRule {
            allowed_headers: texts(&["x-amz-meta-*", "Content-Type"]),
            expose_headers: texts(&["ETag", "x-amz-request-id"]),
            max_age_seconds: Some(3000),
            ..rule(&["GET", "PUT"], &["*"])
        }])
        .unwrap();
        let answer = rules.answer("https://a.example", "PUT", &["content-type", "X-Amz-Meta-Color"]).unwrap();
        assert_eq!((answer.allow_origin.as_str(), answer.allow_credentials), ("*", false));
        assert_eq!(answer.allow_methods, "GET, PUT");
        assert_eq!(answer.allow_headers.as_deref(), Some("content-type, x-amz-meta-color"));
        assert_eq!(answer.expose_headers.as_deref(), Some("ETag, x-amz-request-id"));
        assert_eq!(answer.max_age_seconds, Some(3000));
        assert_eq!(rules.answer("https://a.example", "PUT", &["authorization"]), None);
    }

    #[test]
    fn rules_that_are_refused() {
        let count = |count| CorsRules::new(vec![rule(&["GET"], &["*"]); count]).map(|_| ());
        assert_eq!((count(0), count(100), count(101)), (Err(CorsError::Count(0)), Ok(()), Err(CorsError::Count(101))));
        let one = |rule| CorsRules::new(vec![rule]).map(|_| ());
        assert_eq!(one(rule(&["GET"], &[])), Err(CorsError::Incomplete));
        assert_eq!(one(rule(&["PATCH"], &["*"])), Err(CorsError::Method("PATCH".to_owned())));
        assert_eq!(one(rule(&["GET"], &["*.a.*"])), Err(CorsError::Wildcards("*.a.*".to_owned())));
        let exposing = |name: &str| CorsRule { expose_headers: texts(&[name]), ..rule(&["GET"], &["*"]) };
        assert!(one(exposing("*")).is_err() && one(exposing("a\r\nb: c")).is_err() && one(exposing("ETag")).is_ok());
    }
}
