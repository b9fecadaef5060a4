//! Logging in.

use std::collections::BTreeMap;

use mainstay_secrets_engine::{Answer, Login, Refusal, Request};
use serde_json::{Map, Value, json};

use crate::entry_name::EntryName;
use crate::jwt::role::{ROLE_METADATA, Role, RoleKind};
use crate::jwt::settings::Settings;
use crate::jwt::{Jwt, audience, bound_claims, claim, validity};
use crate::network;

impl Jwt {
    pub(super) async fn login(&self, request: &Request) -> Result<Answer, Refusal> {
        let settings = self.settings().await?.ok_or_else(|| Refusal::invalid("could not load configuration"))?;
        let (name, role) = self.role_of(request, &settings).await?;
        if role.kind == RoleKind::Oidc {
            return Err(Refusal::invalid("role with oidc role_type is not allowed"));
        }
        let token = request.fields().text("jwt")?.filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| Refusal::invalid("missing token"))?;
        if !network::admits(&role.token.bound_cidrs, request.remote) {
            return Err(Refusal::Denied);
        }
        let claims = settings.signed_claims(token.trim(), request.now).await?;
        let now = request.now.as_micros() as f64 / 1e6;
        check(&claims, &settings, &role, now).map_err(Refusal::Invalid)?;
        Ok(Answer::login(make_login(&claims, &name, &role)?))
    }

    async fn role_of(&self, request: &Request, settings: &Settings) -> Result<(EntryName, Role), Refusal> {
        let given = request.fields().text("role")?.filter(|name| !name.is_empty());
        let text = given.unwrap_or_else(|| settings.config.default_role.clone());
        if text.is_empty() {
            return Err(Refusal::invalid("missing role"));
        }
        let missing = || Refusal::Invalid(format!("role {:?} could not be found", text.to_lowercase()));
        let name = EntryName::in_path(&text).ok_or_else(missing)?;
        let role = self.role(&name).await?.ok_or_else(missing)?.value;
        Ok((name, role))
    }
}

/// Whether a role takes a token with these claims now.
fn check(claims: &Map<String, Value>, settings: &Settings, role: &Role, now: f64) -> Result<(), String> {
    let invalid = |why: String| format!("error validating token: {why}");
    for (name, short, expected) in
        [("issuer", "iss", &settings.config.bound_issuer), ("subject", "sub", &role.bound_subject)]
    {
        let actual = claims.get(short);
        if actual.is_some_and(|actual| !actual.is_string() && !actual.is_null())
            || !expected.is_empty() && actual.and_then(Value::as_str) != Some(expected)
        {
            return Err(invalid(format!("invalid {name} ({short}) claim")));
        }
    }
    audience::check(claims, &role.bound_audiences)?;
    validity::check(claims, role.leeways, now).map_err(invalid)?;
    bound_claims::check(role.matching, &role.bound_claims, claims)
        .map_err(|why| format!("error validating claims: {why}"))
}

fn make_login(claims: &Map<String, Value>, name: &EntryName, role: &Role) -> Result<Login, Refusal> {
    let user = user(claims, role).map_err(Refusal::Invalid)?;
    check_groups(claims, role).map_err(Refusal::Invalid)?;
    let mut metadata = metadata(claims, role).map_err(Refusal::Invalid)?;
    metadata.insert(ROLE_METADATA.to_owned(), name.as_str().to_owned());
    Ok(Login {
        metadata,
        display_name: user.clone(),
        alias: user,
        internal: json!({ "role": name.as_str() }),
        ..role.token.login()?
    })
}

/// Who it is.
fn user(claims: &Map<String, Value>, role: &Role) -> Result<String, String> {
    let name = &role.user_claim;
    let found = if role.user_claim_json_pointer { claim::find(claims, name) } else { claims.get(name) };
    match found {
        None | Some(Value::Null) => Err(format!("claim {name:?} not found in token")),
        Some(Value::String(user)) => Ok(user.clone()),
        Some(_) => Err(format!("claim {name:?} could not be converted to string")),
    }
}

/// A role that names a claim for groups takes no token without it. Groups give no policies here.
fn check_groups(claims: &Map<String, Value>, role: &Role) -> Result<(), String> {
    let name = &role.groups_claim;
    if name.is_empty() {
        return Ok(());
    }
    let groups = claim::find(claims, name)
        .ok_or_else(|| format!("failed to fetch groups: {name:?} claim not found in token"))?;
    let groups =
        claim::listed(groups).ok_or_else(|| format!("{name:?} claim could not be converted to string list"))?;
    if groups.iter().all(Value::is_string) {
        return Ok(());
    }
    Err(format!("a value in the {name:?} claim could not be parsed as string"))
}

fn metadata(claims: &Map<String, Value>, role: &Role) -> Result<BTreeMap<String, String>, String> {
    let mut metadata = BTreeMap::new();
    for (source, target) in &role.claim_mappings {
        match claim::find(claims, source) {
            None => {}
            Some(Value::String(text)) => {
                metadata.insert(target.clone(), text.clone());
            }
            Some(_) => return Err(format!("error converting claim '{source}' to string")),
        }
    }
    Ok(metadata)
}
