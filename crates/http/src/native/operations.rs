//! Operations: long work, which can be watched.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use mainstay_control::{Accepted, Doing};
use mainstay_domain::event::OperationKind;
use mainstay_domain::view::{Operation, OperationState, Step, StepState, View};
use mainstay_types::OperationId;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page::Page;
use super::subject::SubjectBody;
use crate::api::{Api, ApiState};
use crate::caller::Caller;
use crate::input::{At, PageParams, Params};
use crate::problem::{Code, Problem};
use crate::serve::Stopping;

/// One piece of long work that somebody asked for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Operation)]
pub(super) struct OperationBody {
    id: String,
    /// `create-instance`, `move-instance`, `delete-instance`, `create-binding`, `rotate-binding` or `delete-binding`.
    #[schema(value_type = String, example = "create-instance")]
    kind: OperationKind,
    subject: SubjectBody,
    /// `in progress`, `succeeded` or `failed`.
    state: &'static str,
    /// How much of it is done, in percent.
    #[schema(maximum = 100)]
    progress: u8,
    steps: Vec<StepBody>,
    /// What is being done just now, where that can be watched: in backups, restores and drills.
    #[serde(skip_serializing_if = "Option::is_none")]
    doing: Option<DoingBody>,
    /// What came of it, where that needs saying: for how long the writes to an instance waited while it was moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "writes waited for 40 ms")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorBody>,
    #[schema(format = DateTime)]
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    finished_at: Option<String>,
}

/// One part of an operation's work.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OperationStep)]
struct StepBody {
    #[schema(example = "start the cluster")]
    name: &'static str,
    /// `pending`, `in progress`, `succeeded` or `failed`.
    #[schema(value_type = String, example = "in progress")]
    state: StepState,
}

/// What is being done just now. It begins anew when the control plane does.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OperationDoing)]
struct DoingBody {
    /// As people read it.
    #[schema(example = "copying the cluster")]
    stage: String,
    /// Bytes that were copied so far, in all stages.
    bytes_done: u64,
    /// About how many there are, where an earlier backup tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_expected: Option<u64>,
}

/// Why an operation failed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OperationError)]
struct ErrorBody {
    /// The stable code that programs go by, as in a problem document.
    #[schema(example = "cluster_failed")]
    code: String,
    /// What is wrong and what to do.
    detail: String,
}

type OperationList = Page<OperationBody>;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get))
}

/// Lists the tenant's operations that are in progress, and those that finished last.
#[utoipa::path(
    get, path = "/operations", operation_id = "list_operations", tag = "operations", params(PageParams),
    responses((status = 200, description = "A page of operations.", body = OperationList))
)]
async fn list(State(api): ApiState, caller: Caller, Params(params): Params<PageParams>) -> Json<OperationList> {
    let view = api.control.view();
    let own = view.operations().filter(|operation| operation.tenant == caller.tenant);
    Json(Page::of(own.map(|operation| body(&api, &view, operation)), &params, |operation| operation.id.clone()))
}

/// Shows an operation.
#[utoipa::path(
    get, path = "/operations/{id}", operation_id = "get_operation", tag = "operations",
    params(("id" = String, Path, description = "The operation's id.")),
    responses((status = 200, description = "The operation.", body = OperationBody))
)]
async fn get(State(api): ApiState, caller: Caller, At(id): At<OperationId>) -> Result<Json<OperationBody>, Problem> {
    let view = api.control.view();
    let operation = view.operation(&id).filter(|operation| operation.tenant == caller.tenant);
    let operation = operation.ok_or_else(|| {
        Problem::new(Code::OperationNotFound, "no operation has this id, or it finished long ago")
            .remedy("its outcome is in the events: mainstay events")
    })?;
    Ok(Json(body(&api, &view, operation)))
}

/// The answer to a command that long work follows from: the operation, finished or not.
pub(super) async fn answer(
    api: &Api,
    accepted: Accepted,
    wait: Option<Duration>,
    mut stopping: Stopping,
) -> Result<Response, Problem> {
    let Some(id) = accepted.operation else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    if let Some(wait) = wait {
        // Whether it finished in time the answer tells; that it did not is no error.
        tokio::select! {
            _ = api.control.wait_for(&id, wait) => {}
            () = stopping.begun() => {}
        }
    }
    let view = api.control.view();
    let operation = view.operation(&id).ok_or_else(|| {
        Problem::new(Code::OperationNotFound, "the operation is no longer remembered")
            .remedy("its outcome is in the events: mainstay events")
    })?;
    let status = if operation.is_finished() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let location = [(header::LOCATION, format!("/api/v1/operations/{id}"))];
    Ok((status, location, Json(body(api, &view, operation))).into_response())
}

fn body(api: &Api, view: &View, operation: &Operation) -> OperationBody {
    let doing = api.control.doing(operation).filter(|_| !operation.is_finished());
    let steps = operation.steps(view);
    let done = steps.iter().filter(|step| step.state == StepState::Succeeded).count();
    let (state, error) = match &operation.state {
        OperationState::InProgress => ("in progress", None),
        OperationState::Succeeded => ("succeeded", None),
        OperationState::Failed { code, detail } => {
            ("failed", Some(ErrorBody { code: code.clone(), detail: detail.clone() }))
        }
    };
    OperationBody {
        id: operation.id.to_string(),
        kind: operation.kind,
        subject: operation.subject.clone().into(),
        state,
        progress: ((100 * done + doing.as_ref().map_or(0, percent)) / steps.len().max(1)) as u8,
        steps: steps.into_iter().map(|Step { name, state }| StepBody { name, state }).collect(),
        doing: doing.map(|Doing { stage, bytes_done, bytes_expected }| DoingBody { stage, bytes_done, bytes_expected }),
        detail: operation.detail.clone(),
        error,
        created_at: operation.created_at.to_string(),
        finished_at: operation.finished_at.map(|at| at.to_string()),
    }
}

/// How much of a step is done, as far as its bytes tell. It is not over before all else is.
fn percent(doing: &Doing) -> usize {
    let Some(expected) = doing.bytes_expected.filter(|expected| *expected > 0) else { return 0 };
    (u128::from(doing.bytes_done) * 100 / u128::from(expected)).min(99) as usize
}
