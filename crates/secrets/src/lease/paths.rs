//! The paths of `sys/leases`, and the older ones beside them.

use mainstay_secrets_engine::{Answer, Operation, Refusal};
use serde_json::json;

use crate::asked::Asked;
use crate::lease::entry::{LeaseEntry, LeaseKey};
use crate::outcome::{Outcome, OutcomeLease};

/// Paths below `sys/` that need `sudo`.
pub(crate) const SUDO: [&str; 6] = [
    "leases/lookup/*",
    "leases/revoke-prefix/*",
    "leases/revoke-force/*",
    "leases",
    "revoke-prefix/*",
    "revoke-force/*",
];

/// How many leases one listing gives at most.
const LISTED: usize = 10_000;

/// Serves a path below `sys/leases/`, given without it.
pub(crate) async fn handle(asked: &Asked<'_>, path: &str) -> Result<Outcome, Refusal> {
    let (verb, rest) = path.split_once('/').unwrap_or((path, ""));
    match (asked.operation, verb) {
        // Whatever shows or ends many leases at once needs sudo, however the path is written.
        (Operation::List, "lookup") | (Operation::Read, "") | (_, "revoke-prefix" | "revoke-force") if !asked.sudo => {
            Err(Refusal::Denied)
        }
        (Operation::List, "lookup") => list(asked, rest).await,
        (Operation::Read, "count") => count(asked).await,
        (Operation::Read, "") => unrevoked(asked).await,
        _ if !asked.is_write() => Err(Refusal::UnsupportedOperation),
        (_, "lookup") => {
            let entry = known(asked, &id(asked, rest)?).await?;
            Ok(Outcome::answer(Answer::data(entry.lookup(asked.now))))
        }
        (_, "renew") => {
            let key = LeaseKey { tenant: asked.namespace.tenant.clone(), id: id(asked, rest)? };
            let increment = asked.fields().seconds("increment")?;
            let entry = asked.open.renew_lease(&key, increment, asked.now).await?;
            let seconds = entry.expires_at.seconds_since(asked.now).round() as u64;
            let answer = match increment.filter(|increment| *increment > seconds) {
                None => Answer::default(),
                Some(increment) => Answer::default().warning(format!(
                    "TTL of \"{increment}s\" exceeded the effective max_ttl of \"{seconds}s\"; TTL value is capped \
                     accordingly"
                )),
            };
            let lease = OutcomeLease { id: entry.key.id, renewable: entry.renewable, seconds };
            Ok(Outcome { answer, lease: Some(lease), ..Outcome::default() })
        }
        (_, "revoke") => {
            let key = LeaseKey { tenant: asked.namespace.tenant.clone(), id: id(asked, rest)? };
            let revoked = asked.open.revoke_lease(&key, asked.now).await;
            told(revoked, asked.fields().boolean("sync")?.unwrap_or(false))
        }
        (_, "revoke-prefix" | "revoke-force") if rest.trim_matches('/').is_empty() => Err(Refusal::UnsupportedPath),
        (_, "revoke-prefix") => {
            let revoked = asked.open.revoke_prefix(&asked.namespace.tenant, rest, asked.now).await;
            told(revoked, asked.fields().boolean("sync")?.unwrap_or(false))
        }
        (_, "revoke-force") => {
            let keys = asked.open.leases_below(&asked.namespace.tenant, rest).await?;
            asked.open.abandon_leases(&keys, asked.now).await?;
            Ok(Outcome::answer(Answer::nothing()))
        }
        (_, "tidy") => Ok(Outcome::answer(Answer::nothing().status(204))),
        _ => Err(Refusal::UnsupportedPath),
    }
}

/// A revocation that did not get through yet goes on by itself; whoever did not ask to wait for it is only told.
fn told(revoked: Result<(), Refusal>, sync: bool) -> Result<Outcome, Refusal> {
    match revoked {
        Ok(()) => Ok(Outcome::answer(Answer::nothing())),
        Err(refusal) if sync => Err(refusal),
        Err(refusal) => {
            let warning =
                format!("not yet revoked: {refusal}; it is tried again until it is, see sys/leases?type=irrevocable");
            Ok(Outcome::answer(Answer::data(json!({})).warning(warning)))
        }
    }
}

/// The lease id of a request: in the body, or at the end of the path as older clients have it.
fn id(asked: &Asked<'_>, rest: &str) -> Result<String, Refusal> {
    let id = asked.fields().text("lease_id")?.filter(|id| !id.is_empty());
    let id = id.or_else(|| (!rest.is_empty()).then(|| rest.to_owned()));
    id.ok_or_else(|| Refusal::invalid("lease_id must be specified"))
}

/// A lease of this tenant. Another tenant's is as unknown as one that never was.
async fn known(asked: &Asked<'_>, id: &str) -> Result<LeaseEntry, Refusal> {
    let key = LeaseKey { tenant: asked.namespace.tenant.clone(), id: id.to_owned() };
    asked.open.lease(&key).await?.ok_or_else(|| Refusal::invalid("invalid lease"))
}

async fn list(asked: &Asked<'_>, prefix: &str) -> Result<Outcome, Refusal> {
    let root = format!("lease/{}/{}", asked.namespace.tenant, prefix.trim_matches('/'));
    let folder = format!("{}/", root.trim_end_matches('/'));
    match asked.open.core.list(&folder).await? {
        keys if keys.is_empty() => Err(Refusal::NotFound),
        keys => Ok(Outcome::answer(Answer::keys(keys))),
    }
}

async fn count(asked: &Asked<'_>) -> Result<Outcome, Refusal> {
    let mut counts = std::collections::BTreeMap::<String, u64>::new();
    let keys = asked.open.leases_below(&asked.namespace.tenant, "").await?;
    for key in &keys {
        let mount =
            asked.namespace.mount_of(&key.id).map_or_else(String::new, |(mounted, _)| mounted.record.path.clone());
        *counts.entry(mount).or_default() += 1;
    }
    Ok(Outcome::answer(Answer::data(json!({ "lease_count": keys.len(), "counts": counts }))))
}

/// What is to be taken back and could not be yet, with the reason.
async fn unrevoked(asked: &Asked<'_>) -> Result<Outcome, Refusal> {
    if asked.fields().text("type")?.as_deref() != Some("irrevocable") {
        return Err(Refusal::invalid("the leases that can be listed are those of type=irrevocable"));
    }
    let mut leases = Vec::new();
    let mut counts = std::collections::BTreeMap::<String, u64>::new();
    for key in asked.open.leases_below(&asked.namespace.tenant, "").await? {
        let Some(entry) = asked.open.lease(&key).await?.filter(|entry| entry.revoking) else { continue };
        let mount = asked.namespace.mount_by_uuid(&entry.mount).map_or_else(String::new, |m| m.record.path.clone());
        *counts.entry(mount.clone()).or_default() += 1;
        if leases.len() < LISTED {
            leases.push(json!({
                "lease_id": key.id, "mount_point": mount, "error": entry.last_failure, "failures": entry.failures,
                "expire_time": entry.expires_at,
            }));
        }
    }
    let total: u64 = counts.values().sum();
    Ok(Outcome::answer(Answer::data(json!({ "leases": leases, "lease_count": total, "counts": counts }))))
}
