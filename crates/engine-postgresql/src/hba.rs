//! Who may connect, and how: `pg_hba.conf` and `pg_ident.conf`. Pure.

use std::fmt::Write;

use crate::config::ClientNetwork;
use crate::names::{ADMIN_ROLE, RESTORER_ROLE};

/// The map from users of the machine to the superuser, and to the role that restores instances while there is one.
const MAP: &str = "mainstay";

/// `pg_hba.conf`: the first line that fits a connection decides it. With TLS there is no other way in.
pub(crate) fn access(networks: &[ClientNetwork], tls: bool) -> String {
    let host = if tls { "hostssl" } else { "host " };
    let mut text = format!(
        "# Written by Mainstay. What is changed here is changed back.\n\
         local all         {ADMIN_ROLE} peer map={MAP}\n\
         local all         {RESTORER_ROLE} peer map={MAP}\n\
         local all         all      reject\n\
         local replication {ADMIN_ROLE} peer map={MAP}\n\
         local replication all      reject\n\
         host  all         {ADMIN_ROLE} all reject\n\
         host  all         {RESTORER_ROLE} all reject\n\
         host  replication all      all reject\n"
    );
    for network in networks {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{host} all         all      {network} scram-sha-256");
    }
    text
}

/// `pg_ident.conf`: these users of the machine are the superuser, or who restores, when they come over the Unix socket.
pub(crate) fn identities(users: &[&str]) -> String {
    let mut text = String::from("# Written by Mainstay. What is changed here is changed back.\n");
    for user in users {
        let _ = writeln!(text, "{MAP} \"{user}\" {ADMIN_ROLE}\n{MAP} \"{user}\" {RESTORER_ROLE}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{access, identities};

    #[test]
    fn the_superuser_is_refused_before_anybody_is_let_in() {
        let networks = ["127.0.0.1/32".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        let text = access(&networks, false);
        let rules: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        let at = |wanted: &[&str]| rules.iter().position(|rule| rule == wanted).unwrap();
        let refused = at(&["host", "all", "mainstay", "all", "reject"]);
        assert!(refused < at(&["host", "all", "all", "127.0.0.1/32", "scram-sha-256"]));
        assert!(refused < at(&["host", "all", "all", "10.0.0.0/8", "scram-sha-256"]));
        assert!(!text.contains("trust"));
        let copied = at(&["local", "replication", "mainstay", "peer", "map=mainstay"]);
        assert!(copied < at(&["local", "replication", "all", "reject"]), "only the superuser copies clusters");
        let encrypted = access(&networks, true);
        assert_eq!(encrypted.matches("hostssl all").count(), 2);
        assert!(encrypted.lines().all(|line| !line.starts_with("host ") || line.ends_with("reject")));
    }

    #[test]
    fn only_named_users_become_the_superuser() {
        let text = identities(&["root", "postgres"]);
        let lines: Vec<_> = text.lines().filter(|line| line.ends_with(" mainstay")).collect();
        assert_eq!(lines, ["mainstay \"root\" mainstay", "mainstay \"postgres\" mainstay"]);
        assert!(text.lines().skip(1).all(|line| line.starts_with("mainstay \"")), "{text}");
    }
}
