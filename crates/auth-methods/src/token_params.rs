//! What roles and users say about the tokens that are made for them: the `token_*` fields.

use std::collections::BTreeSet;

use mainstay_secrets_engine::{Fields, Login, Mount, Refusal, TokenType, go_duration};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::network::Network;

/// The `token_*` fields of a role or a user.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct TokenParams {
    pub bound_cidrs: Vec<Network>,
    pub explicit_max_ttl: u64,
    pub max_ttl: u64,
    pub no_default_policy: bool,
    pub num_uses: u64,
    pub period: u64,
    pub policies: Vec<String>,
    pub kind: TokenKind,
    pub ttl: u64,
    /// The fields that were last written by their deprecated names, which are answered too then.
    pub deprecated: BTreeSet<Deprecated>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TokenKind {
    /// Whatever the mount says, which is a service token.
    #[default]
    Default,
    Service,
    Batch,
}

/// A field's name from before there were `token_*` fields. Which of them there are differs between the methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Deprecated {
    BoundCidrs,
    MaxTtl,
    NumUses,
    Period,
    Policies,
    Ttl,
}

/// The longest list of policies or networks: what is stored of a role stays small.
const LONGEST_LIST: usize = 1_000;

// === impl TokenParams ===

impl TokenParams {
    /// Takes over the fields that a request has. Nothing has changed where it is refused.
    pub fn apply(&mut self, fields: &Fields<'_>, deprecated: &[Deprecated]) -> Result<(), Refusal> {
        let mut changed = self.clone();
        let mut names = Names { fields, deprecated, used: &mut changed.deprecated };
        let bound_cidrs = names.pick("token_bound_cidrs", Deprecated::BoundCidrs);
        let explicit_max_ttl = "token_explicit_max_ttl";
        let max_ttl = names.pick("token_max_ttl", Deprecated::MaxTtl);
        let num_uses = names.pick("token_num_uses", Deprecated::NumUses);
        let period = names.pick("token_period", Deprecated::Period);
        let policies = names.pick("token_policies", Deprecated::Policies);
        let ttl = names.pick("token_ttl", Deprecated::Ttl);

        if let Some(texts) = list(fields, bound_cidrs)? {
            let networks = texts.iter().map(|text| Network::address_or_cidr(text));
            let networks: Result<_, _> = networks.collect();
            changed.bound_cidrs = networks.map_err(|error| Refusal::Invalid(error.to_string()))?;
        }
        set(&mut changed.explicit_max_ttl, fields.seconds(explicit_max_ttl)?);
        set(&mut changed.max_ttl, fields.seconds(max_ttl)?);
        set(&mut changed.no_default_policy, fields.boolean("token_no_default_policy")?);
        set(&mut changed.num_uses, fields.count(num_uses)?);
        set(&mut changed.period, fields.seconds(period)?);
        set(&mut changed.policies, list(fields, policies)?);
        set(&mut changed.kind, fields.text("token_type")?.map(|text| TokenKind::parse(&text)).transpose()?);
        set(&mut changed.ttl, fields.seconds(ttl)?);
        changed.check()?;
        *self = changed;
        Ok(())
    }

    /// The fields as they are answered.
    pub fn answer(&self, data: &mut Map<String, Value>) {
        data.insert("token_bound_cidrs".to_owned(), json!(self.bound_cidrs));
        data.insert("token_explicit_max_ttl".to_owned(), json!(self.explicit_max_ttl));
        data.insert("token_max_ttl".to_owned(), json!(self.max_ttl));
        data.insert("token_no_default_policy".to_owned(), json!(self.no_default_policy));
        data.insert("token_num_uses".to_owned(), json!(self.num_uses));
        data.insert("token_period".to_owned(), json!(self.period));
        data.insert("token_policies".to_owned(), json!(self.policies));
        data.insert("token_type".to_owned(), json!(self.kind));
        data.insert("token_ttl".to_owned(), json!(self.ttl));
        for &name in &self.deprecated {
            let (name, value, empty) = match name {
                Deprecated::BoundCidrs => ("bound_cidrs", json!(self.bound_cidrs), self.bound_cidrs.is_empty()),
                Deprecated::MaxTtl => ("max_ttl", json!(self.max_ttl), self.max_ttl == 0),
                Deprecated::NumUses => ("num_uses", json!(self.num_uses), self.num_uses == 0),
                Deprecated::Period => ("period", json!(self.period), self.period == 0),
                Deprecated::Policies => ("policies", json!(self.policies), self.policies.is_empty()),
                Deprecated::Ttl => ("ttl", json!(self.ttl), self.ttl == 0),
            };
            if !empty {
                data.insert(name.to_owned(), value);
            }
        }
    }

    /// What the token of somebody who logged in is to be like. Who it is, is for the method to add.
    pub fn login(&self) -> Result<Login, Refusal> {
        let policies = normal(&self.policies);
        if policies.iter().any(|policy| policy == "root") {
            return Err(Refusal::invalid("auth methods cannot create root tokens"));
        }
        Ok(Login {
            policies,
            ttl_seconds: self.ttl,
            max_ttl_seconds: self.max_ttl,
            explicit_max_ttl_seconds: self.explicit_max_ttl,
            period_seconds: self.period,
            num_uses: self.num_uses,
            not_renewable: self.kind == TokenKind::Batch,
            no_default_policy: self.no_default_policy,
            bound_cidrs: self.bound_cidrs.iter().map(Network::to_cidr).collect(),
            token_type: if self.kind == TokenKind::Batch { TokenType::Batch } else { TokenType::Service },
            ..Login::default()
        })
    }

    /// The limits that count for a renewal now.
    pub fn renewed(&self, login: Login) -> Login {
        Login { ttl_seconds: self.ttl, max_ttl_seconds: self.max_ttl, period_seconds: self.period, ..login }
    }

    /// Whether a token with these policies has what a new one would get. `default` does not count.
    pub fn same_policies(&self, policies: &[String]) -> bool {
        let without_default = |policies: &[String]| {
            let mut policies = normal(policies);
            policies.retain(|policy| policy != "default");
            policies
        };
        without_default(&self.policies) == without_default(policies)
    }

    /// A period cannot be longer than the mount allows, as the token could not be renewed to it.
    pub fn check_period(&self, mount: &Mount) -> Result<(), Refusal> {
        if self.period <= mount.max_lease_seconds || mount.max_lease_seconds == 0 {
            return Ok(());
        }
        let (period, longest) = (go_duration(self.period), go_duration(mount.max_lease_seconds));
        Err(Refusal::Invalid(format!(
            "period of {period:?} is greater than the backend's maximum lease TTL of {longest:?}"
        )))
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.kind == TokenKind::Batch && self.period != 0 {
            return Err(Refusal::invalid(
                "'token_type' cannot be 'batch' or 'default_batch' when set to generate periodic tokens",
            ));
        }
        if self.kind == TokenKind::Batch && self.num_uses != 0 {
            return Err(Refusal::invalid(
                "'token_type' cannot be 'batch' or 'default_batch' when set to generate tokens with limited use count",
            ));
        }
        if self.max_ttl > 0 && self.ttl > self.max_ttl {
            return Err(Refusal::invalid("'token_ttl' cannot be greater than 'token_max_ttl'"));
        }
        Ok(())
    }
}

impl TokenKind {
    fn parse(text: &str) -> Result<Self, Refusal> {
        match text {
            "" | "default" => Ok(Self::Default),
            "service" => Ok(Self::Service),
            "batch" => Ok(Self::Batch),
            _ => Err(Refusal::Invalid(format!("invalid 'token_type' value {text:?}"))),
        }
    }
}

impl Deprecated {
    fn name(self) -> &'static str {
        match self {
            Self::BoundCidrs => "bound_cidrs",
            Self::MaxTtl => "max_ttl",
            Self::NumUses => "num_uses",
            Self::Period => "period",
            Self::Policies => "policies",
            Self::Ttl => "ttl",
        }
    }
}

/// A list of texts of a bounded length.
pub(crate) fn list(fields: &Fields<'_>, name: &str) -> Result<Option<Vec<String>>, Refusal> {
    let texts = fields.list(name)?;
    if texts.as_ref().is_some_and(|texts| texts.len() > LONGEST_LIST) {
        return Err(Refusal::Invalid(format!("{name} has more than {LONGEST_LIST} items")));
    }
    let trimmed = |texts: Vec<String>| texts.iter().map(|text| text.trim().to_owned()).collect();
    Ok(texts.map(trimmed))
}

/// Puts a value in its place where there is one.
pub(crate) fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// Which of its two names a field was written by.
struct Names<'a> {
    fields: &'a Fields<'a>,
    deprecated: &'a [Deprecated],
    used: &'a mut BTreeSet<Deprecated>,
}

impl Names<'_> {
    /// The name to read the field by. The new name wins; the old one is answered where it was written last.
    fn pick(&mut self, name: &'static str, old: Deprecated) -> &'static str {
        let with_new = self.fields.get(name).is_some();
        let with_old = self.deprecated.contains(&old) && self.fields.get(old.name()).is_some();
        if with_old {
            self.used.insert(old);
        } else if with_new {
            self.used.remove(&old);
        }
        if with_old && !with_new { old.name() } else { name }
    }
}

/// Policies as they are compared: in lower case, in order, each once.
fn normal(policies: &[String]) -> Vec<String> {
    let names = policies.iter().map(|policy| policy.trim().to_lowercase()).filter(|policy| !policy.is_empty());
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use mainstay_secrets_engine::{Fields, TokenType};
    use serde_json::{Map, Value, json};

    use super::{Deprecated, TokenParams, go_duration};

    const ALL: &[Deprecated] = &[
        Deprecated::BoundCidrs,
        Deprecated::MaxTtl,
        Deprecated::NumUses,
        Deprecated::Period,
        Deprecated::Policies,
        Deprecated::Ttl,
    ];

    fn apply(params: &mut TokenParams, data: Value) -> Result<(), String> {
        let Value::Object(data) = data else { panic!("an object") };
        params.apply(&Fields::new(&data), ALL).map_err(|refusal| refusal.to_string())
    }

    fn answer(params: &TokenParams) -> Value {
        let mut data = Map::new();
        params.answer(&mut data);
        Value::Object(data)
    }

    #[test]
    fn what_nobody_set_is_answered_as_vault_does() {
        let expected = json!({
            "token_bound_cidrs": [], "token_explicit_max_ttl": 0, "token_max_ttl": 0, "token_no_default_policy": false,
            "token_num_uses": 0, "token_period": 0, "token_policies": [], "token_type": "default", "token_ttl": 0,
        });
        assert_eq!(answer(&TokenParams::default()), expected);
    }

    #[test]
    fn a_deprecated_name_is_answered_until_the_new_one_is_written() {
        let mut params = TokenParams::default();
        apply(&mut params, json!({"policies": "b, a", "ttl": "1h"})).unwrap();
        let shown = answer(&params);
        assert_eq!((&shown["policies"], &shown["token_policies"]), (&json!(["b", "a"]), &json!(["b", "a"])));
        assert_eq!((&shown["ttl"], &shown["token_ttl"]), (&json!(3600), &json!(3600)));
        apply(&mut params, json!({"token_policies": ["c"], "token_ttl": 60, "ttl": 90})).unwrap();
        let shown = answer(&params);
        assert_eq!((&shown["policies"], &shown["token_policies"]), (&Value::Null, &json!(["c"])));
        assert_eq!((&shown["ttl"], &shown["token_ttl"]), (&json!(60), &json!(60)));
    }

    #[test]
    fn what_does_not_fit_together_is_refused_and_changes_nothing() {
        let table = [
            (json!({"token_ttl": 10, "token_max_ttl": 5}), "'token_ttl' cannot be greater than 'token_max_ttl'"),
            (json!({"token_type": "other"}), "invalid 'token_type' value \"other\""),
            (
                json!({"token_type": "batch", "token_period": 5}),
                "'token_type' cannot be 'batch' or 'default_batch' when set to generate periodic tokens",
            ),
            (
                json!({"token_type": "batch", "token_num_uses": 5}),
                "'token_type' cannot be 'batch' or 'default_batch' when set to generate tokens with limited use count",
            ),
            (json!({"token_bound_cidrs": "here"}), "invalid CIDR address: here"),
        ];
        for (data, message) in table {
            let mut params = TokenParams::default();
            assert_eq!(apply(&mut params, data).unwrap_err(), message);
            assert_eq!(params, TokenParams::default());
        }
        assert!(apply(&mut TokenParams::default(), json!({"token_num_uses": -1})).is_err());
    }

    #[test]
    fn no_spelling_of_root_gets_into_a_token() {
        for policy in ["root", "ROOT", " root", "Root\t"] {
            let params = TokenParams { policies: vec!["a".to_owned(), policy.to_owned()], ..TokenParams::default() };
            assert_eq!(params.login().unwrap_err().to_string(), "auth methods cannot create root tokens");
        }
    }

    #[test]
    fn a_login_has_what_the_fields_say() {
        let mut params = TokenParams::default();
        apply(&mut params, json!({"token_policies": "B,a,b", "token_bound_cidrs": "10.0.0.1", "token_type": "batch"}))
            .unwrap();
        let login = params.login().unwrap();
        assert_eq!(
            (login.policies.as_slice(), login.bound_cidrs.as_slice()),
            (&["a".to_owned(), "b".to_owned()][..], &["10.0.0.1/32".to_owned()][..])
        );
        assert_eq!((login.token_type, login.not_renewable), (TokenType::Batch, true));
        assert!(params.same_policies(&["b".to_owned(), "default".to_owned(), "a".to_owned()]));
        assert!(!params.same_policies(&["a".to_owned()]));
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (seconds, text) in [(0, "0s"), (61, "1m1s"), (2_764_800, "768h0m0s"), (3_599, "59m59s")] {
            assert_eq!(go_duration(seconds), text);
        }
    }
}
