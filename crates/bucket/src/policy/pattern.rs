//! Text with wildcards.

/// Text in which `*` stands for any text and `?` for any one character, taken apart once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    text: String,
    /// What stands before, between and behind the stars.
    parts: Vec<Part>,
}

/// Text in which `?` stands for any one character.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Characters(Vec<char>),
}

impl Pattern {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), parts: text.split('*').map(Part::new).collect() }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the whole of a text is of this form. The time that it takes grows with the product of both lengths at most: where a
    /// part between two stars fits first, it may stay, for whatever follows has the most room then.
    pub(super) fn matches(&self, text: &str) -> bool {
        let Some((first, rest)) = self.parts.split_first() else { return false };
        let Some(end) = first.at_start_of(text) else { return false };
        let mut left = &text[end..];
        let Some((last, between)) = rest.split_last() else { return left.is_empty() };
        for part in between {
            let Some(end) = part.end_in(left) else { return false };
            left = &left[end..];
        }
        last.is_at_end_of(left)
    }

    /// Whether some text that begins so is of this form.
    pub(super) fn matches_some_after(&self, start: &str) -> bool {
        // All places of the pattern that the text so far can have led to.
        let pattern: Vec<char> = self.text.chars().collect();
        let mut places = vec![false; pattern.len() + 1];
        places[0] = true;
        skip_stars(&pattern, &mut places);
        for character in start.chars() {
            let mut next = vec![false; pattern.len() + 1];
            for place in (0..pattern.len()).filter(|&place| places[place]) {
                match pattern[place] {
                    '*' => next[place] = true,
                    wanted if wanted == '?' || wanted == character => next[place + 1] = true,
                    _ => {}
                }
            }
            skip_stars(&pattern, &mut next);
            places = next;
        }
        places.contains(&true)
    }
}

impl Part {
    fn new(text: &str) -> Self {
        if text.contains('?') { Self::Characters(text.chars().collect()) } else { Self::Text(text.to_owned()) }
    }

    /// How much of a text that begins so this is, in bytes.
    fn at_start_of(&self, text: &str) -> Option<usize> {
        match self {
            Self::Text(part) => text.starts_with(part.as_str()).then_some(part.len()),
            Self::Characters(part) => {
                let mut characters = text.char_indices();
                let fits =
                    |wanted: &char| characters.next().is_some_and(|(_, found)| *wanted == '?' || *wanted == found);
                part.iter().all(fits).then(|| text.len() - characters.as_str().len())
            }
        }
    }

    /// Where this ends in a text the first time that it stands there, in bytes.
    fn end_in(&self, text: &str) -> Option<usize> {
        match self {
            Self::Text(part) => text.find(part.as_str()).map(|at| at + part.len()),
            Self::Characters(_) => {
                text.char_indices().find_map(|(at, _)| self.at_start_of(&text[at..]).map(|length| at + length))
            }
        }
    }

    fn is_at_end_of(&self, text: &str) -> bool {
        match self {
            Self::Text(part) => text.ends_with(part.as_str()),
            Self::Characters(part) => {
                let start = part.len().checked_sub(1).and_then(|last| text.char_indices().nth_back(last));
                start.is_some_and(|(at, _)| self.at_start_of(&text[at..]).is_some())
            }
        }
    }
}

/// A `*` can stand for nothing.
fn skip_stars(pattern: &[char], places: &mut [bool]) {
    for place in 0..pattern.len() {
        if places[place] && pattern[place] == '*' {
            places[place + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, prop_assert_eq, proptest};

    use super::Pattern;

    #[test]
    fn wildcards() {
        let cases = [
            ("*", "", true),
            ("*", "a/b", true),
            ("?", "", false),
            ("?", "ä", true),
            ("a*c", "abbc", true),
            ("a*c", "abbcd", false),
            ("a*b*c", "a-b-b-c", true),
            ("a?c", "abc", true),
            ("**", "x", true),
            ("a*", "b", false),
            ("", "", true),
            ("", "a", false),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(Pattern::new(pattern).matches(text), expected, "{pattern:?} {text:?}");
        }
        assert!(Pattern::new("*/secret").matches_some_after("bucket/"));
        assert!(Pattern::new("bucket/*").matches_some_after("bucket/"));
        assert!(Pattern::new("bucket/a").matches_some_after("bucket/"));
        assert!(!Pattern::new("other/*").matches_some_after("bucket/"));
        assert!(!Pattern::new("bucket").matches_some_after("bucket/"));
    }

    #[test]
    fn a_hostile_pattern_takes_no_exponential_time() {
        let pattern = Pattern::new(&format!("{}b", "*a".repeat(500)));
        assert!(!pattern.matches(&"a".repeat(1024)));
        assert!(pattern.matches_some_after(&"a".repeat(1024)));
    }

    /// What a pattern means, said as simply as can be.
    fn by_definition(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => {
                by_definition(rest, text) || text.split_first().is_some_and(|(_, tail)| by_definition(pattern, tail))
            }
            (Some((wanted, rest)), Some((found, tail))) => {
                (*wanted == '?' || wanted == found) && by_definition(rest, tail)
            }
            _ => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn matching_is_as_defined(pattern in "[aä*?]{0,8}", text in "[aä]{0,8}") {
            let characters = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = by_definition(&characters(&pattern), &characters(&text));
            prop_assert_eq!(Pattern::new(&pattern).matches(&text), expected);
            // Whatever matches begins in a way that some matching text begins.
            for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
                prop_assert_eq!(true, !expected || Pattern::new(&pattern).matches_some_after(&text[..end]));
            }
        }
    }
}
