//! What is answered without a token.

use crate::call::{Call, Reply};
use crate::service::Secrets;

pub(crate) async fn without_token(_secrets: &Secrets, _call: &Call) -> Option<Reply> {
    None
}
