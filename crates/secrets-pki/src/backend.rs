//! One mount: which request is whose.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use mainstay_secrets_engine::{Answer, Backend, Class, Globs, Kind, Mount, Operation, Refusal, Request, Storage};
use mainstay_types::Timestamp;
use serde_json::Value;
use tokio::sync::{Mutex, Semaphore};

use crate::key::{KeyKind, PrivateKey};
use crate::lists::Lists;
use crate::store::Store;

/// How many RSA keys are made at a time for one mount. Each takes a core for a second: more would starve the others.
const CONCURRENT_RSA_KEYS: usize = 2;

/// The kind `pki`.
pub struct PkiKind;

/// One mount.
pub struct Pki {
    pub(crate) store: Store,
    pub(crate) mount: Arc<Mount>,
    /// Held while issuers and keys change, which refer to one another.
    pub(crate) changes: Mutex<()>,
    pub(crate) lists: Mutex<Lists>,
    pub(crate) is_tidying: Arc<AtomicBool>,
    pub(crate) last_tidied: Mutex<Option<Timestamp>>,
    rsa: Semaphore,
}

struct Mounted(Arc<Pki>);

/// What is to be done, as far as paths tell it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Read,
    Write,
    Patch,
    Delete,
    List,
}

/// The first segments of paths that there are: another operation at them is refused as one.
const KNOWN: [&str; 22] = [
    "roles",
    "issue",
    "sign",
    "sign-verbatim",
    "root",
    "intermediate",
    "config",
    "issuers",
    "issuer",
    "keys",
    "key",
    "revoke",
    "revoke-with-key",
    "certs",
    "cert",
    "ca",
    "ca_chain",
    "crl",
    "tidy",
    "tidy-status",
    "ocsp",
    "tidy-cancel",
];

#[async_trait]
impl Kind for PkiKind {
    fn name(&self) -> &'static str {
        "pki"
    }

    fn class(&self) -> Class {
        Class::Secrets
    }

    async fn open(&self, mount: Arc<Mount>, storage: Storage) -> Result<Arc<dyn Backend>, Refusal> {
        Ok(Arc::new(Mounted(Arc::new(Pki {
            store: Store::new(storage),
            mount,
            changes: Mutex::default(),
            lists: Mutex::default(),
            is_tidying: Arc::default(),
            last_tidied: Mutex::default(),
            rsa: Semaphore::new(CONCURRENT_RSA_KEYS),
        }))))
    }
}

#[async_trait]
impl Backend for Mounted {
    fn globs(&self) -> Globs {
        Globs {
            unauthenticated: &[
                "cert/*",
                "ca/pem",
                "ca_chain",
                "ca",
                "crl/delta",
                "crl/delta/pem",
                "crl/pem",
                "crl",
                "issuer/+/crl/der",
                "issuer/+/crl/pem",
                "issuer/+/crl",
                "issuer/+/pem",
                "issuer/+/der",
                "issuer/+/json",
                "issuers/",
                "issuers",
                "ocsp",
                "ocsp/*",
            ],
            sudo: &["root", "root/sign-self-issued"],
        }
    }

    async fn handle(&self, request: &Request) -> Result<Answer, Refusal> {
        let pki = &self.0;
        let path = request.path.trim_end_matches('/');
        let segments: Vec<&str> = path.split('/').collect();
        let verb = match request.operation {
            Operation::Create | Operation::Update => Verb::Write,
            Operation::Read => Verb::Read,
            Operation::Patch => Verb::Patch,
            Operation::Delete => Verb::Delete,
            Operation::List => Verb::List,
        };
        match (verb, segments.as_slice()) {
            (_, ["ocsp", ..]) => pki.ocsp(request, path).await,
            (Verb::Write, ["tidy"]) => Pki::start_tidying(pki, request).await,
            (Verb::Read, ["tidy-status"]) => pki.tidy_status().await,
            (_, ["issue" | "sign" | "sign-verbatim", ..] | ["issuer", _, "issue" | "sign" | "sign-verbatim", ..]) => {
                if verb != Verb::Write {
                    return Err(Refusal::UnsupportedOperation);
                }
                pki.certify(request, &segments).await
            }
            (_, ["roles", ..]) => pki.roles(request, verb == Verb::List, &segments[1..]).await,
            (_, ["config", of]) => pki.config(request, of).await,
            (Verb::Write, ["root", "generate" | "rotate", kind] | ["issuers", "generate", "root", kind]) => {
                pki.generate_root(request, kind).await
            }
            (Verb::Write, ["intermediate", "generate", kind] | ["issuers", "generate", "intermediate", kind]) => {
                pki.generate_intermediate(request, kind).await
            }
            (Verb::Write, ["intermediate", "set-signed"]) => pki.import(request, "certificate", false).await,
            (Verb::Write, ["issuers", "import", "cert"]) => pki.import(request, "pem_bundle", false).await,
            (Verb::Write, ["issuers", "import", "bundle"]) => pki.import(request, "pem_bundle", true).await,
            (Verb::Write, ["root", "sign-intermediate"]) => pki.sign_intermediate(request, "default").await,
            (Verb::Write, ["issuer", issuer, "sign-intermediate"]) => pki.sign_intermediate(request, issuer).await,
            (Verb::Write, ["root", "sign-self-issued"]) => pki.sign_self_issued(request, "default").await,
            (Verb::Write, ["issuer", issuer, "sign-self-issued"]) => pki.sign_self_issued(request, issuer).await,
            (Verb::Write, ["root", "replace"]) => pki.replace_root(request).await,
            (Verb::Delete, ["root"]) => pki.delete_root().await,
            (Verb::List, ["issuers"]) => pki.list_issuers().await,
            (Verb::Read, ["issuer", issuer]) => pki.read_issuer(issuer).await,
            (Verb::Write, ["issuer", issuer]) => pki.update_issuer(request, issuer, false).await,
            (Verb::Patch, ["issuer", issuer]) => pki.update_issuer(request, issuer, true).await,
            (Verb::Delete, ["issuer", issuer]) => pki.delete_issuer(issuer).await,
            (Verb::Write, ["issuer", issuer, "revoke"]) => pki.revoke_issuer(request, issuer).await,
            (Verb::Read, ["issuer", issuer, form @ ("json" | "pem" | "der")]) => pki.show_issuer(issuer, form).await,
            (Verb::Read, ["issuer", issuer, "crl"] | ["issuer", issuer, "crl", "der"]) => {
                pki.list_of(request, issuer, false).await
            }
            (Verb::Read, ["issuer", issuer, "crl", "pem"]) => pki.list_of(request, issuer, true).await,
            (Verb::List, ["keys"]) => pki.list_keys().await,
            (Verb::Write, ["keys", "generate", kind]) => pki.generate_key(request, kind).await,
            (Verb::Write, ["keys", "import"]) => pki.import_key(request).await,
            (Verb::Read, ["key", key]) => pki.read_key(key).await,
            (Verb::Write, ["key", key]) => pki.update_key(request, key).await,
            (Verb::Delete, ["key", key]) => pki.delete_key(key).await,
            (Verb::Write, ["revoke"]) => pki.revoke(request, false).await,
            (Verb::Write, ["revoke-with-key"]) => pki.revoke(request, true).await,
            (Verb::List, ["certs"]) => pki.list_serials(crate::store::CERTIFICATES).await,
            (Verb::List, ["certs", "revoked"]) => pki.list_serials(crate::store::REVOKED).await,
            (Verb::Read, ["ca"] | ["cert", "ca", "raw"]) => pki.fetch_ca(false).await,
            (Verb::Read, ["ca", "pem"] | ["cert", "ca", "raw", "pem"]) => pki.fetch_ca(true).await,
            (Verb::Read, ["ca_chain"]) => pki.fetch_ca_chain().await,
            (Verb::Read, ["cert", known @ ("ca" | "ca_chain" | "crl")]) => pki.fetch_known(request, known).await,
            (Verb::Read, ["crl"] | ["cert", "crl", "raw"]) => pki.list_of(request, "default", false).await,
            (Verb::Read, ["crl", "pem"] | ["cert", "crl", "raw", "pem"]) => pki.list_of(request, "default", true).await,
            (Verb::Read | Verb::Write, ["crl", "rotate"]) => pki.rotate_lists(request).await,
            // There are no delta lists: as with Vault where they are switched off, there is nothing to answer.
            (Verb::Read, ["crl", "delta"] | ["crl", "delta", "pem"]) => Ok(Answer::nothing()),
            (Verb::Read, ["cert", serial]) => pki.fetch_certificate(serial).await,
            (Verb::Read, ["cert", serial, "raw"]) => pki.fetch_raw_certificate(serial, false).await,
            (Verb::Read, ["cert", serial, "raw", "pem"]) => pki.fetch_raw_certificate(serial, true).await,
            (_, [first, ..]) if KNOWN.contains(first) && segments.len() <= 3 => Err(Refusal::UnsupportedOperation),
            _ => Err(Refusal::UnsupportedPath),
        }
    }

    async fn revoke(&self, internal: &Value, now: Timestamp) -> Result<(), Refusal> {
        self.0.revoke_leased(internal, now).await
    }

    async fn tend(&self, now: Timestamp) -> Result<(), Refusal> {
        Pki::tend(&self.0, now).await
    }
}

impl Pki {
    /// Makes a key, off the threads that serve requests where that takes long.
    pub(crate) async fn make_key(&self, kind: KeyKind) -> Result<PrivateKey, Refusal> {
        if !matches!(kind, KeyKind::Rsa { .. }) {
            return PrivateKey::generate(kind);
        }
        let _turn = self.rsa.acquire().await.map_err(|error| Refusal::failed("no key could be made", error))?;
        off_thread(move || PrivateKey::generate(kind)).await
    }
}

/// Runs what takes a core for a while where it holds up nobody.
pub(crate) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Refusal::failed("the work on a certificate was given up", error))?
}
