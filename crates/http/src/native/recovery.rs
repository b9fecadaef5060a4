//! The layer's own recovery: its repository, the key that opens it, and whether everything there is whole.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mainstay_domain::command::{AcknowledgeRecoveryKey, Rejection, ShowRecoveryKey};
use mainstay_types::{Role, Timestamp};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::{Api, ApiState};
use crate::caller::Caller;
use crate::desk::{CopyStanding, DeskError, RecoveryDesk, RepositoryDamage, Standing, Verification};
use crate::input::Body;
use crate::problem::{Code, Problem};

/// How many damaged files an answer tells of.
const DAMAGED_SHOWN: usize = 100;

/// How the layer's own recovery is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LayerRecovery)]
struct RecoveryBody {
    /// `none`, `ready` or `unavailable`.
    state: &'static str,
    repository: Option<RepositoryBody>,
    key: KeyBody,
    layer_backup: LayerBackupBody,
    copies: Vec<CopyBody>,
    /// What somebody should do, a sentence each.
    reminders: Vec<String>,
    #[schema(format = DateTime)]
    data_as_of: String,
}

/// The backup repository.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Repository)]
struct RepositoryBody {
    location: String,
    id: Option<String>,
    contents: u64,
    /// Of all contents, as they were backed up.
    raw_bytes: u64,
    /// What they take, after deduplication and compression.
    stored_bytes: u64,
    /// Why it cannot be used now.
    trouble: Option<String>,
}

/// The key that opens the repository.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RecoveryKey)]
struct KeyBody {
    /// Tells it from other keys, and nothing of it.
    fingerprint: Option<String>,
    /// When somebody said that it is kept in a safe place.
    #[schema(value_type = Option<String>, format = DateTime)]
    acknowledged_at: Option<String>,
}

/// The newest backup of the layer's own state.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LayerBackup)]
struct LayerBackupBody {
    #[schema(value_type = Option<String>, format = DateTime)]
    taken_at: Option<String>,
    /// The journal's newest event that is in it.
    sequence: u64,
    /// Why there is no newer one.
    trouble: Option<String>,
}

/// A copy of the repository elsewhere.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RepositoryCopy)]
struct CopyBody {
    location: String,
    /// When it last had everything that the repository had.
    #[schema(value_type = Option<String>, format = DateTime)]
    mirrored_at: Option<String>,
    /// How far behind it is; none where that cannot be told.
    behind_files: Option<u64>,
    behind_bytes: Option<u64>,
    trouble: Option<String>,
}

/// What is to be printed and kept in a safe place.
#[derive(Serialize, ToSchema)]
#[schema(as = RecoveryKit)]
struct KitBody {
    /// As it is printed, with the key in it.
    kit: String,
}

/// How the recovery key is to be split.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewShares)]
struct SharesRequest {
    /// How many shares to make; 5 where nothing is said.
    #[serde(default = "five")]
    #[schema(default = 5)]
    shares: u8,
    /// How many of them make the key again; 3 where nothing is said.
    #[serde(default = "three")]
    #[schema(default = 3)]
    threshold: u8,
}

fn five() -> u8 {
    5
}

fn three() -> u8 {
    3
}

/// Shares of the recovery key, each for another person.
#[derive(Serialize, ToSchema)]
#[schema(as = KeyShares)]
struct SharesBody {
    shares: Vec<String>,
}

/// Asks for a verification.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewVerification)]
struct VerifyRequest {
    /// Bytes that are read each second at most; as many as can be where none is said.
    #[schema(value_type = Option<u64>, minimum = 1)]
    rate_bytes_per_second: Option<std::num::NonZeroU64>,
}

/// The verification that runs, or the last one since the control plane started.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RepositoryVerification)]
struct VerificationBody {
    /// `never`, `running`, `done` or `failed`.
    state: &'static str,
    #[schema(value_type = Option<String>, format = DateTime)]
    started_at: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<String>,
    done_bytes: u64,
    total_bytes: u64,
    damaged_total: u64,
    /// The first hundred.
    damaged: Vec<DamageBody>,
    /// Why it did not come to its end.
    error: Option<String>,
}

/// A file of the repository that is not what was written.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RepositoryDamage)]
struct DamageBody {
    file: String,
    chunk: Option<String>,
    reason: String,
    /// What cannot be restored whole because of it.
    belongs_to: Vec<String>,
}

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(show))
        .routes(routes!(key))
        .routes(routes!(split))
        .routes(routes!(acknowledge))
        .routes(routes!(take_over))
        .routes(routes!(begin_verification, show_verification))
}

/// Shows how the layer's own recovery is: its repository, its copies, its key.
///
/// Needs the role admin for every tenant.
#[utoipa::path(
    get, path = "/recovery", operation_id = "get_recovery", tag = "recovery",
    responses((status = 200, description = "How it is, and what somebody should do.", body = RecoveryBody))
)]
async fn show(State(api): ApiState, caller: Caller) -> Result<Json<RecoveryBody>, Problem> {
    caller.require(Role::Admin)?;
    caller.require_all_tenants()?;
    let acknowledged_at = api.control.view().recovery_key_acknowledged_at();
    let standing = match &api.recovery {
        Some(desk) => Some(desk.standing().await),
        None => None,
    };
    Ok(Json(RecoveryBody::of(standing, acknowledged_at)))
}

/// Gives the recovery key, as it is to be printed and kept in a safe place.
///
/// Needs the role admin for every tenant. That it was given is an event, `v1.recovery.key-shown`.
#[utoipa::path(
    get, path = "/recovery/key", operation_id = "get_recovery_key", tag = "recovery",
    responses((status = 200, description = "The kit.", body = KitBody))
)]
async fn key(State(api): ApiState, caller: Caller) -> Result<Response, Problem> {
    let desk = allowed(&api, &caller)?;
    let kit = desk.kit().await?;
    api.control.submit(caller.actor, ShowRecoveryKey { shares: None }).await?;
    let body = KitBody { kit: kit.expose_secret().to_owned() };
    Ok(([("cache-control", "no-store")], Json(body)).into_response())
}

/// Splits the recovery key into shares for several people.
///
/// Needs the role admin for every tenant. The key itself stays as it is. That it was given is an event, `v1.recovery.key-shown`.
#[utoipa::path(
    post, path = "/recovery/key/shares", operation_id = "split_recovery_key", tag = "recovery",
    request_body = SharesRequest,
    responses((status = 201, description = "The shares, in this answer alone.", body = SharesBody))
)]
async fn split(State(api): ApiState, caller: Caller, body: Body<SharesRequest>) -> Result<Response, Problem> {
    let desk = allowed(&api, &caller)?;
    let SharesRequest { shares, threshold } = body.value;
    let made = desk.shares(shares, threshold).await?;
    api.control.submit(caller.actor, ShowRecoveryKey { shares: Some(shares) }).await?;
    let body = SharesBody { shares: made.iter().map(|share| share.expose_secret().to_owned()).collect() };
    Ok((StatusCode::CREATED, [("cache-control", "no-store")], Json(body)).into_response())
}

/// Records that the recovery key is kept in a safe place, so that nobody is reminded any more.
///
/// Needs the role admin for every tenant.
#[utoipa::path(
    post, path = "/recovery/key/acknowledge", operation_id = "acknowledge_recovery_key", tag = "recovery",
    responses((status = 204, description = "It is recorded."))
)]
async fn acknowledge(State(api): ApiState, caller: Caller) -> Result<StatusCode, Problem> {
    allowed(&api, &caller)?;
    api.control.submit(caller.actor, AcknowledgeRecoveryKey {}).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes the repository this layer's own.
///
/// Needs the role admin for every tenant. Another layer that kept it until now writes and removes nothing there any more, and
/// where the repository of this layer is gone another one is gone on with, or a new one begun.
#[utoipa::path(
    post, path = "/recovery/take-over", operation_id = "take_over_repository", tag = "recovery",
    responses((status = 200, description = "How it is now, and what somebody should do.", body = RecoveryBody))
)]
async fn take_over(State(api): ApiState, caller: Caller) -> Result<Json<RecoveryBody>, Problem> {
    let desk = allowed(&api, &caller)?;
    desk.take_over().await;
    let acknowledged_at = api.control.view().recovery_key_acknowledged_at();
    Ok(Json(RecoveryBody::of(Some(desk.standing().await), acknowledged_at)))
}

/// Begins to read all that the repository holds and compare it with its digests.
///
/// Needs the role admin for every tenant. Where a verification runs, that one goes on and is answered.
#[utoipa::path(
    post, path = "/recovery/verify", operation_id = "begin_repository_verification", tag = "recovery",
    request_body = VerifyRequest,
    responses((status = 202, description = "It runs; `GET /recovery/verify` tells how far it is.", body = VerificationBody))
)]
async fn begin_verification(
    State(api): ApiState,
    caller: Caller,
    body: Body<VerifyRequest>,
) -> Result<(StatusCode, Json<VerificationBody>), Problem> {
    let desk = allowed(&api, &caller)?;
    desk.begin_verification(body.value.rate_bytes_per_second.map(std::num::NonZeroU64::get));
    Ok((StatusCode::ACCEPTED, Json(desk.verification().into())))
}

/// Shows the verification that runs, or the last one.
///
/// Needs the role admin for every tenant, since it names what belongs to each.
#[utoipa::path(
    get, path = "/recovery/verify", operation_id = "get_repository_verification", tag = "recovery",
    responses((status = 200, description = "How far it is, or what it found.", body = VerificationBody))
)]
async fn show_verification(State(api): ApiState, caller: Caller) -> Result<Json<VerificationBody>, Problem> {
    Ok(Json(allowed(&api, &caller)?.verification().into()))
}

fn allowed<'a>(api: &'a Api, caller: &Caller) -> Result<&'a dyn RecoveryDesk, Problem> {
    caller.require(Role::Admin)?;
    caller.require_all_tenants()?;
    api.recovery.as_deref().ok_or_else(|| Rejection::NoRepository.into())
}

impl From<DeskError> for Problem {
    fn from(error: DeskError) -> Self {
        match &error {
            DeskError::Numbers(_) => {
                Problem::new(Code::FieldInvalid, error.to_string()).field("shares").remedy("ask for other numbers")
            }
            DeskError::Unavailable(source) => Problem::new(Code::StorageUnavailable, format!("{error}: {source}"))
                .remedy("see how custody is with: mainstay custody status"),
        }
    }
}

impl RecoveryBody {
    fn of(standing: Option<Standing>, acknowledged_at: Option<Timestamp>) -> Self {
        let reminders = reminders(standing.as_ref(), acknowledged_at.is_some());
        let moment = |moment: Option<Timestamp>| moment.map(|moment| moment.to_string());
        let state = match &standing {
            None => "none",
            Some(Standing { trouble: Some(_), .. }) => "unavailable",
            Some(_) => "ready",
        };
        let is_there = standing.is_some();
        let of = standing.unwrap_or_default();
        Self {
            state,
            key: KeyBody { fingerprint: of.key_fingerprint, acknowledged_at: moment(acknowledged_at) },
            layer_backup: LayerBackupBody {
                taken_at: moment(of.last_layer_backup),
                sequence: of.last_layer_sequence,
                trouble: of.layer_backup_trouble,
            },
            copies: of.copies.into_iter().map(CopyBody::from).collect(),
            repository: is_there.then_some(RepositoryBody {
                location: of.location,
                id: of.repository_id,
                contents: of.contents,
                raw_bytes: of.raw_bytes,
                stored_bytes: of.stored_bytes,
                trouble: of.trouble,
            }),
            reminders,
            data_as_of: Timestamp::now().to_string(),
        }
    }
}

/// What somebody should do, as far as it is known without asking the repository.
pub(super) fn urgent(api: &Api) -> Vec<String> {
    let acknowledged = api.control.view().recovery_key_acknowledged_at().is_some();
    reminders(api.recovery.as_ref().map(|_| Standing::default()).as_ref(), acknowledged)
}

/// What somebody should do.
fn reminders(standing: Option<&Standing>, acknowledged: bool) -> Vec<String> {
    let Some(standing) = standing else {
        return vec![format!("nothing is protected: {}", Rejection::NoRepository.remedy())];
    };
    let mut reminders = Vec::new();
    if !acknowledged {
        reminders.push(
            "print the recovery key with `mainstay recovery-key show`, keep it in a safe place, and say so with \
             `mainstay recovery-key acknowledge`: without it no backup can be read when this machine is lost"
                .to_owned(),
        );
    }
    if let Some(trouble) = standing.trouble.as_ref().or(standing.layer_backup_trouble.as_ref()) {
        reminders.push(format!("nothing is backed up at present: {trouble}"));
    }
    let behind = standing.copies.iter().filter_map(|copy| Some((&copy.location, copy.trouble.as_ref()?)));
    if let [first, others @ ..] = &standing.damaged_documents[..] {
        reminders.push(format!(
            "the repository's document {first} is damaged{}: put documents/{first} back from a copy; until then no room is given back that \
             was taken before that was found",
            if others.is_empty() { String::new() } else { format!(", and {} more", others.len()) }
        ));
    }
    reminders.extend(behind.map(|(location, trouble)| format!("the copy at {location} is not kept up: {trouble}")));
    reminders
}

impl From<CopyStanding> for CopyBody {
    fn from(copy: CopyStanding) -> Self {
        Self {
            location: copy.location,
            mirrored_at: copy.mirrored_at.map(|moment| moment.to_string()),
            behind_files: copy.behind_files,
            behind_bytes: copy.behind_bytes,
            trouble: copy.trouble,
        }
    }
}

impl From<Verification> for VerificationBody {
    fn from(run: Verification) -> Self {
        let moment = |moment: Option<Timestamp>| moment.map(|moment| moment.to_string());
        Self {
            state: match (&run.started_at, &run.finished_at, &run.error) {
                (None, ..) => "never",
                (Some(_), None, _) => "running",
                (_, _, Some(_)) => "failed",
                (_, _, None) => "done",
            },
            started_at: moment(run.started_at),
            finished_at: moment(run.finished_at),
            done_bytes: run.done_bytes,
            total_bytes: run.total_bytes,
            damaged_total: run.damaged.len() as u64 + run.unlisted,
            damaged: run.damaged.into_iter().take(DAMAGED_SHOWN).map(DamageBody::from).collect(),
            error: run.error,
        }
    }
}

impl From<RepositoryDamage> for DamageBody {
    fn from(damage: RepositoryDamage) -> Self {
        let RepositoryDamage { file, chunk, reason, belongs_to } = damage;
        Self { file, chunk, reason, belongs_to }
    }
}

#[cfg(test)]
mod tests {
    use super::{CopyStanding, Standing, reminders};

    #[test]
    fn it_reminds_of_whatever_would_be_missed_in_a_disaster() {
        assert!(reminders(None, true)[0].starts_with("nothing is protected"));
        let well = Standing::default();
        assert_eq!(reminders(Some(&well), true), [""; 0]);
        assert!(reminders(Some(&well), false)[0].contains("mainstay recovery-key show"));
        let copy = CopyStanding { location: "/copy".into(), trouble: Some("away".into()), ..CopyStanding::default() };
        let unwell = Standing { trouble: Some("gone".into()), copies: vec![copy], ..Standing::default() };
        let expected = ["nothing is backed up at present: gone", "the copy at /copy is not kept up: away"];
        assert_eq!(reminders(Some(&unwell), true), expected);
        let damaged_documents = vec!["points/b-1".to_owned(), "points/b-2".to_owned()];
        let damaged = reminders(Some(&Standing { damaged_documents, ..Standing::default() }), true);
        assert!(damaged[0].contains("points/b-1 is damaged, and 1 more"), "{damaged:?}");
    }
}
