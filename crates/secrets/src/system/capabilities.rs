//! `sys/capabilities...`: what a token may do at some paths.

use mainstay_secrets_engine::{Answer, Refusal};
use serde_json::{Map, Value, json};

use crate::asked::Asked;
use crate::outcome::Outcome;

/// How many paths may be asked about at once.
const MOST_PATHS: usize = 1000;

/// Serves `capabilities`, `capabilities-self` and `capabilities-accessor`.
pub(crate) async fn handle(asked: &Asked<'_>, which: &str) -> Result<Outcome, Refusal> {
    if !asked.is_write() {
        return Err(Refusal::UnsupportedOperation);
    }
    let fields = asked.fields();
    let paths = match fields.list("paths")? {
        Some(paths) => paths,
        None => fields.list("path")?.unwrap_or_default(),
    };
    if paths.is_empty() || paths.len() > MOST_PATHS {
        return Err(Refusal::invalid(format!("paths must be supplied, at most {MOST_PATHS}")));
    }
    let tokens = &asked.open.tokens;
    let (entry, unknown) = match which {
        "capabilities-self" => (Some(asked.bearer.entry.clone()), "invalid token"),
        "capabilities" => {
            let bearer = tokens.authenticate(&fields.required("token")?, asked.now).await?;
            (bearer.map(|bearer| bearer.entry), "invalid token")
        }
        _ => {
            let found = tokens.by_accessor(&fields.required("accessor")?).await?;
            (found.map(|(_, entry)| entry), "invalid accessor")
        }
    };
    // Another tenant's token is as unknown as one that never was.
    let visible = entry.filter(|entry| asked.bearer.entry.scope.includes(&entry.scope));
    let entry = visible.ok_or_else(|| Refusal::invalid(unknown))?;
    let acl = asked.namespace.acl(&entry.policies).await?;
    let mut data = Map::new();
    for path in &paths {
        data.insert(path.clone(), json!(acl.capabilities(path.trim_start_matches('/'))));
    }
    if let [only] = paths.as_slice() {
        data.insert("capabilities".to_owned(), json!(acl.capabilities(only.trim_start_matches('/'))));
    }
    Ok(Outcome::answer(Answer::data(Value::Object(data))))
}
