//! The server's configuration file: written from what there is to be, and read back as far as we wrote it. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;

use mainstay_types::ClusterName;

use crate::accounts::{Account, Accounts};
use crate::names::{KEEPER_USER, SYSTEM_ACCOUNT, SYSTEM_USER};
use crate::offering::LARGEST_PAYLOAD_KIB;

/// The name of the file, in the cluster's data directory.
pub(crate) const FILE: &str = "nats.conf";

/// The server's own limits on streams, in bytes. They are no limits: what can be promised is decided before an account is
/// written, and the server can not change these while it runs.
const SERVER_MEMORY_BYTES: u64 = 1 << 44;
const SERVER_STORAGE_BYTES: u64 = 1 << 50;
/// What the server keeps for a client that reads too slowly, in bytes, until it ends its connection: two of the largest
/// messages. The server's own default of 64 MiB lets a few hundred such clients use up a machine.
const PENDING_BYTES: u64 = 2 * (LARGEST_PAYLOAD_KIB << 10);
/// Subscriptions of an account: far more than an application has, and some tens of megabytes of the server's memory.
const ACCOUNT_SUBSCRIPTIONS: u64 = 100_000;
/// Connections that the server takes beyond those that accounts were promised: ours, so that we come in when all have
/// theirs, and the spare ones of accounts.
const OUR_CONNECTIONS: u64 = 1_024;
/// Connections of an account beyond those that it was promised. Of an account that has all that the server lets it have, the
/// server hangs up on one whenever it reads its file (seen with 2.9.10): who keeps to what was promised does not lose any.
const SPARE_CONNECTIONS: u64 = 1;
/// Room for the stream that holds the cluster's identity, in bytes.
const KEEPER_BYTES: u64 = 1 << 20;

/// What servers that do not confine accounts let every account ask for though it is about the whole server. Looking for it takes such a
/// server half of the time that it has for a message; others are not told to.
const DENIED: &str =
    r#", permissions: { publish: { deny: ["$JS.API.ACCOUNT.>", "$JS.API.META.>", "$JS.API.SERVER.>"] } }"#;

/// What the file is written from, besides the accounts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Server<'a> {
    pub cluster: &'a ClusterName,
    pub address: SocketAddr,
    /// The account that holds the cluster's identity.
    pub keeper: &'a str,
    /// How many connections accounts can be promised together.
    pub connections: u64,
    pub encrypted: bool,
    /// Whether the server lets no account ask for what is about the whole server.
    pub confines_accounts: bool,
}

/// What a file of ours says of accounts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Written<'a> {
    pub accounts: BTreeMap<&'a str, WrittenAccount<'a>>,
}

/// An account as it is written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct WrittenAccount<'a> {
    /// The lines with its limits.
    pub limits: Vec<&'a str>,
    /// The lines of its users, by name.
    pub users: BTreeMap<&'a str, &'a str>,
}

/// The text of the file.
///
/// It always has an account besides the server's own: where there is only that one, the server lets in whoever comes.
pub(crate) fn render(server: &Server<'_>, accounts: &Accounts) -> String {
    let Server { cluster, address, keeper, connections, encrypted, confines_accounts } = server;
    let denied = if *confines_accounts { "" } else { DENIED };
    let administrator = accounts.administrator.as_str();
    let connections = connections + OUR_CONNECTIONS;
    let payload = LARGEST_PAYLOAD_KIB << 10;
    // Paths are relative to the data directory, which the server is started in. A server that runs can be given a
    // certificate, and can not be told then whether it takes plain clients too: that is said from the beginning.
    let mut text = format!(
        "# Written by Mainstay. What is changed here is changed back.\n\
         listen: \"{address}\"\n\
         server_name: \"{cluster}\"\n\
         max_connections: {connections}\n\
         max_payload: {payload}\n\
         max_pending: {PENDING_BYTES}\n\
         allow_non_tls: true\n\
         jetstream {{\n  \
           store_dir: \".\"\n  \
           max_memory_store: {SERVER_MEMORY_BYTES}\n  \
           max_file_store: {SERVER_STORAGE_BYTES}\n\
         }}\n"
    );
    if *encrypted {
        text.push_str(
            "tls {\n  cert_file: \"../tls/server.crt\"\n  key_file: \"../tls/server.key\"\n  timeout: 5\n}\n",
        );
    }
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "system_account: {SYSTEM_ACCOUNT}\n\
         accounts {{\n  \
           {SYSTEM_ACCOUNT} {{\n    \
             users: [\n      \
               {{ user: \"{SYSTEM_USER}\", password: \"{administrator}\" }}\n    \
             ]\n  \
           }}\n  \
           {keeper} {{\n    \
             jetstream {{ max_mem: 1, max_file: {KEEPER_BYTES}, max_streams: 1, max_consumers: 1 }}\n    \
             users: [\n      \
               {{ user: \"{KEEPER_USER}\", password: \"{administrator}\" }}\n    \
             ]\n  \
           }}\n"
    );
    for (name, account) in &accounts.accounts {
        render_account(&mut text, name, account, denied);
    }
    text.push_str("}\n");
    text
}

fn render_account(text: &mut String, name: &str, account: &Account, denied: &str) {
    let limits = &account.limits;
    let (memory, file) = (limits.memory_mib << 20, limits.storage_mib << 20);
    let (streams, consumers) = (limits.max_streams, limits.max_consumers);
    // Who brings streams back sends pieces and descriptions that are larger than the owner's messages may be.
    let payload = if account.restoring { LARGEST_PAYLOAD_KIB } else { limits.max_payload_kib } << 10;
    let connections = limits.max_connections + SPARE_CONNECTIONS;
    let _ = write!(
        text,
        "  {name} {{\n    \
           jetstream {{ max_mem: {memory}, max_file: {file}, max_streams: {streams}, max_consumers: {consumers} }}\n    \
           limits {{ max_connections: {connections}, max_payload: {payload}, max_subscriptions: {ACCOUNT_SUBSCRIPTIONS} }}\n    \
           users: [\n"
    );
    for (name, user) in account.admitted() {
        let password = user.verifier.as_str();
        let _ = writeln!(text, "      {{ user: \"{name}\", password: \"{password}\"{denied} }}");
    }
    text.push_str("    ]\n  }\n");
}

impl<'a> Written<'a> {
    /// What a file says. Lines that we would not write say nothing.
    pub fn read(text: &'a str) -> Self {
        let mut accounts = BTreeMap::<&str, WrittenAccount<'_>>::new();
        let mut current = None;
        for line in text.lines().skip_while(|line| *line != "accounts {") {
            let indented = line.len() - line.trim_start().len();
            match (indented, line.trim_start(), current) {
                (2, "}", _) => current = None,
                (2, header, _) => {
                    current = header.strip_suffix(" {");
                    if let Some(name) = current {
                        accounts.entry(name).or_default();
                    }
                }
                (4, limits, Some(name)) if limits.ends_with(" }") => {
                    accounts.entry(name).or_default().limits.push(limits)
                }
                (6, user, Some(name)) => {
                    if let Some((username, _)) = user.strip_prefix("{ user: \"").and_then(|rest| rest.split_once('"')) {
                        accounts.entry(name).or_default().users.insert(username, user);
                    }
                }
                _ => {}
            }
        }
        Self { accounts }
    }
}

#[cfg(test)]
mod tests {
    use mainstay_types::{Parameters, Timestamp};

    use super::{Server, Written, render};
    use crate::accounts::{Accounts, Change, User, Verifier};
    use crate::capacity::Capacity;
    use crate::offering::Limits;

    #[test]
    fn what_is_written_is_read_back() {
        let verifier = || Verifier::of("x").unwrap();
        let mut accounts = Accounts::new(verifier());
        let cluster = "nats-1".parse().unwrap();
        let address = "[::1]:7422".parse().unwrap();
        let server = Server {
            cluster: &cluster,
            address,
            keeper: "MAINSTAY_x",
            connections: 9,
            encrypted: false,
            confines_accounts: false,
        };
        let empty = render(&server, &accounts);
        assert_eq!(Written::read(&empty).accounts.keys().copied().collect::<Vec<_>>(), ["MAINSTAY_x", "SYS"]);
        assert!(empty.contains("listen: \"[::1]:7422\"\n") && !empty.contains("cert_file"));

        let (account, user) = ("a_1".to_owned(), "b_1_1".to_owned());
        let limits = Limits::of(&Parameters::default());
        let credential = User { verifier: verifier(), valid_until: Timestamp::EPOCH };
        accounts.apply(Change::Open { account: account.clone(), limits }, &Capacity::UNBOUNDED).unwrap();
        accounts.apply(Change::Admit { account, user, credential }, &Capacity::UNBOUNDED).unwrap();
        let text = render(&Server { encrypted: true, ..server }, &accounts);
        let written = Written::read(&text);
        assert_eq!(written.accounts["a_1"].limits.len(), 2);
        assert!(written.accounts["a_1"].limits[0].contains("max_file: 536870912,"));
        assert!(written.accounts["a_1"].users["b_1_1"].contains("$JS.API.ACCOUNT.>"));
        assert!(text.contains("cert_file: "));

        let confined = render(&Server { confines_accounts: true, ..server }, &accounts);
        let line = Written::read(&confined).accounts["a_1"].users["b_1_1"];
        assert!(line.ends_with("\" }") && !line.contains("permissions"), "{line}");

        let without = text.replace("user: \"b_1_1\"", "user: \"other\"");
        assert!(!Written::read(&without).accounts["a_1"].users.contains_key("b_1_1"));
        assert_eq!(Written::read("anything } {\n accounts {"), Written::default());
    }
}
