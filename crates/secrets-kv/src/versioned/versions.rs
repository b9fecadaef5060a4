//! `delete/PATH`, `undelete/PATH` and `destroy/PATH`: single versions of a secret.

use mainstay_secrets_engine::{Answer, Fields, Refusal, Request};

use super::{Change, Versioned};

impl Versioned {
    pub(super) async fn handle_versions(&self, request: &Request, verb: &str, path: &str) -> Result<Answer, Refusal> {
        if !request.is_write() {
            return Err(Refusal::UnsupportedOperation);
        }
        let numbers = versions(request.fields())?;
        if numbers.is_empty() {
            // Vault writes one of them with a small letter.
            let no = if verb == "destroy" { "no" } else { "No" };
            return Err(Refusal::Invalid(format!("{no} version number provided")));
        }
        let config = self.config();
        self.change(path, |metadata| {
            let Some(mut metadata) = metadata else { return Ok((Answer::nothing(), None)) };
            let mut removed = Vec::new();
            for number in numbers.iter().copied() {
                match verb {
                    "delete" => drop(metadata.delete(number, request.now)),
                    "undelete" => metadata.undelete(number, &config, request.now),
                    _ if metadata.destroy(number) => removed.push(number),
                    _ => {}
                }
            }
            Ok((Answer::nothing(), Some(Change { metadata: Some(metadata), values: None, removed })))
        })
        .await
    }
}

/// Reads the numbers of versions: a list, or a text with commas. Numbers that no version can have are left out.
fn versions(fields: Fields<'_>) -> Result<Vec<u64>, Refusal> {
    let wrong = || Refusal::invalid("error converting input for field \"versions\": it has to be a list of integers");
    let texts = match fields.get("versions") {
        Some(serde_json::Value::Number(number)) => vec![number.to_string()],
        _ => fields.list("versions")?.unwrap_or_default(),
    };
    let numbers = texts.iter().map(|text| text.parse::<i64>().map_err(|_| wrong()));
    let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
    Ok(numbers.into_iter().filter_map(|number| u64::try_from(number).ok()).collect())
}
