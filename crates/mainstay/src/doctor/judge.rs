//! What a fact means for the layer. Every function here is pure.

use std::time::{Duration, SystemTime};

use mainstay_engine::Availability;
use mainstay_engine_nats::confines_accounts;

use super::Check;
use super::facts::{Folder, Machine, Place};
use super::layer::{Layer, Port, PortState, Ports};
use crate::config::{Config, LoadError, RuntimeEnvironment};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The first kernel with pidfd_open(2) and P_PIDFD, by which engines are watched and found again.
const OLDEST_KERNEL: (u32, u32) = (5, 4);
/// The layer takes 60 MiB, and one small PostgreSQL 100 MiB.
const MEMORY_NEEDED: u64 = 256 * MIB;
const MEMORY_WANTED: u64 = GIB;
/// A new PostgreSQL cluster takes 40 MiB and its write-ahead log 80 MiB at the least.
pub(super) const DISK_NEEDED: u64 = 256 * MIB;
/// Below this the reserve, at which the layer stops taking commands, is near.
pub(super) const DISK_WANTED: u64 = 2 * GIB;
/// A shared PostgreSQL cluster opens some thousand files, each of its processes counted by itself.
const OPEN_FILES_NEEDED: u64 = 1024;
const OPEN_FILES_WANTED: u64 = 4096;
/// 2025-01-01, in seconds since 1970: this program is younger, so that an earlier clock is wrong.
const OLDEST_CLOCK: Duration = Duration::from_secs(1_735_689_600);
/// How far a file's time may be ahead of the clock; file systems and clocks differ by their granularity.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(2);

pub(super) fn configuration(config: Result<&Config, &LoadError>) -> Check {
    match config {
        Ok(config) => {
            Check::ok("configuration", format!("{}, storage {}", config.environment, config.storage.driver()))
        }
        Err(error) => {
            let cause = std::error::Error::source(error).map_or(String::new(), |source| format!(": {source}"));
            Check::failed("configuration", format!("{error}{cause}"), "see docs/configuration.md")
        }
    }
}

// === The machine ===

pub(super) fn machine(machine: &Machine) -> Vec<Check> {
    vec![
        system(&machine.system, &machine.kernel),
        Check::ok("cores", machine.cores.to_string()),
        memory(machine.memory),
        open_files(machine.open_files),
        memory_folder(machine),
    ]
}

fn system(system: &str, kernel: &str) -> Check {
    let detail = format!("{system}, kernel {kernel}");
    let mut numbers = kernel.split(['.', '-']).map(|number| number.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < OLDEST_KERNEL {
        return Check::failed("system", detail, "use Linux 5.4 or newer, such as Debian 12's");
    }
    Check::ok("system", detail)
}

fn memory(memory: Option<(u64, u64)>) -> Check {
    let Some((total, available)) = memory else {
        return Check::warning("memory", "cannot be read from /proc/meminfo", "mount /proc");
    };
    let detail = format!("{} available of {}", size(available), size(total));
    match available {
        _ if available < MEMORY_NEEDED => Check::failed("memory", detail, "free 256 MiB, or use a larger machine"),
        _ if available < MEMORY_WANTED => Check::warning("memory", detail, "free 1 GiB for more than a trial"),
        _ => Check::ok("memory", detail),
    }
}

fn open_files((soft, hard): (Option<u64>, Option<u64>)) -> Check {
    let text = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
    let detail = format!("{}, at most {}", text(soft), text(hard));
    let remedy = "raise it where Mainstay is started: ulimit -n 65536, or LimitNOFILE= of its systemd unit";
    match hard.unwrap_or(u64::MAX) {
        hard if hard < OPEN_FILES_NEEDED => Check::failed("open files", detail, remedy),
        hard if hard < OPEN_FILES_WANTED => Check::warning("open files", detail, remedy),
        _ => Check::ok("open files", detail),
    }
}

fn memory_folder(machine: &Machine) -> Check {
    let name = "folder in memory";
    match &machine.memory_folder {
        Some(path) => Check::ok(name, format!("{} (for `mainstay bind --format dir`)", path.display())),
        None => {
            let remedy = "mount a tmpfs, so that bound credentials need not be written to a disk";
            Check::warning(name, "neither XDG_RUNTIME_DIR nor /run nor /dev/shm is a writable tmpfs", remedy)
        }
    }
}

// === Where the data is ===

pub(super) fn place(place: &Place) -> Vec<Check> {
    vec![
        data_directory(&place.data_dir),
        disk(place),
        clock(place.clock, place.newest_change),
        engine_user(place),
        master_key(place),
    ]
}

fn data_directory(folder: &Folder) -> Check {
    let name = "data directory";
    let path = folder.path.display();
    if !folder.writable {
        let remedy = format!(
            "make it this user's own, or name another with --data-dir: chown $(id -u) {}",
            folder.nearest.display()
        );
        return Check::failed(name, format!("{path}: {} cannot be written to", folder.nearest.display()), remedy);
    }
    match folder.mode {
        None => Check::ok(name, format!("{path}, to be made")),
        Some(mode) if mode & 0o022 != 0 => Check::failed(
            name,
            format!("{path} can be written to by others (mode {mode:04o})"),
            format!("chmod go-w {path}"),
        ),
        Some(mode) => Check::ok(name, format!("{path} (mode {mode:04o})")),
    }
}

fn disk(place: &Place) -> Check {
    let name = "disk";
    let nearest = place.data_dir.nearest.display();
    let Some(free) = place.free_bytes else {
        return Check::warning(
            name,
            format!("the room under {nearest} cannot be told"),
            "see that its file system is mounted",
        );
    };
    let detail = format!("{} free under {nearest}", size(free));
    let remedy = "make room there, or name another place with --data-dir";
    match free {
        _ if free < DISK_NEEDED => Check::failed(name, detail, remedy),
        _ if free < DISK_WANTED => Check::warning(name, detail, remedy),
        _ => Check::ok(name, detail),
    }
}

fn clock(now: SystemTime, newest_change: Option<SystemTime>) -> Check {
    let remedy = "set the clock, and keep it set: apt-get install chrony";
    if now < SystemTime::UNIX_EPOCH + OLDEST_CLOCK {
        return Check::failed("clock", "is before 2025; leases and tokens would not expire", remedy);
    }
    match newest_change.and_then(|change| change.duration_since(now).ok()) {
        Some(ahead) if ahead > CLOCK_TOLERANCE => {
            let detail = format!("is {} s behind the newest change in the data directory", ahead.as_secs());
            Check::warning("clock", detail, remedy)
        }
        _ => Check::ok("clock", "plausible"),
    }
}

fn engine_user(place: &Place) -> Check {
    let name = "engine user";
    match (&place.engine_user, &place.impassable) {
        (Err(reason), _) => Check::failed(name, reason, "or name an existing one with Engines:User (Engines__User)"),
        (Ok(user), Some(folder)) => {
            let detail = format!("{} cannot pass through {} to the data", user.name, folder.display());
            Check::failed(
                name,
                detail,
                format!("chmod a+x {}, or name another place with --data-dir", folder.display()),
            )
        }
        (Ok(user), None) => Check::ok(name, format!("{} (uid {})", user.name, user.uid)),
    }
}

fn master_key(place: &Place) -> Check {
    let name = "master key";
    let Some(file) = &place.key_file else { return Check::ok(name, "held in shares by operators") };
    let file = file.display();
    match place.key_mode {
        Some(mode) if mode & 0o077 != 0 => {
            Check::failed(name, format!("{file} can be read by others (mode {mode:04o})"), format!("chmod 600 {file}"))
        }
        Some(_) => Check::ok(name, format!("{file}")),
        None if place.environment == RuntimeEnvironment::Development => Check::ok(name, format!("{file}, to be made")),
        None => {
            let remedy = format!(
                "put it back, or for a new installation make one: (umask 077; head -c 32 /dev/urandom > {file})"
            );
            Check::failed(name, format!("{file} does not exist"), remedy)
        }
    }
}

// === Ports and engines ===

pub(super) fn ports(found: &Ports) -> Vec<Check> {
    let layer = match &found.layer {
        Layer::Lives => Check::ok("layer", "runs"),
        Layer::Nobody => Check::ok("layer", "does not run"),
        Layer::Other(what) => Check::failed("layer", what, "stop what has its port, or set Listen:Api (Listen__Api)"),
    };
    let ports = found.ports.iter().map(|port| judge_port(port, found));
    std::iter::once(layer).chain(ports).collect()
}

fn judge_port(port: &Port, found: &Ports) -> Check {
    let name = format!("port {}", port.address.port());
    let set = format!("set {} ({})", port.key.name(), port.key.environment());
    match &port.state {
        PortState::Free => Check::ok(&name, format!("{} is free", port.address)),
        PortState::Taken if found.layer == Layer::Lives => Check::ok(&name, format!("{} is the layer's", port.address)),
        PortState::Taken if found.own_engines.contains(&port.address.port()) => {
            Check::ok(&name, format!("{} is an engine's of this data directory", port.address))
        }
        PortState::Taken => {
            let remedy =
                format!("see whose it is with: ss -ltnp 'sport = :{}'; stop that, or {set}", port.address.port());
            Check::failed(&name, format!("{} is used by another process", port.address), remedy)
        }
        PortState::Unusable(reason) => Check::failed(&name, format!("{} cannot be used: {reason}", port.address), set),
    }
}

/// What a cluster of an engine that weighs takes at least, for whoever decides whether to use it.
const WEIGHTS: [(&str, &str); 1] =
    [("rabbitmq", "its one cluster starts with the first amqp/v1 instance, in some 8 s, and takes 150 to 200 MiB")];

/// PostgreSQL is what most layers are there for; without the others, the rest works.
const NEEDED: &str = "postgresql";

pub(super) fn engine(name: &str, availability: &Availability) -> Check {
    let check = format!("engine {name}");
    let weight =
        WEIGHTS.iter().find(|(engine, _)| *engine == name).map_or(String::new(), |(_, weight)| format!("; {weight}"));
    match availability {
        Availability::Installed { version } if name == "nats" && !confines_accounts(version) => {
            let detail = format!(
                "version {version} lets the JetStream requests of one account reach what is another's (CVE-2025-30215); \
                 bindings are denied those requests, for which publishers pay with up to half of their speed"
            );
            Check::warning(&check, detail, "install nats-server 2.10.27 or newer, or 2.11.1 or newer")
        }
        Availability::Installed { version } => Check::ok(&check, format!("version {version}{weight}")),
        Availability::Missing { reason, remedy } if name == NEEDED => Check::failed(&check, reason, remedy),
        Availability::Missing { reason, remedy } => Check::warning(&check, format!("{reason}{weight}"), remedy),
    }
}

/// Bytes as a person says them.
pub(super) fn size(bytes: u64) -> String {
    if bytes >= GIB { format!("{:.1} GiB", bytes as f64 / GIB as f64) } else { format!("{} MiB", bytes / MIB) }
}

#[cfg(test)]
mod tests;
