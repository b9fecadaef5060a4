//! The paths of `auth/token`.

use mainstay_secrets_engine::{Answer, Login, Operation, Refusal};
use mainstay_types::Timestamp;

use crate::asked::Asked;
use crate::mount::Namespace;
use crate::outcome::Outcome;
use crate::token::create::{self, auth, end};
use crate::token::entry::{TokenEntry, TokenKey, TokenKind};
use crate::token::roles;

/// Paths that need `sudo`.
pub(crate) const SUDO: [&str; 4] = ["create-orphan", "accessors", "accessors/", "revoke-orphan"];

/// Serves a path below `auth/token/`.
pub(crate) async fn handle(asked: &Asked<'_>) -> Result<Outcome, Refusal> {
    let fields = asked.fields();
    let path = asked.path.trim_end_matches('/');
    if let Some(name) = path.strip_prefix("roles").filter(|rest| rest.is_empty() || rest.starts_with('/')) {
        return roles::handle(asked, name.trim_start_matches('/')).await.map(Outcome::answer);
    }
    match (asked.operation, path) {
        (Operation::List, "accessors") => Ok(Outcome::answer(Answer::keys(visible_accessors(asked).await?))),
        (Operation::Read, "lookup-self") => {
            Ok(Outcome::answer(Answer::data(asked.bearer.entry.lookup(asked.token, asked.now))))
        }
        (Operation::Read | Operation::Create | Operation::Update, "lookup") => {
            let token = fields.text("token")?.unwrap_or_else(|| asked.token.to_owned());
            let bearer = asked.open.tokens.authenticate(&token, asked.now).await?;
            let bearer = bearer.filter(|bearer| is_visible(asked, &bearer.entry)).ok_or_else(bad_token)?;
            Ok(Outcome::answer(Answer::data(bearer.entry.lookup(&token, asked.now))))
        }
        _ if !asked.is_write() => Err(Refusal::UnsupportedOperation),
        (_, "create") => made(create::create(asked, None, false).await?),
        (_, "create-orphan") => made(create::create(asked, None, true).await?),
        (_, "lookup-self") => Ok(Outcome::answer(Answer::data(asked.bearer.entry.lookup(asked.token, asked.now)))),
        (_, "lookup-accessor") => {
            let (_, entry) = by_accessor(asked).await?;
            Ok(Outcome::answer(Answer::data(entry.lookup("", asked.now))))
        }
        (_, "renew-self") => renew(asked, &asked.bearer.key, &asked.bearer.entry, asked.token).await,
        (_, "renew") => {
            let token = fields.required("token")?;
            let bearer = asked.open.tokens.authenticate(&token, asked.now).await?;
            let bearer = bearer.filter(|bearer| is_visible(asked, &bearer.entry)).ok_or_else(bad_token)?;
            renew(asked, &bearer.key, &bearer.entry, &token).await
        }
        (_, "renew-accessor") => {
            let (key, entry) = by_accessor(asked).await?;
            renew(asked, &key, &entry, "").await
        }
        (_, "revoke-self") => revoke(asked, &asked.bearer.key).await,
        (_, "revoke") => {
            let key = own_key(asked, &fields.required("token")?).await?;
            match key {
                Some(key) => revoke(asked, &key).await,
                None => Ok(Outcome::answer(Answer::nothing())),
            }
        }
        (_, "revoke-orphan") => {
            let key = own_key(asked, &fields.required("token")?).await?;
            let key = key.ok_or_else(|| Refusal::invalid("token to revoke not found"))?;
            asked.open.revoke_alone(&key, asked.now).await?;
            Ok(Outcome::answer(Answer::nothing()))
        }
        (_, "revoke-accessor") => {
            let (key, _) = by_accessor(asked).await?;
            revoke(asked, &key).await
        }
        (_, "tidy") => {
            asked.open.end_what_layer_tokens_left(asked.now).await?;
            Ok(Outcome::answer(Answer::nothing().warning("Tidy operation finished.").status(202)))
        }
        (_, path) => match path.strip_prefix("create/") {
            Some(name) => {
                let role = roles::role(asked.namespace, name).await?;
                let role = role.ok_or_else(|| Refusal::invalid(format!("unknown role {name}")))?;
                made(create::create(asked, Some((name, role)), false).await?)
            }
            None => Err(Refusal::UnsupportedPath),
        },
    }
}

fn made((made, warnings): (create::Made, Vec<String>)) -> Result<Outcome, Refusal> {
    let answer = warnings.into_iter().fold(Answer::default(), Answer::warning);
    Ok(Outcome { answer, auth: Some(made.auth), wrapped_accessor: Some(made.accessor), ..Outcome::default() })
}

async fn revoke(asked: &Asked<'_>, key: &TokenKey) -> Result<Outcome, Refusal> {
    asked.open.revoke_token(key, asked.now).await?;
    Ok(Outcome::answer(Answer::nothing()))
}

/// Makes a token last longer, as far as it may.
async fn renew(asked: &Asked<'_>, key: &TokenKey, entry: &TokenEntry, token: &str) -> Result<Outcome, Refusal> {
    if entry.kind == TokenKind::Layer || !entry.renewable || entry.expires_at.is_none() {
        return Err(Refusal::invalid("lease is not renewable"));
    }
    let now = asked.now;
    let increment = asked.fields().seconds("increment")?.filter(|seconds| *seconds > 0);
    // The token's own tenant says what it may do, whichever one this request acts in.
    let own = match entry.scope.tenant() {
        Some(tenant) => asked.open.namespace(tenant).await?,
        None => asked.namespace.clone(),
    };
    let renewed_login = renewed_login(&own, entry, now).await?;
    let role = match &entry.role {
        None => None,
        Some(name) => Some(roles::role(&own, name).await?.ok_or_else(|| {
            Refusal::invalid(format!("original token role {name:?} could not be found, not renewing"))
        })?),
    };
    let change = |entry: &mut TokenEntry| {
        if let Some((login, longest)) = &renewed_login {
            entry.period_seconds = login.period_seconds;
            entry.explicit_max_ttl_seconds = login.explicit_max_ttl_seconds;
            entry.max_ttl_seconds = create::shorter(login.max_ttl_seconds, *longest);
            entry.login_internal = login.internal.clone();
        }
        if let Some(role) = &role {
            role.limit_again(entry);
        }
        let usual = renewed_login.as_ref().map_or(0, |(login, _)| login.ttl_seconds);
        let usual = if usual == 0 { entry.ttl_seconds } else { usual };
        let expires_at = end(entry, increment.unwrap_or(usual), now);
        entry.expires_at = Some(expires_at);
        entry.renewed_at = Some(now);
        !entry.revoking
    };
    let renewed = asked.open.tokens.change(key, change).await?.filter(|entry| !entry.revoking);
    let renewed = renewed.ok_or_else(bad_token)?;
    asked.open.schedule_token(key, &renewed);
    Ok(Outcome { auth: Some(auth(&renewed, token, now)), ..Outcome::default() })
}

/// What the auth method of a login says of it now, and the longest life that its mount allows; nothing where the token
/// came from elsewhere.
async fn renewed_login(
    namespace: &Namespace,
    entry: &TokenEntry,
    now: Timestamp,
) -> Result<Option<(Login, u64)>, Refusal> {
    if entry.path.starts_with("auth/token/") {
        return Ok(None);
    }
    let gone = || Refusal::invalid("the auth method of this token is not mounted any more");
    let (mounted, _) = namespace.mount_of(&entry.path).ok_or_else(gone)?;
    let login = Login {
        policies: entry.policies.clone(),
        metadata: entry.meta.clone(),
        display_name: entry.display_name.clone(),
        ttl_seconds: entry.ttl_seconds,
        max_ttl_seconds: entry.max_ttl_seconds,
        explicit_max_ttl_seconds: entry.explicit_max_ttl_seconds,
        period_seconds: entry.period_seconds,
        num_uses: entry.num_uses,
        internal: entry.login_internal.clone(),
        ..Default::default()
    };
    let login = mounted.backend.renew_login(login, now).await?;
    Ok(Some((login, mounted.record.max_lease_seconds())))
}

/// The token that an accessor in the body names.
async fn by_accessor(asked: &Asked<'_>) -> Result<(TokenKey, std::sync::Arc<TokenEntry>), Refusal> {
    let accessor = asked.fields().required("accessor")?;
    let found = asked.open.tokens.by_accessor(&accessor).await?;
    let live = |entry: &TokenEntry| !entry.revoking && !entry.is_expired(asked.now);
    found
        .filter(|(_, entry)| live(entry) && is_visible(asked, entry))
        .ok_or_else(|| Refusal::invalid("invalid accessor"))
}

/// The key of a token that is to end, whether or not it is still accepted, where the caller may see it.
async fn own_key(asked: &Asked<'_>, token: &str) -> Result<Option<TokenKey>, Refusal> {
    let key = match asked.open.tokens.authenticate(token, asked.now).await? {
        Some(bearer) => bearer.key,
        None => asked.open.tokens.key(token),
    };
    let entry = asked.open.tokens.get(&key).await?;
    Ok(entry.filter(|entry| is_visible(asked, entry)).map(|_| key))
}

/// To the bearer of one tenant's token the others' do not exist, whatever id or accessor they know.
fn is_visible(asked: &Asked<'_>, entry: &TokenEntry) -> bool {
    asked.bearer.entry.scope.includes(&entry.scope)
}

async fn visible_accessors(asked: &Asked<'_>) -> Result<Vec<String>, Refusal> {
    let mut visible = Vec::new();
    for accessor in asked.open.tokens.accessors().await? {
        let found = asked.open.tokens.by_accessor(&accessor).await?;
        if found.is_some_and(|(_, entry)| !entry.revoking && is_visible(asked, &entry)) {
            visible.push(accessor);
        }
    }
    Ok(visible)
}

fn bad_token() -> Refusal {
    Refusal::Forbidden("bad token".to_owned())
}
