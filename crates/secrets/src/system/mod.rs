//! The paths of `sys/`.

mod audit;
mod capabilities;
mod keys;
mod mounts;
mod policies;
pub(crate) mod seal;
mod tools;

use mainstay_secrets_engine::Refusal;

use crate::asked::Asked;
use crate::outcome::Outcome;
use crate::service::Secrets;
use crate::{lease, wrapping};

/// Paths below `sys/` that need `sudo`, beside those of leases.
const SUDO: [&str; 17] = [
    "audit",
    "audit/*",
    "auth/*",
    "config/*",
    "generate-root/*",
    "internal/inspect/*",
    "key-status",
    "raw/*",
    "rekey/*",
    "remount",
    "rotate",
    "rotate/*",
    "seal",
    "step-down",
    "storage/*",
    "policies/password",
    "namespaces/*",
];

/// Paths whose answers have their data beside the envelope too.
const INJECTED: [&str; 16] = [
    "audit",
    "audit/",
    "audit-hash/",
    "auth",
    "auth/",
    "capabilities",
    "capabilities-accessor",
    "capabilities-self",
    "key-status",
    "mounts",
    "mounts/",
    "policy",
    "policy/",
    "remount",
    "rotate",
    "rotate/",
];

/// Paths below `sys/` that every bearer of a token may use, whatever its policies: they tell no more than the policies
/// allow, or than whoever holds a wrapping token may know. Command lines ask them before anything else.
const FOR_EVERY_BEARER: [&str; 4] =
    ["internal/ui/mounts", "internal/ui/mounts/*", "internal/ui/namespaces", "wrapping/lookup"];

/// Whether a path below `sys/` is for every bearer of a token.
pub(crate) fn is_for_every_bearer(path: &str) -> bool {
    FOR_EVERY_BEARER.iter().any(|pattern| fits(pattern, path))
}

/// Whether a path below `sys/` needs `sudo`.
pub(crate) fn needs_sudo(path: &str) -> bool {
    SUDO.iter().chain(&lease::SUDO).any(|pattern| fits(pattern, path))
}

/// Whether a path is one of a short list's patterns: the path itself, or with a `*` at the end what it begins with.
pub(crate) fn fits(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => pattern == path,
    }
}

/// Serves a path below `sys/`.
pub(crate) async fn handle(secrets: &Secrets, asked: &Asked<'_>) -> Result<Outcome, Refusal> {
    let path = asked.path;
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    let outcome = match first {
        "mounts" => mounts::secrets(asked, rest).await,
        "auth" => mounts::auth(asked, rest).await,
        "remount" => mounts::remount(asked, rest).await,
        "internal" => mounts::internal(asked, rest).await,
        "namespaces" => mounts::namespaces(asked, rest).await,
        "policies" => policies::acl(asked, rest).await,
        "policy" => policies::legacy(asked, rest).await,
        "capabilities" | "capabilities-self" | "capabilities-accessor" => capabilities::handle(asked, first).await,
        "leases" => lease::handle(asked, rest).await,
        "renew" | "revoke" | "revoke-prefix" | "revoke-force" => lease::handle(asked, path).await,
        "wrapping" => wrapping::handle(asked, rest).await,
        "audit" | "audit-hash" => audit::handle(secrets, asked, first, rest),
        "tools" => tools::handle(asked, rest),
        "seal" | "rotate" | "key-status" | "rekey" | "generate-root" | "storage" => {
            keys::handle(secrets, asked, first, rest).await
        }
        _ => Err(Refusal::UnsupportedPath),
    }?;
    let injected = INJECTED.iter().any(|known| match known.strip_suffix('/') {
        Some(folder) => first == folder && !rest.is_empty(),
        None => path == *known,
    });
    Ok(if injected { outcome.injected() } else { outcome })
}
