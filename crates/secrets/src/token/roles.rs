//! Token roles: what a token that is made with one may be.

use mainstay_secrets_engine::{Answer, Fields, Operation, Refusal};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::asked::Asked;
use crate::network;
use crate::token::create::policies;
use crate::token::entry::TokenEntry;

/// A role of `auth/token/roles`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct TokenRole {
    #[serde(default)]
    pub(crate) orphan: bool,
    #[serde(default)]
    allowed_policies: Vec<String>,
    #[serde(default)]
    disallowed_policies: Vec<String>,
    #[serde(default)]
    allowed_policies_glob: Vec<String>,
    #[serde(default)]
    disallowed_policies_glob: Vec<String>,
    #[serde(default)]
    path_suffix: String,
    #[serde(default)]
    period: u64,
    #[serde(default)]
    explicit_max_ttl: u64,
    #[serde(default)]
    renewable: Option<bool>,
    #[serde(default)]
    bound_cidrs: Vec<String>,
    #[serde(default)]
    no_default_policy: bool,
    #[serde(default)]
    num_uses: u64,
}

impl TokenRole {
    /// The policies of a token that is to have these and is made by somebody who has those.
    pub(crate) fn policies(
        &self,
        wanted: Vec<String>,
        parent: &[String],
        no_default: bool,
    ) -> Result<Vec<String>, Refusal> {
        let no_default = no_default || self.no_default_policy;
        let free = self.allowed_policies.is_empty() && self.allowed_policies_glob.is_empty();
        let wanted = match wanted.is_empty() {
            false => wanted,
            true if free => parent.to_vec(),
            true => self.allowed_policies.clone(),
        };
        let denied = |name: &String| {
            self.disallowed_policies.contains(name) || self.disallowed_policies_glob.iter().any(|glob| fits(glob, name))
        };
        let own = policies(wanted, !no_default && !denied(&"default".to_owned()));
        if let Some(name) = own.iter().find(|name| denied(name)) {
            return Err(Refusal::invalid(format!("token policy {name:?} is disallowed by this role")));
        }
        let allowed = |name: &String| {
            name == "default"
                || self.allowed_policies.contains(name)
                || self.allowed_policies_glob.iter().any(|glob| fits(glob, name))
                || (free && parent.contains(name))
        };
        if own.iter().any(|name| !allowed(name)) {
            let list = self.allowed_policies.join(", ");
            return Err(Refusal::invalid(if free {
                "child policies must be subset of parent".to_owned()
            } else {
                format!("token policies ({}) must be subset of the role's allowed policies ({list})", own.join(", "))
            }));
        }
        Ok(own)
    }

    /// Lays the role's limits on a token.
    pub(crate) fn limit(&self, entry: &mut TokenEntry) {
        if self.period > 0 {
            entry.period_seconds = self.period;
        }
        let explicit = &mut entry.explicit_max_ttl_seconds;
        if self.explicit_max_ttl > 0 && (*explicit == 0 || *explicit > self.explicit_max_ttl) {
            *explicit = self.explicit_max_ttl;
        }
        if self.num_uses > 0 && (entry.num_uses == 0 || entry.num_uses > self.num_uses) {
            entry.num_uses = self.num_uses;
        }
        entry.renewable &= self.renewable.unwrap_or(true);
        entry.bound_cidrs = self.bound_cidrs.clone();
        if !self.path_suffix.is_empty() {
            entry.path = format!("{}/{}", entry.path, self.path_suffix);
        }
    }

    fn update(&mut self, fields: Fields<'_>) -> Result<(), Refusal> {
        for (names, list) in [
            (["allowed_policies", ""], &mut self.allowed_policies),
            (["disallowed_policies", ""], &mut self.disallowed_policies),
            (["allowed_policies_glob", ""], &mut self.allowed_policies_glob),
            (["disallowed_policies_glob", ""], &mut self.disallowed_policies_glob),
            (["bound_cidrs", "token_bound_cidrs"], &mut self.bound_cidrs),
        ] {
            for name in names {
                *list = fields.list(name)?.unwrap_or(std::mem::take(list));
            }
        }
        for (names, seconds) in [
            (["period", "token_period"], &mut self.period),
            (["explicit_max_ttl", "token_explicit_max_ttl"], &mut self.explicit_max_ttl),
        ] {
            for name in names {
                *seconds = fields.seconds(name)?.unwrap_or(*seconds);
            }
        }
        self.orphan = fields.boolean("orphan")?.unwrap_or(self.orphan);
        self.renewable = fields.boolean("renewable")?.or(self.renewable);
        self.no_default_policy = fields.boolean("token_no_default_policy")?.unwrap_or(self.no_default_policy);
        self.num_uses = fields.count("token_num_uses")?.unwrap_or(self.num_uses);
        self.path_suffix = fields.text("path_suffix")?.unwrap_or_else(|| self.path_suffix.clone());
        network::check(&self.bound_cidrs)
    }
}

/// Reads the role of a name.
pub(crate) async fn role(asked: &Asked<'_>, name: &str) -> Result<Option<TokenRole>, Refusal> {
    Ok(asked.namespace.storage.value(&path(name)).await?)
}

/// `auth/token/roles/...`
pub(crate) async fn handle(asked: &Asked<'_>, name: &str) -> Result<Answer, Refusal> {
    let storage = &asked.namespace.storage;
    match asked.operation {
        Operation::List => match storage.list("token-role/").await? {
            names if names.is_empty() => Err(Refusal::NotFound),
            names => Ok(Answer::keys(names)),
        },
        Operation::Read => {
            let role = role(asked, name).await?.ok_or(Refusal::NotFound)?;
            Ok(Answer::data(json!({
                "name": name,
                "orphan": role.orphan,
                "allowed_policies": role.allowed_policies,
                "disallowed_policies": role.disallowed_policies,
                "allowed_policies_glob": role.allowed_policies_glob,
                "disallowed_policies_glob": role.disallowed_policies_glob,
                "allowed_entity_aliases": [],
                "path_suffix": role.path_suffix,
                "period": role.period,
                "token_period": role.period,
                "explicit_max_ttl": role.explicit_max_ttl,
                "token_explicit_max_ttl": role.explicit_max_ttl,
                "renewable": role.renewable.unwrap_or(true),
                "token_bound_cidrs": role.bound_cidrs,
                "token_no_default_policy": role.no_default_policy,
                "token_num_uses": role.num_uses,
                "token_type": "default-service",
            })))
        }
        Operation::Delete => {
            storage.delete(&path(name)).await?;
            Ok(Answer::nothing())
        }
        Operation::Create | Operation::Update => {
            if name.is_empty() || name.contains('/') {
                return Err(Refusal::invalid("role name is missing or has a slash"));
            }
            let mut new = role(asked, name).await?.unwrap_or_default();
            new.update(asked.fields())?;
            storage.put(&path(name), &new).await?;
            Ok(Answer::nothing())
        }
        Operation::Patch => Err(Refusal::UnsupportedOperation),
    }
}

fn path(name: &str) -> String {
    format!("token-role/{name}")
}

/// Whether a name fits a glob, in which `*` stands for anything. Each part is looked for once, from left to right.
fn fits(glob: &str, name: &str) -> bool {
    let Some((first, rest)) = glob.split_once('*') else { return glob == name };
    let Some(mut name) = name.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    name.ends_with(last)
}
