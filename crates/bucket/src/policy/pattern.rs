//! Text with wildcards.

/// Text in which `*` stands for any text and `?` for any one character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(String);

impl Pattern {
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole of a text is of this form. The time that it takes grows with the product of both lengths at
    /// most: only the last `*` is ever come back to.
    pub(super) fn matches(&self, text: &str) -> bool {
        let pattern: Vec<char> = self.0.chars().collect();
        let text: Vec<char> = text.chars().collect();
        let (mut at, mut seen) = (0, 0);
        let mut star: Option<(usize, usize)> = None;
        while seen < text.len() {
            match pattern.get(at) {
                Some('*') => {
                    star = Some((at, seen));
                    at += 1;
                }
                Some(&character) if character == '?' || character == text[seen] => {
                    at += 1;
                    seen += 1;
                }
                _ => match &mut star {
                    Some((after, until)) => {
                        *until += 1;
                        at = *after + 1;
                        seen = *until;
                    }
                    None => return false,
                },
            }
        }
        pattern[at..].iter().all(|&character| character == '*')
    }

    /// Whether some text that begins so is of this form.
    pub(super) fn matches_some_after(&self, start: &str) -> bool {
        // All places of the pattern that the text so far can have led to.
        let pattern: Vec<char> = self.0.chars().collect();
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
        fn matching_is_as_defined(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            let characters = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = by_definition(&characters(&pattern), &characters(&text));
            prop_assert_eq!(Pattern::new(&pattern).matches(&text), expected);
            // Whatever matches begins in a way that some matching text begins.
            for end in 0..=text.len() {
                prop_assert_eq!(true, !expected || Pattern::new(&pattern).matches_some_after(&text[..end]));
            }
        }
    }
}
