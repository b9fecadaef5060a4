//! Lists: in stable order, a page at a time.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::openapi::schema::{ArrayBuilder, Schema, SchemaType};
use utoipa::openapi::{ObjectBuilder, Ref, RefOr, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::input::{PageParams, page_size};

/// A part of a list.
///
/// In the document a page of instances is an `InstanceList`, as people write clients by these names.
#[derive(Debug, Serialize)]
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

impl<T: ToSchema> PartialSchema for Page<T> {
    fn schema() -> RefOr<Schema> {
        let next = ObjectBuilder::new()
            .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
            .description(Some("What to send as `after` for the next page; null on the last one."));
        ObjectBuilder::new()
            .description(Some("A part of a list, in stable order."))
            .property("items", ArrayBuilder::new().items(Ref::from_schema_name(T::name())))
            .required("items")
            .property("next", next)
            .required("next")
            .into()
    }
}

impl<T: ToSchema> ToSchema for Page<T> {
    fn name() -> Cow<'static, str> {
        Cow::Owned(format!("{}List", T::name()))
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(schemas);
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
