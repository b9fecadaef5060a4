//! Keys: sealing, rotating, rekeying, and a new root token for whoever holds enough shares.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use mainstay_custody::{AttemptStatus, KeyringError, OperatorError, Proof, RekeyStatus, Rekeyed, Share, Split};
use mainstay_secrets_engine::{Answer, Operation, Refusal};
use mainstay_types::TenantScope;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::seal::{keys, refused};
use crate::asked::Asked;
use crate::draw;
use crate::outcome::Outcome;
use crate::service::Secrets;
use crate::token;
use crate::witness::CustodyEvent;

/// Serves `seal`, `rotate...`, `key-status`, `rekey/...` and `generate-root/...`, all of which need `sudo`.
///
/// Vault lets anybody begin a rekeying or a root token; who may try to find the shares is decided by a token here.
pub(crate) async fn handle(secrets: &Secrets, asked: &Asked<'_>, first: &str, rest: &str) -> Result<Outcome, Refusal> {
    if asked.bearer.entry.scope != TenantScope::Any {
        return Err(Refusal::Forbidden(
            "the seal is every tenant's; a token of one tenant cannot change it".to_owned(),
        ));
    }
    let write = asked.is_write();
    let answer = match (first, rest) {
        ("seal", "") if write => {
            secrets.seal().await?;
            Answer::nothing()
        }
        ("key-status", "") | ("rotate", "") if asked.operation == Operation::Read => {
            let status = secrets.custody().data_key().await.map_err(keyring)?;
            Answer::data(json!({
                "term": status.version,
                "install_time": status.installed_at,
                "encryptions": status.operations,
            }))
        }
        ("rotate", "" | "keyring") if write => {
            secrets.custody().rotate_data_key().await.map_err(keyring)?;
            secrets.record(CustodyEvent::KeyRotated, secrets.custody().position()).await;
            Answer::nothing()
        }
        ("rotate", "root") if write => {
            rotate_master_key(secrets).await?;
            Answer::nothing()
        }
        ("rekey", "backup") if asked.operation == Operation::Read => {
            return Err(Refusal::invalid("no backed-up keys found"));
        }
        ("rekey", "backup") if asked.operation == Operation::Delete => Answer::nothing(),
        ("rekey", "init") => rekey(secrets, asked).await?,
        ("rekey", "update") if write => rekey_update(secrets, asked).await?,
        ("generate-root", "attempt") => generate_root(secrets, asked).await?,
        ("generate-root", "update") if write => generate_root_update(secrets, asked).await?,
        ("seal" | "key-status" | "rotate" | "rekey" | "generate-root", _) => return Err(Refusal::UnsupportedOperation),
        _ => return Err(Refusal::UnsupportedPath),
    };
    Ok(Outcome::answer(answer).injected())
}

/// Rotates what wraps the root key, and the root key with it. It goes by itself only where the key is in a file.
async fn rotate_master_key(secrets: &Secrets) -> Result<(), Refusal> {
    let Some(key_file) = secrets.key_file() else {
        return Err(Refusal::invalid("the key is in shares that operators hold, and not in a key file: rekey instead"));
    };
    key_file.rotate().await.map_err(|fault| {
        Refusal::failed("the rotation of the master key did not come to its end; the layer's log says why", fault)
    })?;
    secrets.record(CustodyEvent::Rekeyed, secrets.custody().position()).await;
    Ok(())
}

async fn rekey(secrets: &Secrets, asked: &Asked<'_>) -> Result<Answer, Refusal> {
    let custody = secrets.custody();
    match asked.operation {
        Operation::Read => Ok(Answer::data(told_rekey(custody.rekey_status()))),
        Operation::Delete => {
            custody.cancel_rekey();
            Ok(Answer::nothing())
        }
        Operation::Create | Operation::Update => {
            let fields = asked.fields();
            if fields.list("pgp_keys")?.is_some_and(|keys| !keys.is_empty()) {
                return Err(Refusal::invalid("pgp_keys is not supported; take the shares over TLS instead"));
            }
            if fields.boolean("require_verification")?.unwrap_or(false) {
                return Err(Refusal::invalid("require_verification is not supported"));
            }
            let shares = fields.count("secret_shares")?.unwrap_or(5);
            let threshold = fields.count("secret_threshold")?.unwrap_or(3);
            let split = Split::new(shares, threshold).map_err(|error| Refusal::invalid(error.to_string()))?;
            let status = custody.begin_rekey(split).await.map_err(operators)?;
            Ok(Answer::data(told_rekey(Some(status))))
        }
        _ => Err(Refusal::UnsupportedOperation),
    }
}

async fn rekey_update(secrets: &Secrets, asked: &Asked<'_>) -> Result<Answer, Refusal> {
    let (nonce, share) = nonce_and_share(asked)?;
    match secrets.custody().rekey(&nonce, share).await.map_err(operators)? {
        Rekeyed::More(status) => Ok(Answer::data(told_rekey(Some(status)))),
        Rekeyed::Done(shares) => {
            secrets.record(CustodyEvent::Rekeyed, secrets.custody().position()).await;
            let done = json!({
                "nonce": nonce, "complete": true, "pgp_fingerprints": null, "backup": false,
                "verification_required": false,
            });
            Ok(Answer::data(keys(&shares, done)))
        }
    }
}

fn told_rekey(status: Option<RekeyStatus>) -> Value {
    let idle = AttemptStatus { nonce: None, progress: 0, required: 0 };
    let (attempt, shares, threshold) = status
        .as_ref()
        .map_or((&idle, 0, 0), |status| (&status.attempt, status.split.shares(), status.split.threshold()));
    json!({
        "nonce": nonce(attempt), "started": status.is_some(), "t": threshold, "n": shares,
        "progress": attempt.progress, "required": attempt.required, "pgp_fingerprints": null, "backup": false,
        "verification_required": false,
    })
}

async fn generate_root(secrets: &Secrets, asked: &Asked<'_>) -> Result<Answer, Refusal> {
    let custody = secrets.custody();
    match asked.operation {
        Operation::Read => Ok(Answer::data(told_proof(custody.proof_status(), None))),
        Operation::Delete => {
            custody.cancel_proof();
            secrets.set_pad(None);
            Ok(Answer::nothing())
        }
        Operation::Create | Operation::Update => {
            let fields = asked.fields();
            if fields.text("pgp_key")?.is_some_and(|key| !key.is_empty()) {
                return Err(Refusal::invalid("pgp_key is not supported; leave it out for a one-time pad"));
            }
            let length = draw::TOKEN_PREFIX.len() + draw::TOKEN_LETTERS;
            let given = fields.text("otp")?.filter(|pad| !pad.is_empty()).map(Zeroizing::new);
            let drawn = given.is_none();
            let pad = match given {
                Some(pad) if pad.len() == length => pad,
                Some(_) => {
                    return Err(Refusal::invalid(format!(
                        "OTP string is wrong length: it has to have {length} characters"
                    )));
                }
                None => draw::letters(length)?,
            };
            let status = custody.begin_proof().await.map_err(operators)?;
            let told = told_proof(Some(status), drawn.then(|| pad.to_string()));
            secrets.set_pad(Some(pad));
            Ok(Answer::data(told))
        }
        _ => Err(Refusal::UnsupportedOperation),
    }
}

async fn generate_root_update(secrets: &Secrets, asked: &Asked<'_>) -> Result<Answer, Refusal> {
    let (nonce, share) = nonce_and_share(asked)?;
    match secrets.custody().prove(&nonce, share).await.map_err(operators)? {
        Proof::More(status) => Ok(Answer::data(told_proof(Some(status), None))),
        Proof::Proven(_) => {
            let pad = secrets.set_pad(None).ok_or_else(|| Refusal::invalid("no root generation in progress"))?;
            let token = token::root(asked.open, asked.now).await?;
            let encoded: Vec<u8> = token.bytes().zip(pad.bytes()).map(|(token, pad)| token ^ pad).collect();
            let encoded = STANDARD_NO_PAD.encode(encoded);
            let mut done = told_proof(None, None);
            for (field, value) in [
                ("nonce", json!(nonce)),
                ("complete", json!(true)),
                ("encoded_token", json!(encoded)),
                ("encoded_root_token", json!(encoded)),
            ] {
                done[field] = value;
            }
            Ok(Answer::data(done))
        }
    }
}

fn told_proof(status: Option<AttemptStatus>, pad: Option<String>) -> Value {
    let idle = AttemptStatus { nonce: None, progress: 0, required: 0 };
    let attempt = status.as_ref().unwrap_or(&idle);
    json!({
        "nonce": nonce(attempt), "started": status.is_some(), "progress": attempt.progress,
        "required": attempt.required, "complete": false, "encoded_token": "", "encoded_root_token": "",
        "pgp_fingerprint": "", "otp": pad.unwrap_or_default(),
        "otp_length": draw::TOKEN_PREFIX.len() + draw::TOKEN_LETTERS,
    })
}

fn nonce_and_share(asked: &Asked<'_>) -> Result<(String, Share), Refusal> {
    let fields = asked.fields();
    let share = Share::parse(&fields.required("key")?).map_err(|error| Refusal::invalid(error.to_string()))?;
    Ok((fields.required("nonce")?, share))
}

fn nonce(attempt: &AttemptStatus) -> &str {
    attempt.nonce.as_ref().map_or("", |nonce| nonce.as_str())
}

fn operators(error: OperatorError) -> Refusal {
    match error {
        OperatorError::Unseal(error) => refused(error),
        OperatorError::Keyring(error) => keyring(error),
        error => Refusal::invalid(error.to_string()),
    }
}

fn keyring(error: KeyringError) -> Refusal {
    Refusal::failed("custody's keys cannot be used", error)
}
