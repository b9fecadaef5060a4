//! What becomes of objects with time.

use mainstay_types::Timestamp;
use minicbor::{Decode, Encode};

use crate::{ObjectKey, Tags};

/// The rules of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Lifecycle(#[n(0)] Vec<Rule>);

/// Which objects, and what becomes of them.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Rule {
    /// Unique within the bucket. Where it is empty when the rules are put, it is given one.
    #[n(0)]
    pub id: String,
    #[n(1)]
    pub enabled: bool,
    #[n(2)]
    pub filter: Filter,
    #[n(3)]
    pub expiration: Option<Expiration>,
    #[n(4)]
    pub noncurrent: Option<NoncurrentExpiration>,
    /// Uploads that were not completed so many days after they began are aborted.
    #[n(5)]
    pub abort_uploads_after_days: Option<u32>,
}

/// The objects that a rule is about: those that all of this is true of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Filter {
    #[n(0)]
    pub prefix: Option<String>,
    #[n(1)]
    pub tags: Tags,
    /// Bytes.
    #[n(2)]
    pub larger_than: Option<u64>,
    #[n(3)]
    pub smaller_than: Option<u64>,
    /// Whether the prefix stood in the rule itself, the form before there were filters, so that it is told back so.
    #[n(4)]
    pub old_form: bool,
}

/// When current versions end. In a versioned bucket a delete marker hides them, otherwise they are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Expiration {
    /// After they were put, at the next midnight UTC.
    #[n(0)]
    Days(#[n(0)] u32),
    #[n(1)]
    Date(#[n(0)] Timestamp),
    /// Not those, but delete markers that hide nothing any more, where this is true.
    #[n(2)]
    LoneDeleteMarkers(#[n(0)] bool),
}

/// When noncurrent versions are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct NoncurrentExpiration {
    /// After they became noncurrent, at the next midnight UTC.
    #[n(0)]
    pub days: u32,
    /// So many of the newest are kept whatever their age.
    #[n(1)]
    pub keep: Option<u32>,
}

/// A version that rules are asked about.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    pub key: &'a ObjectKey,
    /// Bytes; 0 for a delete marker.
    pub size: u64,
    pub tags: &'a Tags,
    /// When it was put.
    pub modified: Timestamp,
    pub state: State,
}

/// What a version is among those of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The newest, an object.
    Current,
    /// The newest, a delete marker; `alone` where the key has no other version.
    DeleteMarker { alone: bool },
    /// There is a newer one since some moment, and so many noncurrent ones are newer than it.
    Noncurrent { since: Timestamp, newer: u32 },
}

/// That a rule ends a version, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due<'a> {
    pub at: Timestamp,
    /// The rule's id.
    pub rule: &'a str,
}

/// Why rules were refused. The first three are S3's `InvalidArgument`, the others `MalformedXML`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LifecycleError {
    #[error("the rule id {0:?} is given twice, or has more than 255 characters")]
    Id(String),
    #[error("the rule {0:?} counts days or versions that are not positive, or keeps more than 100 versions")]
    NotPositive(String),
    #[error("the date of the rule {0:?} is not midnight UTC")]
    NotMidnight(String),
    #[error("there are {0} rules: give one at least and {LIMIT} at most")]
    Count(usize),
    #[error("the rule {0:?} does nothing: give it an action")]
    NoAction(String),
    #[error("the rule {0:?} has tags or sizes in its filter, which do not go with what it does")]
    Filter(String),
    #[error("the prefix of the rule {0:?} has more than 1024 bytes")]
    Prefix(String),
}

/// As many as Amazon S3 takes.
const LIMIT: usize = 1000;
const ID_LIMIT: usize = 255;
/// The versions that a rule can be told to keep, as in Amazon S3.
const KEEP_LIMIT: u32 = 100;
const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

impl LifecycleError {
    /// Whether S3 calls it `InvalidArgument`; `MalformedXML` otherwise.
    pub fn is_argument(&self) -> bool {
        matches!(self, Self::Id(_) | Self::NotPositive(_) | Self::NotMidnight(_))
    }
}

impl Lifecycle {
    /// Rules that are put.
    pub fn new(mut rules: Vec<Rule>) -> Result<Self, LifecycleError> {
        if !(1..=LIMIT).contains(&rules.len()) {
            return Err(LifecycleError::Count(rules.len()));
        }
        for place in 0..rules.len() {
            let given = |id: &str| rules.iter().filter(|rule| rule.id == id).count();
            if rules[place].id.is_empty() {
                let unused = (1..).map(|number| format!("rule-{number}")).find(|id| given(id) == 0);
                rules[place].id = unused.unwrap_or_default();
            } else if given(&rules[place].id) > 1 || rules[place].id.chars().count() > ID_LIMIT {
                return Err(LifecycleError::Id(rules[place].id.clone()));
            }
        }
        rules.iter().try_for_each(check)?;
        Ok(Self(rules))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }

    /// When a version ends, and by which rule: the earliest of all that are about it.
    pub fn end(&self, candidate: &Candidate<'_>) -> Option<Due<'_>> {
        let ends = self.enabled().filter_map(|rule| Some(Due { at: rule.end(candidate)?, rule: &rule.id }));
        ends.min_by_key(|due| due.at)
    }

    /// Whether a version is to end by now, and by which rule.
    pub fn due(&self, candidate: &Candidate<'_>, now: Timestamp) -> Option<Due<'_>> {
        self.end(candidate).filter(|due| due.at <= now)
    }

    /// When an upload is aborted that was begun at some moment and is not completed.
    pub fn upload_end(&self, key: &ObjectKey, begun: Timestamp) -> Option<Due<'_>> {
        let about = |rule: &&Rule| key.as_str().starts_with(rule.filter.prefix.as_deref().unwrap_or_default());
        let ends = self
            .enabled()
            .filter(about)
            .filter_map(|rule| Some(Due { at: midnight_after(begun, rule.abort_uploads_after_days?), rule: &rule.id }));
        ends.min_by_key(|due| due.at)
    }

    fn enabled(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter().filter(|rule| rule.enabled)
    }
}

impl Rule {
    fn end(&self, candidate: &Candidate<'_>) -> Option<Timestamp> {
        if !self.filter.is_about(candidate) {
            return None;
        }
        match (candidate.state, self.expiration, self.noncurrent) {
            (State::Current, Some(Expiration::Days(days)), _) => Some(midnight_after(candidate.modified, days)),
            (State::Current, Some(Expiration::Date(date)), _) => Some(date),
            (State::DeleteMarker { alone: true }, Some(expiration), _) => match expiration {
                Expiration::LoneDeleteMarkers(wanted) => wanted.then_some(candidate.modified),
                Expiration::Days(days) => Some(midnight_after(candidate.modified, days)),
                Expiration::Date(date) => Some(date),
            },
            (State::Noncurrent { since, newer }, _, Some(noncurrent)) => {
                let kept = newer < noncurrent.keep.unwrap_or(0);
                (!kept).then(|| midnight_after(since, noncurrent.days))
            }
            _ => None,
        }
    }
}

impl Filter {
    fn is_about(&self, candidate: &Candidate<'_>) -> bool {
        // A delete marker has neither size nor tags.
        let marker = matches!(candidate.state, State::DeleteMarker { .. });
        let sized = self.larger_than.is_none_or(|least| candidate.size > least)
            && self.smaller_than.is_none_or(|most| candidate.size < most);
        candidate.key.as_str().starts_with(self.prefix.as_deref().unwrap_or_default())
            && (sized || marker)
            && self.tags.iter().all(|(key, value)| candidate.tags.get(key) == Some(value))
    }
}

/// The first midnight UTC that is not before some days have passed.
fn midnight_after(moment: Timestamp, days: u32) -> Timestamp {
    let passed = moment.as_micros().saturating_add(i64::from(days).saturating_mul(DAY_MICROS));
    let past_midnight = passed.rem_euclid(DAY_MICROS);
    Timestamp::from_micros(if past_midnight == 0 { passed } else { passed.saturating_add(DAY_MICROS - past_midnight) })
}

fn check(rule: &Rule) -> Result<(), LifecycleError> {
    let id = || rule.id.clone();
    let days = match rule.expiration {
        Some(Expiration::Days(days)) => Some(days),
        _ => None,
    };
    let counts = [
        days,
        rule.noncurrent.map(|of| of.days),
        rule.noncurrent.and_then(|of| of.keep),
        rule.abort_uploads_after_days,
    ];
    let keep = rule.noncurrent.and_then(|of| of.keep).unwrap_or(1);
    if counts.into_iter().flatten().any(|count| count == 0) || keep > KEEP_LIMIT {
        return Err(LifecycleError::NotPositive(id()));
    }
    if rule.expiration.is_none() && rule.noncurrent.is_none() && rule.abort_uploads_after_days.is_none() {
        return Err(LifecycleError::NoAction(id()));
    }
    match rule.expiration {
        Some(Expiration::Date(date)) if date.as_micros().rem_euclid(DAY_MICROS) != 0 => {
            return Err(LifecycleError::NotMidnight(id()));
        }
        _ => {}
    }
    if rule.filter.prefix.as_ref().is_some_and(|prefix| prefix.len() > ObjectKey::LIMIT) {
        return Err(LifecycleError::Prefix(id()));
    }
    // Uploads have no tags and no size yet, delete markers never.
    let markers = matches!(rule.expiration, Some(Expiration::LoneDeleteMarkers(_)));
    let sized = rule.filter.larger_than.is_some() || rule.filter.smaller_than.is_some();
    let beyond_prefix = !rule.filter.tags.is_empty() || sized;
    if (markers && !rule.filter.tags.is_empty()) || (rule.abort_uploads_after_days.is_some() && beyond_prefix) {
        return Err(LifecycleError::Filter(id()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use mainstay_types::Timestamp;
    use proptest::prelude::{prop_assert, proptest};

    use super::{
        Candidate, DAY_MICROS, Expiration, Filter, Lifecycle, LifecycleError, NoncurrentExpiration, Rule, State,
        midnight_after,
    };
    use crate::{ObjectKey, Tags};

    fn rule(id: &str) -> Rule {
        let filter = Filter::default();
        Rule {
            id: id.to_owned(),
            enabled: true,
            filter,
            expiration: None,
            noncurrent: None,
            abort_uploads_after_days: None,
        }
    }

    fn expiring(days: u32) -> Rule {
        Rule { expiration: Some(Expiration::Days(days)), ..rule("r") }
    }

    fn prefixed(prefix: &str) -> Filter {
        Filter { prefix: Some(prefix.to_owned()), ..Filter::default() }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn tagged(pairs: &[(&str, &str)]) -> Tags {
        Tags::of_object(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))).unwrap()
    }

    /// When a version of `logs/a` with 100 bytes and the tag `tom=sawyer`, put at noon of the first of March, ends.
    fn end(rule: Rule, state: State) -> Option<String> {
        let key: ObjectKey = "logs/a".parse().unwrap();
        let tags = tagged(&[("tom", "sawyer")]);
        let candidate = Candidate { key: &key, size: 100, tags: &tags, modified: at("2026-03-01T12:00:00Z"), state };
        let lifecycle = Lifecycle::new(vec![rule]).unwrap();
        lifecycle.end(&candidate).map(|due| due.at.to_string()[..13].to_owned())
    }

    #[test]
    fn ends_of_versions() {
        let alone = State::DeleteMarker { alone: true };
        let covering = State::DeleteMarker { alone: false };
        let noncurrent = |newer| State::Noncurrent { since: at("2026-03-05T00:00:00Z"), newer };
        let date = Rule { expiration: Some(Expiration::Date(at("2026-06-01T00:00:00Z"))), ..rule("r") };
        let markers = |wanted| Rule { expiration: Some(Expiration::LoneDeleteMarkers(wanted)), ..rule("r") };
        let keeping = |keep| Rule { noncurrent: Some(NoncurrentExpiration { days: 2, keep }), ..rule("r") };
        let filtered = |filter| Rule { filter, ..expiring(1) };
        let cases = [
            (expiring(1), State::Current, Some("2026-03-03T00")),
            (Rule { enabled: false, ..expiring(1) }, State::Current, None),
            (expiring(1), noncurrent(0), None),
            (expiring(1), covering, None),
            (expiring(1), alone, Some("2026-03-03T00")),
            (date.clone(), State::Current, Some("2026-06-01T00")),
            (date, noncurrent(0), None),
            (markers(true), State::Current, None),
            (markers(true), alone, Some("2026-03-01T12")),
            (markers(true), covering, None),
            (markers(false), alone, None),
            // Midnight it is already.
            (keeping(None), noncurrent(0), Some("2026-03-07T00")),
            (keeping(Some(2)), noncurrent(1), None),
            (keeping(Some(2)), noncurrent(2), Some("2026-03-07T00")),
            (keeping(None), State::Current, None),
            (filtered(prefixed("logs/")), State::Current, Some("2026-03-03T00")),
            (filtered(prefixed("data/")), State::Current, None),
            (
                filtered(Filter { tags: tagged(&[("tom", "sawyer")]), ..prefixed("l") }),
                State::Current,
                Some("2026-03-03T00"),
            ),
            (
                filtered(Filter { tags: tagged(&[("tom", "sawyer"), ("huck", "finn")]), ..prefixed("l") }),
                State::Current,
                None,
            ),
            (
                filtered(Filter { larger_than: Some(99), smaller_than: Some(101), ..Filter::default() }),
                State::Current,
                Some("2026-03-03T00"),
            ),
            (filtered(Filter { larger_than: Some(100), ..Filter::default() }), State::Current, None),
            (filtered(Filter { smaller_than: Some(100), ..Filter::default() }), State::Current, None),
        ];
        for (rule, state, expected) in cases {
            assert_eq!(end(rule.clone(), state).as_deref(), expected, "{rule:?} {state:?}");
        }
    }

    #[test]
    fn the_earliest_rule_ends_it() {
        let rules = vec![Rule { id: "late".to_owned(), ..expiring(9) }, Rule { id: "early".to_owned(), ..expiring(3) }];
        let lifecycle = Lifecycle::new(rules).unwrap();
        let key = "a".parse().unwrap();
        let tags = Tags::default();
        let candidate =
            Candidate { key: &key, size: 1, tags: &tags, modified: Timestamp::EPOCH, state: State::Current };
        assert_eq!(lifecycle.end(&candidate).unwrap().rule, "early");
        assert!(lifecycle.due(&candidate, at("1970-01-03T23:59:59Z")).is_none());
        assert!(lifecycle.due(&candidate, at("1970-01-04T00:00:00Z")).is_some());
    }

    #[test]
    fn uploads_end_by_prefix() {
        let aborting = Rule { abort_uploads_after_days: Some(7), filter: prefixed("logs/"), ..rule("r") };
        let lifecycle = Lifecycle::new(vec![aborting]).unwrap();
        let end = |key: &str| lifecycle.upload_end(&key.parse().unwrap(), at("2026-03-01T12:00:00Z")).map(|due| due.at);
        assert_eq!(end("logs/a"), Some(at("2026-03-09T00:00:00Z")));
        assert_eq!(end("data/a"), None);
    }

    #[test]
    fn rules_that_are_refused() {
        let refused = |rules: Vec<Rule>| Lifecycle::new(rules).unwrap_err();
        let long = Rule { id: "a".repeat(256), ..expiring(1) };
        let late = Rule { expiration: Some(Expiration::Date(at("2026-06-01T00:00:01Z"))), ..rule("r") };
        let keeping = Rule { noncurrent: Some(NoncurrentExpiration { days: 1, keep: Some(101) }), ..rule("r") };
        for error in [
            refused(vec![long]),
            refused(vec![expiring(1), expiring(2)]),
            refused(vec![expiring(0)]),
            refused(vec![keeping]),
            refused(vec![late]),
        ] {
            assert!(error.is_argument(), "{error}");
        }
        let tags = Filter { tags: tagged(&[("a", "b")]), ..Filter::default() };
        for error in [
            refused(Vec::new()),
            refused(vec![rule("idle")]),
            refused(vec![Rule {
                filter: tags.clone(),
                expiration: Some(Expiration::LoneDeleteMarkers(true)),
                ..rule("r")
            }]),
            refused(vec![Rule { filter: tags, abort_uploads_after_days: Some(1), ..rule("r") }]),
            refused(vec![Rule { filter: prefixed(&"x".repeat(1025)), ..expiring(1) }]),
        ] {
            assert!(!error.is_argument(), "{error}");
        }
        assert_eq!(refused(vec![expiring(1); 1001]), LifecycleError::Count(1001));
    }

    #[test]
    fn rules_without_an_id_are_given_one() {
        let rules = vec![Rule { id: String::new(), ..expiring(1) }, Rule { id: "rule-1".to_owned(), ..expiring(1) }];
        let lifecycle = Lifecycle::new(rules).unwrap();
        assert_eq!(lifecycle.iter().map(|rule| rule.id.as_str()).collect::<Vec<_>>(), ["rule-2", "rule-1"]);
    }

    proptest! {
        #[test]
        fn an_end_is_a_midnight_within_a_day_of_its_age(micros in 0_i64..4_000_000_000_000_000, days in 0_u32..1_000_000) {
            let end = midnight_after(Timestamp::from_micros(micros), days).as_micros();
            let age = micros + i64::from(days) * DAY_MICROS;
            prop_assert!(end % DAY_MICROS == 0 && (age..age + DAY_MICROS).contains(&end));
        }
    }
}
