//! What lies below a prefix, a page at a time, however much it is.

use mainstay_storage::Statement;

use crate::barrier::{Barrier, BarrierError};

/// The smallest and the largest page that is asked for. A listing begins small, since a folder with a million entries
/// below it takes one seek and not its whole first page; as long as every row is a new name, pages double.
const PAGES: (usize, usize) = (4, 1000);

impl Barrier {
    /// What is directly below a prefix that ends with `/` (or is empty): entries by their name, and folders, which
    /// end with `/`, in byte order, after one of them, at most `limit`.
    ///
    /// Costs one seek for each folder, however much is below it.
    pub async fn children(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>, BarrierError> {
        let end = end_of(prefix);
        let mut from = after.map_or_else(|| prefix.to_owned(), |child| behind(prefix, child));
        let mut children: Vec<String> = Vec::new();
        let mut size = PAGES.0;
        while children.len() < limit {
            let page = self.page(&from, &end, size.min(limit - children.len() + 1)).await?;
            let asked = page.asked;
            let before = children.len();
            for path in &page.paths {
                let below = &path[prefix.len()..];
                let child = below.find('/').map_or(below, |slash| &below[..=slash]);
                if !child.is_empty() && children.last().is_none_or(|last| last != child) && children.len() < limit {
                    children.push(child.to_owned());
                }
            }
            if page.paths.len() < asked {
                break;
            }
            let all_new = children.len() - before == page.paths.len();
            size = if all_new { (2 * size).min(PAGES.1) } else { PAGES.0 };
            // Where the last is a folder, all else in it is passed over.
            from = children.last().map_or_else(|| format!("{prefix}\u{1}"), |last| behind(prefix, last));
        }
        Ok(children)
    }

    /// The paths of all entries below a prefix, in byte order, after one of them, at most `limit`.
    pub async fn paths(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>, BarrierError> {
        let end = end_of(prefix);
        let mut paths: Vec<String> = Vec::new();
        let mut from = match after {
            Some(after) if after >= prefix => format!("{after}\u{1}"),
            _ => prefix.to_owned(),
        };
        while paths.len() < limit {
            let page = self.page(&from, &end, PAGES.1.min(limit - paths.len())).await?;
            let more = page.paths.len() == page.asked;
            paths.extend(page.paths);
            match paths.last() {
                Some(last) if more => from = format!("{last}\u{1}"),
                _ => break,
            }
        }
        Ok(paths)
    }

    /// The first paths in a range.
    async fn page(&self, from: &str, end: &str, asked: usize) -> Result<Page, BarrierError> {
        if self.inner.is_sealed() {
            return Err(BarrierError::Sealed);
        }
        let select = "SELECT path FROM entries WHERE path >= $1 AND path < $2 ORDER BY path LIMIT $3";
        let statement = Statement::new(select, [from.into(), end.into(), (asked as i64).into()]);
        let rows = self.inner.store.read(statement).await.map_err(BarrierError::Read)?;
        let paths = rows.iter().map(|row| row.text(0).map(str::to_owned)).collect::<Result<_, _>>();
        Ok(Page { asked, paths: paths.map_err(BarrierError::Read)? })
    }
}

struct Page {
    asked: usize,
    paths: Vec<String>,
}

/// The least text that is behind everything that begins with a prefix.
fn end_of(prefix: &str) -> String {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        // The character after it, in the order of UTF-8's bytes, which is that of code points.
        if let Some(next) = (last..=char::MAX).nth(1) {
            characters.push(next);
            return characters.into_iter().collect();
        }
    }
    // Behind every path: none begins with a character that is not one.
    char::MAX.to_string()
}

/// The least text that is behind a child: behind everything in it where it is a folder. No path holds a NUL.
fn behind(prefix: &str, child: &str) -> String {
    let path = format!("{prefix}{child}");
    if child.ends_with('/') { end_of(&path) } else { format!("{path}\u{1}") }
}

#[cfg(test)]
mod tests {
    use super::{behind, end_of};

    #[test]
    fn a_range_ends_behind_all_that_begins_with_its_prefix() {
        for (prefix, end) in
            [("a/", "a0"), ("a", "b"), ("", "\u{10ffff}"), ("a\u{10ffff}", "b"), ("\u{d7ff}", "\u{e000}")]
        {
            assert_eq!(end_of(prefix), end, "{prefix:?}");
        }
        assert_eq!(behind("x/", "folder/"), "x/folder0");
        assert_eq!(behind("x/", "entry"), "x/entry\u{1}");
        assert!("x/entry-2" > "x/entry\u{1}" && "x/entry/" > "x/entry\u{1}");
    }
}
