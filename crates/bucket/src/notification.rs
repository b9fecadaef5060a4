//! Which changes of a bucket's objects are told.

use minicbor::{Decode, Encode};

use crate::ObjectKey;

/// What a bucket's owner wants to be told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Notifications(#[n(0)] Vec<Notification>);

/// One wish: events, and the keys that they are told of.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Notification {
    /// Unique within the bucket.
    #[n(0)]
    pub id: String,
    /// Which list of S3's configuration it stands in. All of them lead to the journal.
    #[n(1)]
    pub kind: TargetKind,
    #[n(2)]
    pub events: Vec<EventPattern>,
    /// What the keys begin with.
    #[n(3)]
    pub prefix: Option<String>,
    /// What the keys end with.
    #[n(4)]
    pub suffix: Option<String>,
}

/// The lists of S3's notification configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum TargetKind {
    #[n(0)]
    Topic,
    #[n(1)]
    Queue,
    #[n(2)]
    Function,
}

/// The one target that there is, as an ARN: the journal's feed.
pub const JOURNAL: &str = "arn:mainstay:journal:::events";

macro_rules! events {
    ($($variant:ident = $name:literal as $number:literal,)*) => {
        /// Something that happens to an object.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
        #[cbor(index_only)]
        pub enum EventKind {
            $(#[n($number)] $variant,)*
        }

        impl EventKind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in S3's API, without the `s3:` before it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

events! {
    Put = "ObjectCreated:Put" as 0,
    Post = "ObjectCreated:Post" as 1,
    Copy = "ObjectCreated:Copy" as 2,
    CompleteMultipartUpload = "ObjectCreated:CompleteMultipartUpload" as 3,
    Delete = "ObjectRemoved:Delete" as 4,
    DeleteMarkerCreated = "ObjectRemoved:DeleteMarkerCreated" as 5,
    TaggingPut = "ObjectTagging:Put" as 6,
    TaggingDelete = "ObjectTagging:Delete" as 7,
    LifecycleDelete = "LifecycleExpiration:Delete" as 8,
    LifecycleDeleteMarkerCreated = "LifecycleExpiration:DeleteMarkerCreated" as 9,
}

/// Events that are wanted: one, or `s3:ObjectCreated:*` and its like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum EventPattern {
    #[n(0)]
    One(#[n(0)] EventKind),
    /// All of the group that this event is of.
    #[n(1)]
    GroupOf(#[n(0)] EventKind),
}

/// Why notifications were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotificationError {
    #[error("there is no event {0:?} here")]
    Event(String),
    #[error("there is no target {0:?}: the only one is `{JOURNAL}`")]
    Target(String),
    #[error("the notification {0:?} names no event")]
    NoEvent(String),
    #[error("the notification id {0:?} is given twice, or has more than 255 characters")]
    Id(String),
    #[error("the filter rule {0:?} is not known, or is given twice: use `prefix` and `suffix`")]
    Filter(String),
    #[error("the notifications {0:?} and {1:?} want the same event of keys that overlap")]
    Overlap(String, String),
    #[error("there are {0} notifications: {LIMIT} are allowed at most")]
    Count(usize),
}

/// As many as Amazon S3 takes.
const LIMIT: usize = 100;
const ID_LIMIT: usize = 255;

impl Notifications {
    /// Notifications that are put.
    pub fn new(wishes: Vec<Notification>) -> Result<Self, NotificationError> {
        if wishes.len() > LIMIT {
            return Err(NotificationError::Count(wishes.len()));
        }
        for (place, wish) in wishes.iter().enumerate() {
            let before = &wishes[..place];
            if wish.id.chars().count() > ID_LIMIT || before.iter().any(|other| other.id == wish.id) {
                return Err(NotificationError::Id(wish.id.clone()));
            }
            if wish.events.is_empty() {
                return Err(NotificationError::NoEvent(wish.id.clone()));
            }
            if let Some(other) = before.iter().find(|other| other.overlaps(wish)) {
                return Err(NotificationError::Overlap(other.id.clone(), wish.id.clone()));
            }
        }
        Ok(Self(wishes))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Notification> {
        self.0.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The notification that wants an event of some key told. There is one at most, since they do not overlap.
    pub fn wanted(&self, event: EventKind, key: &ObjectKey) -> Option<&Notification> {
        self.0.iter().find(|wish| wish.wants(event) && wish.covers(key.as_str()))
    }
}

impl Notification {
    fn wants(&self, event: EventKind) -> bool {
        self.events.iter().any(|pattern| pattern.contains(event))
    }

    fn covers(&self, key: &str) -> bool {
        key.starts_with(self.prefix.as_deref().unwrap_or_default())
            && key.ends_with(self.suffix.as_deref().unwrap_or_default())
    }

    /// Whether some event of some key is wanted by both.
    fn overlaps(&self, other: &Self) -> bool {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (prefix, others_prefix) = (text(&self.prefix), text(&other.prefix));
        let (suffix, others_suffix) = (text(&self.suffix), text(&other.suffix));
        EventKind::ALL.iter().any(|&event| self.wants(event) && other.wants(event))
            && (prefix.starts_with(&others_prefix) || others_prefix.starts_with(&prefix))
            && (suffix.ends_with(&others_suffix) || others_suffix.ends_with(&suffix))
    }
}

impl EventKind {
    fn group(self) -> &'static str {
        self.as_str().split(':').next().unwrap_or_default()
    }
}

impl EventPattern {
    /// Whether an event is one of those.
    pub fn contains(self, event: EventKind) -> bool {
        match self {
            Self::One(one) => one == event,
            Self::GroupOf(one) => one.group() == event.group(),
        }
    }
}

impl std::fmt::Display for EventKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3:{}", self.as_str())
    }
}

impl std::fmt::Display for EventPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::One(event) => event.fmt(f),
            Self::GroupOf(event) => write!(f, "s3:{}:*", event.group()),
        }
    }
}

impl std::str::FromStr for EventPattern {
    type Err = NotificationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || NotificationError::Event(text.chars().take(80).collect());
        let name = text.strip_prefix("s3:").ok_or_else(unknown)?;
        let event = |wanted: &dyn Fn(EventKind) -> bool| EventKind::ALL.iter().copied().find(|event| wanted(*event));
        let pattern = match name.strip_suffix(":*") {
            Some(group) => event(&|event| event.group() == group).map(Self::GroupOf),
            None => event(&|event| event.as_str() == name).map(Self::One),
        };
        pattern.ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, prop_assert, proptest};

    use super::{EventKind, EventPattern, Notification, NotificationError, Notifications, TargetKind};
    use crate::ObjectKey;

    fn wish(id: &str, event: &str, prefix: &str, suffix: &str) -> Notification {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let events = vec![event.parse().unwrap()];
        Notification { id: id.to_owned(), kind: TargetKind::Queue, events, prefix: text(prefix), suffix: text(suffix) }
    }

    fn key(text: &str) -> ObjectKey {
        text.parse().unwrap()
    }

    #[test]
    fn wishes() {
        let wishes = Notifications::new(vec![
            wish("images", "s3:ObjectCreated:*", "img/", ".jpg"),
            wish("gone", "s3:ObjectRemoved:Delete", "", ""),
        ])
        .unwrap();
        let wanted = |event, text: &str| wishes.wanted(event, &key(text)).map(|wish| wish.id.as_str());
        assert_eq!(wanted(EventKind::Put, "img/a.jpg"), Some("images"));
        assert_eq!(wanted(EventKind::CompleteMultipartUpload, "img/a.jpg"), Some("images"));
        assert_eq!(wanted(EventKind::Put, "img/a.png"), None);
        assert_eq!(wanted(EventKind::Put, "a.jpg"), None);
        assert_eq!(wanted(EventKind::Delete, "a.jpg"), Some("gone"));
        assert_eq!(wanted(EventKind::DeleteMarkerCreated, "a.jpg"), None);
    }

    #[test]
    fn events_have_names() {
        for &event in EventKind::ALL {
            assert_eq!(event.to_string().parse(), Ok(EventPattern::One(event)));
        }
        let all: EventPattern = "s3:ObjectCreated:*".parse().unwrap();
        assert_eq!(all.to_string(), "s3:ObjectCreated:*");
        for bad in ["s3:*", "ObjectCreated:Put", "s3:ReducedRedundancyLostObject", "s3:ObjectCreated", "s3:Object*:Put"]
        {
            assert!(bad.parse::<EventPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn overlaps_are_refused() {
        let both = |a, b| Notifications::new(vec![a, b]).map(|_| ());
        let overlap = Err(NotificationError::Overlap("a".to_owned(), "b".to_owned()));
        assert_eq!(both(wish("a", "s3:ObjectCreated:*", "", ""), wish("b", "s3:ObjectCreated:Put", "x/", "")), overlap);
        assert_eq!(both(wish("a", "s3:ObjectCreated:*", "x", ""), wish("b", "s3:ObjectCreated:Put", "y", "")), Ok(()));
        assert_eq!(both(wish("a", "s3:ObjectCreated:*", "", ".a"), wish("b", "s3:ObjectCreated:*", "", ".b")), Ok(()));
        assert!(both(wish("a", "s3:ObjectCreated:*", "x", ""), wish("a", "s3:ObjectRemoved:*", "", "")).is_err());
    }

    proptest! {
        /// What is accepted never wants one event told twice.
        #[test]
        fn nothing_is_wanted_twice(
            filters in proptest::collection::vec(("[ab]{0,2}", "[ab]{0,2}"), 1..5),
            name in "[ab]{1,5}",
            event in (0..EventKind::ALL.len()).prop_map(|place| EventKind::ALL[place]),
        ) {
            let ids = 0..filters.len();
            let wishes: Vec<_> = filters
                .iter()
                .zip(ids)
                .map(|((prefix, suffix), id)| wish(&id.to_string(), "s3:ObjectCreated:*", prefix, suffix))
                .collect();
            if let Ok(accepted) = Notifications::new(wishes) {
                let all = accepted.iter().filter(|wish| wish.wants(event) && wish.covers(&name)).count();
                prop_assert!(all <= 1);
            }
        }
    }
}
