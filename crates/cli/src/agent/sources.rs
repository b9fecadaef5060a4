//! The secrets that templates ask for: read, looked at again, and where they are leased renewed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use minijinja::Value;
use secrecy::SecretString;
use serde_json::{Map, json};

use super::report::Report;
use super::template::{Query, Rendered, Template, object};
use super::term::{Step, Term};
use crate::client::{Envelope, Vault};
use crate::failure::Failure;
use crate::secret::{Location, Secret};

/// How many secrets one template may ask for; each costs a request at every look.
const MOST_SECRETS: usize = 1000;

/// The secrets that are known.
#[derive(Default)]
pub(super) struct Sources(BTreeMap<Query, Known>);

struct Known {
    location: Location,
    data: Map<String, serde_json::Value>,
    version: Option<u64>,
    lease: Option<Held>,
}

/// A lease, and how long it serves.
struct Held {
    id: String,
    seconds: u64,
    term: Term,
}

/// What came of looking at all secrets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Refreshed {
    pub changed: bool,
    pub failed: bool,
    /// Whether the token was refused.
    pub denied: bool,
}

/// What is to be done about one secret.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    Keep,
    Read,
    Renew,
}

// === impl Sources ===

impl Sources {
    /// Renders a template and reads what it asks for and is not known yet.
    pub fn render(
        &mut self,
        template: &Template,
        vault: Vault<'_>,
        now: Instant,
    ) -> Result<(SecretString, BTreeSet<Query>), Failure> {
        for _ in 0..MOST_SECRETS {
            match template.render(&self.values())? {
                Rendered::Text(text, asked) => return Ok((text, asked)),
                Rendered::Missing(query) => {
                    let known = Known::read(vault, &query, None, now)?;
                    self.0.insert(query, known);
                }
            }
        }
        Err(Failure::usage(format!("template {} asks for more than {MOST_SECRETS} secrets", template.name())))
    }

    fn values(&self) -> Arc<BTreeMap<Query, Value>> {
        Arc::new(self.0.iter().map(|(query, known)| (query.clone(), object(&known.data))).collect())
    }

    /// Looks at what is due: all that is not leased where it is time to, and leases by their own time.
    pub fn refresh(&mut self, vault: Vault<'_>, now: Instant, polling: bool, report: &mut Report) -> Refreshed {
        let mut refreshed = Refreshed::default();
        for (query, known) in &mut self.0 {
            let subject = query.to_string();
            let looked = match look(known.lease.as_ref().map(|held| &held.term), now, polling) {
                Look::Keep => continue,
                Look::Read => known.read_again(vault, query, now),
                Look::Renew => known.renew(vault, query, now),
            };
            match looked {
                Ok(changed) => {
                    refreshed.changed |= changed;
                    report.fine(&subject);
                }
                Err(failure) => {
                    report.failing(&subject, &format!("{}; the files stay as they were", failure.chain()));
                    refreshed.failed = true;
                    refreshed.denied |= super::is_denied(&failure);
                    // Where nobody answers, asking for the next secret would only wait again.
                    if failure.may_pass() {
                        break;
                    }
                }
            }
        }
        refreshed
    }

    /// Leases end with the token that they were given to: with another token there have to be others.
    pub fn replace_leases(&mut self) {
        for held in self.0.values_mut().filter_map(|known| known.lease.as_mut()) {
            held.term.refused();
        }
    }

    /// Forgets what no template asks for any more.
    pub fn keep_only(&mut self, asked: &BTreeSet<Query>) {
        self.0.retain(|query, _| asked.contains(query));
    }

    pub fn has_leases(&self) -> bool {
        self.0.values().any(|known| known.lease.is_some())
    }

    pub fn queries(&self) -> impl Iterator<Item = &Query> {
        self.0.keys()
    }

    /// When the first lease needs something.
    pub fn due(&self) -> Option<Instant> {
        self.0.values().filter_map(|known| Some(known.lease.as_ref()?.term.due())).min()
    }
}

/// What is to be done about a secret. One that is leased is not read at each look: that would make another each time.
fn look(lease: Option<&Term>, now: Instant, polling: bool) -> Look {
    match (lease.map(|term| term.step(now)), polling) {
        (Some(Step::Keep), _) | (None, false) => Look::Keep,
        (Some(Step::Renew), _) => Look::Renew,
        (Some(Step::Replace), _) | (None, true) => Look::Read,
    }
}

// === impl Known ===

impl Known {
    fn read(vault: Vault<'_>, query: &Query, location: Option<&Location>, now: Instant) -> Result<Self, Failure> {
        let location = match location {
            Some(location) => location.clone(),
            None => Location::find_secret(vault, &query.path)?,
        };
        let Secret { data, version, lease } = location.understand(&location.read(vault, query.version)?)?;
        let held = lease.and_then(|lease| {
            let term = Term::new(now, lease.seconds, lease.renewable)?;
            Some(Held { id: lease.id, seconds: lease.seconds, term })
        });
        Ok(Self { location, data, version: version.map(|(number, _)| number), lease: held })
    }

    /// Reads it anew. Whether it is another than before is returned.
    fn read_again(&mut self, vault: Vault<'_>, query: &Query, now: Instant) -> Result<bool, Failure> {
        let read = match Self::read(vault, query, Some(&self.location), now) {
            // Its mount may be another by now.
            Err(Failure::Custody(refusal)) if matches!(refusal.status(), 400 | 404 | 405) => {
                Self::read(vault, query, None, now)?
            }
            read => read?,
        };
        let changed = (read.version, &read.data) != (self.version, &self.data);
        *self = read;
        Ok(changed)
    }

    fn renew(&mut self, vault: Vault<'_>, query: &Query, now: Instant) -> Result<bool, Failure> {
        let Some(held) = &mut self.lease else { return Ok(false) };
        match vault.write("sys/leases/renew", &json!({ "lease_id": held.id, "increment": held.seconds })) {
            Ok(answer) => {
                held.term.renewed(now, Envelope::<serde_json::Value>::read(&answer)?.lease_duration);
                Ok(false)
            }
            Err(failure) if failure.may_pass() => Err(failure),
            Err(_) => self.read_again(vault, query, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Look, look};
    use crate::agent::term::Term;

    #[test]
    fn what_is_kept_is_looked_at_and_what_is_leased_is_left_to_its_lease() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let (renewable, fixed) = (Term::new(begun, 90, true), Term::new(begun, 90, false));
        for (lease, seconds, polling, expected) in [
            (&None, 0, true, Look::Read),
            (&None, 0, false, Look::Keep),
            (&renewable, 30, true, Look::Keep),
            (&renewable, 60, false, Look::Renew),
            (&renewable, 90, false, Look::Read),
            (&fixed, 60, true, Look::Keep),
            (&fixed, 81, false, Look::Read),
        ] {
            assert_eq!(look(lease.as_ref(), at(seconds), polling), expected, "{lease:?} {seconds} {polling}");
        }
    }
}
