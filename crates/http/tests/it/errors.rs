//! `docs/errors.md` has a paragraph for every code, and none for what is no code.

use std::collections::BTreeSet;

use mainstay_domain::command::{FAILURE_CODES, Rejection};

const PAGE: &str = include_str!("../../../../docs/errors.md");
/// What stops a start before there is an API.
const START_CODES: [&str; 1] = ["configuration_invalid"];

#[test]
fn every_code_has_its_paragraph() {
    let codes: BTreeSet<&str> =
        [Rejection::CODES, FAILURE_CODES, mainstay_http::CODES, &START_CODES].into_iter().flatten().copied().collect();
    let mut described = BTreeSet::new();
    for section in PAGE.split("\n### ").skip(1) {
        let (heading, text) = section.split_once('\n').unwrap();
        let code = heading.trim_matches('`');
        assert!(described.insert(code), "{code} has two paragraphs");
        let words = text.split("\n## ").next().unwrap().split_whitespace().count();
        assert!((15..=90).contains(&words), "the paragraph of {code} has {words} words");
    }
    let missing: Vec<_> = codes.difference(&described).collect();
    assert!(missing.is_empty(), "docs/errors.md has no paragraph for {missing:?}: write one for each");
    let unknown: Vec<_> = described.difference(&codes).collect();
    assert!(unknown.is_empty(), "docs/errors.md describes {unknown:?}, which are no codes: remove them");
}
