//! Response wrapping: an answer that one holder of a token sees once.

use mainstay_secrets_engine::{Answer, Refusal};
use mainstay_types::{TenantScope, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::asked::Asked;
use crate::open::Open;
use crate::outcome::Outcome;
use crate::token::{Bearer, TokenKind, plain};

/// Where a wrapping token keeps the answer, in its cubbyhole; and what may be asked about it without opening it.
const RESPONSE: &str = "response";
const ABOUT: &str = "wrapinfo";

/// The longest time that an answer is kept wrapped: 32 days, as any token's.
const LONGEST_SECONDS: u64 = crate::mount::DEFAULT_LEASE_SECONDS;

/// What is known of a wrapped answer.
#[derive(Serialize, Deserialize)]
struct About {
    creation_path: String,
    creation_time: Timestamp,
    creation_ttl: u64,
}

/// The answer itself, as `cubbyhole/response` has it for clients older than `sys/wrapping/unwrap`.
#[derive(Serialize, Deserialize)]
struct Wrapped {
    /// The envelope as JSON text.
    response: String,
}

/// Wraps an envelope, and answers the `wrap_info` that takes its place.
pub(crate) async fn wrap(
    open: &Open,
    scope: &TenantScope,
    envelope: &Value,
    seconds: u64,
    path: &str,
    wrapped_accessor: Option<String>,
    now: Timestamp,
) -> Result<Value, Refusal> {
    if seconds == 0 || seconds > LONGEST_SECONDS {
        return Err(Refusal::invalid(format!("the TTL of a wrapped answer is 1 to {LONGEST_SECONDS} seconds")));
    }
    let mut entry = plain(scope.clone(), path, now)?;
    entry.policies = vec!["response-wrapping".to_owned()];
    entry.kind = TokenKind::Wrapping;
    entry.num_uses = 1;
    entry.ttl_seconds = seconds;
    entry.explicit_max_ttl_seconds = seconds;
    entry.expires_at = Some(now.plus_seconds(seconds));
    let (token, key) = open.tokens.create(&entry, None).await?;
    open.schedule_token(&key, &entry);
    let cubbyhole = open.cubbyhole(&key);
    cubbyhole.put(RESPONSE, &Wrapped { response: envelope.to_string() }).await?;
    let about = About { creation_path: path.to_owned(), creation_time: now, creation_ttl: seconds };
    cubbyhole.put(ABOUT, &about).await?;
    let mut info = json!({
        "token": token.as_str(),
        "accessor": entry.accessor,
        "ttl": seconds,
        "creation_time": now,
        "creation_path": path,
    });
    if let Some(accessor) = wrapped_accessor {
        info["wrapped_accessor"] = accessor.into();
    }
    Ok(info)
}

/// Serves `sys/wrapping/...`. A wrapping token that comes as the request's own has been used up by now.
pub(crate) async fn handle(asked: &Asked<'_>, path: &str) -> Result<Outcome, Refusal> {
    match path {
        "wrap" if asked.is_write() && !asked.is_wrapped => {
            Err(Refusal::invalid("endpoint requires response wrapping to be used"))
        }
        "wrap" if asked.is_write() => {
            Ok(Outcome::answer(Answer { data: Some(asked.data.clone()), ..Answer::default() }))
        }
        "unwrap" if asked.is_write() => {
            let bearer = take(asked).await?;
            let envelope = opened(asked.open, &bearer).await;
            // Used up either way, and its cubbyhole is emptied at once.
            asked.open.revoke_token(&bearer.key, asked.now).await?;
            Ok(Outcome { unwrapped: Some(envelope?), ..Outcome::default() })
        }
        "lookup" => {
            let token = asked.fields().text("token")?.unwrap_or_else(|| asked.token.to_owned());
            let bearer = wrapping(asked, &token).await?;
            let about = asked.open.cubbyhole(&bearer.key).value::<About>(ABOUT).await?.ok_or_else(invalid)?;
            Ok(Outcome::answer(Answer::data(json!(about))))
        }
        "rewrap" if asked.is_write() => {
            let bearer = take(asked).await?;
            let about = asked.open.cubbyhole(&bearer.key).value::<About>(ABOUT).await?.ok_or_else(invalid)?;
            let envelope = opened(asked.open, &bearer).await?;
            let (scope, path) = (&bearer.entry.scope, about.creation_path.as_str());
            let info = wrap(asked.open, scope, &envelope, about.creation_ttl, path, None, asked.now).await?;
            asked.open.revoke_token(&bearer.key, asked.now).await?;
            Ok(Outcome { unwrapped: Some(json!({ "wrap_info": info })), ..Outcome::default() })
        }
        "wrap" | "unwrap" | "rewrap" => Err(Refusal::UnsupportedOperation),
        _ => Err(Refusal::UnsupportedPath),
    }
}

/// The wrapping token of a request, used up by it: the one in the body, or the request's own.
async fn take(asked: &Asked<'_>) -> Result<Bearer, Refusal> {
    match asked.fields().text("token")?.filter(|token| !token.is_empty() && token != asked.token) {
        None if asked.bearer.entry.kind == TokenKind::Wrapping => Ok(asked.bearer.clone()),
        None => Err(invalid()),
        Some(token) => {
            let bearer = wrapping(asked, &token).await?;
            let left = asked.open.tokens.use_once(&bearer.key).await?;
            left.map(|_| bearer).ok_or_else(invalid)
        }
    }
}

async fn wrapping(asked: &Asked<'_>, token: &str) -> Result<Bearer, Refusal> {
    let bearer = asked.open.tokens.authenticate(token, asked.now).await?;
    let visible = |bearer: &Bearer| asked.bearer.entry.scope.includes(&bearer.entry.scope);
    bearer.filter(|bearer| bearer.entry.kind == TokenKind::Wrapping && visible(bearer)).ok_or_else(invalid)
}

async fn opened(open: &Open, bearer: &Bearer) -> Result<Value, Refusal> {
    let wrapped = open.cubbyhole(&bearer.key).value::<Wrapped>(RESPONSE).await?.ok_or_else(invalid)?;
    serde_json::from_str(&wrapped.response).map_err(|error| Refusal::failed("a wrapped answer is damaged", error))
}

/// What is said of a token that wraps nothing, or nothing any more. Never seeing it twice is the point of it, so whoever
/// reads this may have been robbed.
pub(crate) fn invalid() -> Refusal {
    Refusal::invalid("wrapping token is not valid or does not exist")
}
