//! Listings against a naive one.

use std::collections::BTreeSet;

use mainstay_bucket::{BucketName, Versioning};
use mainstay_objects::{ListQuery, Page, VersionsQuery};
use proptest::prelude::{Strategy, any};
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRng, TestRunner};

use crate::harness::{Fixture, put};
use crate::on_both;

/// What a listing must be: every key that is greater than where it begins, rolled up.
fn naive(keys: &BTreeSet<String>, query: &ListQuery) -> (Vec<String>, Vec<String>, Option<String>) {
    let rolled = |key: &str| -> Option<String> {
        let delimiter = query.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty())?;
        let found = key.strip_prefix(&query.prefix)?.find(delimiter)?;
        Some(key[..query.prefix.len() + found + delimiter.len()].to_owned())
    };
    let (mut objects, mut prefixes, mut last) = (Vec::new(), Vec::<String>::new(), None);
    for key in keys.iter().filter(|key| key.starts_with(&query.prefix)) {
        let prefix = rolled(key);
        if let Some(after) = &query.after {
            let told = prefix.as_ref() == Some(after) || key <= after;
            if told || (rolled(after).as_ref() == Some(after) && key.starts_with(after.as_str())) {
                continue;
            }
        }
        if prefix.is_some() && prefixes.last() == prefix.as_ref() {
            continue;
        }
        if objects.len() + prefixes.len() == query.limit {
            return (objects, prefixes, last);
        }
        last = Some(prefix.clone().unwrap_or_else(|| key.clone()));
        match prefix {
            Some(prefix) => prefixes.push(prefix),
            None => objects.push(key.clone()),
        }
    }
    (objects, prefixes, None)
}

fn told(page: &Page) -> (Vec<String>, Vec<String>, Option<String>) {
    let objects = page.objects.iter().map(|(key, _)| key.to_string()).collect();
    (objects, page.prefixes.clone(), page.next.clone())
}

/// Few letters, so that keys share prefixes and have delimiters, and some whose order is easily got wrong.
fn key() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[ab/é\u{ffff}🦀\u{10ffff}%_]{1,6}").unwrap()
}

fn text() -> impl Strategy<Value = Option<String>> {
    proptest::option::of(proptest::string::string_regex("[ab/é🦀\u{10ffff}]{0,3}").unwrap())
}

async fn walk(fixture: &Fixture, bucket: &BucketName, query: &ListQuery) -> (Vec<String>, Vec<String>) {
    let (mut objects, mut prefixes) = (Vec::new(), Vec::new());
    let mut query = query.clone();
    loop {
        let page = fixture.objects.list(bucket, query.clone()).await.unwrap();
        assert!(page.objects.len() + page.prefixes.len() <= query.limit);
        let (more_objects, more_prefixes, next) = told(&page);
        objects.extend(more_objects);
        prefixes.extend(more_prefixes);
        match next {
            Some(next) => query.after = Some(next),
            None => return (objects, prefixes),
        }
    }
}

on_both! {
    async fn a_listing_is_the_naive_one(fixture: Fixture) {
        // Printed, so that a failure can be had again.
        let seed: [u8; 32] = *blake3::hash(&std::process::id().to_le_bytes()).as_bytes();
        println!("seed {seed:?}");
        let rng = TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &seed);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let neighbour = fixture.bucket("neighbour", Versioning::Unversioned).await;
        for round in 0..4 {
            let bucket = fixture.bucket(&format!("bucket-{round}"), Versioning::Unversioned).await;
            let keys = proptest::collection::btree_set(key(), 1..60).new_tree(&mut runner).unwrap().current();
            for key in &keys {
                fixture.put(&bucket, key, b"").await;
                fixture.put(&neighbour, key, b"").await;
            }
            let query = (text(), text(), text(), 0usize..8, any::<bool>());
            for _ in 0..80 {
                let (prefix, delimiter, after, limit, slash) = query.new_tree(&mut runner).unwrap().current();
                let delimiter = if slash { Some("/".to_owned()) } else { delimiter };
                let query = ListQuery { prefix: prefix.unwrap_or_default(), delimiter, after, limit };
                let page = fixture.objects.list(&bucket, query.clone()).await.unwrap();
                assert_eq!(told(&page), naive(&keys, &query), "{query:?} of {keys:?}");
                if query.limit > 0 {
                    let all = naive(&keys, &ListQuery { limit: usize::MAX, ..query.clone() });
                    let walked = walk(&fixture, &bucket, &query).await;
                    assert_eq!(walked, (all.0, all.1), "{query:?} of {keys:?}");
                }
            }
        }
    }

    async fn characters_that_no_key_has_match_nothing(fixture: Fixture) {
        let bucket = fixture.bucket("nul", Versioning::Enabled).await;
        for key in ["a", "a/b", "b"] {
            fixture.put(&bucket, key, b"").await;
        }
        let nul = |prefix: &str, delimiter: &str, after: &str| ListQuery {
            prefix: prefix.to_owned(),
            delimiter: Some(delimiter.to_owned()),
            after: Some(after.to_owned()),
            limit: usize::MAX,
        };
        for (prefix, delimiter, after, found) in [("a\0", "", "", 0), ("", "\0", "", 3), ("", "", "a\0x", 2)] {
            let query = nul(prefix, delimiter, after);
            let versions = VersionsQuery {
                prefix: query.prefix.clone(),
                delimiter: query.delimiter.clone(),
                after: Some((after.to_owned(), Some(mainstay_bucket::VersionId::Null))).filter(|_| !after.is_empty()),
                limit: usize::MAX,
            };
            assert_eq!(fixture.objects.list(&bucket, query).await.unwrap().objects.len(), found);
            assert_eq!(fixture.objects.list_versions(&bucket, versions).await.unwrap().entries.len(), found);
        }
    }

    async fn versions_are_listed_alike_page_by_page(fixture: Fixture) {
        let bucket = fixture.bucket("docs", Versioning::Enabled).await;
        for round in 0..3 {
            for key in ["a/1", "a/2", "b", "c/1", "c/2", "d"] {
                if matches!((round, key), (1, "b") | (2, "d")) {
 fixture.delete(&bucket, key, None).await;
 } else {
 fixture.put(&bucket, key, format!("{round}").as_bytes()).await;
 }
            }
        }
        for delimiter in [None, Some("/".to_owned())] {
            for prefix in ["", "a", "c/"] {
                let all = VersionsQuery { prefix: prefix.to_owned(), delimiter: delimiter.clone(), limit: 100, after: None };
                let whole = fixture.objects.list_versions(&bucket, all.clone()).await.unwrap();
                assert!(whole.next.is_none());
                let latest = whole.entries.iter().filter(|entry| entry.latest).count();
                let keys: BTreeSet<_> = whole.entries.iter().map(|entry| entry.key.clone()).collect();
                assert_eq!(latest, keys.len());
                for limit in 1..5 {
                    let (mut entries, mut prefixes) = (Vec::new(), Vec::new());
                    let mut query = VersionsQuery { limit, ..all.clone() };
                    loop {
                        let page = fixture.objects.list_versions(&bucket, query.clone()).await.unwrap();
                        entries.extend(page.entries);
                        prefixes.extend(page.prefixes);
                        match page.next {
                            Some(next) => query.after = Some(next),
                            None => break,
                        }
                    }
                    assert_eq!((&entries, &prefixes), (&whole.entries, &whole.prefixes), "{limit} {prefix} {delimiter:?}");
                }
            }
        }
        let skipping = VersionsQuery { delimiter: Some("/".to_owned()), limit: 100, ..VersionsQuery::default() };
        let page = fixture.objects.list_versions(&bucket, skipping).await.unwrap();
        assert_eq!(page.prefixes, ["a/", "c/"]);
        assert_eq!(page.entries.len(), 6);
    }

    async fn many_versions_below_a_common_prefix_are_skipped(fixture: Fixture) {
        let bucket = fixture.bucket("docs", Versioning::Enabled).await;
        for prefix in ["a", "b", "c"] {
            let keys: Vec<_> = (0..150).map(|number| format!("{prefix}/{number:03}")).collect();
            let puts = keys.iter().map(|key| put(&fixture.objects, &bucket, key, b"", Default::default()));
            futures::future::try_join_all(puts).await.unwrap();
        }
        fixture.put(&bucket, "b0", b"").await;
        let query = VersionsQuery { delimiter: Some("/".to_owned()), limit: 100, ..VersionsQuery::default() };
        let page = fixture.objects.list_versions(&bucket, query).await.unwrap();
        assert_eq!(page.prefixes, ["a/", "b/", "c/"]);
        assert_eq!(page.entries.len(), 1);
    }
}
