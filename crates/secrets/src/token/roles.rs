//! Token roles: what a token that is made with one may be.

use mainstay_secrets_engine::{Answer, Fields, Operation, Refusal};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::asked::Asked;
use crate::mount::Namespace;
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
    /// The policies of a token that asks for these and is made by somebody who has those. Nothing where the role says
    /// nothing of policies: then the rules for tokens without a role count.
    ///
    /// As in Vault, what the role allows need not be among the maker's own policies; that is what roles are for.
    pub(crate) fn policies(
        &self,
        wanted: &[String],
        parent: &[String],
        no_default: bool,
    ) -> Option<Result<Vec<String>, Refusal>> {
        let allows = !self.allowed_policies.is_empty() || !self.allowed_policies_glob.is_empty();
        let disallows = !self.disallowed_policies.is_empty() || !self.disallowed_policies_glob.is_empty();
        if !allows && !disallows {
            return None;
        }
        let denied = |name: &String| {
            self.disallowed_policies.contains(name) || self.disallowed_policies_glob.iter().any(|glob| fits(glob, name))
        };
        let with_default = !no_default && !self.no_default_policy && !denied(&"default".to_owned());
        let own = match (wanted, allows) {
            ([], true) => policies(self.allowed_policies.clone(), with_default),
            ([], false) => policies(parent.to_vec(), with_default),
            (wanted, _) => policies(wanted.to_vec(), with_default),
        };
        let allowed = |name: &String| {
            (with_default && name == "default")
                || self.allowed_policies.contains(name)
                || self.allowed_policies_glob.iter().any(|glob| fits(glob, name))
        };
        if allows && !own.iter().all(allowed) {
            return Some(Err(Refusal::invalid(format!(
                "token policies ({own:?}) must be subset of the role's allowed policies ({:?}) or glob policies ({:?})",
                self.allowed_policies, self.allowed_policies_glob
            ))));
        }
        Some(match own.iter().find(|name| denied(name)) {
            Some(name) => Err(Refusal::invalid(format!("token policy {name:?} is disallowed by this role"))),
            None => Ok(own),
        })
    }

    /// Whether a token that is made with it has `default` only where it asks for it.
    pub(crate) fn leaves_out_default(&self) -> bool {
        self.no_default_policy
    }

    /// Lays on a token that is renewed what the role says by now.
    pub(crate) fn limit_again(&self, entry: &mut TokenEntry) {
        entry.period_seconds = self.period;
        if self.explicit_max_ttl > 0 {
            entry.explicit_max_ttl_seconds = self.explicit_max_ttl;
        }
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
        // Names are compared with those of tokens, which are kept so: `Admin` denies `admin`.
        for list in [
            &mut self.allowed_policies,
            &mut self.disallowed_policies,
            &mut self.allowed_policies_glob,
            &mut self.disallowed_policies_glob,
        ] {
            *list = policies(std::mem::take(list), false);
        }
        if fields.text("token_type")?.is_some_and(|kind| kind == "batch") {
            return Err(Refusal::invalid("batch tokens are not supported; use token_type=service"));
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

/// Reads a tenant's role of a name.
pub(crate) async fn role(namespace: &Namespace, name: &str) -> Result<Option<TokenRole>, Refusal> {
    Ok(namespace.storage.value(&path(name)).await?)
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
            let role = role(asked.namespace, name).await?.ok_or(Refusal::NotFound)?;
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
            let mut new = role(asked.namespace, name).await?.unwrap_or_default();
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
