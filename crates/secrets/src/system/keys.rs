//! Keys.
use mainstay_secrets_engine::Refusal;

use crate::asked::Asked;
use crate::outcome::Outcome;
use crate::service::Secrets;

pub(crate) async fn handle(_: &Secrets, _: &Asked<'_>, _: &str, _: &str) -> Result<Outcome, Refusal> {
    Err(Refusal::UnsupportedPath)
}
