//! The token that the agent reads with: where it comes from, and that it lasts.

use std::path::PathBuf;
use std::time::Instant;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::report::Report;
use super::term::{Step, Term};
use crate::client::{Client, Envelope, Vault};
use crate::failure::Failure;
use crate::global::token_in;

/// Policies of tokens that may do far more than read a few secrets.
const WIDE: [&str; 3] = ["root", "admin", "operator"];

/// Where the token comes from.
pub(crate) enum Origin {
    /// It is the one of the command line.
    Given,
    /// It is in a file, which is read anew when the token ends.
    File(PathBuf),
    /// The agent logs in for it, and again when it ends.
    AppRole { mount: String, role_id: PathBuf, secret_id: PathBuf },
}

/// The agent's token.
pub(super) struct Identity {
    origin: Origin,
    narrow: Vec<String>,
    /// Asks with what the command line gave.
    given: Client,
    current: Option<Current>,
}

struct Current {
    client: Client,
    /// Nothing for one that has no end.
    term: Option<Term>,
    seconds: u64,
    /// Whether the agent got it for itself, so that it ends it too.
    own: bool,
}

/// What became of the token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Same,
    /// It is another.
    Replaced,
}

// === impl Identity ===

impl Identity {
    pub fn new(given: Client, origin: Origin, narrow: Vec<String>) -> Self {
        Self { origin, narrow, given, current: None }
    }

    /// Sees to it that there is a token that serves.
    pub fn keep(&mut self, now: Instant, report: &mut Report) -> Result<Kept, Failure> {
        let Some(current) = &mut self.current else {
            self.current = Some(self.enter(now, report)?);
            return Ok(Kept::Replaced);
        };
        match current.term.as_ref().map_or(Step::Keep, |term| term.step(now)) {
            Step::Keep => return Ok(Kept::Same),
            Step::Renew => match current.renew(now) {
                Ok(()) => return Ok(Kept::Same),
                Err(failure) if failure.may_pass() => return Err(failure),
                Err(failure) => report.warn("token-not-renewed", &[("reason", &failure.chain())]),
            },
            Step::Replace => {}
        }
        let before = current.client.token().cloned();
        let next = self.enter(now, report)?;
        let same =
            before.as_ref().map(SecretString::expose_secret) == next.client.token().map(SecretString::expose_secret);
        self.current = Some(next);
        if same {
            return Ok(Kept::Same);
        }
        report.info("token-replaced", &[]);
        Ok(Kept::Replaced)
    }

    /// Asks with the token that there is; before there is one, with what the command line gave.
    pub fn vault(&self) -> Vault<'_> {
        self.current.as_ref().map_or(&self.given, |current| &current.client).vault()
    }

    /// The token was refused. It may have been revoked: at the next look there is to be another. This one is not ended
    /// by the agent, since what is leased would end with it before there is something else.
    pub fn distrust(&mut self) {
        if !matches!(self.origin, Origin::Given) || !self.narrow.is_empty() {
            self.current = None;
        }
    }

    pub fn due(&self) -> Option<Instant> {
        self.current.as_ref()?.term.as_ref().map(Term::due)
    }

    /// Ends a token that the agent got for itself, except where what the files hold would end with it.
    pub fn leave(&mut self, has_leases: bool) {
        let Some(current) = self.current.take().filter(|current| current.own && !has_leases) else { return };
        // It ends by itself where this does not reach anybody.
        let _ = current.client.vault().write("auth/token/revoke-self", &json!({}));
    }

    fn enter(&self, now: Instant, report: &mut Report) -> Result<Current, Failure> {
        let client = match &self.origin {
            Origin::Given => self.given.with_token(self.given.token().cloned()),
            Origin::File(file) => self.given.with_token(Some(token_in(file)?)),
            Origin::AppRole { mount, role_id, secret_id } => {
                let (role_id, secret_id) = (token_in(role_id)?, token_in(secret_id)?);
                let body = json!({ "role_id": role_id.expose_secret(), "secret_id": secret_id.expose_secret() });
                let answer = self.given.with_token(None).vault().write(&format!("auth/{mount}/login"), &body)?;
                return Current::made(&self.given, &answer, now);
            }
        };
        if !self.narrow.is_empty() {
            let body = json!({ "policies": self.narrow, "display_name": "agent", "renewable": true });
            let answer = client.vault().write("auth/token/create", &body)?;
            return Current::made(&self.given, &answer, now);
        }
        Current::found(client, now, report)
    }
}

// === impl Current ===

impl Current {
    /// A token that the agent was just given.
    fn made(asking: &Client, answer: &str, now: Instant) -> Result<Self, Failure> {
        let auth = Envelope::<Value>::auth(answer)?;
        Ok(Self {
            client: asking.with_token(Some(auth.client_token)),
            term: Term::new(now, auth.lease_duration, auth.renewable),
            seconds: auth.lease_duration,
            own: true,
        })
    }

    /// A token that was there before. One that may not even look at itself is used as it is.
    fn found(client: Client, now: Instant, report: &mut Report) -> Result<Self, Failure> {
        #[derive(Deserialize, Default)]
        struct Looked {
            #[serde(default)]
            ttl: u64,
            #[serde(default)]
            renewable: bool,
            #[serde(default)]
            policies: Vec<String>,
        }
        let looked = match client.vault().read("auth/token/lookup-self", &[]) {
            Ok(answer) => Envelope::<Looked>::data(&answer)?,
            Err(failure) if failure.may_pass() => return Err(failure),
            Err(_) => Looked::default(),
        };
        let wide = looked.policies.iter().filter(|policy| WIDE.contains(&policy.as_str()));
        let wide = wide.map(String::as_str).collect::<Vec<_>>().join(",");
        if !wide.is_empty() {
            let remedy = "give it a narrower one: --narrow POLICY, --token-file or --role-id-file";
            report.warn("token-may-do-more-than-it-has-to", &[("policies", &wide), ("remedy", remedy)]);
        }
        let term = Term::new(now, looked.ttl, looked.renewable);
        Ok(Self { client, term, seconds: looked.ttl, own: false })
    }

    fn renew(&mut self, now: Instant) -> Result<(), Failure> {
        let body = json!({ "increment": self.seconds });
        let auth = Envelope::<Value>::auth(&self.client.vault().write("auth/token/renew-self", &body)?)?;
        if let Some(term) = &mut self.term {
            term.renewed(now, auth.lease_duration);
        }
        Ok(())
    }
}
