//! Operations: long work, which can be watched.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use mainstay_control::Accepted;
use mainstay_domain::event::{OperationKind, Subject};
use mainstay_domain::view::{Operation, OperationState, Step, StepState, View};
use mainstay_types::OperationId;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page::Page;
use crate::api::{Api, ApiState};
use crate::caller::Caller;
use crate::input::{PageParams, Params};
use crate::problem::{Code, Problem};

/// One piece of long work that somebody asked for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Operation)]
pub(super) struct OperationBody {
    id: String,
    /// `create-instance`, `delete-instance`, `create-binding`, `rotate-binding` or `delete-binding`.
    #[schema(value_type = String)]
    kind: OperationKind,
    #[schema(value_type = Object)]
    subject: Subject,
    /// `in progress`, `succeeded` or `failed`.
    state: &'static str,
    /// How much of it is done, in percent.
    progress: u8,
    #[schema(value_type = Vec<Object>)]
    steps: Vec<Step>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorBody>,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<String>,
}

/// Why an operation failed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OperationError)]
struct ErrorBody {
    code: String,
    detail: String,
}

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get))
}

/// The tenant's operations that are in progress, and the ones that finished last.
#[utoipa::path(get, path = "/operations", params(("limit" = Option<usize>, Query), ("after" = Option<String>, Query)),
    responses((status = 200, body = Page<OperationBody>), (status = "default", body = Problem)))]
async fn list(State(api): ApiState, caller: Caller, Params(params): Params<PageParams>) -> Json<Page<OperationBody>> {
    let view = api.control.view();
    let own = view.operations().filter(|operation| operation.tenant == caller.tenant);
    Json(Page::of(own.map(|operation| body(&view, operation)), &params, |operation| operation.id.clone()))
}

/// One operation.
#[utoipa::path(get, path = "/operations/{id}", params(("id" = String, Path)), responses((status = 200, body = OperationBody), (status = "default", body = Problem)))]
async fn get(State(api): ApiState, caller: Caller, Path(id): Path<String>) -> Result<Json<OperationBody>, Problem> {
    let view = api.control.view();
    let parsed: Option<OperationId> = id.parse().ok();
    let operation = parsed.and_then(|id| view.operation(&id)).filter(|operation| operation.tenant == caller.tenant);
    let operation = operation.ok_or_else(|| {
        Problem::new(Code::OperationNotFound, "no operation has this id, or it finished long ago")
            .remedy("its outcome is in the events: mainstay events")
    })?;
    Ok(Json(body(&view, operation)))
}

/// The answer to a command that long work follows from: the operation, finished or not.
pub(super) async fn answer(api: &Api, accepted: Accepted, wait: Option<Duration>) -> Result<Response, Problem> {
    let Some(id) = accepted.operation else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    if let Some(wait) = wait {
        // Whether it finished in time the answer tells; that it did not is no error.
        let _ = api.control.wait_for(&id, wait).await;
    }
    let view = api.control.view();
    let operation = view.operation(&id).ok_or_else(|| {
        Problem::new(Code::OperationNotFound, "the operation is no longer remembered")
            .remedy("its outcome is in the events: mainstay events")
    })?;
    let status = if operation.is_finished() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let location = [(header::LOCATION, format!("/api/v1/operations/{id}"))];
    Ok((status, location, Json(body(&view, operation))).into_response())
}

fn body(view: &View, operation: &Operation) -> OperationBody {
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
        subject: operation.subject.clone(),
        state,
        progress: (100 * done / steps.len().max(1)) as u8,
        steps,
        error,
        created_at: operation.created_at.to_string(),
        finished_at: operation.finished_at.map(|at| at.to_string()),
    }
}
