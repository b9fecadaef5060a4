//! Every judgement as rows of a table: the fact, the state, and a part of the detail.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use mainstay_engine::Availability;
use mainstay_engine::supervise::EngineUser;

use super::super::State::{self, Failed, Ok as Fine, Warning};
use super::super::facts::{Folder, Machine, Place};
use super::super::layer::{Layer, Port, PortState, Ports};
use super::{
    Check, GIB, MIB, clock, data_directory, disk, engine, engine_user, master_key, memory, memory_folder, open_files,
    ports, system,
};
use crate::config::{Key, RuntimeEnvironment};

/// Holds a check against what it should say, and sees to it that what is not well has a remedy.
#[track_caller]
fn expect(check: &Check, state: State, detail: &str) {
    assert_eq!(check.state, state, "{check:?}");
    assert!(check.detail.contains(detail), "{check:?}");
    assert_eq!(check.remedy.is_some(), state != Fine, "{check:?}");
}

#[test]
fn kernels() {
    for (kernel, state) in
        [("6.1.0-18-amd64", Fine), ("5.4", Fine), ("5.3.18", Failed), ("4.19.0", Failed), ("?", Failed)]
    {
        expect(&system("Debian", kernel), state, kernel);
    }
}

#[test]
fn memory_sizes() {
    expect(&memory(Some((8 * GIB, 5 * GIB))), Fine, "5.0 GiB available of 8.0 GiB");
    expect(&memory(Some((8 * GIB, 900 * MIB))), Warning, "900 MiB");
    expect(&memory(Some((8 * GIB, 100 * MIB))), Failed, "100 MiB");
    expect(&memory(None), Warning, "/proc/meminfo");
}

#[test]
fn file_limits() {
    expect(&open_files((Some(1024), Some(1 << 20))), Fine, "1024, at most 1048576");
    expect(&open_files((None, None)), Fine, "unlimited");
    expect(&open_files((Some(1024), Some(2048))), Warning, "2048");
    expect(&open_files((Some(256), Some(256))), Failed, "256");
}

#[test]
fn folders_in_memory() {
    let mut machine = Machine::gather();
    machine.memory_folder = Some("/run".into());
    expect(&memory_folder(&machine), Fine, "/run");
    machine.memory_folder = None;
    expect(&memory_folder(&machine), Warning, "tmpfs");
}

#[test]
fn clocks() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    expect(&clock(now, None), Fine, "plausible");
    expect(&clock(now, Some(now - Duration::from_secs(9))), Fine, "plausible");
    expect(&clock(now, Some(now + Duration::from_secs(3600))), Warning, "3600 s behind");
    expect(&clock(SystemTime::UNIX_EPOCH, None), Failed, "before 2025");
}

fn place() -> Place {
    let path = PathBuf::from("/var/lib/mainstay");
    Place {
        data_dir: Folder { path: path.clone(), mode: None, writable: true, nearest: "/var/lib".into() },
        free_bytes: Some(100 * GIB),
        newest_change: None,
        clock: SystemTime::now(),
        engine_user: Ok(EngineUser { name: "mainstay".to_owned(), uid: 999, gid: 999 }),
        impassable: None,
        key_file: Some(path.join("custody/master.key")),
        key_mode: None,
        environment: RuntimeEnvironment::Development,
    }
}

#[test]
fn data_directories() {
    let of = |mode, writable| data_directory(&Folder { mode, writable, ..place().data_dir });
    expect(&of(None, true), Fine, "/var/lib/mainstay, to be made");
    expect(&of(Some(0o711), true), Fine, "mode 0711");
    expect(&of(Some(0o775), true), Failed, "written to by others (mode 0775)");
    expect(&of(None, false), Failed, "/var/lib cannot be written to");
}

#[test]
fn disks() {
    let of = |free_bytes| disk(&Place { free_bytes, ..place() });
    expect(&of(Some(100 * GIB)), Fine, "100.0 GiB free under /var/lib");
    expect(&of(Some(GIB)), Warning, "1.0 GiB");
    expect(&of(Some(32 * MIB)), Failed, "32 MiB");
    expect(&of(None), Warning, "cannot be told");
}

#[test]
fn engine_users() {
    expect(&engine_user(&place()), Fine, "mainstay (uid 999)");
    let impassable = Some(PathBuf::from("/root"));
    expect(&engine_user(&Place { impassable, ..place() }), Failed, "cannot pass through /root");
    let nobody = Err("there is no user mainstay".to_owned());
    expect(&engine_user(&Place { engine_user: nobody, ..place() }), Failed, "no user mainstay");
}

#[test]
fn master_keys() {
    let of = |key_mode, environment| master_key(&Place { key_mode, environment, ..place() });
    expect(&of(None, RuntimeEnvironment::Development), Fine, "to be made");
    expect(&of(None, RuntimeEnvironment::Production), Failed, "does not exist");
    expect(&of(Some(0o600), RuntimeEnvironment::Production), Fine, "master.key");
    expect(&of(Some(0o644), RuntimeEnvironment::Development), Failed, "read by others (mode 0644)");
}

#[test]
fn ports_and_who_has_them() {
    let of = |layer: Layer, state: PortState, own: &[u16]| {
        let address = "127.0.0.1:7432".parse().unwrap();
        let port = Port { key: Key::ListenPostgresql, address, state };
        ports(&Ports { layer, ports: vec![port], own_engines: own.iter().copied().collect() })
    };
    expect(&of(Layer::Nobody, PortState::Free, &[])[0], Fine, "does not run");
    expect(&of(Layer::Nobody, PortState::Free, &[])[1], Fine, "127.0.0.1:7432 is free");
    expect(&of(Layer::Lives, PortState::Taken, &[])[0], Fine, "runs");
    expect(&of(Layer::Lives, PortState::Taken, &[])[1], Fine, "is the layer's");
    expect(&of(Layer::Nobody, PortState::Taken, &[7432])[1], Fine, "is an engine's of this data directory");
    let taken = &of(Layer::Nobody, PortState::Taken, &[7500])[1];
    expect(taken, Failed, "used by another process");
    assert!(taken.remedy.as_ref().unwrap().contains("Listen__PostgreSQL"), "{taken:?}");
    expect(&of(Layer::Other("404".to_owned()), PortState::Taken, &[])[0], Failed, "404");
    expect(&of(Layer::Nobody, PortState::Unusable("no".to_owned()), &[])[1], Failed, "cannot be used: no");
}

#[test]
fn engines() {
    expect(&engine("postgresql", &Availability::Installed { version: "15.18".to_owned() }), Fine, "15.18");
    let missing = Availability::Missing { reason: "not installed".to_owned(), remedy: "install it".to_owned() };
    expect(&engine("postgresql", &missing), Failed, "not installed");
    let nats = |version: &str| engine("nats", &Availability::Installed { version: version.to_owned() });
    expect(&nats("2.9.10"), Warning, "CVE-2025-30215");
    expect(&nats("2.10.27"), Fine, "2.10.27");
}
