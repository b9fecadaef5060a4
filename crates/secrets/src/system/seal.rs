//! What is answered without a token: how custody is sealed, initialising it, unsealing it.

use mainstay_custody::{SealKind, SealStatus, Share, Split, UnsealError};
use mainstay_secrets_engine::{Fields, Refusal};
use mainstay_types::Timestamp;
use serde_json::{Value, json};

use crate::call::{Call, Method, Reply};
use crate::service::Secrets;
use crate::token;
use crate::witness::CustodyEvent;

/// The version of Vault's API that this is, with our own behind it: clients decide by it what they may ask.
pub(crate) const VERSION: &str = concat!("1.14.8+mainstay.", env!("CARGO_PKG_VERSION"));

/// How many shares a key is split into, and how many of them unseal, where nobody says.
const USUAL_SHARES: u64 = 5;
const USUAL_THRESHOLD: u64 = 3;

/// Answers a call that needs no token; nothing where it is none of those.
pub(crate) async fn without_token(secrets: &Secrets, call: &Call) -> Option<Reply> {
    let answer = match (call.path.as_str(), call.method) {
        ("sys/seal-status", Method::Get) => status(secrets).await.map(|status| Reply::json(200, status)),
        ("sys/health", Method::Get) => health(secrets, call).await,
        ("sys/leader", Method::Get) => Ok(Reply::json(
            200,
            json!({
                "ha_enabled": false, "is_self": false, "leader_address": "", "leader_cluster_address": "",
                "performance_standby": false, "performance_standby_last_remote_wal": 0,
            }),
        )),
        ("sys/init", Method::Get) => {
            let initialized = secrets.custody().seal_status().await.map_err(refused);
            initialized.map(|status| Reply::json(200, json!({ "initialized": status.seal.is_some() })))
        }
        ("sys/init", Method::Post | Method::Put) => initialize(secrets, call).await,
        ("sys/unseal", Method::Post | Method::Put) => unseal(secrets, call).await,
        _ => return None,
    };
    Some(answer.unwrap_or_else(|refusal| {
        tracing::warn!(error = &refusal as &dyn std::error::Error, path = call.path, "custody could not answer");
        Reply::from(&refusal)
    }))
}

async fn status(secrets: &Secrets) -> Result<Value, Refusal> {
    let status = secrets.custody().seal_status().await.map_err(refused)?;
    Ok(told(&status))
}

/// The status of a seal in Vault's words.
fn told(status: &SealStatus) -> Value {
    let (threshold, shares) = match status.seal {
        Some(SealKind::Shamir(split)) => (split.threshold(), split.shares()),
        Some(SealKind::KeyFile) | None => (0, 0),
    };
    let kind = status.seal.as_ref().map_or("shamir", SealKind::as_str);
    let mut told = json!({
        "type": kind,
        "initialized": status.seal.is_some(),
        "sealed": status.sealed,
        "t": threshold,
        "n": shares,
        "progress": status.attempt.progress,
        "nonce": status.attempt.nonce.as_ref().map_or("", |nonce| nonce.as_str()),
        "version": VERSION,
        "build_date": "",
        "migration": false,
        "recovery_seal": false,
        "storage_type": "mainstay",
    });
    if !status.sealed {
        told["cluster_name"] = "mainstay".into();
        told["cluster_id"] = "mainstay".into();
    }
    told
}

async fn health(secrets: &Secrets, call: &Call) -> Result<Reply, Refusal> {
    let fields = Fields::new(&call.data);
    let status = secrets.custody().seal_status().await.map_err(refused)?;
    let (usual, field) = match (&status.seal, status.sealed) {
        (None, _) => (501, "uninitcode"),
        (Some(_), true) => (503, "sealedcode"),
        (Some(_), false) => (200, "activecode"),
    };
    let code = fields.count(field)?.and_then(|code| u16::try_from(code).ok()).filter(|code| (100..1000).contains(code));
    let mut body = json!({
        "initialized": status.seal.is_some(),
        "sealed": status.sealed,
        "standby": false,
        "performance_standby": false,
        "replication_performance_mode": "disabled",
        "replication_dr_mode": "disabled",
        "server_time_utc": Timestamp::now().as_micros() / 1_000_000,
        "version": VERSION,
    });
    if !status.sealed {
        body["cluster_name"] = "mainstay".into();
        body["cluster_id"] = "mainstay".into();
    }
    Ok(Reply::json(code.unwrap_or(usual), body))
}

async fn initialize(secrets: &Secrets, call: &Call) -> Result<Reply, Refusal> {
    // As in Vault nobody has a token of custody's yet. But the layer has its own, and whoever initialises custody becomes
    // an admin of it: from elsewhere than this machine only one who is that already may do it.
    let is_local = call.remote.is_none_or(|address| address.to_canonical().is_loopback());
    if !is_local && !secrets.is_layer_admin(call) {
        let reason =
            "initialising custody from another machine needs a token of the layer with the role admin for every tenant";
        return Err(Refusal::Forbidden(reason.to_owned()));
    }
    let fields = Fields::new(&call.data);
    for field in ["pgp_keys", "root_token_pgp_key", "recovery_pgp_keys"] {
        if fields.list(field)?.is_some_and(|keys| !keys.is_empty()) {
            return Err(Refusal::invalid(format!("{field} is not supported; take the shares over TLS instead")));
        }
    }
    let shares = fields.count("secret_shares")?.unwrap_or(USUAL_SHARES);
    let threshold = fields.count("secret_threshold")?.unwrap_or(USUAL_THRESHOLD);
    let split = Split::new(shares, threshold).map_err(|error| Refusal::invalid(error.to_string()))?;
    let shares = secrets.custody().initialize(split).await.map_err(refused)?;
    // The new store is open until here, so that its first token can be written; from here on it is sealed, as operators
    // know it from Vault, and show that they hold the shares by bringing them.
    let root = first_root(secrets).await;
    secrets.record(CustodyEvent::Initialized, secrets.custody().position()).await;
    secrets.seal().await?;
    Ok(Reply::json(200, keys(&shares, json!({ "root_token": root?.as_str() }))))
}

async fn first_root(secrets: &Secrets) -> Result<zeroize::Zeroizing<String>, Refusal> {
    secrets.follow_seal().await?;
    let (open, _) = secrets.open().ok_or(Refusal::Unavailable { what: "Vault is sealed".to_owned(), source: None })?;
    token::root(&open, Timestamp::now()).await
}

/// Shares in hexadecimal and in base64, with what else is told.
pub(crate) fn keys(shares: &[Share], mut with: Value) -> Value {
    with["keys"] = shares.iter().map(|share| share.to_hex().to_string()).collect();
    with["keys_base64"] = shares.iter().map(|share| share.to_base64().to_string()).collect();
    with
}

async fn unseal(secrets: &Secrets, call: &Call) -> Result<Reply, Refusal> {
    let fields = Fields::new(&call.data);
    if fields.boolean("reset")?.unwrap_or(false) {
        secrets.custody().reset_unseal();
        return Ok(Reply::json(200, status(secrets).await?));
    }
    let key = fields.text("key")?.filter(|key| !key.is_empty());
    let key =
        key.ok_or_else(|| Refusal::invalid("'key' must be specified in request body as JSON, or 'reset' set to true"))?;
    let share = Share::parse(&key).map_err(|error| Refusal::invalid(error.to_string()))?;
    let was_sealed = secrets.is_sealed();
    let status = secrets.custody().unseal(share).await.map_err(refused)?;
    secrets.follow_seal().await?;
    if was_sealed && !status.sealed {
        secrets.record(CustodyEvent::Unsealed, secrets.custody().position()).await;
    }
    Ok(Reply::json(200, told(&status)))
}

/// What is the operator's mistake, and what is custody's trouble.
pub(crate) fn refused(error: UnsealError) -> Refusal {
    match error {
        UnsealError::NotInitialized => Refusal::invalid("Vault is not initialized"),
        UnsealError::Initialized => Refusal::invalid("Vault is already initialized"),
        UnsealError::WrongShares | UnsealError::InvalidShare(_) => {
            Refusal::invalid("Unseal failed, invalid key: the shares do not make this store's key; begin again")
        }
        error @ UnsealError::OtherSeal { .. } => Refusal::invalid(error.to_string()),
        error => Refusal::failed("custody cannot be unsealed", error),
    }
}
