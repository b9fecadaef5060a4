//! Evidence of drills, and the keys that it is signed with.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use mainstay_control::{EvidenceAsked, EvidenceError};
use mainstay_domain::view::EvidenceKey;
use mainstay_evidence::{Envelope, PublicKey};
use mainstay_types::{InstanceName, Role, Sequence, Timestamp, chain};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page::Page;
use crate::api::{Api, ApiState};
use crate::caller::Caller;
use crate::input::{PageParams, Params, page_size};
use crate::problem::{Code, Problem};

/// Signed evidence of a drill: a DSSE envelope around an in-toto statement.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Evidence)]
struct EvidenceBody {
    /// The statement, in base64 of its canonical JSON.
    payload: String,
    #[schema(example = "application/vnd.in-toto+json")]
    payload_type: String,
    signatures: Vec<SignatureBody>,
}

/// A signature over the type and the payload of evidence.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EvidenceSignature)]
struct SignatureBody {
    /// The key that it verifies with.
    keyid: String,
    /// Ed25519, in base64.
    sig: String,
}

/// Evidence in the order of the journal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EvidenceList)]
struct EvidencePage {
    items: Vec<EvidenceBody>,
    /// What to send as `after` for the next page; null where there is no more.
    #[schema(value_type = Option<u64>)]
    next: Option<Sequence>,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct EvidenceParams {
    /// Only of instances of this name, gone ones too.
    #[param(value_type = Option<String>)]
    instance: Option<InstanceName>,
    /// Only of drills that ended at this moment or later.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Only of drills that ended before this moment.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// Only of drills whose event comes after this sequence number.
    #[param(value_type = Option<u64>)]
    after: Option<Sequence>,
    /// How many items to answer at most: 100 where nothing is said, never more than 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// A key that evidence is signed with.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EvidenceKey)]
struct KeyBody {
    /// The SHA-256 of the key's SubjectPublicKeyInfo.
    id: String,
    /// Counts the keys, from 1.
    number: u32,
    /// In PEM.
    public_key: String,
    #[schema(format = DateTime)]
    introduced_at: String,
    /// Of the event that introduced it, `v1.evidence.key-introduced`. It signs what comes after that, the first key what came before too.
    sequence: u64,
}

type KeyList = Page<KeyBody>;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(evidence)).routes(routes!(keys, introduce))
}

/// Gives signed evidence of the tenant's drills, the oldest first.
///
/// The same journal gives the same bytes, whenever it is asked.
#[utoipa::path(
    get, path = "/drills/evidence", operation_id = "list_drill_evidence", tag = "recovery", params(EvidenceParams),
    responses((status = 200, description = "A page of evidence.", body = EvidencePage))
)]
async fn evidence(
    State(api): ApiState,
    caller: Caller,
    Params(params): Params<EvidenceParams>,
) -> Result<Json<EvidencePage>, Problem> {
    let EvidenceParams { instance, since, until, after, limit } = params;
    let (after, limit) = (after.unwrap_or(0), page_size(limit));
    let asked = EvidenceAsked { tenant: caller.tenant, instance, since, until, after, limit };
    let page = api.control.drill_evidence(&asked).await?;
    Ok(Json(EvidencePage { items: page.evidence.into_iter().map(EvidenceBody::from).collect(), next: page.next }))
}

/// Lists the public keys that evidence is signed with, the first that came into use first.
#[utoipa::path(
    get, path = "/drills/keys", operation_id = "list_evidence_keys", tag = "recovery", params(PageParams),
    responses((status = 200, description = "A page of keys.", body = KeyList))
)]
async fn keys(State(api): ApiState, _: Caller, Params(params): Params<PageParams>) -> Result<Json<KeyList>, Problem> {
    let keys = api.control.evidence_keys().await?;
    Ok(Json(Page::of(keys.iter().map(KeyBody::of), &params, |key| format!("{:010}", key.number))))
}

/// Signs evidence of what happens from now on with a new key.
///
/// Needs the role admin for every tenant. Evidence of what happened before stays as it is, and its key is listed still.
#[utoipa::path(
    post, path = "/drills/keys", operation_id = "introduce_evidence_key", tag = "recovery",
    responses((status = 204, description = "The key is in use."))
)]
async fn introduce(State(api): ApiState, caller: Caller) -> Result<StatusCode, Problem> {
    caller.require(Role::Admin)?;
    caller.require_all_tenants()?;
    api.control.rotate_evidence_key(caller.actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<Envelope> for EvidenceBody {
    fn from(envelope: Envelope) -> Self {
        let Envelope { payload, payload_type, signatures } = envelope;
        let signature = |of: mainstay_evidence::Signature| SignatureBody { keyid: of.keyid.to_string(), sig: of.sig };
        Self { payload, payload_type, signatures: signatures.into_iter().map(signature).collect() }
    }
}

impl KeyBody {
    fn of(key: &EvidenceKey) -> Self {
        let public_key = PublicKey::from_bytes(key.public_key);
        Self {
            id: public_key.id().to_string(),
            number: key.number,
            public_key: public_key.to_pem(),
            introduced_at: key.introduced_at.to_string(),
            sequence: key.sequence,
        }
    }
}

impl From<EvidenceError> for Problem {
    fn from(error: EvidenceError) -> Self {
        match error {
            EvidenceError::Journal(error) => error.into(),
            EvidenceError::Submit(error) => error.into(),
            EvidenceError::Custody(_) => Problem::new(Code::StorageUnavailable, chain(&error))
                .remedy("see how custody is with: mainstay custody status"),
            EvidenceError::KeyGone { .. } => Problem::new(Code::EvidenceKeyGone, error.to_string()).remedy(
                "restore custody from a snapshot that has it; evidence of what comes is signed anew after: mainstay drills keys --new",
            ),
        }
    }
}
