//! Lists: in stable order, a page at a time.

use serde::Serialize;
use utoipa::ToSchema;

use crate::input::{PageParams, page_size};

/// A part of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// What to send as `after` for the next page; null on the last one.
    pub(super) next: Option<String>,
}

impl<T> Page<T> {
    /// The page that the parameters ask for, of items that come in the order of their cursors.
    pub(super) fn of(items: impl Iterator<Item = T>, params: &PageParams, cursor: impl Fn(&T) -> String) -> Self {
        let limit = page_size(params.limit);
        let after = params.after.as_deref();
        let mut rest = items.skip_while(|item| after.is_some_and(|after| cursor(item).as_str() <= after));
        let items: Vec<T> = rest.by_ref().take(limit).collect();
        let next = rest.next().and(items.last()).map(cursor);
        Self { items, next }
    }
}

#[cfg(test)]
mod tests {
    use super::Page;
    use crate::input::PageParams;

    #[test]
    fn pages_follow_one_another_to_the_end() {
        let names = ["a", "b", "c", "d", "e"];
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let params = PageParams { limit: Some(2), after: after.take() };
            let page = Page::of(names.into_iter(), &params, |name| name.to_string());
            seen.push(page.items);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, [vec!["a", "b"], vec!["c", "d"], vec!["e"]]);
    }
}
