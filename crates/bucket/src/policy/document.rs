//! The document of a policy: what it says, and of which requests.

use super::action::Action;
use super::condition::Condition;
use super::json::{DocumentText, OneOrMany, PrincipalText, StatementText};
use super::pattern::Pattern;
use super::principal::{Named, Principal};
use super::request::{Decision, Request};
use crate::BucketName;

/// A bucket's policy: its text as it was put, and what it says.
#[derive(Clone, PartialEq)]
pub struct Policy {
    text: String,
    statements: Vec<Statement>,
}

/// Why a policy was refused: S3's `MalformedPolicy`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the bucket policy is refused: {0}")]
pub struct MalformedPolicy(String);

#[derive(Debug, Clone, PartialEq)]
struct Statement {
    allow: bool,
    principal: Principal,
    actions: Selection<Action>,
    resources: Selection<Pattern>,
    conditions: Vec<Condition>,
}

/// Things that are named, or all others.
#[derive(Debug, Clone, PartialEq)]
struct Selection<T> {
    others: bool,
    named: Vec<T>,
}

/// Bytes of a policy, as in Amazon S3.
const TEXT_LIMIT: usize = 20 * 1024;
const RESOURCE_PREFIX: &str = "arn:aws:s3:::";

impl Policy {
    /// Reads a policy that is put for a bucket.
    pub fn parse(text: &str, bucket: &BucketName) -> Result<Self, MalformedPolicy> {
        let policy = Self::read(text).map_err(MalformedPolicy)?;
        let reaches =
            |pattern: &Pattern| pattern.matches(bucket.as_str()) || pattern.matches_some_after(&format!("{bucket}/"));
        let mut resources = policy.statements.iter().flat_map(|statement| &statement.resources.named);
        match resources.find(|resource| !reaches(resource)) {
            Some(resource) => Err(MalformedPolicy(format!(
                "the resource `{RESOURCE_PREFIX}{}` is not in the bucket {bucket}",
                resource.as_str()
            ))),
            None => Ok(policy),
        }
    }

    /// The text as it was put.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it says of a request: a statement that denies goes before all that allow.
    pub fn decide(&self, request: &Request<'_>) -> Decision {
        let resource = match request.key {
            Some(key) => format!("{}/{key}", request.bucket),
            None => request.bucket.to_string(),
        };
        let mut decision = Decision::Silent;
        for statement in &self.statements {
            if statement.is_about(request, &resource) {
                if !statement.allow {
                    return Decision::Deny;
                }
                decision = Decision::Allow;
            }
        }
        decision
    }

    /// Whether it lets in anybody, from anywhere.
    pub fn is_public(&self) -> bool {
        let public = |statement: &Statement| {
            statement.allow
                && !matches!(statement.principal, Principal::OneOf(_))
                && !statement.conditions.iter().any(Condition::names_callers)
        };
        self.statements.iter().any(public)
    }

    /// Whether a condition asks for the tags of the object as it is, so that they must be read before it is asked.
    pub fn asks_for_existing_tags(&self) -> bool {
        let mut conditions = self.statements.iter().flat_map(|statement| &statement.conditions);
        conditions.any(Condition::asks_for_existing_tags)
    }

    fn read(text: &str) -> Result<Self, String> {
        if text.len() > TEXT_LIMIT {
            return Err(format!("it has {} bytes, and {TEXT_LIMIT} are allowed", text.len()));
        }
        let document: DocumentText = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if let Some(version) = document.version.filter(|version| version != "2012-10-17" && version != "2008-10-17") {
            return Err(format!("there is no version {version:?} of policies: use 2012-10-17"));
        }
        let statements = document.statements.into_vec();
        if statements.is_empty() {
            return Err("it has no statement".to_owned());
        }
        let statements = statements.into_iter().enumerate().map(|(place, statement)| {
            let name = statement.sid.clone().unwrap_or_else(|| (place + 1).to_string());
            Statement::read(statement).map_err(|reason| format!("statement {name}: {reason}"))
        });
        Ok(Self { text: text.to_owned(), statements: statements.collect::<Result<_, _>>()? })
    }
}

impl Statement {
    fn read(text: StatementText) -> Result<Self, String> {
        let allow = match text.effect.as_str() {
            "Allow" => true,
            "Deny" => false,
            other => return Err(format!("there is no effect {other:?}: use `Allow` or `Deny`")),
        };
        let principal = match (text.principal, text.not_principal) {
            (Some(these), None) => read_principals(these)?.map_or(Principal::Anybody, Principal::OneOf),
            (None, Some(others)) => {
                Principal::NoneOf(read_principals(others)?.ok_or("its `NotPrincipal` leaves nobody")?)
            }
            _ => return Err("it needs one of `Principal` and `NotPrincipal`".to_owned()),
        };
        let actions = either(text.actions, text.not_actions, "Action")?;
        let resources = either(text.resources, text.not_resources, "Resource")?;
        let mut named = Vec::new();
        for action in &actions.named {
            named.extend(read_action(action)?);
        }
        let mut conditions = Vec::new();
        for (operator, keys) in text.conditions.0 {
            for (key, values) in keys.0 {
                let values: Vec<String> = values.into_vec().iter().map(ToString::to_string).collect();
                conditions.push(Condition::parse(&operator, &key, &values)?);
            }
        }
        Ok(Self {
            allow,
            principal,
            actions: Selection { others: actions.others, named },
            resources: Selection {
                others: resources.others,
                named: resources.named.iter().map(|resource| read_resource(resource)).collect::<Result<_, _>>()?,
            },
            conditions,
        })
    }

    fn is_about(&self, request: &Request<'_>, resource: &str) -> bool {
        self.principal.matches(request.caller)
            && self.actions.have(|action| *action == request.action)
            && self.resources.have(|pattern| pattern.matches(resource))
            && self.conditions.iter().all(|condition| condition.holds(request))
    }
}

impl<T> Selection<T> {
    fn have(&self, is_meant: impl Fn(&T) -> bool) -> bool {
        self.named.iter().any(is_meant) != self.others
    }
}

/// The one of `Action` and `NotAction`, or `Resource` and `NotResource`, that is given.
fn either(
    these: Option<OneOrMany<String>>,
    others: Option<OneOrMany<String>>,
    what: &str,
) -> Result<Selection<String>, String> {
    let named = match (these, others) {
        (Some(these), None) => Selection { others: false, named: these.into_vec() },
        (None, Some(others)) => Selection { others: true, named: others.into_vec() },
        _ => return Err(format!("it needs one of `{what}` and `Not{what}`")),
    };
    if named.named.is_empty() { Err(format!("its `{what}` names nothing")) } else { Ok(named) }
}

/// Those that are named; none where everybody is.
fn read_principals(text: PrincipalText) -> Result<Option<Vec<Named>>, String> {
    let kinds = match text {
        PrincipalText::Text(text) if text == "*" => return Ok(None),
        PrincipalText::Text(text) => return Err(format!("the principal {text:?} is neither `*` nor an object")),
        PrincipalText::Kinds(kinds) => kinds.0,
    };
    let mut named = Vec::new();
    for (kind, names) in kinds {
        if kind != "AWS" && kind != "CanonicalUser" {
            return Err(format!("there are no principals of kind {kind:?} here: use `AWS`"));
        }
        for name in names.into_vec() {
            if name == "*" {
                return Ok(None);
            }
            named.push(Named::parse(&name)?);
        }
    }
    if named.is_empty() { Err("its principal names nobody".to_owned()) } else { Ok(Some(named)) }
}

/// The actions that a name with wildcards means; names of actions know no case.
fn read_action(text: &str) -> Result<Vec<Action>, String> {
    let lower = text.to_ascii_lowercase();
    let pattern = match lower.strip_prefix("s3:") {
        Some(name) => Pattern::new(name),
        None if lower == "*" => Pattern::new("*"),
        None => return Err(format!("the action {text:?} is none of S3's")),
    };
    let named = |action: &Action| pattern.matches(&action.as_str().to_ascii_lowercase());
    let actions: Vec<Action> = Action::ALL.iter().copied().filter(named).collect();
    if actions.is_empty() { Err(format!("there is no action {text:?} here")) } else { Ok(actions) }
}

/// What follows the region and the account of an ARN, which buckets have none of: they are empty or any.
fn past_place(text: &str) -> Option<&str> {
    let mut fields = text.splitn(3, ':');
    let any = |field: Option<&str>| field.is_some_and(|field| field.is_empty() || field == "*");
    if any(fields.next()) && any(fields.next()) { fields.next() } else { None }
}

fn read_resource(text: &str) -> Result<Pattern, String> {
    if text.contains("${") {
        return Err(format!("the resource {text:?} has a policy variable, which is not supported"));
    }
    match text {
        "*" => Ok(Pattern::new("*")),
        _ => match text.strip_prefix("arn:aws:s3:").and_then(past_place) {
            Some(resource) if !resource.is_empty() => Ok(Pattern::new(resource)),
            _ => Err(format!("the resource {text:?} does not begin with `{RESOURCE_PREFIX}` and a bucket")),
        },
    }
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Policy({})", self.text)
    }
}

// Only the text is stored: what it says is read again, as it was when it was put.
impl<C> minicbor::Encode<C> for Policy {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        encoder.str(&self.text)?.ok()
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Policy {
    fn decode(decoder: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let position = decoder.position();
        Self::read(decoder.str()?)
            .map_err(|reason| minicbor::decode::Error::custom(MalformedPolicy(reason)).at(position))
    }
}
