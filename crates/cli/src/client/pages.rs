//! Lists, which the API answers page by page.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Client;
use crate::failure::Failure;

/// How many things one page is asked for.
const PAGE: &str = "500";

/// How many pages are followed at most: five million things, more than anybody reads.
const MOST_PAGES: u32 = 10_000;

/// The pages of a list, one after another, each as the JSON texts of its items.
pub(crate) struct Pages<'a> {
    client: &'a Client,
    path: &'a str,
    query: &'a [(&'a str, &'a str)],
    /// The cursor of the next page; none before the first one.
    after: Option<String>,
    left: u32,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Box<RawValue>>,
    #[serde(default)]
    next: Option<Cursor>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Cursor {
    Text(String),
    /// Of the journal, whose cursor is a sequence number.
    Number(u64),
}

// === impl Pages ===

impl<'a> Pages<'a> {
    pub fn new(client: &'a Client, path: &'a str, query: &'a [(&'a str, &'a str)]) -> Self {
        Self { client, path, query, after: None, left: MOST_PAGES }
    }

    /// The whole list as the API would answer it in one page.
    pub fn collect(self) -> Result<String, Failure> {
        let mut all: Vec<Box<RawValue>> = Vec::new();
        for page in self {
            all.extend(page?);
        }
        let items: Vec<&str> = all.iter().map(|item| item.get()).collect();
        Ok(format!(r#"{{"items":[{}],"next":null}}"#, items.join(",")))
    }

    fn read(&mut self) -> Result<Vec<Box<RawValue>>, Failure> {
        let mut query: Vec<(&str, &str)> = vec![("limit", PAGE)];
        // The cursor of a later page takes the place of where the list was to begin.
        query.extend(self.query.iter().filter(|(name, _)| self.after.is_none() || *name != "after"));
        query.extend(self.after.as_deref().map(|after| ("after", after)));
        let answer = self.client.get(self.path, &query)?;
        let page: Page = serde_json::from_str(&answer).map_err(Failure::NotUnderstood)?;
        let next = page.next.map(|cursor| match cursor {
            Cursor::Text(text) => text,
            Cursor::Number(number) => number.to_string(),
        });
        // A cursor that stands still would be followed for ever. A page may be empty because others' things were passed over.
        let ended = next.is_none() || next == self.after;
        self.left = if ended { 0 } else { self.left - 1 };
        self.after = next;
        Ok(page.items)
    }
}

impl Iterator for Pages<'_> {
    type Item = Result<Vec<Box<RawValue>>, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let page = self.read();
        if page.is_err() {
            self.left = 0;
        }
        Some(page)
    }
}
