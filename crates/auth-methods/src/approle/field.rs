//! Fields of a role that have a path of their own.

use mainstay_secrets_engine::{Answer, Refusal, Request};
use serde_json::{Map, Value};

use crate::approle::Approle;
use crate::approle::role::Role;
use crate::entry_name::EntryName;
use crate::token_params::Deprecated;

/// A field that can be read, written and cleared at `role/NAME/FIELD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    BindSecretId,
    BoundCidrList,
    Period,
    Policies,
    SecretIdBoundCidrs,
    SecretIdNumUses,
    SecretIdTtl,
    TokenBoundCidrs,
    TokenMaxTtl,
    TokenNumUses,
    TokenTtl,
}

const BOUND_CIDR_LIST_IS_DEPRECATED: &str = "The \"bound_cidr_list\" field is deprecated and will be removed. Please use \
                                             \"secret_id_bound_cidrs\" instead.";

// === impl Field ===

impl Field {
    pub fn in_path(text: &str) -> Option<Self> {
        let field = match text {
            "bind-secret-id" => Self::BindSecretId,
            "bound-cidr-list" => Self::BoundCidrList,
            "period" => Self::Period,
            "policies" => Self::Policies,
            "secret-id-bound-cidrs" => Self::SecretIdBoundCidrs,
            "secret-id-num-uses" => Self::SecretIdNumUses,
            "secret-id-ttl" => Self::SecretIdTtl,
            "token-bound-cidrs" => Self::TokenBoundCidrs,
            "token-max-ttl" => Self::TokenMaxTtl,
            "token-num-uses" => Self::TokenNumUses,
            "token-ttl" => Self::TokenTtl,
            _ => return None,
        };
        Some(field)
    }

    /// The names it is written and answered by. The first is missed where none of them is there.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::BindSecretId => &["bind_secret_id"],
            Self::BoundCidrList => &["bound_cidr_list"],
            Self::Period => &["token_period", "period"],
            Self::Policies => &["token_policies", "policies"],
            Self::SecretIdBoundCidrs => &["secret_id_bound_cidrs"],
            Self::SecretIdNumUses => &["secret_id_num_uses"],
            Self::SecretIdTtl => &["secret_id_ttl"],
            Self::TokenBoundCidrs => &["token_bound_cidrs"],
            Self::TokenMaxTtl => &["token_max_ttl"],
            Self::TokenNumUses => &["token_num_uses"],
            Self::TokenTtl => &["token_ttl"],
        }
    }

    /// Gives the field the value of a new role.
    fn clear(self, role: &mut Role) {
        match self {
            Self::BindSecretId => role.bind_secret_id = true,
            Self::BoundCidrList | Self::SecretIdBoundCidrs => role.secret_id_bound_cidrs.clear(),
            Self::Period => {
                role.token.period = 0;
                role.token.deprecated.remove(&Deprecated::Period);
            }
            Self::Policies => {
                role.token.policies.clear();
                role.token.deprecated.remove(&Deprecated::Policies);
            }
            Self::SecretIdNumUses => role.secret_id_num_uses = 0,
            Self::SecretIdTtl => role.secret_id_ttl = 0,
            Self::TokenBoundCidrs => role.token.bound_cidrs.clear(),
            Self::TokenMaxTtl => role.token.max_ttl = 0,
            Self::TokenNumUses => role.token.num_uses = 0,
            Self::TokenTtl => role.token.ttl = 0,
        }
    }
}

// === impl Approle ===

impl Approle {
    pub(super) async fn read_field(&self, name: &EntryName, field: Field) -> Result<Answer, Refusal> {
        let role = self.role(name).await?.ok_or(Refusal::NotFound)?.value;
        if field == Field::BoundCidrList {
            let data = serde_json::json!({ "bound_cidr_list": role.secret_id_bound_cidrs });
            return Ok(Answer::data(data).warning(BOUND_CIDR_LIST_IS_DEPRECATED));
        }
        let mut data = role.answer();
        data.retain(|name, _| field.names().contains(&name.as_str()));
        Ok(Answer { data: Some(data), ..Answer::default() })
    }

    pub(super) async fn write_field(
        &self,
        name: &EntryName,
        field: Field,
        request: &Request,
    ) -> Result<Answer, Refusal> {
        let _changing = self.roles.write(name.as_str()).await;
        let stored = self.role(name).await?.ok_or(Refusal::UnsupportedPath)?;
        let mine =
            request.data.iter().filter(|(name, value)| field.names().contains(&name.as_str()) && !value.is_null());
        let mine: Map<String, Value> = mine.map(|(name, value)| (name.clone(), value.clone())).collect();
        if mine.is_empty() {
            return Err(Refusal::Invalid(format!("missing {}", field.names()[0])));
        }
        let mut role = stored.value.clone();
        role.apply(&mine, &request.mount)?;
        self.put_role(name, Some(&stored), &role).await?;
        Ok(Answer::nothing())
    }

    pub(super) async fn clear_field(&self, name: &EntryName, field: Field) -> Result<Answer, Refusal> {
        let _changing = self.roles.write(name.as_str()).await;
        let Some(stored) = self.role(name).await? else { return Ok(Answer::nothing()) };
        let mut role = stored.value.clone();
        field.clear(&mut role);
        self.put_role(name, Some(&stored), &role).await?;
        Ok(Answer::nothing())
    }
}
