//! What is really on a node, and what is wrong with it. The requests read; the judgements are pure.

use std::collections::HashMap;

use mainstay_engine::{CredentialSpec, InstanceSpec};
use mainstay_types::{CredentialObservation, Digest, Health, Presence, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use crate::api::{Api, ApiError};
use crate::credential::{self, ALL};
use crate::instance::{self, APPLY_TO, PATTERN};
use crate::names::{ADMIN, NODE, POLICY, is_credential, virtual_host};
use crate::offering::Limits;

/// All that is looked at, by name.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Whether it runs.
    virtual_hosts: HashMap<String, bool>,
    limits: HashMap<String, Value>,
    policies: HashMap<String, Policy>,
    operator_policies: HashMap<String, Policy>,
    users: HashMap<String, User>,
    permissions: HashMap<String, Vec<Permission>>,
    sessions: HashMap<String, u32>,
}

#[derive(Debug, Deserialize)]
struct VirtualHost {
    name: String,
    /// By node; `running`, or why not. Not told where there are no statistics.
    #[serde(default)]
    cluster_state: HashMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct VirtualHostLimits {
    vhost: String,
    value: Value,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Policy {
    vhost: String,
    name: String,
    pattern: String,
    #[serde(rename = "apply-to")]
    apply_to: String,
    definition: Value,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct User {
    name: String,
    password_hash: String,
    tags: Vec<String>,
    #[serde(default)]
    limits: Value,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Permission {
    user: String,
    vhost: String,
    configure: String,
    write: String,
    read: String,
}

#[derive(Debug, Deserialize)]
struct Connection {
    user: String,
}

impl Found {
    /// Looks at a node.
    pub async fn look(api: &Api) -> Result<Self, ApiError> {
        let (virtual_hosts, limits, policies, operator_policies, users, permissions, connections) = tokio::try_join!(
            virtual_hosts(api),
            api.get::<Vec<VirtualHostLimits>>("vhost-limits"),
            api.get::<Vec<Policy>>("policies"),
            api.get::<Vec<Policy>>("operator-policies"),
            api.get::<Vec<User>>("users"),
            api.get::<Vec<Permission>>("permissions"),
            // Without statistics, which come seconds late, the answer is what is open now.
            api.get::<Vec<Connection>>("connections?disable_stats=true&columns=user"),
        )?;
        let ours = |policies: Vec<Policy>| {
            let ours = policies.into_iter().filter(|policy| policy.name == POLICY);
            ours.map(|policy| (policy.vhost.clone(), policy)).collect()
        };
        let mut found = Self {
            virtual_hosts,
            limits: limits.into_iter().map(|limits| (limits.vhost, limits.value)).collect(),
            policies: ours(policies),
            operator_policies: ours(operator_policies),
            users: users.into_iter().map(|user| (user.name.clone(), user)).collect(),
            ..Self::default()
        };
        for permission in permissions {
            found.permissions.entry(permission.user.clone()).or_default().push(permission);
        }
        for connection in connections {
            *found.sessions.entry(connection.user).or_default() += 1;
        }
        Ok(found)
    }

    /// What a user's password is checked with.
    pub fn verifier(&self, username: &str) -> Option<Digest> {
        self.users.get(username).map(|user| Digest::of(user.password_hash.as_bytes()))
    }

    /// The users that nobody of ours made: each could have any right.
    pub fn strangers(&self) -> Vec<&str> {
        let names = self.users.keys().map(String::as_str);
        let mut strangers: Vec<&str> = names.filter(|name| *name != ADMIN && !is_credential(name)).collect();
        strangers.sort_unstable();
        strangers
    }

    /// Whether an instance is as it should be.
    pub fn instance(&self, instance: &InstanceSpec) -> Presence {
        let name = virtual_host(&instance.id);
        let Some(running) = self.virtual_hosts.get(&name) else { return Presence::Missing };
        let limits = Limits::of(&instance.parameters);
        let policy_is = |policies: &HashMap<String, Policy>, definition: Value| {
            policies.get(&name).is_some_and(|policy| {
                policy.pattern == PATTERN && policy.apply_to == APPLY_TO && policy.definition == definition
            })
        };
        let how = if !running {
            "its virtual host stands still"
        } else if self.limits.get(&name) != Some(&instance::vhost_limits(&limits)) {
            "its limits were changed"
        } else if !policy_is(&self.operator_policies, instance::operator_policy(&limits)) {
            "the limit of its queues was changed"
        } else if !policy_is(&self.policies, instance::default_policy()) {
            "the policy of its queues was changed"
        } else {
            return Presence::Present;
        };
        Presence::Drifted { how: how.to_owned() }
    }

    /// Whether a credential is as it should be, and how many sessions it has. The limits are not known of one whose instance
    /// was not asked about, and what it was last bound with is not known where that was before we started.
    pub fn credential(
        &self,
        credential: &CredentialSpec,
        limits: Option<&Limits>,
        verifier: Option<Digest>,
        valid_until: Option<Timestamp>,
    ) -> CredentialObservation {
        let username = credential.username();
        let sessions = self.sessions.get(&username).copied().unwrap_or(0);
        let presence = match self.users.get(&username) {
            None => Presence::Missing,
            Some(user) => match self.drift(user, credential, limits, verifier, valid_until) {
                None => Presence::Present,
                Some(how) => Presence::Drifted { how: how.to_owned() },
            },
        };
        CredentialObservation { presence, sessions }
    }

    fn drift(
        &self,
        user: &User,
        credential: &CredentialSpec,
        limits: Option<&Limits>,
        verifier: Option<Digest>,
        valid_until: Option<Timestamp>,
    ) -> Option<&'static str> {
        let rightly = Permission {
            user: user.name.clone(),
            vhost: virtual_host(&credential.instance),
            configure: ALL.to_owned(),
            write: ALL.to_owned(),
            read: ALL.to_owned(),
        };
        let permissions = self.permissions.get(&user.name).map_or(&[][..], Vec::as_slice);
        if !user.tags.is_empty() {
            Some("it has rights that no binding has")
        } else if permissions.iter().any(|permission| permission.vhost != rightly.vhost) {
            Some("it may use another instance's virtual host")
        } else if permissions != [rightly] {
            Some("it may not do all that it should be allowed")
        } else if limits.is_some_and(|limits| user.limits != credential::user_limits(limits)) {
            Some("its limits were changed")
        } else if verifier.is_some_and(|known| Digest::of(user.password_hash.as_bytes()) != known) {
            Some("its password was changed")
        } else if valid_until.is_some_and(|known| known != credential.valid_until) {
            Some("it was bound until another time")
        } else {
            None
        }
    }
}

/// The virtual hosts, and whether each runs.
pub(crate) async fn virtual_hosts(api: &Api) -> Result<HashMap<String, bool>, ApiError> {
    let found: Vec<VirtualHost> = api.get("vhosts?columns=name,cluster_state").await?;
    let runs = |found: &VirtualHost| found.cluster_state.get(NODE).is_none_or(|state| state == "running");
    Ok(found.into_iter().map(|found| (found.name.clone(), runs(&found))).collect())
}

/// The health check of a port that clients connect to.
pub(crate) fn listens(port: u16) -> String {
    format!("port-listener/{port}")
}

/// Whether a node serves. One with an alarm answers, and lets publishers wait.
pub(crate) async fn health(api: &Api, port: u16) -> Result<Health, ApiError> {
    if api.check(&listens(port)).await?.is_err() {
        return Ok(Health::Unresponsive { reason: format!("it does not listen on port {port}") });
    }
    Ok(match api.check("local-alarms").await? {
        Ok(()) => Health::Serving,
        Err(answer) => Health::Hindered { reason: alarm(&answer) },
    })
}

/// What the alarms mean.
fn alarm(answer: &Value) -> String {
    let alarms = answer.get("alarms").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let resources = alarms.iter().filter_map(|alarm| alarm.get("resource").and_then(Value::as_str));
    let causes: Vec<&str> = resources
        .map(|resource| match resource {
            "memory" => "its messages take too much memory (consume or delete some)",
            "disk space" | "disk" => "there is too little free space on its disk (make room)",
            _ => "it has an alarm",
        })
        .collect();
    format!("publishers wait: {}", if causes.is_empty() { "it has an alarm".to_owned() } else { causes.join(", and ") })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use mainstay_engine::{CredentialSpec, InstanceSpec};
    use mainstay_types::{BindingId, Digest, InstanceId, InstanceName, Parameters, Presence, Timestamp};
    use serde_json::json;

    use super::{Found, Permission, Policy, User, alarm};
    use crate::instance;
    use crate::offering::Limits;

    const HOST: &str = "i_000000000000";

    fn drifted(how: &str) -> Presence {
        Presence::Drifted { how: how.to_owned() }
    }

    fn instance() -> InstanceSpec {
        InstanceSpec { id: InstanceId::from_random(0), name: InstanceName::first(), parameters: Parameters::default() }
    }

    fn policy(definition: serde_json::Value) -> HashMap<String, Policy> {
        let (pattern, apply_to) = (".*".to_owned(), "queues".to_owned());
        let policy = Policy { vhost: HOST.to_owned(), name: "mainstay".to_owned(), pattern, apply_to, definition };
        HashMap::from([(HOST.to_owned(), policy)])
    }

    fn right() -> Found {
        let limits = Limits::of(&Parameters::default());
        Found {
            virtual_hosts: HashMap::from([(HOST.to_owned(), true)]),
            limits: HashMap::from([(HOST.to_owned(), instance::vhost_limits(&limits))]),
            policies: policy(instance::default_policy()),
            operator_policies: policy(instance::operator_policy(&limits)),
            ..Found::default()
        }
    }

    #[test]
    fn instances() {
        let instance = instance();
        assert_eq!(right().instance(&instance), Presence::Present);
        assert_eq!(Found::default().instance(&instance), Presence::Missing);
        for (wrong, how) in [
            (
                Found { virtual_hosts: HashMap::from([(HOST.to_owned(), false)]), ..right() },
                "its virtual host stands still",
            ),
            (Found { limits: HashMap::new(), ..right() }, "its limits were changed"),
            (Found { operator_policies: policy(json!({})), ..right() }, "the limit of its queues was changed"),
            (Found { policies: HashMap::new(), ..right() }, "the policy of its queues was changed"),
        ] {
            assert_eq!(wrong.instance(&instance), drifted(how));
        }
    }

    #[test]
    fn credentials() {
        let credential = CredentialSpec {
            binding: BindingId::from_random(0),
            generation: 1,
            login: 1,
            instance: instance().id,
            valid_until: Timestamp::from_micros(5_000_000),
            statements: None,
        };
        let name = credential.username();
        let limits = Limits::of(&Parameters::default());
        let right = User {
            name: name.clone(),
            password_hash: "1".to_owned(),
            tags: vec![],
            limits: json!({ "max-channels": limits.channels }),
        };
        let permission = |vhost: &str, read: &str| Permission {
            user: name.clone(),
            vhost: vhost.to_owned(),
            configure: ".*".to_owned(),
            write: ".*".to_owned(),
            read: read.to_owned(),
        };
        let judge = |user: &User, permissions: Vec<Permission>, until: i64| {
            let found = Found {
                users: HashMap::from([(name.clone(), user.clone())]),
                permissions: HashMap::from([(name.clone(), permissions)]),
                sessions: HashMap::from([(name.clone(), 3)]),
                ..Found::default()
            };
            let until = Some(Timestamp::from_micros(until));
            let seen = found.credential(&credential, Some(&limits), Some(Digest::of(b"1")), until);
            assert_eq!(seen.sessions, 3);
            seen.presence
        };
        let own = || vec![permission(HOST, ".*")];
        assert_eq!(Found::default().credential(&credential, None, None, None).presence, Presence::Missing);
        assert_eq!(judge(&right, own(), 5_000_000), Presence::Present);
        for (user, permissions, until, how) in [
            (
                User { tags: vec!["monitoring".to_owned()], ..right.clone() },
                own(),
                5,
                "it has rights that no binding has",
            ),
            (right.clone(), vec![permission("i_1", ".*")], 5, "it may use another instance's virtual host"),
            (right.clone(), vec![permission(HOST, "^$")], 5, "it may not do all that it should be allowed"),
            (right.clone(), vec![], 5, "it may not do all that it should be allowed"),
            (User { limits: json!({}), ..right.clone() }, own(), 5, "its limits were changed"),
            (User { password_hash: "2".to_owned(), ..right.clone() }, own(), 5, "its password was changed"),
            (right.clone(), own(), 6, "it was bound until another time"),
        ] {
            assert_eq!(judge(&user, permissions, until * 1_000_000), drifted(how));
        }
    }

    #[test]
    fn alarms_say_what_to_do() {
        let both = json!({ "alarms": [{ "resource": "memory" }, { "resource": "disk space" }] });
        assert!(alarm(&both).contains("too much memory") && alarm(&both).contains("make room"));
        assert_eq!(alarm(&json!({})), "publishers wait: it has an alarm");
    }
}
