//! What an operation or an event is about.

use mainstay_domain::event::{Subject, SubjectKind};
use serde::Serialize;
use utoipa::ToSchema;

/// What an operation works on, or an event happened to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Subject)]
pub(super) struct SubjectBody {
    /// `instance`, `cluster`, `binding`, `operation`, `token`, `custody`, `object` or `content`.
    #[schema(value_type = String, example = "instance")]
    kind: SubjectKind,
    /// The name of an instance or a cluster, the id of anything else.
    #[schema(example = "shop")]
    id: String,
}

impl From<Subject> for SubjectBody {
    fn from(Subject { kind, id }: Subject) -> Self {
        Self { kind, id }
    }
}
