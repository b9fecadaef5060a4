//! What a batch of commits comes to: pure, so that the rules stand in one place and are tested without a store.

use std::collections::HashMap;

use crate::barrier::{Change, Expect};

/// One path that a batch changes.
pub(crate) struct Decided<'a> {
    /// The revision that the last change of the path has, its removal too.
    pub revision: u64,
    /// The value after the batch; none where the entry is then not there.
    pub value: Option<&'a [u8]>,
}

/// What becomes of a batch.
pub(crate) struct Decision<'a> {
    /// For each commit in its order, the path that was not as it expected.
    pub conflicts: Vec<Option<&'a str>>,
    /// What is changed by those that were as they expected.
    pub changes: HashMap<&'a str, Decided<'a>>,
    /// The newest revision after the batch.
    pub counter: u64,
}

/// Carries commits out one after the other, each whole or not at all, each on what the ones before it left.
///
/// `current` gives the revision of an entry before the batch.
pub(crate) fn decide<'a>(
    commits: impl IntoIterator<Item = &'a [Change]>,
    mut counter: u64,
    current: impl Fn(&str) -> Option<u64>,
) -> Decision<'a> {
    let mut changes: HashMap<&str, Decided<'_>> = HashMap::new();
    let mut conflicts = Vec::new();
    for commit in commits {
        let revision = |path: &str| match changes.get(path) {
            Some(changed) => changed.value.map(|_| changed.revision),
            None => current(path),
        };
        let unexpected = commit.iter().find(|change| match change.expect {
            Expect::Anything => false,
            Expect::Absent => revision(&change.path).is_some(),
            Expect::Revision(expected) => revision(&change.path) != Some(expected),
        });
        conflicts.push(unexpected.map(|change| change.path.as_str()));
        if unexpected.is_some() {
            continue;
        }
        for change in commit {
            counter += 1;
            let value = change.value.as_ref().map(|value| value.as_slice());
            changes.insert(&change.path, Decided { revision: counter, value });
        }
    }
    Decision { conflicts, changes, counter }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::decide;
    use crate::barrier::{Change, Expect};

    fn put(path: &str, expect: Expect, value: &str) -> Change {
        Change { path: path.to_owned(), expect, value: Some(Zeroizing::new(value.as_bytes().to_vec())) }
    }

    fn delete(path: &str, expect: Expect) -> Change {
        Change { path: path.to_owned(), expect, value: None }
    }

    /// A batch on a store that holds `a` at revision 7, at position 9.
    fn check(commits: &[Vec<Change>], conflicts: &[Option<&str>], changes: &[(&str, u64, Option<&str>)], counter: u64) {
        let current = |path: &str| (path == "a").then_some(7);
        let decision = decide(commits.iter().map(Vec::as_slice), 9, current);
        assert_eq!(decision.conflicts, conflicts);
        let mut found: Vec<_> =
            decision.changes.iter().map(|(path, decided)| (*path, decided.revision, decided.value)).collect();
        found.sort_unstable();
        let expected: Vec<_> =
            changes.iter().map(|(path, revision, value)| (*path, *revision, value.map(str::as_bytes))).collect();
        assert_eq!(found, expected);
        assert_eq!(decision.counter, counter);
    }

    #[test]
    fn expectations_are_of_what_the_commits_before_left() {
        check(&[vec![put("a", Expect::Revision(7), "x")]], &[None], &[("a", 10, Some("x"))], 10);
        check(&[vec![put("a", Expect::Revision(6), "x")]], &[Some("a")], &[], 9);
        check(&[vec![put("a", Expect::Absent, "x")]], &[Some("a")], &[], 9);
        check(&[vec![put("b", Expect::Revision(7), "x")]], &[Some("b")], &[], 9);
        check(
            &[vec![put("b", Expect::Absent, "one")], vec![put("b", Expect::Absent, "two")]],
            &[None, Some("b")],
            &[("b", 10, Some("one"))],
            10,
        );
        check(
            &[vec![put("a", Expect::Revision(7), "x")], vec![put("a", Expect::Revision(10), "y")]],
            &[None, None],
            &[("a", 11, Some("y"))],
            11,
        );
        check(
            &[vec![delete("a", Expect::Revision(7))], vec![put("a", Expect::Absent, "again")]],
            &[None, None],
            &[("a", 11, Some("again"))],
            11,
        );
        check(
            &[vec![delete("a", Expect::Anything)], vec![delete("b", Expect::Absent)]],
            &[None, None],
            &[("a", 10, None), ("b", 11, None)],
            11,
        );
    }

    #[test]
    fn a_commit_is_whole_or_not_at_all_and_fails_alone() {
        check(
            &[
                vec![put("b", Expect::Absent, "x"), put("a", Expect::Absent, "x")],
                vec![put("b", Expect::Absent, "y"), put("c", Expect::Anything, "y")],
            ],
            &[Some("a"), None],
            &[("b", 10, Some("y")), ("c", 11, Some("y"))],
            11,
        );
    }
}
