//! Secret custody as a whole: its sealed snapshot, out and in. Its secrets are on `/v1`.

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::TryStreamExt;
use mainstay_secrets::{RestoreError, Secrets, Target};
use mainstay_types::Role;
use serde::Deserialize;
use tokio_util::io::{ReaderStream, StreamReader};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::{Api, ApiState};
use crate::caller::Caller;
use crate::input::Params;
use crate::problem::{Code, Problem};

/// How much of a snapshot waits for a slow client.
const BUFFER: usize = 256 << 10;

/// Where a snapshot may go.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct RestoreParams {
    /// Whether what is in custody now may be lost; without it only an empty one takes a snapshot.
    #[serde(default)]
    force: bool,
}

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(snapshot)).routes(routes!(restore))
}

/// Takes a snapshot of secret custody, sealed as it is: useless without the seal.
///
/// Needs the role admin for every tenant. It ends with a digest, so that one that was cut off is refused when it is restored.
#[utoipa::path(
    get, path = "/custody/snapshot", operation_id = "snapshot_custody", tag = "custody",
    responses((status = 200, description = "The snapshot.", body = [u8], content_type = "application/octet-stream"))
)]
async fn snapshot(State(api): ApiState, caller: Caller) -> Result<Response, Problem> {
    let secrets = allowed(&api, &caller)?.clone();
    let (mut writer, reader) = tokio::io::duplex(BUFFER);
    tokio::spawn(async move {
        match secrets.snapshot(&mut writer).await {
            Ok(summary) => tracing::info!(position = summary.position, "a snapshot of secret custody was taken"),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "no snapshot of secret custody was taken")
            }
        }
    });
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    Ok((kind, Body::from_stream(ReaderStream::new(reader))).into_response())
}

/// Restores a snapshot of secret custody, which is sealed then.
///
/// Needs the role admin for every tenant. Afterwards it opens with the seal that the snapshot was taken under: shares are
/// brought to `/v1/sys/unseal`; with a key file the layer is restarted with that file in place.
#[utoipa::path(
    post, path = "/custody/restore", operation_id = "restore_custody", tag = "custody", params(RestoreParams),
    request_body(content = [u8], content_type = "application/octet-stream"),
    responses((status = 204, description = "It is restored, and sealed."))
)]
async fn restore(
    State(api): ApiState,
    caller: Caller,
    Params(params): Params<RestoreParams>,
    body: Body,
) -> Result<StatusCode, Problem> {
    let secrets = allowed(&api, &caller)?;
    let target = if params.force { Target::Anything } else { Target::Empty };
    let mut reader = StreamReader::new(body.into_data_stream().map_err(std::io::Error::other));
    secrets.restore(&mut reader, target).await?;
    tracing::warn!(actor = %caller.actor, force = params.force, "secret custody was restored from a snapshot, and is sealed");
    Ok(StatusCode::NO_CONTENT)
}

fn allowed<'a>(api: &'a Api, caller: &Caller) -> Result<&'a Secrets, Problem> {
    caller.require(Role::Admin)?;
    caller.require_all_tenants()?;
    api.secrets.as_ref().ok_or_else(|| Problem::new(Code::RouteNotFound, "this layer has no secret custody"))
}

impl From<RestoreError> for Problem {
    fn from(error: RestoreError) -> Self {
        match &error {
            RestoreError::NotEmpty => Problem::new(Code::CustodyNotEmpty, error.to_string())
                .remedy("restore with force=true where it may be lost"),
            RestoreError::NoSnapshot { .. } | RestoreError::Damaged { .. } | RestoreError::Input(_) => {
                Problem::new(Code::SnapshotRefused, error.to_string()).remedy("send a snapshot as it was taken, whole")
            }
            RestoreError::UnderWay => Problem::new(Code::Overloaded, error.to_string()).remedy("try again in a moment"),
            RestoreError::Read(_) | RestoreError::Write(_) => Problem::internal(&error),
        }
    }
}
