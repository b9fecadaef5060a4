//! The files that a node is configured with. Pure: the same inputs give the same text.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use mainstay_engine::CertificateFiles;
use mainstay_engine::supervise::Machine;
use serde_json::json;

use crate::names::ADMIN;
use crate::password::ALGORITHM;
use crate::ports::Ports;

/// The memory beyond which publishers wait is this part of the machine's: other engines live on it too.
const MEMORY_PART: u64 = 4;
/// The least that it is: an empty node takes 150 MiB.
const LEAST_MEMORY_MIB: u64 = 512;
/// The disk space below which publishers wait is this part of the disk, since a full one ends other engines' work ...
const DISK_PART: u64 = 20;
/// ... within these bounds, so that a small disk can be used and a large one is not wasted.
const DISK_BOUNDS_MIB: (u64, u64) = (256, 2_048);

/// The largest message: what RabbitMQ 4 takes by itself, so that a newer version takes no less and no more.
const LARGEST_MESSAGE: u32 = 16 << 20;

/// Files that we write for a node, by name, with their text.
pub(crate) type Files = [(&'static str, String); 3];

/// What the settings depend on.
#[derive(Debug)]
pub(crate) struct Inputs<'a> {
    pub machine: Machine,
    pub listen_address: IpAddr,
    pub port: u16,
    pub ports: Ports,
    /// The port with TLS and its certificate; none where there is no authority.
    pub tls: Option<(u16, CertificateFiles)>,
    /// Where these files are.
    pub directory: &'a Path,
    /// What our own password is checked with.
    pub admin: &'a str,
}

/// All of them.
pub(crate) fn render(inputs: &Inputs<'_>) -> Files {
    [
        ("rabbitmq.conf", configuration(inputs)),
        ("enabled_plugins", "[rabbitmq_management].\n".to_owned()),
        ("definitions.json", definitions(inputs.admin)),
    ]
}

fn configuration(inputs: &Inputs<'_>) -> String {
    let Inputs { machine, ports, .. } = inputs;
    let memory = (machine.memory_mib / MEMORY_PART).max(LEAST_MEMORY_MIB);
    let disk = (machine.disk_mib / DISK_PART).clamp(DISK_BOUNDS_MIB.0, DISK_BOUNDS_MIB.1);
    let mut text = format!(
        "# Written by Mainstay; changes are undone.\n\
         listeners.tcp.1 = {}\n\
         management.tcp.ip = 127.0.0.1\n\
         management.tcp.port = {}\n\
         auth_backends.1 = internal\n\
         auth_mechanisms.1 = PLAIN\n\
         auth_mechanisms.2 = AMQPLAIN\n\
         # With definitions to load there is no user guest, and no virtual host /.\n\
         load_definitions = {}\n\
         loopback_users.{ADMIN} = true\n\
         vm_memory_high_watermark.absolute = {memory}MiB\n\
         disk_free_limit.absolute = {disk}MiB\n\
         max_message_size = {LARGEST_MESSAGE}\n\
         log.console = true\n\
         log.console.level = info\n\
         log.file = false\n",
        SocketAddr::new(inputs.listen_address, inputs.port),
        ports.management,
        inputs.directory.join("definitions.json").display(),
    );
    if let Some((port, files)) = &inputs.tls {
        let _ = write!(
            text,
            "listeners.ssl.1 = {}\n\
             ssl_options.cacertfile = {}\n\
             ssl_options.certfile = {}\n\
             ssl_options.keyfile = {}\n\
             ssl_options.versions.1 = tlsv1.3\n\
             ssl_options.versions.2 = tlsv1.2\n\
             ssl_options.verify = verify_none\n\
             ssl_options.fail_if_no_peer_cert = false\n",
            SocketAddr::new(inputs.listen_address, *port),
            files.authority.display(),
            files.certificate.display(),
            files.key.display(),
        );
    }
    text
}

/// Loaded at each start before anybody can connect.
fn definitions(admin: &str) -> String {
    let user = json!({
        "name": ADMIN,
        "password_hash": admin,
        "hashing_algorithm": ALGORITHM,
        "tags": ["administrator"],
    });
    format!("{:#}\n", json!({ "users": [user] }))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mainstay_engine::CertificateFiles;

    use super::{Inputs, render};
    use mainstay_engine::supervise::Machine;

    fn inputs(memory_mib: u64, disk_mib: u64) -> Inputs<'static> {
        Inputs {
            machine: Machine { memory_mib, cores: 2, disk_mib, open_files: 65_536 },
            listen_address: "10.0.0.1".parse().unwrap(),
            port: 7472,
            ports: serde_json::from_str(r#"{"format":1,"management":1,"distribution":2,"epmd":3}"#).unwrap(),
            tls: None,
            directory: Path::new("/etc/here"),
            admin: "verifier",
        }
    }

    #[test]
    fn clients_reach_one_port_and_nobody_the_others() {
        let [(_, text), _, (_, definitions)] = render(&inputs(16_384, 100_000));
        assert!(text.contains("\nlisteners.tcp.1 = 10.0.0.1:7472\n"), "{text}");
        assert!(text.contains("\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = 1\n"), "{text}");
        assert!(!text.contains("ssl"), "{text}");
        assert!(text.contains("load_definitions = /etc/here/definitions.json") && definitions.contains("verifier"));
        let [file, _, _] = ["crt", "key", "ca"].map(|name| Path::new("/tls").join(name));
        let files = CertificateFiles { certificate: file.clone(), key: file.clone(), authority: file };
        let [(_, text), ..] = render(&Inputs { tls: Some((7471, files)), ..inputs(16_384, 100_000) });
        assert!(text.contains("\nlisteners.ssl.1 = 10.0.0.1:7471\n"), "{text}");
    }

    #[test]
    fn alarms_leave_the_machine_to_others_too() {
        for (memory, disk, expected) in [
            (16_384, 100_000, ["4096MiB", "2048MiB"]),
            (16_384, 20_000, ["4096MiB", "1000MiB"]),
            (1_024, 1_000, ["512MiB", "256MiB"]),
        ] {
            let [(_, text), ..] = render(&inputs(memory, disk));
            assert!(text.contains(&format!("vm_memory_high_watermark.absolute = {}\n", expected[0])), "{text}");
            assert!(text.contains(&format!("disk_free_limit.absolute = {}\n", expected[1])), "{text}");
        }
    }
}
