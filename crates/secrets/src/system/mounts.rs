//! `sys/mounts`, `sys/auth`, `sys/remount`, `sys/internal/ui` and `sys/namespaces`.

use mainstay_secrets_engine::{Answer, Class, Operation, Refusal};
use mainstay_types::TenantName;
use serde_json::{Map, Value, json};

use crate::asked::Asked;
use crate::mount::{MountRecord, check_path, no_mount};
use crate::outcome::Outcome;

/// The mounts that every tenant has and nobody can take away: path, type, description.
const BUILT_IN: [(&str, &str, &str); 3] = [
    ("cubbyhole/", "cubbyhole", "per-token private secret storage"),
    ("sys/", "system", "system endpoints used for control, policy and debugging"),
    ("auth/token/", "token", "token based credentials"),
];

/// Serves `sys/mounts...`, given what follows it and its slash.
pub(crate) async fn secrets(asked: &Asked<'_>, rest: &str) -> Result<Outcome, Refusal> {
    handle(asked, Class::Secrets, rest).await
}

/// Serves `sys/auth...`.
pub(crate) async fn auth(asked: &Asked<'_>, rest: &str) -> Result<Outcome, Refusal> {
    handle(asked, Class::Auth, rest).await
}

async fn handle(asked: &Asked<'_>, class: Class, rest: &str) -> Result<Outcome, Refusal> {
    let rest = rest.trim_matches('/');
    if rest.is_empty() {
        return match asked.operation {
            Operation::Read | Operation::List => {
                Ok(Outcome::answer(Answer { data: Some(listing(asked, class, |_| true)), ..Answer::default() }))
            }
            _ => Err(Refusal::UnsupportedOperation),
        };
    }
    if let Some(path) = rest.strip_suffix("/tune") {
        return tune(asked, &full(path, class)).await;
    }
    match asked.operation {
        Operation::Read => {
            let path = full(rest, class);
            let own = asked.namespace.mounts().get(&path).map(|mounted| mounted.record.listing());
            let listing = own.or_else(|| built_in(&path)).ok_or_else(|| no_mount(&path))?;
            Ok(Outcome::answer(Answer::data(listing)))
        }
        Operation::Create | Operation::Update => {
            asked.namespace.add(new_record(asked, class, rest)?).await?;
            Ok(Outcome::answer(Answer::nothing()))
        }
        Operation::Delete => {
            let path = full(rest, class);
            if built_in(&path).is_some() {
                return Err(Refusal::invalid(format!("cannot unmount {path:?}")));
            }
            // Who gets in is changed through `sys/auth`, which needs sudo.
            if class == Class::Secrets && path.starts_with("auth/") {
                return Err(Refusal::invalid(format!("cannot unmount {path:?}")));
            }
            // As in Vault, what is not mounted is as good as unmounted.
            if asked.namespace.mounts().contains_key(&path) {
                let record = asked.namespace.begin_leaving(&path).await?;
                asked.open.leave(asked.namespace, &record, asked.now).await?;
            }
            Ok(Outcome::answer(Answer::nothing()))
        }
        Operation::List | Operation::Patch => Err(Refusal::UnsupportedOperation),
    }
}

fn new_record(asked: &Asked<'_>, class: Class, path: &str) -> Result<MountRecord, Refusal> {
    let fields = asked.fields();
    // Vault's other names for what is one engine here.
    let (kind, version) = match fields.required("type")?.as_str() {
        "kv-v1" | "generic" if class == Class::Secrets => ("kv".to_owned(), Some("1")),
        "kv-v2" if class == Class::Secrets => ("kv".to_owned(), Some("2")),
        kind => (kind.to_owned(), None),
    };
    if !asked.open.kinds.has(class, &kind) {
        let known = asked.open.kinds.names(class).join(", ");
        return Err(Refusal::invalid(format!("plugin not found in the catalog: {kind}; there are {known}")));
    }
    let mut record = MountRecord::new(check_path(path, class)?, &kind)?;
    record.description = fields.text("description")?.unwrap_or_default();
    record.options = fields.map("options")?.unwrap_or_default();
    if let Some(version) = version {
        record.options.entry("version".to_owned()).or_insert_with(|| version.to_owned());
    }
    record.local = fields.boolean("local")?.unwrap_or(false);
    record.seal_wrap = fields.boolean("seal_wrap")?.unwrap_or(false);
    if let Some(Value::Object(config)) = fields.get("config") {
        record.config.update(mainstay_secrets_engine::Fields::new(config))?;
    }
    Ok(record)
}

async fn tune(asked: &Asked<'_>, path: &str) -> Result<Outcome, Refusal> {
    match asked.operation {
        Operation::Read => {
            let own = asked.namespace.mounts().get(path).map(|mounted| mounted.record.tuning());
            let tuning = own.or_else(|| built_in(path).map(|listing| listing["config"].clone()));
            Ok(Outcome::answer(Answer::data(tuning.ok_or_else(|| no_mount(path))?)))
        }
        Operation::Create | Operation::Update => {
            let fields = asked.fields();
            asked
                .namespace
                .alter(path, |record| {
                    record.config.update(fields)?;
                    if let Some(description) = fields.text("description")? {
                        record.description = description;
                    }
                    if let Some(options) = fields.map("options")? {
                        let lower = |version: Option<&String>| version.and_then(|text| text.parse::<u64>().ok());
                        if lower(options.get("version")) < lower(record.options.get("version"))
                            && options.contains_key("version")
                        {
                            return Err(Refusal::invalid("cannot downgrade mount from version 2"));
                        }
                        record.options.extend(options);
                    }
                    Ok(())
                })
                .await?;
            Ok(Outcome::answer(Answer::nothing()))
        }
        _ => Err(Refusal::UnsupportedOperation),
    }
}

/// Moves a mount: its leases are taken back, since their ids hold its path.
pub(crate) async fn remount(asked: &Asked<'_>, rest: &str) -> Result<Outcome, Refusal> {
    if rest.starts_with("status/") {
        let done =
            json!({ "migration_id": rest.trim_start_matches("status/"), "migration_info": { "status": "success" } });
        return Ok(Outcome::answer(Answer::data(done)));
    }
    if !asked.is_write() {
        return Err(Refusal::UnsupportedOperation);
    }
    let (from, to) = (asked.fields().required("from")?, asked.fields().required("to")?);
    let class_of = |path: &str| match path.trim_start_matches('/').starts_with("auth/") {
        true => Class::Auth,
        false => Class::Secrets,
    };
    let class = class_of(&from);
    if class_of(&to) != class {
        return Err(Refusal::invalid(format!(
            "cannot remount {from:?} to {to:?}: one lets callers in and one does not"
        )));
    }
    let name = |path: &str| path.trim_matches('/').strip_prefix("auth/").unwrap_or(path.trim_matches('/')).to_owned();
    let (from, to) = (full(&name(&from), class), check_path(&name(&to), class)?);
    if !asked.namespace.mounts().contains_key(&from) {
        return Err(no_mount(&from));
    }
    asked.open.revoke_prefix(&asked.namespace.tenant, &from, asked.now).await?;
    asked
        .namespace
        .alter(&from, |record| {
            record.path = to.clone();
            Ok(())
        })
        .await?;
    Ok(Outcome::answer(Answer::data(json!({ "migration_id": uuid::Uuid::new_v4().to_string() }))))
}

/// Serves `sys/internal/ui/...`: what a client may know of the mounts that its token reaches.
pub(crate) async fn internal(asked: &Asked<'_>, rest: &str) -> Result<Outcome, Refusal> {
    match rest.trim_end_matches('/') {
        "ui/mounts" => {
            let reached = |path: &str| asked.acl.reaches_below(path);
            let data = json!({
                "secret": listing(asked, Class::Secrets, reached),
                "auth": listing(asked, Class::Auth, reached),
            });
            Ok(Outcome::answer(Answer::data(data)))
        }
        "ui/namespaces" => Ok(Outcome::answer(Answer::keys(tenants(asked).await?))),
        "ui/resultant-acl" => Ok(Outcome::answer(Answer::data(json!({ "root": asked.acl.is_root() })))),
        path => {
            let path = path.strip_prefix("ui/mounts/").ok_or(Refusal::UnsupportedPath)?;
            // Also what a path may not know exists is 403: a mount that is there and one that is not look the same.
            let found = asked
                .namespace
                .mount_of(path)
                .or_else(|| asked.namespace.mount_of(&format!("{path}/")).map(|(mounted, _)| (mounted, "")));
            let (mounted, _) = found.ok_or_else(|| Refusal::Forbidden(no_access(path)))?;
            if !asked.acl.reaches_below(&mounted.record.path) {
                return Err(Refusal::Forbidden(no_access(path)));
            }
            let mut listing = mounted.record.listing();
            listing["path"] = mounted.record.path.as_str().into();
            Ok(Outcome::answer(Answer::data(listing)))
        }
    }
}

fn no_access(path: &str) -> String {
    format!("preflight capability check returned 403, please ensure client's policies grant access to path \"{path}/\"")
}

/// Serves `sys/namespaces`: tenants, which are there as soon as somebody acts in one.
pub(crate) async fn namespaces(asked: &Asked<'_>, rest: &str) -> Result<Outcome, Refusal> {
    let name = rest.trim_matches('/');
    let own = |tenant: &TenantName| json!({ "id": tenant, "path": format!("{tenant}/"), "custom_metadata": {} });
    match asked.operation {
        Operation::List if name.is_empty() => Ok(Outcome::answer(Answer::keys(tenants(asked).await?))),
        Operation::Read | Operation::Create | Operation::Update => {
            let tenant: TenantName = name.parse().map_err(|error| Refusal::invalid(format!("{error}")))?;
            if !asked.bearer.entry.scope.covers(&tenant) {
                return Err(Refusal::Denied);
            }
            if asked.is_write() {
                asked.open.namespace(&tenant).await?;
            } else if !asked.open.tenants().await?.contains(&tenant) {
                return Err(Refusal::NotFound);
            }
            Ok(Outcome::answer(Answer::data(own(&tenant))))
        }
        _ => Err(Refusal::UnsupportedOperation),
    }
}

/// The tenants that the caller may see, as Vault lists namespaces.
async fn tenants(asked: &Asked<'_>) -> Result<Vec<String>, Refusal> {
    let tenants = asked.open.tenants().await?;
    let visible = tenants.into_iter().filter(|tenant| asked.bearer.entry.scope.covers(tenant));
    Ok(visible.map(|tenant| format!("{tenant}/")).collect())
}

fn listing(asked: &Asked<'_>, class: Class, shown: impl Fn(&str) -> bool) -> Map<String, Value> {
    let mounts = asked.namespace.mounts();
    let own = mounts.values().map(|mounted| (mounted.record.path.clone(), mounted.record.listing()));
    let built_in = BUILT_IN.iter().filter_map(|(path, ..)| Some(((*path).to_owned(), built_in(path)?)));
    let of_class = |path: &str| path.starts_with("auth/") == (class == Class::Auth);
    let all = own.chain(built_in).filter(|(path, _)| of_class(path) && shown(path));
    all.map(|(path, listing)| (path.strip_prefix("auth/").map_or(path.clone(), str::to_owned), listing)).collect()
}

fn built_in(path: &str) -> Option<Value> {
    let (path, kind, description) = BUILT_IN.iter().find(|(built_in, ..)| *built_in == path)?;
    let mut record = MountRecord::new((*path).to_owned(), kind).ok()?;
    record.uuid = format!("00000000-0000-0000-0000-{:0>12}", kind.len());
    record.accessor = format!("{kind}_builtin");
    record.description = (*description).to_owned();
    Some(record.listing())
}

/// The path of a mount in the table.
fn full(path: &str, class: Class) -> String {
    let path = path.trim_matches('/');
    if class == Class::Auth { format!("auth/{path}/") } else { format!("{path}/") }
}
