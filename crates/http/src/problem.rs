//! Errors as consumers read them: problem documents (RFC 9457) with a stable code, the field at fault and a remedy.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use mainstay_control::{DeliveryError, SubmitError};
use mainstay_domain::command::Rejection;
use mainstay_journal::{ReadError, SubmitError as JournalError};
use serde::Serialize;
use utoipa::ToSchema;

use crate::window::RecoveryWindow;

/// An error in the form of RFC 9457.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Problem {
    /// A URN made of the code.
    #[serde(rename = "type")]
    #[schema(example = "urn:mainstay:problem:instance_not_found")]
    pub type_uri: String,
    /// The kind of problem, the same for every occurrence.
    pub title: &'static str,
    /// The HTTP status.
    #[schema(example = 404)]
    pub status: u16,
    /// What happened, to what, and why.
    #[schema(example = "no instance is called shop")]
    pub detail: String,
    /// The stable code that programs go by; each has its paragraph in `docs/errors.md`.
    #[schema(example = "instance_not_found")]
    pub code: String,
    /// The field of the request that is at fault: of the body, the path, the query or the headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "see which there are with: mainstay list")]
    pub remedy: Option<String>,
    /// The moments that can be had back, where one was asked for that can not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Box<RecoveryWindow>>,
}

/// Defines [`Code`] with its status, its published text and its title.
macro_rules! codes {
    ($($variant:ident = $status:ident, $code:literal, $title:literal;)*) => {
        /// Problems that arise before, or outside of, a command's decision.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Code {
            $($variant,)*
        }

        impl Code {
            fn parts(self) -> (StatusCode, &'static str, &'static str) {
                match self {
                    $(Self::$variant => (StatusCode::$status, $code, $title),)*
                }
            }
        }

        /// Every code that this crate itself answers with; those of a decision come on top.
        pub const CODES: &[&str] = &[$($code,)*];
    };
}

codes! {
    BodyMalformed = BAD_REQUEST, "body_malformed", "The body is not JSON";
    BodyTooLarge = PAYLOAD_TOO_LARGE, "body_too_large", "The body is too large";
    BodyTimeout = REQUEST_TIMEOUT, "body_timeout", "The body did not arrive in time";
    FieldInvalid = UNPROCESSABLE_ENTITY, "field_invalid", "A field is not valid";
    QueryInvalid = BAD_REQUEST, "query_invalid", "A query parameter is not valid";
    HeaderInvalid = BAD_REQUEST, "header_invalid", "A header is not valid";
    TokenMissing = UNAUTHORIZED, "token_missing", "A token is needed";
    TokenRefused = UNAUTHORIZED, "token_refused", "The token is not accepted";
    TokenExpired = UNAUTHORIZED, "token_expired", "The token has expired";
    RoleInsufficient = FORBIDDEN, "role_insufficient", "The token's role does not allow this";
    TenantForbidden = FORBIDDEN, "tenant_forbidden", "The token is another tenant's";
    OperationNotFound = NOT_FOUND, "operation_not_found", "There is no such operation";
    RouteNotFound = NOT_FOUND, "route_not_found", "There is no such path";
    MethodNotAllowed = METHOD_NOT_ALLOWED, "method_not_allowed", "The path does not take this method";
    TimeUnreachable = UNPROCESSABLE_ENTITY, "time_unreachable", "The moment can not be had";
    EngineMissing = CONFLICT, "engine_missing", "The engine is not installed";
    CustodyEmpty = CONFLICT, "custody_empty", "There are no secrets yet";
    CustodyNotEmpty = CONFLICT, "custody_not_empty", "There are secrets already";
    SnapshotRefused = UNPROCESSABLE_ENTITY, "snapshot_refused", "This is no snapshot that can be restored";
    EvidenceKeyGone = CONFLICT, "evidence_key_gone", "The key of evidence is lost";
    CredentialGone = CONFLICT, "credential_gone", "The binding has no working credential";
    StorageFull = INSUFFICIENT_STORAGE, "storage_full", "The disk is full";
    StorageUnavailable = SERVICE_UNAVAILABLE, "storage_unavailable", "The journal does not answer";
    Overloaded = SERVICE_UNAVAILABLE, "overloaded", "Too much is being done at once";
    Stopping = SERVICE_UNAVAILABLE, "stopping", "The control plane is stopping";
    Internal = INTERNAL_SERVER_ERROR, "internal", "Something is wrong inside the layer";
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        let (status, code, title) = code.parts();
        Self::from_parts(status, code, title, detail.into())
    }

    fn from_parts(status: StatusCode, code: &str, title: &'static str, detail: String) -> Self {
        Self {
            type_uri: format!("urn:mainstay:problem:{code}"),
            title,
            status: status.as_u16(),
            detail,
            code: code.to_owned(),
            field: None,
            remedy: None,
            window: None,
        }
    }

    /// Long work that a caller waited for and that could not be done, with the code that the operation has.
    pub(crate) fn of_failed_operation(code: &str, detail: &str) -> Self {
        Self::from_parts(StatusCode::CONFLICT, code, "The work could not be done", detail.to_owned())
            .remedy("mend the cause and ask again; an Idempotency-Key that was used answers the same again")
    }

    pub(crate) fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    pub(crate) fn window(mut self, window: RecoveryWindow) -> Self {
        self.window = Some(window.into());
        self
    }

    /// A fault of ours: the operator's log has it in full, the consumer reads that it was logged.
    pub(crate) fn internal(error: &dyn std::error::Error) -> Self {
        let mut causes = vec![error.to_string()];
        let mut source = error.source();
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        tracing::error!(error = causes.join(": "), "a request failed inside the layer");
        Self::new(Code::Internal, "the request could not be answered because of a fault in the layer")
            .remedy("the layer's log has the reason; send the request again once it is mended")
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let status = match &rejection {
            Rejection::InstanceNotFound { .. }
            | Rejection::BindingNotFound { .. }
            | Rejection::BackupNotFound { .. }
            | Rejection::TokenNotFound { .. } => StatusCode::NOT_FOUND,
            Rejection::InstanceExists { .. }
            | Rejection::InstanceDeleting { .. }
            | Rejection::InstanceFailed { .. }
            | Rejection::InstanceNotReady { .. }
            | Rejection::InstanceMoving { .. }
            | Rejection::InstanceRestoring { .. }
            | Rejection::NoRecoveryPoint { .. }
            | Rejection::NoRepository
            | Rejection::InstanceHasBindings { .. }
            | Rejection::BindingNotReady { .. }
            | Rejection::IdTaken => StatusCode::CONFLICT,
            Rejection::TenantForbidden { .. } => StatusCode::FORBIDDEN,
            Rejection::PortsExhausted { .. } => StatusCode::INSUFFICIENT_STORAGE,
            Rejection::UnknownContract { .. }
            | Rejection::UnknownEngine { .. }
            | Rejection::UnknownPlan { .. }
            | Rejection::UnknownParameter { .. }
            | Rejection::InvalidParameter { .. }
            | Rejection::MoveImpossible { .. }
            | Rejection::TimeUnreachable { .. }
            | Rejection::NotRecoverable { .. }
            | Rejection::InvalidRecoveryPolicy { .. }
            | Rejection::InvalidLease { .. }
            | Rejection::InvalidOverlap { .. }
            | Rejection::StatementsTooLong { .. }
            | Rejection::IdempotencyKeyReused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let title = "The request was refused";
        let mut problem = Problem::from_parts(status, rejection.code(), title, rejection.to_string());
        problem.field = rejection.field();
        problem.remedy = Some(rejection.remedy());
        problem
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        const MAKE_ROOM: &str = "free some space on that disk; nothing is lost, and requests are taken again at once";
        match error {
            SubmitError::Rejected(rejection) => rejection.into(),
            SubmitError::ReserveReached { .. } => Problem::new(Code::StorageFull, error.to_string()).remedy(MAKE_ROOM),
            SubmitError::Journal(error) => match error {
                JournalError::Rejected(rejection) => rejection.into(),
                JournalError::Full(_) => {
                    Problem::new(Code::StorageFull, "the disk of the journal is full").remedy(MAKE_ROOM)
                }
                JournalError::Unavailable(_) | JournalError::Conflict { .. } => {
                    tracing::warn!(%error, "the journal does not take events");
                    Problem::new(Code::StorageUnavailable, error.to_string())
                        .remedy("send the request again in a moment")
                }
                JournalError::OutcomeUnknown(_) => {
                    tracing::warn!(%error, "the journal does not confirm events");
                    Problem::new(Code::StorageUnavailable, error.to_string())
                        .remedy("see whether it was done before it is sent again, or send it with an Idempotency-Key")
                }
                JournalError::Busy => {
                    Problem::new(Code::Overloaded, error.to_string()).remedy("send the request again in a moment")
                }
                JournalError::Closed => {
                    Problem::new(Code::Stopping, "the control plane is stopping").remedy("send the request again")
                }
                error => Problem::internal(&error),
            },
        }
    }
}

impl From<DeliveryError> for Problem {
    fn from(error: DeliveryError) -> Self {
        match &error {
            DeliveryError::NoCredential(_) => Problem::new(Code::CredentialGone, error.to_string())
                .remedy("it was revoked or has expired; make a new binding"),
            DeliveryError::Unavailable { .. } => {
                tracing::warn!(%error, "custody does not answer");
                Problem::new(Code::StorageUnavailable, error.to_string())
                    .remedy("send the request again with the same Idempotency-Key; without one, unbind and bind anew")
            }
            DeliveryError::Custody { .. } => Problem::internal(&error),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match &error {
            ReadError::Storage(mainstay_storage::ReadError::Unavailable { .. }) => {
                tracing::warn!(%error, "the journal does not answer");
                Problem::new(Code::StorageUnavailable, error.to_string()).remedy("send the request again in a moment")
            }
            _ => Problem::internal(&error),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"mainstay\""));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::INSUFFICIENT_STORAGE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}
