//! The cubbyhole: what a token keeps for itself, gone with it and seen by nobody else.

use mainstay_secrets_engine::{Answer, Operation, Refusal};
use serde_json::{Map, Value};

use crate::asked::Asked;

/// Serves a path below `cubbyhole/`.
pub(crate) async fn handle(asked: &Asked<'_>) -> Result<Answer, Refusal> {
    let cubbyhole = asked.open.cubbyhole(&asked.bearer.key);
    match asked.operation {
        Operation::List => {
            let folder = match asked.path {
                "" => String::new(),
                path => format!("{}/", path.trim_end_matches('/')),
            };
            match cubbyhole.list(&folder).await? {
                keys if keys.is_empty() => Err(Refusal::NotFound),
                keys => Ok(Answer::keys(keys)),
            }
        }
        _ if asked.path.is_empty() => Err(Refusal::invalid("missing path")),
        Operation::Read => {
            let value = cubbyhole.value::<Map<String, Value>>(asked.path).await?.ok_or(Refusal::NotFound)?;
            Ok(Answer { data: Some(value), ..Answer::default() })
        }
        Operation::Create | Operation::Update => {
            if asked.data.is_empty() {
                return Err(Refusal::invalid("missing data fields"));
            }
            cubbyhole.put(asked.path, asked.data).await?;
            Ok(Answer::nothing())
        }
        Operation::Delete => {
            cubbyhole.delete(asked.path).await?;
            Ok(Answer::nothing())
        }
        Operation::Patch => Err(Refusal::UnsupportedOperation),
    }
}
