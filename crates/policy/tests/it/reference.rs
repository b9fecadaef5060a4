//! The matcher against another one, which tries every rule letter by letter and sorts all that match.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use mainstay_policy::{Acl, Operation};
use proptest::prelude::{Strategy, prop_assert_eq, proptest};

use crate::{allowed, policy};

#[derive(Debug, Clone)]
struct Rule {
    pattern: String,
    capabilities: BTreeSet<&'static str>,
}

/// Whether a pattern matches a path, letter by letter.
fn matches(pattern: &[u8], path: &[u8], segment_begins: bool) -> bool {
    match pattern {
        [] => path.is_empty(),
        [b'*'] => true,
        [b'+', rest @ ..] if segment_begins && (rest.is_empty() || rest[0] == b'/') => {
            let end = path.iter().position(|letter| *letter == b'/').unwrap_or(path.len());
            matches(rest, &path[end..], false)
        }
        [letter, rest @ ..] => path.first() == Some(letter) && matches(rest, &path[1..], *letter == b'/'),
    }
}

fn is_exact(pattern: &str) -> bool {
    !pattern.ends_with('*') && pattern != "+" && !pattern.starts_with("+/") && !pattern.contains("/+")
}

/// Vault's documentation: P1 has the lower priority if its first wildcard is earlier, else if it ends in *, else if it
/// has more wildcard segments, else if it is shorter, else if it is smaller.
fn compare(one: &str, other: &str) -> Ordering {
    let has_plus = |pattern: &str| pattern == "+" || pattern.starts_with("+/") || pattern.contains("/+");
    let first = |pattern: &str| {
        let star = pattern.len() - 1;
        if has_plus(pattern) { pattern.find('+').unwrap_or(star) } else { star }
    };
    let pluses = |pattern: &str| pattern.trim_end_matches('*').split('/').filter(|segment| *segment == "+").count();
    let body = |pattern: &str| pattern.strip_suffix('*').unwrap_or(pattern).to_owned();
    (first(one).cmp(&first(other)))
        .then(other.ends_with('*').cmp(&one.ends_with('*')))
        .then(pluses(other).cmp(&pluses(one)))
        .then(body(one).len().cmp(&body(other).len()))
        .then(body(one).cmp(&body(other)))
}

/// The capabilities of the pattern that counts, out of all rules for it.
fn decide(rules: &[Rule], path: &str, is_list: bool) -> Option<BTreeSet<&'static str>> {
    let total = |pattern: &str| -> BTreeSet<&'static str> {
        let same = rules.iter().filter(|rule| rule.pattern == pattern);
        let all: BTreeSet<_> = same.flat_map(|rule| rule.capabilities.iter().copied()).collect();
        if all.contains("deny") { BTreeSet::from(["deny"]) } else { all }
    };
    let exact =
        |path: &str| rules.iter().any(|rule| is_exact(&rule.pattern) && rule.pattern == path).then(|| total(path));
    let wildcard = |path: &str| {
        let fit = rules.iter().map(|rule| rule.pattern.as_str()).filter(|pattern| !is_exact(pattern));
        let fit = fit.filter(|pattern| matches(pattern.as_bytes(), path.as_bytes(), true));
        fit.max_by(|one, other| compare(one, other)).map(total)
    };
    let path = path.trim_start_matches('/');
    let folder = path.strip_suffix('/').filter(|_| is_list);
    let exact = exact(path).or_else(|| exact(folder?));
    exact.or_else(|| {
        let (without, with) = (folder.and_then(wildcard), wildcard(path));
        let denial = [&without, &with].into_iter().flatten().find(|found| found.contains("deny")).cloned();
        denial.or(without).or(with)
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    let capability = proptest::sample::select(vec!["create", "read", "update", "patch", "delete", "list", "sudo"]);
    let capabilities = proptest::collection::btree_set(capability, 0..4);
    let capabilities = (capabilities, proptest::bool::weighted(0.2)).prop_map(|(mut capabilities, denies)| {
        if denies {
            capabilities.insert("deny");
        }
        capabilities
    });
    let pattern = "([ab+]{0,2}/){0,3}[ab+]{0,2}\\*{0,1}".prop_map(|pattern: String| {
        let pattern = pattern.trim_start_matches('/');
        pattern.replace("+*", "+")
    });
    (pattern, capabilities).prop_map(|(pattern, capabilities)| Rule { pattern, capabilities })
}

fn text(rules: &[Rule]) -> String {
    let rules =
        rules.iter().map(|rule| format!("path {:?} {{ capabilities = {:?} }}\n", rule.pattern, rule.capabilities));
    rules.map(|rule| rule.replace("= {", "= [").replacen("} }", "] }", 1)).collect()
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(4_000))]

    #[test]
    fn the_matcher_decides_as_the_reference_does(
        rules in proptest::collection::vec(rule(), 0..12),
        split in 0_usize..12,
        path in "([ab+*]{0,2}/){0,4}[ab]{0,2}",
    ) {
        let (one, other) = rules.split_at(split.min(rules.len()));
        let acl = Acl::new([policy(&text(one)), policy(&text(other))]);
        let operations = [
            (Operation::Create, "create"),
            (Operation::Read, "read"),
            (Operation::Update, "update"),
            (Operation::Patch, "patch"),
            (Operation::Delete, "delete"),
            (Operation::List, "list"),
        ];
        for (operation, capability) in operations {
            let decided = decide(&rules, &path, operation == Operation::List);
            let expected = decided.is_some_and(|capabilities| capabilities.contains(capability));
            prop_assert_eq!(allowed(&acl, operation, &path), expected, "{:?} {}", operation, &path);
        }
        let listed = decide(&rules, &path, true).filter(|capabilities| !capabilities.is_empty());
        let listed: Vec<_> = listed.unwrap_or_else(|| BTreeSet::from(["deny"])).into_iter().collect();
        prop_assert_eq!(acl.capabilities(&path), listed);
    }

    /// Whatever is written, the reader answers.
    #[test]
    fn no_text_breaks_the_reader(text in "[a-c{}\\[\\]\"=,#/*\\\\ \n0-9.+_-]{0,80}") {
        let name = mainstay_policy::PolicyName::parse("test").expect("a name");
        let _ = mainstay_policy::Policy::parse(name, &text);
    }
}
