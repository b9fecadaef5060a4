//! Globs in which a `*` stands for any text, dots and slashes included.

/// Whether a text matches a glob as a whole. Time is the product of the lengths at worst.
pub fn matches(glob: &str, text: &str) -> bool {
    let mut pieces = glob.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_is_any_text_and_the_rest_is_itself() {
        let table = [
            ("ftp*.example.com", "ftp1.example.com", true),
            ("ftp*.example.com", "ftp.example.com", true),
            ("ftp*.example.com", "ftp.evil.org", false),
            ("ftp*.example.com", "ftp.example.com.evil.org", false),
            ("*", "", true),
            ("", "a", false),
            ("a", "a", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*a", "a", false),
            ("spiffe://*/web", "spiffe://trust/ns/web", true),
        ];
        for (glob, text, expected) in table {
            assert_eq!(matches(glob, text), expected, "{glob} {text}");
        }
    }
}
