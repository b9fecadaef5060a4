//! The paths that a rule is for.

use std::cmp::Reverse;

/// Which paths a rule is for.
///
/// Ordered by kind and text, so that prefixes come in byte order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pattern {
    /// This path alone.
    Exact(Box<str>),
    /// All paths that begin so: the text before the `*` at the end.
    Prefix(Box<str>),
    Segments(Segments),
}

/// A pattern with segments that may be anything: `secret/+/config`, `+/metadata/*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Segments {
    /// As it was written, without a `*` at the end.
    text: Box<str>,
    /// Whether there was a `*` at the end.
    is_prefix: bool,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    /// `+`
    Any,
    Literal(Box<str>),
}

/// How much a pattern counts against others that match the same path; the greatest counts.
///
/// Vault's rules, in their order: the one whose first `+` or `*` comes later; the one that does not end with `*`; the
/// one with fewer `+`; the longer one; the one that is greater as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Priority<'a> {
    first_wildcard: usize,
    is_whole: bool,
    wildcards: Reverse<usize>,
    length: usize,
    text: &'a str,
}

impl Pattern {
    /// Reads the path of a rule; none where a `*` follows a `+`, which would say the same thing twice.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        // The API's paths begin after the slash.
        let path = path.strip_prefix('/').unwrap_or(path);
        if path.contains("+*") {
            return None;
        }
        let before_star = path.strip_suffix('*');
        let text: Box<str> = before_star.unwrap_or(path).into();
        if path == "+" || path.starts_with("+/") || path.contains("/+") {
            let segments = text.split('/').map(|segment| match segment {
                "+" => Segment::Any,
                literal => Segment::Literal(literal.into()),
            });
            let segments = segments.collect();
            return Some(Self::Segments(Segments { text, is_prefix: before_star.is_some(), segments }));
        }
        Some(if before_star.is_some() { Self::Prefix(text) } else { Self::Exact(text) })
    }
}

impl Segments {
    pub(crate) fn matches(&self, path: &str) -> bool {
        let mut parts = path.split('/');
        let last = self.segments.len() - 1;
        let begins_so = self.segments.iter().enumerate().all(|(index, segment)| {
            let Some(part) = parts.next() else { return false };
            segment.matches(part, self.is_prefix && index == last)
        });
        begins_so && (self.is_prefix || parts.next().is_none())
    }

    /// Whether it may match something at or below a mount, whose path ends with a slash.
    pub(crate) fn reaches_below(&self, mount: &str) -> bool {
        let last = self.segments.len() - 1;
        let mut segments = self.segments.iter().enumerate();
        mount.trim_end_matches('/').split('/').all(|part| {
            let Some((index, segment)) = segments.next() else { return false };
            segment.matches(part, self.is_prefix && index == last)
        })
    }

    pub(crate) fn priority(&self) -> Priority<'_> {
        let wildcards = self.segments.iter().filter(|segment| **segment == Segment::Any).count();
        Priority {
            // The first plus sign, even where it is a letter of a name: that is how Vault counts.
            first_wildcard: self.text.find('+').unwrap_or(self.text.len()),
            is_whole: !self.is_prefix,
            wildcards: Reverse(wildcards),
            length: self.text.len(),
            text: &self.text,
        }
    }
}

impl Segment {
    fn matches(&self, part: &str, may_go_on: bool) -> bool {
        match self {
            Self::Any => true,
            Self::Literal(literal) if may_go_on => part.starts_with(&**literal),
            Self::Literal(literal) => part == &**literal,
        }
    }
}

impl<'a> Priority<'a> {
    /// How much a prefix counts.
    pub(crate) fn of_prefix(prefix: &'a str) -> Self {
        let length = prefix.len();
        Self { first_wildcard: length, is_whole: false, wildcards: Reverse(0), length, text: prefix }
    }
}
