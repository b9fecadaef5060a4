//! Making tokens: for a token's bearer, for a login, and the first one.

use std::collections::BTreeMap;

use mainstay_policy::PolicyName;
use mainstay_secrets_engine::{Login, Refusal, TokenType};
use mainstay_types::{TenantScope, Timestamp};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::asked::Asked;
use crate::draw;
use crate::mount::DEFAULT_LEASE_SECONDS;
use crate::open::Open;
use crate::token::entry::{TokenEntry, TokenKey, TokenKind};
use crate::token::roles::TokenRole;

/// The longest token that somebody may choose: any real one is far shorter, and it is hashed in each request.
const LONGEST_CHOSEN: usize = 256;

/// A token that was just made, in the words of the envelope's `auth`.
pub(crate) struct Made {
    pub(crate) auth: Value,
    pub(crate) accessor: String,
    key: TokenKey,
}

/// A token without anything special about it.
pub(crate) fn plain(scope: TenantScope, path: &str, now: Timestamp) -> Result<TokenEntry, Refusal> {
    Ok(TokenEntry {
        accessor: draw::accessor()?,
        scope,
        policies: Vec::new(),
        path: path.to_owned(),
        meta: BTreeMap::new(),
        display_name: String::new(),
        parent: None,
        created_at: now,
        expires_at: None,
        renewed_at: None,
        ttl_seconds: 0,
        max_ttl_seconds: 0,
        explicit_max_ttl_seconds: 0,
        period_seconds: 0,
        renewable: false,
        num_uses: 0,
        bound_cidrs: Vec::new(),
        role: None,
        login_internal: Value::Null,
        kind: TokenKind::Service,
        revoking: false,
    })
}

/// A root token, of every tenant.
pub(crate) async fn root(open: &Open, now: Timestamp) -> Result<Zeroizing<String>, Refusal> {
    let mut entry = plain(TenantScope::Any, "auth/token/root", now)?;
    entry.policies = vec!["root".to_owned()];
    entry.display_name = "root".to_owned();
    Ok(open.tokens.create(&entry, None).await?.0)
}

/// The token of somebody who logged in at a mount, whose longest and usual lease are given.
pub(crate) async fn from_login(
    open: &Open,
    scope: TenantScope,
    path: &str,
    login: Login,
    (default_lease, max_lease): (u64, u64),
    now: Timestamp,
) -> Result<Made, Refusal> {
    if login.token_type == TokenType::Batch {
        return Err(Refusal::invalid("batch tokens are not supported; use token_type=service"));
    }
    let mut entry = plain(scope, path, now)?;
    entry.policies = policies(login.policies, !login.no_default_policy);
    if entry.is_root() {
        return Err(Refusal::invalid("auth methods cannot create root tokens"));
    }
    entry.meta = login.metadata;
    entry.display_name = login.display_name;
    entry.num_uses = login.num_uses;
    entry.bound_cidrs = login.bound_cidrs;
    entry.login_internal = login.internal;
    entry.renewable = !login.not_renewable;
    entry.max_ttl_seconds = shorter(login.max_ttl_seconds, max_lease);
    entry.explicit_max_ttl_seconds = login.explicit_max_ttl_seconds;
    entry.period_seconds = login.period_seconds;
    let ttl = if login.ttl_seconds == 0 { default_lease } else { login.ttl_seconds };
    give_life(&mut entry, ttl, now);
    keep(open, &entry, None).await
}

/// `auth/token/create`, `create-orphan` and `create/ROLE`.
pub(crate) async fn create(
    asked: &Asked<'_>,
    role: Option<(&str, TokenRole)>,
    orphan: bool,
) -> Result<(Made, Vec<String>), Refusal> {
    let fields = asked.fields();
    let parent = &asked.bearer.entry;
    if parent.num_uses > 0 || asked.bearer.entry.revoking {
        return Err(Refusal::invalid("restricted use token cannot generate child tokens"));
    }
    let parent_is_root = parent.is_root();
    let privileged = parent_is_root || asked.sudo;
    let mut warnings = Vec::new();

    let path = match &role {
        Some((name, _)) => format!("auth/token/create/{name}"),
        None if orphan => "auth/token/create-orphan".to_owned(),
        None => "auth/token/create".to_owned(),
    };
    let scope = TenantScope::One(asked.namespace.tenant.clone());
    let mut entry = plain(scope, &path, asked.now)?;
    let chosen = fields.text("id")?.filter(|id| !id.is_empty());
    if let Some(id) = &chosen {
        if !privileged {
            return Err(Refusal::invalid("root or sudo privileges required to specify token id"));
        }
        let fits = id.len() <= LONGEST_CHOSEN && id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'.');
        if !fits || id.starts_with(draw::TOKEN_PREFIX) {
            return Err(Refusal::invalid(format!(
                "custom token ID must be 1 to {LONGEST_CHOSEN} visible ASCII characters without '.' and must not begin \
                 with '{}'",
                draw::TOKEN_PREFIX
            )));
        }
    }
    if fields.text("type")?.is_some_and(|kind| kind == "batch") {
        return Err(Refusal::invalid("batch tokens are not supported; leave type out"));
    }
    if fields.text("entity_alias")?.is_some_and(|alias| !alias.is_empty()) {
        return Err(Refusal::invalid("entity aliases are not supported; leave entity_alias out"));
    }
    let no_parent = fields.boolean("no_parent")?.unwrap_or(false);
    if no_parent && !privileged {
        return Err(Refusal::invalid("root or sudo privileges required to create orphan token"));
    }
    let is_orphan = orphan || no_parent || role.as_ref().is_some_and(|(_, role)| role.orphan);
    entry.parent = (!is_orphan).then(|| asked.bearer.key.clone());

    let wanted = fields.list("policies")?.unwrap_or_default();
    let no_default = fields.boolean("no_default_policy")?.unwrap_or(false);
    let no_default = no_default || role.as_ref().is_some_and(|(_, role)| role.leaves_out_default());
    let by_role = role.as_ref().and_then(|(_, role)| role.policies(&wanted, &parent.policies, no_default));
    entry.policies = match by_role {
        Some(policies) => policies?,
        None => {
            let inherited = wanted.is_empty();
            let wanted = if inherited { parent.policies.clone() } else { wanted };
            let has_default = parent.policies.iter().any(|policy| policy == "default");
            let own = policies(wanted, !no_default && (!inherited || has_default));
            if !privileged && own.iter().any(|policy| policy != "default" && !parent.policies.contains(policy)) {
                return Err(Refusal::invalid("child policies must be subset of parent"));
            }
            own
        }
    };
    if entry.is_root() && !parent_is_root {
        return Err(Refusal::invalid("root tokens may not be created without parent token being root"));
    }
    if entry.is_root() {
        entry.policies = vec!["root".to_owned()];
    }

    entry.meta = fields.map("meta")?.unwrap_or_default();
    entry.num_uses = fields.count("num_uses")?.unwrap_or(0);
    let name = fields.text("display_name")?.unwrap_or_default();
    entry.display_name = if name.is_empty() { "token".to_owned() } else { format!("token-{}", sanitized(&name)) };
    entry.renewable = fields.boolean("renewable")?.unwrap_or(true);
    entry.period_seconds = fields.seconds("period")?.unwrap_or(0);
    if entry.period_seconds > 0 && !privileged {
        return Err(Refusal::invalid("root or sudo privileges required to create periodic token"));
    }
    entry.explicit_max_ttl_seconds = fields.seconds("explicit_max_ttl")?.unwrap_or(0);
    let mut ttl = match fields.seconds("ttl")? {
        Some(ttl) => ttl,
        None => fields.seconds("lease")?.unwrap_or(0),
    };
    if let Some((name, role)) = role {
        role.limit(&mut entry);
        entry.role = Some(name.to_owned());
    }
    let never_ends = entry.is_root() && ttl == 0 && entry.period_seconds == 0 && entry.explicit_max_ttl_seconds == 0;
    if never_ends {
        if parent.expires_at.is_some() {
            return Err(Refusal::invalid("expiring root tokens cannot create non-expiring root tokens"));
        }
        entry.renewable = false;
    } else {
        if ttl == 0 {
            ttl = DEFAULT_LEASE_SECONDS;
        }
        entry.max_ttl_seconds = DEFAULT_LEASE_SECONDS;
        if ttl > DEFAULT_LEASE_SECONDS && entry.period_seconds == 0 {
            warnings.push(format!(
                "TTL of {ttl}s exceeded the system's longest of {DEFAULT_LEASE_SECONDS}s, and was capped"
            ));
        }
        give_life(&mut entry, ttl, asked.now);
    }
    let made = keep(asked.open, &entry, chosen.map(Zeroizing::new)).await?;
    if asked.open.tokens.live(&made.key, asked.now).await?.is_none() {
        // Whoever revoked its parent meanwhile may have looked for children before this one was there.
        asked.open.revoke_token(&made.key, asked.now).await?;
        return Err(Refusal::invalid("the token's parent has ended, or descends from too many others"));
    }
    Ok((made, warnings))
}

/// The envelope's `auth` of a token.
pub(crate) fn auth(entry: &TokenEntry, token: &str, now: Timestamp) -> Value {
    json!({
        "client_token": token,
        "accessor": entry.accessor,
        "policies": entry.policies,
        "token_policies": entry.policies,
        "metadata": if entry.meta.is_empty() { Value::Null } else { json!(entry.meta) },
        "lease_duration": entry.seconds_left(now),
        "renewable": entry.renewable,
        "entity_id": "",
        "token_type": "service",
        "orphan": entry.parent.is_none(),
        "mfa_requirement": null,
        "num_uses": entry.num_uses,
    })
}

/// How long a token may live from its creation on at most; none where only its period says so.
pub(crate) fn limit(entry: &TokenEntry) -> Option<Timestamp> {
    let seconds = match (entry.period_seconds, entry.explicit_max_ttl_seconds, entry.max_ttl_seconds) {
        (0, explicit, max) => shorter(explicit, max),
        (_, explicit, _) => explicit,
    };
    (seconds > 0).then(|| entry.created_at.plus_seconds(seconds))
}

/// When a token that gets so many seconds now ends.
pub(crate) fn end(entry: &TokenEntry, seconds: u64, now: Timestamp) -> Timestamp {
    let wanted = now.plus_seconds(if entry.period_seconds > 0 { entry.period_seconds } else { seconds });
    limit(entry).map_or(wanted, |limit| wanted.min(limit))
}

fn give_life(entry: &mut TokenEntry, seconds: u64, now: Timestamp) {
    let expires_at = end(entry, seconds, now);
    entry.ttl_seconds = expires_at.seconds_since(now).round() as u64;
    entry.expires_at = Some(expires_at);
}

/// Keeps a new token. Whichever way its policies came, none is custody's own to give.
async fn keep(open: &Open, entry: &TokenEntry, chosen: Option<Zeroizing<String>>) -> Result<Made, Refusal> {
    if let Some(name) = entry.policies.iter().find(|name| *name == PolicyName::RESPONSE_WRAPPING) {
        return Err(Refusal::invalid(format!("cannot assign policy {name:?}")));
    }
    let (token, key) = open.tokens.create(entry, chosen).await?;
    open.schedule_token(&key, entry);
    Ok(Made { auth: auth(entry, &token, entry.created_at), accessor: entry.accessor.to_string(), key })
}

/// Policy names as Vault keeps them: trimmed, in lower case, sorted, each once.
pub(crate) fn policies(names: Vec<String>, with_default: bool) -> Vec<String> {
    let mut names: Vec<String> =
        names.iter().map(|name| name.trim().to_lowercase()).filter(|name| !name.is_empty()).collect();
    if with_default && !names.iter().any(|name| name == "root") {
        names.push("default".to_owned());
    }
    names.sort();
    names.dedup();
    names
}

/// The shorter of two times, where 0 means none.
pub(super) fn shorter(a: u64, b: u64) -> u64 {
    match (a, b) {
        (0, b) => b,
        (a, 0) => a,
        (a, b) => a.min(b),
    }
}

/// A display name as Vault keeps it.
fn sanitized(name: &str) -> String {
    let letters = name.chars().map(|letter| if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '-' });
    letters.collect::<String>().trim_end_matches('-').to_owned()
}
