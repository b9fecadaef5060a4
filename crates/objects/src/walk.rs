//! Listings: which keys are told, which are rolled up into common prefixes, and where to go on. Pure.

/// What a listing is limited to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'q> {
    pub prefix: &'q str,
    pub delimiter: Option<&'q str>,
}

/// Where rows are read from, in the order of keys and of places within a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Start {
    /// This key and all that follow.
    At(String),
    /// What follows this place of a key.
    Behind(String, i64),
}

/// Takes rows in order and says what becomes of each.
pub(crate) struct Walk<'q> {
    scope: Scope<'q>,
    left: usize,
    /// The common prefix that was told last.
    told: Option<String>,
}

/// What becomes of a row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<'k> {
    Item,
    Prefix(&'k str),
    /// It lies below a common prefix that was told: all up to the start below do.
    Below,
    /// There is no more room in the page.
    Full,
}

/// Greater than every key: one more character than a key of 1024 bytes can have of the greatest.
const GREATEST: &str = const {
    const CHARACTERS: [u8; 4 * 257] = {
        let mut bytes = [0; 4 * 257];
        let mut place = 0;
        while place < bytes.len() {
            // U+10FFFF in UTF-8.
            bytes[place] = 0xf4;
            bytes[place + 1] = 0x8f;
            bytes[place + 2] = 0xbf;
            bytes[place + 3] = 0xbf;
            place += 4;
        }
        bytes
    };
    match std::str::from_utf8(&CHARACTERS) {
        Ok(text) => text,
        Err(_) => panic!("the greatest character repeated is text"),
    }
};

// === impl Scope ===

impl<'q> Scope<'q> {
    /// What a caller asks for; none where no key can be in it, since no key has a NUL character.
    pub fn new(prefix: &'q str, delimiter: Option<&'q str>) -> Option<Self> {
        let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty() && !delimiter.contains('\0'));
        (!prefix.contains('\0')).then_some(Self { prefix, delimiter })
    }

    /// The common prefix that a key is rolled up into.
    pub fn common_prefix<'k>(&self, key: &'k str) -> Option<&'k str> {
        let delimiter = self.delimiter?;
        let rest = key.strip_prefix(self.prefix)?;
        let found = rest.find(delimiter)?;
        Some(&key[..self.prefix.len() + found + delimiter.len()])
    }

    /// Where the listing begins: behind a key, or behind all keys below a common prefix.
    pub fn start(&self, after: Option<&str>) -> Start {
        // What follows a NUL character is less than anything that a key can have there.
        let after = after.map(|after| after.split('\0').next().unwrap_or_default());
        match after {
            Some(after) if self.common_prefix(after) == Some(after) => Start::below(after),
            Some(after) if after >= self.prefix => Start::At(just_after(after)),
            _ => Start::At(self.prefix.to_owned()),
        }
    }

    /// What all keys of the listing are less than.
    pub fn end(&self) -> String {
        successor(self.prefix).unwrap_or_else(|| GREATEST.to_owned())
    }

    /// What follows the delimiter in place of it, so that all keys below a common prefix are skipped; none where nothing
    /// can be skipped.
    pub fn skip(&self) -> Option<(&'q str, String)> {
        let delimiter = self.delimiter?;
        Some((delimiter, successor(delimiter)?))
    }
}

// === impl Start ===

impl Start {
    /// Behind all keys that begin with a text.
    pub fn below(prefix: &str) -> Self {
        Self::At(successor(prefix).unwrap_or_else(|| GREATEST.to_owned()))
    }

    /// The first key that may follow, where places do not matter.
    pub fn key(&self) -> String {
        match self {
            Self::At(key) => key.clone(),
            Self::Behind(key, _) => just_after(key),
        }
    }

    /// The key and the place that rows with places come behind.
    pub fn behind(&self) -> (&str, i64) {
        match self {
            Self::At(key) => (key, i64::MIN),
            Self::Behind(key, place) => (key, *place),
        }
    }
}

// === impl Walk ===

impl<'q> Walk<'q> {
    pub fn new(scope: Scope<'q>, limit: usize) -> Self {
        Self { scope, left: limit, told: None }
    }

    /// What becomes of the next row.
    pub fn step<'k>(&mut self, key: &'k str) -> Step<'k> {
        let prefix = self.scope.common_prefix(key);
        if prefix.is_some() && prefix == self.told.as_deref() {
            return Step::Below;
        }
        if self.left == 0 {
            return Step::Full;
        }
        self.left -= 1;
        self.told = prefix.map(str::to_owned);
        prefix.map_or(Step::Item, Step::Prefix)
    }

    /// Where to go on after a row.
    pub fn next(&self, key: &str, place: i64) -> Start {
        match &self.told {
            Some(told) if key.starts_with(told.as_str()) => Start::below(told),
            _ => Start::Behind(key.to_owned(), place),
        }
    }
}

/// The least text that follows another, where no text has a NUL character.
fn just_after(text: &str) -> String {
    format!("{text}\u{1}")
}

/// The least text that follows all that begin with another; none where nothing does.
///
/// Texts sort by their bytes, and UTF-8 by its characters alike, so that the last character is replaced by the next.
fn successor(prefix: &str) -> Option<String> {
    let kept = prefix.trim_end_matches(char::MAX);
    let last = kept.chars().next_back()?;
    let next = if last == '\u{d7ff}' { '\u{e000}' } else { char::from_u32(u32::from(last) + 1)? };
    Some(format!("{}{next}", &kept[..kept.len() - last.len_utf8()]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::{GREATEST, Scope, Start, Step, Walk, successor};

    proptest! {
        #[test]
        fn a_successor_parts_what_begins_with_a_text_from_what_follows(prefix in ".{0,6}", other in any::<String>()) {
            match successor(&prefix) {
                None => prop_assert!(prefix.chars().all(|letter| letter == char::MAX)),
                Some(next) => {
                    let below = other >= prefix && other < next;
                    prop_assert_eq!(below, other.starts_with(&prefix));
                    let below = format!("{}{}", prefix, other);
                    prop_assert!(below < next && below >= prefix);
                }
            }
        }
    }

    #[test]
    fn nothing_is_greater_than_the_greatest() {
        let longest: String = std::iter::repeat_n(char::MAX, 256).collect();
        assert_eq!(longest.len(), 1024);
        assert!(longest.as_str() < GREATEST);
        assert_eq!(successor("\u{d7ff}").as_deref(), Some("\u{e000}"));
    }

    #[test]
    fn a_common_prefix_is_told_once_and_takes_one_place() {
        let scope = Scope { prefix: "a", delimiter: Some("/") };
        let mut walk = Walk::new(scope, 3);
        assert_eq!(walk.step("a"), Step::Item);
        assert_eq!(walk.step("a/1"), Step::Prefix("a/"));
        assert_eq!(walk.step("a/2"), Step::Below);
        assert_eq!(walk.next("a/2", 0), Start::At("a0".to_owned()));
        assert_eq!(walk.step("ab"), Step::Item);
        assert_eq!(walk.step("b"), Step::Full);
    }

    #[test]
    fn a_listing_begins_behind_what_was_told() {
        let scope = Scope { prefix: "p/", delimiter: Some("/") };
        for (after, start) in [
            (None, "p/"),
            (Some("a"), "p/"),
            (Some("p/x"), "p/x\u{1}"),
            (Some("p/x/"), "p/x0"),
            (Some("p/x/y"), "p/x/y\u{1}"),
            (Some("p/x\0/"), "p/x\u{1}"),
        ] {
            assert_eq!(scope.start(after), Start::At(start.to_owned()), "{after:?}");
        }
        assert_eq!(scope.end(), "p0");
    }
}
