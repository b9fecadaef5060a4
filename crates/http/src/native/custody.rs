//! Secret custody as a whole: its sealed snapshot, out and in. Its secrets are on `/v1`.

use std::io::{self, ErrorKind};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
use mainstay_secrets::{RestoreError, Secrets, SnapshotError, Target};
use mainstay_types::Role;
use serde::Deserialize;
use tokio::io::{AsyncRead, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::io::{ReaderStream, StreamReader};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::{Api, ApiState};
use crate::caller::Caller;
use crate::finish::Finish;
use crate::input::Params;
use crate::problem::{Code, Problem};

/// How much of a snapshot waits for a slow client: two parts, one that is written and one that is sent.
const BUFFER: usize = 256 << 10;

/// How long a client may take or send nothing of a snapshot. Only one is taken or restored at a time, so that a client that
/// is gone must not keep its place. What reads from a slow place pauses for seconds.
const STALLED: Duration = Duration::from_secs(60);

/// How long the rest of a snapshot that is refused may still arrive: many clients read no answer before they have sent all.
const REST: Duration = Duration::from_secs(10);

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
    let (sender, mut parts) = mpsc::channel(1);
    tokio::spawn(async move {
        let (writer, reader) = tokio::io::duplex(BUFFER);
        let (taken, ()) = tokio::join!(take(&secrets, writer), hand_on(reader, &sender, STALLED));
        // The answer is broken off then: one that ended as others do would pass for a snapshot.
        if let Err(error) = taken {
            let _ = sender.send(Err(error)).await;
        }
    });
    // What fails before there is anything to send is still an answer of its own.
    let first = match parts.recv().await {
        Some(Err(error)) => return Err(error.into()),
        Some(Ok(first)) => first,
        None => Bytes::new(),
    };
    let rest = stream::poll_fn(move |context| parts.poll_recv(context));
    let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
    Ok((kind, Body::from_stream(stream::once(async { Ok(first) }).chain(rest))).into_response())
}

async fn take(secrets: &Secrets, mut writer: DuplexStream) -> Result<(), SnapshotError> {
    let taken = secrets.snapshot(&mut writer).await;
    match &taken {
        Ok(summary) => tracing::info!(position = summary.position, "a snapshot of secret custody was taken"),
        Err(error) => {
            tracing::warn!(error = error as &dyn std::error::Error, "no snapshot of secret custody was taken");
        }
    }
    taken.map(|_| ())
}

/// Hands on what is read, until its end or until nobody takes it any more.
async fn hand_on<E>(reader: impl AsyncRead + Unpin, to: &mpsc::Sender<Result<Bytes, E>>, stalled: Duration) {
    let mut parts = ReaderStream::with_capacity(reader, BUFFER);
    // Memory to memory: reading it fails no more than memory does.
    while let Some(Ok(part)) = parts.next().await {
        if !matches!(timeout(stalled, to.send(Ok(part))).await, Ok(Ok(()))) {
            return;
        }
    }
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
    let secrets = allowed(&api, &caller)?.clone();
    let target = if params.force { Target::Anything } else { Target::Empty };
    // Once all of it is there it is carried out to its end, so that custody and the journal know what happened to it.
    let restored = Finish::new(&api.left_alone, async move {
        let mut reader = StreamReader::new(Box::pin(unstalled(body.into_data_stream(), STALLED)));
        let restored = secrets.restore(&mut reader, target).await;
        if let Err(RestoreError::NoSnapshot { .. } | RestoreError::Damaged { .. } | RestoreError::Write(_)) = &restored
        {
            let _ = timeout(REST, tokio::io::copy(&mut reader, &mut tokio::io::sink())).await;
        }
        restored
    });
    restored.await?;
    tracing::warn!(actor = %caller.actor, force = params.force, "secret custody was restored from a snapshot, and is sealed");
    Ok(StatusCode::NO_CONTENT)
}

/// The parts of a body, until it pauses for too long.
fn unstalled<E: Into<axum::BoxError>>(
    parts: impl Stream<Item = Result<Bytes, E>> + Unpin,
    stalled: Duration,
) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(parts, move |mut parts| async move {
        match timeout(stalled, parts.next()).await {
            Ok(Some(part)) => Ok(Some((part.map_err(io::Error::other)?, parts))),
            Ok(None) => Ok(None),
            Err(_) => Err(ErrorKind::TimedOut.into()),
        }
    })
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
            RestoreError::Input(source) if source.kind() == ErrorKind::TimedOut => {
                let detail = format!("nothing more of the snapshot arrived for {} s", STALLED.as_secs());
                Problem::new(Code::BodyTimeout, detail)
                    .remedy("send it again, from a place that is read without long pauses")
            }
            RestoreError::NoSnapshot { .. } | RestoreError::Damaged { .. } | RestoreError::Input(_) => {
                Problem::new(Code::SnapshotRefused, error.to_string()).remedy("send a snapshot as it was taken, whole")
            }
            RestoreError::UnderWay => Problem::new(Code::Overloaded, error.to_string()).remedy("try again in a moment"),
            RestoreError::Read(_) | RestoreError::Write(_) => Problem::internal(&error),
        }
    }
}

impl From<SnapshotError> for Problem {
    fn from(error: SnapshotError) -> Self {
        match &error {
            SnapshotError::NotInitialized => {
                Problem::new(Code::CustodyEmpty, error.to_string()).remedy("initialise it: `mainstay custody init`")
            }
            SnapshotError::UnderWay => {
                Problem::new(Code::Overloaded, error.to_string()).remedy("try again in a moment")
            }
            SnapshotError::TooSlow | SnapshotError::Read(_) | SnapshotError::Write(_) => Problem::internal(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Duration;

    use axum::body::Bytes;
    use futures::{StreamExt, stream};
    use tokio::io::AsyncReadExt;
    use tokio::sync::mpsc;
    use tokio_util::io::StreamReader;

    use super::{hand_on, unstalled};

    const SOON: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn a_body_that_pauses_for_too_long_is_cut_off() {
        let parts = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"begun"))]).chain(stream::pending());
        let mut reader = StreamReader::new(Box::pin(unstalled(Box::pin(parts), SOON)));
        let mut read = Vec::new();
        assert_eq!(reader.read_to_end(&mut read).await.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(read, b"begun");
    }

    #[tokio::test]
    async fn a_snapshot_that_nobody_takes_is_given_up() {
        let (sender, mut taken) = mpsc::channel::<Result<Bytes, ()>>(1);
        hand_on(tokio::io::repeat(7), &sender, SOON).await;
        assert!(taken.try_recv().is_ok());
        drop(taken);
        hand_on(tokio::io::repeat(7), &sender, Duration::MAX).await;
    }
}
