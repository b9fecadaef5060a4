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
