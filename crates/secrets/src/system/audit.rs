//! `sys/audit`: what is audited where, which the configuration says and nobody can change from here.

use mainstay_secrets_engine::{Answer, Operation, Refusal};
use mainstay_types::TenantScope;
use serde_json::json;

use crate::asked::Asked;
use crate::outcome::Outcome;
use crate::service::Secrets;

/// Serves `audit...` and `audit-hash/...`.
pub(crate) fn handle(secrets: &Secrets, asked: &Asked<'_>, which: &str, rest: &str) -> Result<Outcome, Refusal> {
    if asked.bearer.entry.scope != TenantScope::Any {
        // Whoever may hash what they like could look in a copy of the log for what others have sent.
        return Err(Refusal::Forbidden(
            "the audit log is every tenant's; a token of one tenant cannot ask it".to_owned(),
        ));
    }
    match (which, asked.operation) {
        ("audit", Operation::Read) if rest.is_empty() => Ok(Outcome::answer(Answer::data(json!({
            "file/": {
                "type": "file",
                "path": "file/",
                "description": "set by Custody:AuditFile",
                "options": { "file_path": secrets.audit_path() },
                "local": false,
            }
        })))),
        ("audit", Operation::Read) => Err(Refusal::UnsupportedOperation),
        ("audit", _) => Err(Refusal::invalid(
            "audit devices cannot be changed through the API, so that a stolen token cannot write files or end the log; \
             the file is named by Custody:AuditFile in the configuration",
        )),
        (_, Operation::Create | Operation::Update) if rest.trim_end_matches('/') == "file" => {
            let input =
                asked.fields().text("input")?.ok_or_else(|| Refusal::invalid("the \"input\" parameter is empty"))?;
            Ok(Outcome::answer(Answer::data(json!({ "hash": secrets.hasher(asked.open).text(&input) }))))
        }
        (_, Operation::Create | Operation::Update) => {
            Err(Refusal::invalid(format!("unknown audit backend: {rest:?}; the one there is is called file")))
        }
        _ => Err(Refusal::UnsupportedOperation),
    }
}
