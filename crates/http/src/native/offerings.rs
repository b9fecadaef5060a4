//! What this installation can provide.

use axum::Json;
use axum::extract::State;
use mainstay_engine::Availability;
use mainstay_types::{ASSERTIONS_PARAMETER, Offering, ParameterKind};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page::Page;
use crate::api::{Api, ApiState};
use crate::caller::Caller;
use crate::input::{PageParams, Params};

/// A contract as one engine can provide it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Offering)]
struct OfferingBody {
    contract: String,
    engine: String,
    /// The version installed on this machine; null where there is none.
    version: Option<String>,
    /// Whether this machine has what the engine needs.
    available: bool,
    /// What is missing where it is not available.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// How to have what is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
    /// The plans, the default one first.
    plans: Vec<String>,
    /// The engines from which an instance can be moved to this one while it is used; empty where none can.
    follows: Vec<String>,
    parameters: Vec<ParameterBody>,
}

/// A parameter that an instance can be given.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Parameter)]
struct ParameterBody {
    name: &'static str,
    description: &'static str,
    #[serde(rename = "type")]
    kind: ParameterType,
    /// Of an integer: the least that it can be.
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<i64>,
    /// Of an integer: the most that it can be.
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<i64>,
    /// Of a choice: the words that it can be, the default one first.
    #[serde(skip_serializing_if = "Option::is_none")]
    choices: Option<&'static [&'static str]>,
    /// The plans that know it.
    plans: Vec<String>,
}

/// What the values of a parameter are.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ParameterType {
    Integer,
    Choice,
    Text,
}

type OfferingList = Page<OfferingBody>;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Lists what can be asked for here, by engine.
#[utoipa::path(
    get, path = "/offerings", operation_id = "list_offerings", tag = "offerings", params(PageParams),
    responses((status = 200, description = "A page of offerings.", body = OfferingList))
)]
async fn list(State(api): ApiState, _: Caller, Params(params): Params<PageParams>) -> Json<OfferingList> {
    let is_drilled = |offering: &Offering| api.control.recoverable().of(&offering.engine).is_some();
    let offerings = api.control.offerings().await.into_iter();
    let offerings = offerings.map(|(offering, found)| body(&offering, found, is_drilled(&offering)));
    Json(Page::of(offerings, &params, |offering| offering.engine.clone()))
}

fn body(offering: &Offering, availability: Availability, is_drilled: bool) -> OfferingBody {
    let (version, reason, remedy) = match availability {
        Availability::Installed { version } => (Some(version), None, None),
        Availability::Missing { reason, remedy } => (None, Some(reason), Some(remedy)),
    };
    let parameters = offering.parameters.iter().map(|spec| {
        let (kind, min, max, choices) = match spec.kind {
            ParameterKind::Integer { min, max } => (ParameterType::Integer, Some(min), Some(max), None),
            ParameterKind::Choice(choices) => (ParameterType::Choice, None, None, Some(choices)),
        };
        let plans = spec.plans.iter().map(ToString::to_string).collect();
        ParameterBody { name: spec.name, description: spec.description, kind, min, max, choices, plans }
    });
    let asserted = is_drilled.then(|| ParameterBody {
        name: ASSERTIONS_PARAMETER,
        description: "What drills ask of the data that came back, a line for each: QUERY => ANSWER",
        kind: ParameterType::Text,
        min: None,
        max: None,
        choices: None,
        plans: offering.plans.iter().map(ToString::to_string).collect(),
    });
    OfferingBody {
        contract: offering.contract.to_string(),
        engine: offering.engine.to_string(),
        available: version.is_some(),
        version,
        reason,
        remedy,
        plans: offering.plans.iter().map(ToString::to_string).collect(),
        follows: offering.follows.iter().map(ToString::to_string).collect(),
        parameters: parameters.chain(asserted).collect(),
    }
}
