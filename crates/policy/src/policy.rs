//! Policies: a text, read into rules.

use serde_json::Value;

use crate::capability::Capabilities;
use crate::hcl::{self, SyntaxError};
use crate::json;
use crate::name::PolicyName;
use crate::parameters::{Conditions, Values};
use crate::pattern::Pattern;
use crate::tree::{Entry, Tree};

/// How long a policy's text may be, in bytes: some five hundred rules. Each token that has the policy holds its rules in
/// memory, and rules with `+` are tried one after the other.
const LONGEST_TEXT: usize = 64 << 10;

/// What else OpenBao and Vault know. To ignore it would allow more than the text says.
const UNSUPPORTED: [&str; 5] =
    ["control_group", "expiration", "list_scan_response_keys_filter_path", "mfa_methods", "pagination_limit"];

/// A policy: what may be done where.
#[derive(Debug, Clone)]
pub struct Policy {
    name: PolicyName,
    pub(crate) is_root: bool,
    pub(crate) rules: Vec<Rule>,
}

/// What may be done at the paths of a pattern.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) pattern: Pattern,
    pub(crate) capabilities: Capabilities,
    pub(crate) conditions: Conditions,
}

/// Why a text is not a policy. Printed with its sources, it reads as Vault's errors do.
#[derive(Debug, thiserror::Error)]
pub enum InvalidPolicy {
    #[error("failed to parse policy: it has {length} bytes and may have {LONGEST_TEXT}; split it")]
    TooLong { length: usize },
    #[error("failed to parse policy")]
    Hcl(#[source] SyntaxError),
    #[error("failed to parse policy")]
    Json(#[source] serde_json::Error),
    #[error("failed to parse policy: invalid key {key:?} on line {line}")]
    Key { key: String, line: usize },
    #[error("failed to parse policy: path takes rules by pattern: path \"secret/*\" {{ capabilities = [\"read\"] }}")]
    Paths,
    #[error("failed to parse policy: path {path:?}")]
    Rule {
        path: String,
        #[source]
        source: InvalidRule,
    },
}

/// Why a rule of a policy is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRule {
    #[error("it has to be a block of attributes")]
    NoBlock,
    #[error("invalid use of wildcards ('+*' is forbidden)")]
    Wildcards,
    #[error("templates ({{{{...}}}}) need identities, which this server does not keep; write a policy for each path")]
    Template,
    #[error("invalid key {key:?} on line {line}")]
    Key { key: String, line: usize },
    #[error("{key} is not supported by this server, and to leave it out would allow more than was meant")]
    Unsupported { key: String },
    #[error("{key} is set twice")]
    Twice { key: String },
    #[error("invalid policy {policy:?}; it can be deny, read, write or sudo")]
    OldPolicy { policy: String },
    #[error("invalid capability {capability:?}; it can be create, read, update, patch, delete, list, sudo or deny")]
    Capability { capability: String },
    #[error("{key} has to be {wanted}")]
    Type { key: String, wanted: &'static str },
    #[error("max_wrapping_ttl cannot be less than min_wrapping_ttl")]
    WrappingTtl,
}

// === impl Policy ===

impl Policy {
    /// Reads a policy in HCL, or in JSON where the text begins with `{`.
    ///
    /// The name grants nothing: not even a policy of the name `root` allows more than its text says.
    pub fn parse(name: PolicyName, text: &str) -> Result<Self, InvalidPolicy> {
        if text.len() > LONGEST_TEXT {
            return Err(InvalidPolicy::TooLong { length: text.len() });
        }
        let tree = if text.trim_start().starts_with('{') {
            json::read(text).map_err(InvalidPolicy::Json)?
        } else {
            hcl::read(text).map_err(InvalidPolicy::Hcl)?
        };
        let mut rules = Vec::new();
        for entry in tree.objects().ok_or(InvalidPolicy::Paths)?.concat() {
            match entry.key.as_str() {
                "path" => read_paths(&entry.value, &mut rules)?,
                // Says nothing: a policy has the name that it is written to.
                "name" if entry.value.text().is_some() => {}
                _ => return Err(InvalidPolicy::Key { key: entry.key, line: entry.line.unwrap_or(0) }),
            }
        }
        Ok(Self { name, is_root: false, rules })
    }

    /// The policy of those who may do everything.
    pub fn root() -> Self {
        let name = PolicyName::parse(PolicyName::ROOT).expect("the name of the root policy is one");
        Self { name, is_root: true, rules: Vec::new() }
    }

    pub fn name(&self) -> &PolicyName {
        &self.name
    }
}

/// Reads what is below `path`: rules by pattern, each one block or several.
fn read_paths(tree: &Tree, rules: &mut Vec<Rule>) -> Result<(), InvalidPolicy> {
    for entry in tree.objects().ok_or(InvalidPolicy::Paths)?.concat() {
        let failed = |source| InvalidPolicy::Rule { path: entry.key.clone(), source };
        for block in entry.value.objects().ok_or_else(|| failed(InvalidRule::NoBlock))? {
            rules.push(read_rule(&entry.key, block).map_err(failed)?);
        }
    }
    Ok(())
}

fn read_rule(path: &str, block: &[Entry]) -> Result<Rule, InvalidRule> {
    if path.contains("{{") {
        return Err(InvalidRule::Template);
    }
    let pattern = Pattern::parse(path).ok_or(InvalidRule::Wildcards)?;
    let mut capabilities = Capabilities::default();
    let mut conditions = Conditions::default();
    for (index, Entry { key, line, value }) in block.iter().enumerate() {
        if block[..index].iter().any(|earlier| earlier.key == *key) {
            return Err(InvalidRule::Twice { key: key.clone() });
        }
        match key.as_str() {
            "comment" => {}
            "policy" => capabilities = capabilities.with(read_old_policy(value)?),
            "capabilities" => capabilities = capabilities.with(read_capabilities(value)?),
            "allowed_parameters" => conditions.allowed = read_values(key, value)?,
            "denied_parameters" => conditions.denied = read_values(key, value)?,
            "required_parameters" => {
                let names = value.texts().ok_or_else(|| wrong(key, "a list of texts"))?;
                conditions.required = names.iter().map(|name| name.to_lowercase()).collect();
            }
            "min_wrapping_ttl" => conditions.min_wrapping_ttl = read_seconds(key, value)?,
            "max_wrapping_ttl" => conditions.max_wrapping_ttl = read_seconds(key, value)?,
            key if UNSUPPORTED.contains(&key) => return Err(InvalidRule::Unsupported { key: key.to_owned() }),
            key => return Err(InvalidRule::Key { key: key.to_owned(), line: line.unwrap_or(0) }),
        }
    }
    if conditions.max_wrapping_ttl != 0 && conditions.max_wrapping_ttl < conditions.min_wrapping_ttl {
        return Err(InvalidRule::WrappingTtl);
    }
    Ok(Rule { pattern, capabilities, conditions })
}

fn read_old_policy(value: &Tree) -> Result<Capabilities, InvalidRule> {
    let policy = value.text().ok_or_else(|| wrong("policy", "a text"))?;
    match policy {
        "" => Ok(Capabilities::default()),
        policy => {
            let capabilities = Capabilities::of_old_policy(policy);
            capabilities.ok_or_else(|| InvalidRule::OldPolicy { policy: policy.to_owned() })
        }
    }
}

fn read_capabilities(value: &Tree) -> Result<Capabilities, InvalidRule> {
    let names = value.texts().ok_or_else(|| wrong("capabilities", "a list of texts"))?;
    names.into_iter().try_fold(Capabilities::default(), |capabilities, name| match Capabilities::named(&name) {
        Some(capability) => Ok(capabilities.with(capability)),
        None => Err(InvalidRule::Capability { capability: name }),
    })
}

/// Reads lists of values by parameter.
fn read_values(key: &str, value: &Tree) -> Result<Values, InvalidRule> {
    let mut values = Values::new();
    for entry in value.objects().ok_or_else(|| wrong(key, "a map of lists"))?.concat() {
        let Tree::List(items) = entry.value else { return Err(wrong(key, "a map of lists")) };
        let items = items.iter().map(Tree::to_json).collect();
        if values.insert(entry.key.to_lowercase(), items).is_some() {
            return Err(InvalidRule::Twice { key: format!("{key}.{}", entry.key) });
        }
    }
    Ok(values)
}

/// Reads a duration: seconds, as a number or a text, or a text like `1h30m`.
fn read_seconds(key: &str, value: &Tree) -> Result<u64, InvalidRule> {
    let seconds = match value {
        Tree::Scalar(Value::Number(number)) => number.as_u64(),
        Tree::Scalar(Value::String(text)) => text.parse().ok().or_else(|| parse_duration(text)),
        _ => None,
    };
    seconds.ok_or_else(|| wrong(key, "a duration: 60, \"60s\", \"1h30m\""))
}

fn parse_duration(text: &str) -> Option<u64> {
    let mut seconds: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let unit = match rest.as_bytes()[digits] {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            _ => return None,
        };
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[digits + 1..];
    }
    (!text.is_empty()).then_some(seconds)
}

fn wrong(key: &str, wanted: &'static str) -> InvalidRule {
    InvalidRule::Type { key: key.to_owned(), wanted }
}
