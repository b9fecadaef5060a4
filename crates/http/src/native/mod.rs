//! The native API, `/api/v1`: one file for each kind of resource.

mod backups;
mod bindings;
mod clusters;
mod custody;
mod drills;
mod events;
mod evidence;
mod instances;
mod offerings;
mod operations;
mod page;
mod recovery;
mod recovery_policy;
mod scrub;
mod status;
mod subject;
mod tokens;

use std::future::Future;

use mainstay_control::{Accepted, SubmitError};
use mainstay_domain::command::Rejection;
use utoipa_axum::router::OpenApiRouter;

use crate::api::Api;

/// How often a request draws other ids when the ones it drew are taken. Once is already all but impossible.
const DRAWS: u32 = 3;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .merge(offerings::routes())
        .merge(instances::routes())
        .merge(bindings::routes())
        .merge(backups::routes())
        .merge(drills::routes())
        .merge(evidence::routes())
        .merge(recovery_policy::routes())
        .merge(clusters::routes())
        .merge(operations::routes())
        .merge(events::routes())
        .merge(tokens::routes())
        .merge(custody::routes())
        .merge(recovery::routes())
        .merge(scrub::routes())
        .merge(status::routes())
}

/// Submits what a closure makes with freshly drawn ids, again if one of them is taken.
async fn submit_drawn<F>(mut submit: impl FnMut() -> F) -> Result<Accepted, SubmitError>
where
    F: Future<Output = Result<Accepted, SubmitError>>,
{
    for _ in 1..DRAWS {
        match submit().await {
            Err(SubmitError::Rejected(Rejection::IdTaken)) => {}
            answer => return answer,
        }
    }
    submit().await
}
