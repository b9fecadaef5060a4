//! What is really on a server, and what is wrong with it. The questions read; the judgements are pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use mainstay_engine::{CertificateFiles, ClusterSpec, CredentialSpec, EngineError, InstanceSpec};
use mainstay_types::{CredentialObservation, Digest, Health, Observation, Plan, Presence};
use redis::RedisError;

use crate::admin::failed;
use crate::cluster::Cluster;
use crate::config::RedisConfig;
use crate::copy::Copy;
use crate::info::Info;
use crate::settings::SHARED_SESSIONS_OF_ONE;
use crate::user::{self, ADMIN, Note, User};
use crate::{data, gate, marker, offering, rights, script};

/// What a credential of a cluster is allowed, as the server tells it: in an order and with a wording of its own, which differ between
/// versions.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rules(Vec<String>);

/// What a credential should be.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Sorted.
    patterns: Vec<String>,
    note: Note,
}

/// All that one look at a server sees.
#[derive(Debug)]
struct Seen {
    users: BTreeMap<String, User>,
    /// Sessions by user.
    sessions: HashMap<String, u32>,
    settings: HashMap<String, String>,
    info: Info,
}

/// The commands of a server that credentials are allowed.
pub(crate) async fn commands(cluster: &Cluster, plan: Plan) -> Result<Vec<&'static str>, EngineError> {
    let setinfo = redis::cmd("COMMAND").arg("INFO").arg(rights::SETINFO).clone();
    let asked = cluster.admin.query(&setinfo).await;
    let (setinfo,): (redis::Value,) = asked.map_err(failed("the server's commands could not be read"))?;
    Ok(rights::commands(plan, setinfo != redis::Value::Nil))
}

/// What a server's rules for credentials are, asked once: a user that nobody can be is made, read, and removed.
async fn rules(cluster: &Cluster, plan: Plan) -> Result<Arc<Rules>, EngineError> {
    const PROBE: &str = "mainstay-rules";
    let mut known = cluster.rules.lock().await;
    if let Some(rules) = &*known {
        return Ok(rules.clone());
    }
    let attempt = || failed("the server's form of rules could not be read");
    let commands = commands(cluster, plan).await?;
    let probe = redis::pipe()
        .atomic()
        .cmd("ACL")
        .arg("SETUSER")
        .arg(PROBE)
        .arg("reset")
        .arg(&commands)
        .ignore()
        .cmd("ACL")
        .arg("LIST")
        .cmd("ACL")
        .arg("DELUSER")
        .arg(PROBE)
        .ignore()
        .clone();
    let (lines,): (Vec<String>,) = cluster.admin.query_all(&probe).await.map_err(attempt())?;
    let told = user::parse_list(&lines).remove(PROBE).map(|probe| probe.rules).unwrap_or_default();
    Ok(known.insert(Arc::new(Rules(told))).clone())
}

/// The users of a server.
pub(crate) async fn users(cluster: &Cluster) -> Result<BTreeMap<String, User>, RedisError> {
    let lines: Vec<String> = cluster.admin.query(redis::cmd("ACL").arg("LIST")).await?;
    Ok(user::parse_list(&lines))
}

/// The values of a server's settings.
pub(crate) async fn settings_in_force(cluster: &Cluster) -> Result<HashMap<String, String>, RedisError> {
    cluster.admin.query(redis::cmd("CONFIG").arg("GET").arg("*")).await
}

/// Looks at a server that should serve, and at what should be on it.
pub(crate) async fn look(
    cluster: &Cluster,
    config: &RedisConfig,
    spec: &ClusterSpec,
    instances: &[InstanceSpec],
    credentials: &[CredentialSpec],
) -> Result<Observation, EngineError> {
    // Not taken for one that does not answer: whoever let the script run can be shut out all the same.
    if let Err(error) = cluster.admin.query::<()>(&redis::cmd("PING")).await
        && script::is_busy(&error)
    {
        let reason = "it carries out a script and nothing else; end it with SCRIPT KILL or FUNCTION KILL".to_owned();
        return Ok(Observation::without_service(Health::Hindered { reason }));
    }
    let rules = rules(cluster, spec.plan).await?;
    let before = cluster.verifiers.all();
    let seen = see(cluster).await?;
    // Who is to lose access loses it all the same: in memory at once, and in the file when it can be written again.
    if let Some(reason) = seen.info.refuses_writes() {
        return Ok(Observation::without_service(Health::Hindered { reason }));
    }
    let judge = |credential: &CredentialSpec| {
        let username = credential.username();
        let found = seen.users.get(&username);
        let verifier = found.and_then(|user| user.passwords.first()).map(|hash| Digest::of(hash.as_bytes()));
        let sessions = seen.sessions.get(&username).copied().unwrap_or(0);
        let known = cluster.verifiers.known_throughout(&before, username, verifier);
        let presence = match credential_presence(&Wanted::of(spec.plan, credential), &rules, known, found) {
            Presence::Present if has_too_many(spec.plan, sessions) => {
                Presence::Drifted { how: format!("it has {sessions} sessions of {SHARED_SESSIONS_OF_ONE}") }
            }
            presence => presence,
        };
        ((credential.binding.clone(), credential.generation), CredentialObservation { presence, sessions })
    };
    Ok(Observation {
        health: Health::Serving,
        instances: instances
            .iter()
            .map(|instance| {
                let found = seen.users.get(&user::instance_user(&instance.id));
                (instance.id.clone(), instance_presence(found))
            })
            .collect(),
        credentials: credentials.iter().map(judge).collect(),
        changed_settings: changed_settings(cluster, config, spec, &seen).await?,
    })
}

async fn see(cluster: &Cluster) -> Result<Seen, EngineError> {
    let asked = redis::pipe()
        .cmd("ACL")
        .arg("LIST")
        .cmd("CLIENT")
        .arg("LIST")
        .cmd("CONFIG")
        .arg("GET")
        .arg("*")
        .cmd("INFO")
        .clone();
    let (users, clients, settings, info): (Vec<String>, String, HashMap<String, String>, String) =
        cluster.admin.query_all(&asked).await.map_err(failed("the server does not answer"))?;
    Ok(Seen { users: user::parse_list(&users), sessions: sessions(&clients), settings, info: Info::parse(&info) })
}

async fn changed_settings(
    cluster: &Cluster,
    config: &RedisConfig,
    spec: &ClusterSpec,
    seen: &Seen,
) -> Result<Vec<String>, EngineError> {
    let wanted = cluster.settings(config, spec);
    let in_force = |name: &str| seen.settings.get(name).cloned();
    let mut changes = Vec::new();
    changes.extend(mainstay_engine::supervise::changed_file(
        &cluster.directory.data(),
        data::SETTINGS,
        &wanted.render(),
    ));
    changes.extend(wanted.changed(in_force));
    changes.extend(gate::changed(spec, data::is_closed(&cluster.directory), in_force));
    changes.extend(changed_users(&seen.users));
    if offering::tls(spec.plan, &spec.parameters)
        && let Some(authority) = &config.authority
    {
        changes.extend(CertificateFiles::renewal_reason(&cluster.directory, config.listen_address, authority.as_ref()));
    }
    let is_kept = offering::persistence(spec.plan, &spec.parameters) != offering::Persistence::Cache;
    if Copy::is_unfinished(&cluster.directory)? {
        return Ok(changes);
    }
    if seen.info.is_replica() {
        changes.push("it follows another server".to_owned());
    } else if is_kept && marker::read(&cluster.admin).await?.is_none() {
        changes.push("its data does not tell its identity".to_owned());
    }
    Ok(changes)
}

/// What is wrong with the users that are nobody's binding.
fn changed_users(users: &BTreeMap<String, User>) -> Vec<String> {
    let mut changes = Vec::new();
    let default = users.get(user::DEFAULT);
    if default.is_none_or(|user| !user.is_default_shut_off()) {
        changes.push("the user default is not shut off".to_owned());
    } else if default.is_some_and(|user| !user.may_everything()) {
        changes.push("the user default may not replay transactions".to_owned());
    }
    let strangers = users.keys().filter(|name| is_stranger(name));
    changes.extend(strangers.map(|name| format!("the user {name} is nobody's")));
    changes
}

/// Whether we make no user of this name.
pub(crate) fn is_stranger(name: &str) -> bool {
    !user::belongs_to_tenants(name) && !matches!(name, user::DEFAULT | ADMIN | user::FOLLOWER)
}

/// Whether a binding has more sessions than it may.
fn has_too_many(plan: Plan, sessions: u32) -> bool {
    plan == Plan::Shared && sessions > SHARED_SESSIONS_OF_ONE
}

/// Ends the sessions of a user that has more than it may, so that it does not take those of others.
pub(crate) async fn end_too_many(cluster: &Cluster, plan: Plan, username: &str) -> Result<(), RedisError> {
    if plan != Plan::Shared {
        return Ok(());
    }
    let clients: String = cluster.admin.query(redis::cmd("CLIENT").arg("LIST")).await?;
    match sessions(&clients).get(username) {
        Some(&count) if has_too_many(plan, count) => {
            tracing::warn!(username, count, "ended the sessions of a binding that had too many");
            cluster.admin.query(redis::cmd("CLIENT").arg("KILL").arg("USER").arg(username)).await
        }
        _ => Ok(()),
    }
}

/// How often each user is named in the answer to `CLIENT LIST`.
fn sessions(clients: &str) -> HashMap<String, u32> {
    let mut sessions = HashMap::new();
    for client in clients.lines() {
        if let Some(user) = client.split(' ').find_map(|word| word.strip_prefix("user=")) {
            *sessions.entry(user.to_owned()).or_default() += 1;
        }
    }
    sessions
}

impl Rules {
    /// Whether a user has these rules. Redis 7.0 tells them in the order of its hash tables, which changes while it runs; the first,
    /// what all others are taken from or added to, is always the first.
    fn are(&self, rules: &[String]) -> bool {
        let sorted = |rules: &[String]| {
            let mut rules = rules.to_vec();
            rules.sort();
            rules
        };
        self.0.first() == rules.first() && sorted(&self.0) == sorted(rules)
    }
}

impl Wanted {
    /// What a credential should be on a cluster of this plan.
    pub fn of(plan: Plan, credential: &CredentialSpec) -> Self {
        let prefix = rights::prefix(plan, &credential.instance);
        Self { patterns: vec![format!("&{prefix}*"), format!("~{prefix}*")], note: Note::of(credential) }
    }

    /// The rules that make it so, all that it was before being forgotten, with this password's hash and these commands.
    pub fn acl(&self, hash: &str, commands: &[&'static str]) -> Vec<String> {
        let mut rules = vec!["reset".to_owned(), "on".to_owned(), format!("#{hash}")];
        rules.extend(self.patterns.iter().cloned());
        rules.extend(commands.iter().map(|&rule| rule.to_owned()));
        rules.push(self.note.selector());
        rules
    }
}

fn instance_presence(found: Option<&User>) -> Presence {
    let Some(user) = found else { return Presence::Missing };
    let nothing = !user.enabled && user.passwords.is_empty() && user.rules == ["-@all"] && user.patterns.is_empty();
    match nothing {
        true => Presence::Present,
        false => Presence::Drifted { how: "the user that stands for it has rights".to_owned() },
    }
}

fn credential_presence(wanted: &Wanted, rules: &Rules, verifier: Option<Digest>, found: Option<&User>) -> Presence {
    let Some(user) = found else { return Presence::Missing };
    let password = match user.passwords.as_slice() {
        [one] => Ok(Digest::of(one.as_bytes())),
        passwords => Err(passwords.len()),
    };
    let how = match password {
        _ if !user.enabled => "it may not log in".to_owned(),
        Err(count) => format!("it has {count} passwords"),
        Ok(found) if verifier.is_some_and(|known| known != found) => "its password was changed".to_owned(),
        _ if !rules.are(&user.rules) => "its commands are others".to_owned(),
        _ if user.patterns != wanted.patterns => format!("it reaches {}", user.patterns.join(" ")),
        _ if user.selectors => "it has rights besides those of a binding".to_owned(),
        _ if user.note.as_ref() != Some(&wanted.note) => "it ends at another time".to_owned(),
        _ => return Presence::Present,
    };
    Presence::Drifted { how }
}

#[cfg(test)]
mod tests {
    use mainstay_types::{Digest, Presence};

    use super::{Note, Rules, User, Wanted, changed_users, credential_presence, instance_presence, sessions};

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn good() -> User {
        User {
            enabled: true,
            passwords: words(&["aa"]),
            patterns: words(&["&x:*", "~x:*"]),
            rules: words(&["-@all", "+get", "+set"]),
            note: Some(Note { instance: "x".to_owned(), valid_until: 9 }),
            selectors: false,
        }
    }

    #[test]
    fn credentials_are_judged() {
        let rules = Rules(words(&["-@all", "+get", "+set"]));
        let wanted =
            Wanted { patterns: words(&["&x:*", "~x:*"]), note: Note { instance: "x".to_owned(), valid_until: 9 } };
        let judge = |user: User| match credential_presence(&wanted, &rules, Some(Digest::of(b"aa")), Some(&user)) {
            Presence::Drifted { how } => how,
            other => format!("{other:?}"),
        };
        assert_eq!(credential_presence(&wanted, &rules, None, None), Presence::Missing);
        for (user, expected) in [
            (good(), "Present"),
            (User { enabled: false, ..good() }, "it may not log in"),
            (User { passwords: words(&["aa", "bb"]), ..good() }, "it has 2 passwords"),
            (User { passwords: words(&["bb"]), ..good() }, "its password was changed"),
            (User { rules: words(&["+@all"]), ..good() }, "its commands are others"),
            (User { rules: words(&["-@all", "+set", "+get"]), ..good() }, "Present"),
            (User { rules: words(&["+get", "-@all", "+set"]), ..good() }, "its commands are others"),
            (User { patterns: words(&["~*"]), ..good() }, "it reaches ~*"),
            (User { selectors: true, ..good() }, "it has rights besides those of a binding"),
            (User { note: None, ..good() }, "it ends at another time"),
        ] {
            assert_eq!(judge(user), expected);
        }
    }

    #[test]
    fn instances_are_judged() {
        let good = User { rules: words(&["-@all"]), ..User::default() };
        assert_eq!(instance_presence(Some(&good)), Presence::Present);
        assert_eq!(instance_presence(None), Presence::Missing);
        assert!(matches!(instance_presence(Some(&User { enabled: true, ..good })), Presence::Drifted { .. }));
    }

    #[test]
    fn users_of_nobody_are_told() {
        let shut = User { rules: words(&["+@all"]), patterns: words(&["&*", "~*"]), ..User::default() };
        let mut users = [("default", shut.clone()), ("mainstay", good()), ("b_x_1", good()), ("i_x", good())]
            .map(|(name, user)| (name.to_owned(), user))
            .into();
        assert_eq!(changed_users(&users), Vec::<String>::new());
        users.insert("default".to_owned(), User { rules: words(&["-@all"]), ..shut.clone() });
        assert_eq!(changed_users(&users), ["the user default may not replay transactions"]);
        users.insert("default".to_owned(), User { enabled: true, ..shut });
        users.insert("eve".to_owned(), good());
        assert_eq!(changed_users(&users), ["the user default is not shut off", "the user eve is nobody's"]);
    }

    #[test]
    fn sessions_are_counted() {
        let clients = "id=3 addr=/s:0 name=user=b user=mainstay redir=-1\nid=4 addr=127.0.0.1:1 name= user=b_x_1 lib-name=\n\
                       id=5 name= user=b_x_1 resp=2\n";
        let sessions = sessions(clients);
        assert_eq!(sessions.get("b_x_1"), Some(&2));
    }
}
