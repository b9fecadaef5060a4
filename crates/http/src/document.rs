//! The OpenAPI document: the contract that `contracts/openapi.json` holds.
//!
//! What a handler alone knows is said beside it. What holds for every route alike, the token, the tenant and the form
//! of errors, is added here once.

use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, ObjectBuilder, Ref, RefOr, ResponseBuilder, Type};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use crate::api::Api;
use crate::problem::Problem;
use crate::{health, native};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Mainstay",
        description = "Databases and other stateful services as standard connections to real engines.\n\n\
            Times are RFC 3339 in UTC, durations seconds (fields end in `_seconds`). Durations that are sent may be \
            written as `24h` or `30s` too. Lists are in stable order, a page at a time.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(Problem)),
    security(("token" = [])),
    tags(
        (name = "offerings", description = "What can be asked for here."),
        (name = "instances", description = "What consumers own: databases."),
        (name = "bindings", description = "A consumer's credentials and endpoint, with a lease."),
        (name = "operations", description = "Long work, which can be watched."),
        (name = "events", description = "The journal: everything that has happened."),
        (name = "clusters", description = "The running deployments that instances live on."),
        (name = "tokens", description = "Who may do what, where, until when."),
        (name = "recovery", description = "Backups, what they bring back, and the key that opens them."),
        (name = "health", description = "Whether the layer lives and can be used.")
    )
)]
struct Document;

/// Every route that the document describes, with its handler.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Document::openapi()).merge(health::routes()).nest("/api/v1", native::routes())
}

/// The OpenAPI document of this version.
pub fn openapi() -> utoipa::openapi::OpenApi {
    finished(routes().into_openapi())
}

/// Adds what holds for every route alike.
pub(crate) fn finished(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build();
    let problem = ResponseBuilder::new()
        .description("What went wrong, with a stable `code` and what to do next (RFC 9457).")
        .content("application/problem+json", problem)
        .build();
    components.responses.insert("Problem".to_owned(), problem.into());
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            operation.summary = operation.summary.as_deref().map(one_line);
            // Routes that need no token say so themselves; no other has a word on it.
            if operation.security.is_none() {
                behind_token(operation);
            }
        }
    }
    document
}

fn behind_token(operation: &mut Operation) {
    let tenant = ParameterBuilder::new()
        .name("Mainstay-Tenant")
        .parameter_in(ParameterIn::Header)
        .description(Some(
            "The tenant to act in, for tokens of every tenant. The token's own, or `default`, where none is named.",
        ))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).build()))
        .build();
    operation.parameters.get_or_insert_default().push(tenant.into());
    let problem = RefOr::Ref(Ref::from_response_name("Problem"));
    operation.responses.responses.insert("default".to_owned(), problem);
}

/// A summary as one line, and without the full stop of the sentence that it was.
fn one_line(summary: &str) -> String {
    summary.replace('\n', " ").trim_end_matches('.').to_owned()
}
