//! What is really on a server, and what is wrong with it. The server is asked; the judgements are pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use mainstay_engine::{CredentialSpec, EngineError, InstanceSpec};
use mainstay_types::{CredentialObservation, Health, InstanceId, Observation, Presence, Timestamp};

use crate::cluster::Cluster;
use crate::offering::Limits;
use crate::register::Look;
use crate::render::{FILE, Written};
use crate::{names, streams};

/// What the server said and what is in its file, about instances and credentials that were asked about.
#[derive(Debug)]
struct Seen<'a> {
    look: &'a Look,
    /// What we would write.
    expected: Written<'a>,
    /// What is written.
    found: Written<'a>,
    /// The accounts that the server knows.
    accounts: BTreeSet<String>,
    /// Open connections by user.
    sessions: HashMap<String, u32>,
    /// Streams that were not brought back, by account.
    lost: streams::Streams,
}

/// Looks at a cluster that runs.
pub(crate) async fn observe(
    cluster: &Cluster,
    instances: &[InstanceSpec],
    credentials: &[CredentialSpec],
) -> Result<Observation, EngineError> {
    let secret = cluster.secret()?;
    if !cluster.admin.knows_version() {
        // What should be in the file depends on it.
        cluster.admin.server(&secret).await?;
    }
    // The file first: what is written after it was looked at is not taken for unread.
    let look = cluster.register.look(cluster)?;
    let server = cluster.admin.server(&secret).await?;
    let account = |instance: &InstanceId| names::account(&secret, instance);

    let mut lost = streams::Streams::new();
    for name in instances.iter().map(|instance| account(&instance.id)) {
        let streams = cluster.lost_streams(&name).await?;
        lost.insert(name, streams);
    }
    let accounts = if instances.is_empty() { Vec::new() } else { cluster.admin.accounts(&secret).await? };
    let connections = if credentials.is_empty() { Vec::new() } else { cluster.admin.connections(&secret).await? };
    let mut sessions = HashMap::new();
    for connection in connections {
        *sessions.entry(connection.authorized_user).or_default() += 1;
    }
    let seen = Seen {
        look: &look,
        expected: Written::read(&look.expected),
        found: look.found.as_deref().map(Written::read).unwrap_or_default(),
        accounts: accounts.into_iter().collect(),
        sessions,
        lost,
    };
    let judge_instance = |instance: &InstanceSpec| {
        (instance.id.clone(), seen.instance(&account(&instance.id), &Limits::of(&instance.parameters)))
    };
    let judge_credential = |credential: &CredentialSpec| {
        let observation =
            seen.credential(&account(&credential.instance), &credential.username(), credential.valid_until);
        ((credential.binding.clone(), credential.generation), observation)
    };
    Ok(Observation {
        health: Health::Serving,
        instances: instances.iter().map(judge_instance).collect::<BTreeMap<_, _>>(),
        credentials: credentials.iter().map(judge_credential).collect::<BTreeMap<_, _>>(),
        changed_settings: changed_settings(&look, server.config_load_time).chain(cluster.renewal_reason()).collect(),
    })
}

/// What differs from what we would write, or from what the server has read.
fn changed_settings(look: &Look, loaded_at: Timestamp) -> impl Iterator<Item = String> {
    let changed = match &look.found {
        Ok(found) if *found == look.expected => None,
        Ok(_) => Some(format!("{FILE} is not as it was written")),
        Err(error) => Some(format!("{FILE} can not be read: {error}")),
    };
    let unread = look.written_at.filter(|written_at| *written_at > loaded_at);
    changed.into_iter().chain(unread.map(|_| format!("{FILE} was written after the server read it")))
}

impl Seen<'_> {
    fn instance(&self, name: &str, wanted: &Limits) -> Presence {
        let kept = self.look.accounts.accounts.get(name);
        let (Some(kept), Some(expected), Some(found)) =
            (kept, self.expected.accounts.get(name), self.found.accounts.get(name))
        else {
            return Presence::Missing;
        };
        if !self.accounts.contains(name) {
            return Presence::Missing;
        }
        let how = if kept.closing {
            "it was being removed".to_owned()
        } else if kept.limits != *wanted || found.limits != expected.limits {
            "its limits are others".to_owned()
        } else if let Some(stream) = self.lost.get(name).and_then(|streams| streams.first()) {
            format!("its stream {stream} was not brought back when the server started")
        } else {
            return Presence::Present;
        };
        Presence::Drifted { how }
    }

    fn credential(&self, account: &str, name: &str, valid_until: Timestamp) -> CredentialObservation {
        let kept = self.look.accounts.accounts.get(account).and_then(|account| account.users.get(name));
        let line_in = |written: &Written<'_>| Some((*written.accounts.get(account)?.users.get(name)?).to_owned());
        let presence = match (kept, line_in(&self.found)) {
            (None, _) | (_, None) => Presence::Missing,
            (_, found) if found != line_in(&self.expected) => {
                Presence::Drifted { how: "its password or its rights were changed".to_owned() }
            }
            (Some(kept), _) if kept.valid_until != valid_until => {
                Presence::Drifted { how: "it expires at another time".to_owned() }
            }
            _ => Presence::Present,
        };
        CredentialObservation { presence, sessions: self.sessions.get(name).copied().unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet, HashMap};

    use mainstay_types::{Parameters, Presence, Timestamp};

    use super::{Seen, changed_settings};
    use crate::accounts::{Accounts, Change, User, Verifier};
    use crate::capacity::Capacity;
    use crate::offering::Limits;
    use crate::register::Look;
    use crate::render::{Server, Written, render};

    fn look() -> Look {
        let verifier = || Verifier::of("x").unwrap();
        let mut accounts = Accounts::new(verifier());
        let (account, limits) = ("a".to_owned(), Limits::of(&Parameters::default()));
        let credential = User { verifier: verifier(), valid_until: Timestamp::EPOCH };
        accounts.apply(Change::Open { account: account.clone(), limits }, &Capacity::UNBOUNDED).unwrap();
        let admit = Change::Admit { account, user: "b".to_owned(), credential };
        accounts.apply(admit, &Capacity::UNBOUNDED).unwrap();
        let cluster = "nats-1".parse().unwrap();
        let address = "127.0.0.1:1".parse().unwrap();
        let server = Server {
            cluster: &cluster,
            address,
            keeper: "MAINSTAY_x",
            connections: 9,
            encrypted: false,
            confines_accounts: false,
        };
        let expected = render(&server, &accounts);
        Look { accounts, found: Ok(expected.clone()), expected, written_at: Some(Timestamp::EPOCH) }
    }

    fn judged(look: &Look, change: impl FnOnce(&mut Seen<'_>)) -> (Presence, Presence) {
        let mut seen = Seen {
            look,
            expected: Written::read(&look.expected),
            found: Written::read(look.found.as_ref().unwrap()),
            accounts: BTreeSet::from(["a".to_owned()]),
            sessions: HashMap::new(),
            lost: BTreeMap::new(),
        };
        change(&mut seen);
        let instance = seen.instance("a", &Limits::of(&Parameters::default()));
        (instance, seen.credential("a", "b", Timestamp::EPOCH).presence)
    }

    fn edited(from: &str, to: &str) -> Look {
        let look = look();
        let found = look.expected.replace(from, to);
        assert_ne!(found, look.expected);
        Look { found: Ok(found), ..look }
    }

    #[test]
    fn instances_and_credentials() {
        let drifted = |how: &str| Presence::Drifted { how: how.to_owned() };
        assert_eq!(judged(&look(), |_| {}), (Presence::Present, Presence::Present));
        assert_eq!(judged(&look(), |seen| seen.accounts.clear()).0, Presence::Missing);
        assert_eq!(judged(&edited("  a {\n", "  c {\n"), |_| {}), (Presence::Missing, Presence::Missing));
        assert_eq!(judged(&edited("max_streams: 50", "max_streams: 51"), |_| {}).0, drifted("its limits are others"));
        assert_eq!(judged(&edited("user: \"b\"", "user: \"c\""), |_| {}).1, Presence::Missing);
        let changed = drifted("its password or its rights were changed");
        assert_eq!(judged(&edited("deny: [", "allow: ["), |_| {}).1, changed);

        let mut closing = look();
        closing.accounts.accounts.get_mut("a").unwrap().closing = true;
        assert_eq!(judged(&closing, |_| {}).0, drifted("it was being removed"));
        let mut longer = look();
        longer.accounts.accounts.get_mut("a").unwrap().users.get_mut("b").unwrap().valid_until =
            Timestamp::from_micros(1);
        assert_eq!(judged(&longer, |_| {}).1, drifted("it expires at another time"));
        let lost = BTreeMap::from([("a".to_owned(), BTreeSet::from(["ORDERS".to_owned()]))]);
        let how = "its stream ORDERS was not brought back when the server started";
        assert_eq!(judged(&look(), |seen| seen.lost = lost).0, drifted(how));
    }

    #[test]
    fn settings() {
        let changed = |look: &Look, loaded_at| changed_settings(look, loaded_at).collect::<Vec<_>>();
        assert!(changed(&look(), Timestamp::EPOCH).is_empty());
        assert_eq!(changed(&edited("max_pending", "x"), Timestamp::EPOCH), ["nats.conf is not as it was written"]);
        let unread = ["nats.conf was written after the server read it"];
        assert_eq!(changed(&look(), Timestamp::from_micros(-1)), unread);
    }
}
