//! From raw values to a [`Config`], noting every mistake on the way.

mod object_store;
mod recovery;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use mainstay_storage::{Driver, Service};
use secrecy::{ExposeSecret, SecretString};

use super::key::Key;
use super::mistake::{Mistake, Origin, echo};
use super::source::{Setting, Settings};
use super::{
    Config, ConfigErrors, Custody, DATA_DIR_VARIABLE, Engines, Listen, Log, LogFormat, RuntimeEnvironment, Seal,
    Sources, Storage, StorageLocation, Telemetry, TlsFiles,
};

const DEFAULT_API: &str = "127.0.0.1:7400";
const DEFAULT_S3: &str = "127.0.0.1:7401";
const DEFAULT_POSTGRESQL: &str = "127.0.0.1:7432";
const DEFAULT_REDIS: &str = "127.0.0.1:7479";
const DEFAULT_VALKEY: &str = "127.0.0.1:7478";
const DEFAULT_NATS: &str = "127.0.0.1:7422";
const DEFAULT_RABBITMQ: &str = "127.0.0.1:7472";
const DEFAULT_RABBITMQ_TLS: &str = "127.0.0.1:7471";
const DEFAULT_DEDICATED_PORTS: u16 = 7500;
const DEFAULT_FILTER: &str = "info";

/// Below are the ports that need privileges, above there is no room for dedicated clusters.
const DEDICATED_PORTS: std::ops::RangeInclusive<u16> = 1024..=65000;

const SERVICES: [Service; 4] = [Service::Journal, Service::Custody, Service::Objects, Service::Artifacts];

pub(super) fn validate(
    settings: &Settings,
    sources: &Sources<'_>,
    mistakes: Vec<Mistake>,
) -> Result<Config, ConfigErrors> {
    let mut reader = Reader { settings, mistakes };
    let data_dir = data_dir(sources, &mut reader);
    let environment = environment(&mut reader);
    let storage = storage(&mut reader, environment, &data_dir);
    let object_store = object_store::object_store(&mut reader, environment, &data_dir);
    let data_plane = object_store::data_plane(&mut reader, &data_dir);
    let s3 = object_store::s3(&mut reader);
    let listen = listen(&mut reader);
    let engines = engines(&mut reader);
    let custody = custody(&mut reader, environment, &data_dir);
    let recovery = recovery::recovery(&mut reader, sources, &data_dir);
    let log = log(&mut reader);
    let telemetry = Telemetry { otlp_endpoint: reader.read(Key::TelemetryOtlpEndpoint, collector_url) };

    ConfigErrors::check(reader.mistakes)?;
    let storage = storage.expect("storage that could not be decided was noted as a mistake");
    Ok(Config {
        environment,
        file: sources.file.map(|(path, _)| sources.working_directory.join(path)),
        data_dir,
        storage,
        object_store,
        data_plane,
        s3,
        listen,
        engines,
        custody,
        recovery,
        log,
        telemetry,
    })
}

// === The data directory ===

/// The directory that the command line or the environment names, else the default one of this user.
fn data_dir(sources: &Sources<'_>, reader: &mut Reader<'_>) -> PathBuf {
    let variable = |name: &str| {
        let found = sources.environment.iter().find(|(variable, text)| variable == name && !text.is_empty());
        found.map(|(_, text)| PathBuf::from(text))
    };
    // The XDG specification has relative paths in its variables ignored.
    let absolute = |name: &str| variable(name).filter(|path| path.is_absolute());

    let named = sources.overrides.data_dir.clone().or_else(|| variable(DATA_DIR_VARIABLE));
    let default = || match sources.superuser {
        true => Some(PathBuf::from("/var/lib/mainstay")),
        false => {
            let home = || absolute("HOME").map(|home| home.join(".local/share"));
            absolute("XDG_DATA_HOME").or_else(home).map(|data| data.join("mainstay"))
        }
    };
    let path = named.or_else(default).unwrap_or_else(|| {
        reader.mistakes.push(Mistake {
            subject: "the data directory".to_owned(),
            problem: "is not named, and there is neither XDG_DATA_HOME nor HOME to find it by".to_owned(),
            environment: Some(DATA_DIR_VARIABLE.to_owned()),
            accepted: "a directory that this user may write to".to_owned(),
            origin: None,
            remedy: format!("give --data-dir DIR or set {DATA_DIR_VARIABLE}"),
        });
        PathBuf::new()
    });
    sources.working_directory.join(path)
}

// === Storage ===

fn environment(reader: &mut Reader<'_>) -> RuntimeEnvironment {
    let environments = [RuntimeEnvironment::Production, RuntimeEnvironment::Development];
    let named = reader.read(Key::RuntimeEnvironment, |text| one_of(text, environments, RuntimeEnvironment::as_str));
    // Where the name is wrong, the rest is checked by the stricter rules.
    named.unwrap_or(RuntimeEnvironment::Production)
}

fn storage(reader: &mut Reader<'_>, environment: RuntimeEnvironment, data_dir: &Path) -> Option<Storage> {
    let connections = Key::CONNECTIONS.into_iter().filter_map(|key| Some((key, reader.read(key, connection_string)?)));
    let connections: Vec<(Key, SecretString)> = connections.collect();
    let location = match storage_driver(reader, environment)? {
        Driver::InMemory => StorageLocation::InMemory,
        Driver::Filesystem => StorageLocation::Directory(data_dir.join("storage")),
        Driver::Postgres => {
            require_connections(reader);
            let of = |key| connections.iter().find(|(other, _)| *other == key).map(|(_, uri)| uri.clone());
            let own = SERVICES.into_iter().filter_map(|service| Some((service, of(Key::connection_of(service))?)));
            StorageLocation::Postgres { default: of(Key::DefaultConnection), own: own.collect() }
        }
    };
    Some(Storage { location })
}

/// The driver that is meant, once it is plain; every contradiction on the way is noted.
fn storage_driver(reader: &mut Reader<'_>, environment: RuntimeEnvironment) -> Option<Driver> {
    let key = Key::StorageDriver;
    let connection = Key::CONNECTIONS.into_iter().find(|connection| reader.settings.contains_key(connection));
    let Some(origin) = reader.origin(key) else {
        // PostgreSQL is the production default, yet only where somebody says which.
        if environment == RuntimeEnvironment::Production && connection.is_some() {
            return Some(Driver::Postgres);
        }
        let remedy = "set it to postgres and ConnectionStrings:Default (ConnectionStrings__Default) to a PostgreSQL URI; \
                      for a trial on this machine run `mainstay up` instead";
        reader.mistakes.push(Mistake::about(key, None, "is not set", remedy));
        return None;
    };
    let driver = reader.read(key, |text| one_of(text, Driver::ALL, Driver::as_str))?;
    if driver == Driver::Postgres {
        return Some(driver);
    }
    if environment == RuntimeEnvironment::Production {
        let problem = format!("is {driver}, which production refuses");
        let remedy = "set it to postgres with ConnectionStrings:Default, or Runtime:Environment to development";
        reader.mistakes.push(Mistake::about(key, Some(origin.clone()), problem, remedy));
    }
    if let Some(connection) = connection {
        let problem = format!("is {driver}, while {} names a PostgreSQL database", connection.name());
        let remedy = format!("set {} to postgres, or remove {}", key.name(), connection.name());
        reader.mistakes.push(Mistake::about(key, Some(origin), problem, remedy));
    }
    Some(driver)
}

fn require_connections(reader: &mut Reader<'_>) {
    let has = |key: Key| reader.settings.contains_key(&key);
    let without = SERVICES.into_iter().find(|service| !has(Key::connection_of(*service)));
    if let Some(service) = without.filter(|_| !has(Key::DefaultConnection)) {
        let problem = format!("is not set, and {service} has no connection string of its own");
        let remedy = "set it to the URI of a PostgreSQL 15 or newer that Mainstay may create schemas in";
        reader.mistakes.push(Mistake::about(Key::DefaultConnection, None, problem, remedy));
    }
}

fn connection_string(text: &str) -> Result<SecretString, String> {
    let rest = ["postgresql://", "postgres://"].into_iter().find_map(|scheme| text.strip_prefix(scheme));
    match rest {
        // Nothing of the text is repeated: a password may stand anywhere in it.
        None => Err("is not a PostgreSQL URI".to_owned()),
        Some("") => Err("names no server".to_owned()),
        Some(rest) if rest.contains(|c: char| c.is_whitespace() || c.is_control()) => {
            Err("holds a space or a control character; such a one in a password is written %20".to_owned())
        }
        Some(_) => Ok(text.into()),
    }
}

// === The rest, section by section ===

fn listen(reader: &mut Reader<'_>) -> Listen {
    let api = reader.read_or(Key::ListenApi, address, DEFAULT_API);
    let postgresql = reader.read_or(Key::ListenPostgresql, address, DEFAULT_POSTGRESQL);
    let s3 = reader.read_or(Key::ListenS3, address, DEFAULT_S3);
    let redis = reader.read_or(Key::ListenRedis, address, DEFAULT_REDIS);
    let valkey = reader.read_or(Key::ListenValkey, address, DEFAULT_VALKEY);
    let nats = reader.read_or(Key::ListenNats, address, DEFAULT_NATS);
    let rabbitmq = reader.read_or(Key::ListenRabbitmq, address, DEFAULT_RABBITMQ);
    let rabbitmq_tls = reader.read_or(Key::ListenRabbitmqTls, address, DEFAULT_RABBITMQ_TLS);
    let ports = [
        (Key::ListenApi, api),
        (Key::ListenS3, s3),
        (Key::ListenPostgresql, postgresql),
        (Key::ListenRedis, redis),
        (Key::ListenValkey, valkey),
        (Key::ListenNats, nats),
        (Key::ListenRabbitmq, rabbitmq),
        (Key::ListenRabbitmqTls, rabbitmq_tls),
    ];
    for (place, (key, address)) in ports.iter().enumerate() {
        let Some((other, _)) = ports[..place].iter().find(|(_, before)| before.port() == address.port()) else {
            continue;
        };
        let origin = reader.origin(*key).or(reader.origin(*other));
        let problem = format!("and {} are both on port {}", other.name(), address.port());
        reader.mistakes.push(Mistake::about(*key, origin, problem, "give each a port of its own"));
    }
    let dedicated_ports = reader.read(Key::ListenDedicatedPorts, |text| match text.parse() {
        Ok(port) if DEDICATED_PORTS.contains(&port) => Ok(port),
        _ => Err(format!("is {}, which is no such port", echo(text))),
    });
    let dedicated_ports = dedicated_ports.unwrap_or(DEFAULT_DEDICATED_PORTS);
    if rabbitmq.ip() != rabbitmq_tls.ip() {
        let origin = reader.origin(Key::ListenRabbitmqTls).or(reader.origin(Key::ListenRabbitmq));
        let problem = format!("and {} are on different addresses", Key::ListenRabbitmq.name());
        reader.mistakes.push(Mistake::about(Key::ListenRabbitmqTls, origin, problem, "give both the same address"));
    }
    Listen { api, s3, postgresql, redis, valkey, nats, rabbitmq, rabbitmq_tls, dedicated_ports, tls: tls(reader) }
}

fn tls(reader: &mut Reader<'_>) -> Option<TlsFiles> {
    let keys = [Key::ListenTlsCertificate, Key::ListenTlsKey];
    let [certificate, key] = keys.map(|key| reader.read(key, absolute_path));
    let origins = keys.map(|key| reader.origin(key));
    for (missing, other) in [(0, 1), (1, 0)] {
        if let (None, Some(origin)) = (&origins[missing], &origins[other]) {
            let problem = format!("is not set, while {} is", keys[other].name());
            let remedy = "set both, or neither to serve without TLS";
            reader.mistakes.push(Mistake::about(keys[missing], Some(origin.clone()), problem, remedy));
        }
    }
    Some(TlsFiles { certificate: certificate?, key: key? })
}

fn address(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(address),
        Ok(_) => Err("is on port 0, on which no client could find it".to_owned()),
        Err(_) => Err(format!("is {}, which is no address", echo(text))),
    }
}

fn engines(reader: &mut Reader<'_>) -> Engines {
    let user = reader.read(Key::EnginesUser, |text| match text {
        "root" => Err("is root, as which no engine may run".to_owned()),
        _ if !is_user_name(text) => Err(format!("is {}, which is no user name", echo(text))),
        _ => Ok(text.to_owned()),
    });
    Engines {
        user,
        postgresql_bin_dir: reader.read(Key::EnginesPostgresqlBinDir, absolute_path),
        redis_bin_dir: reader.read(Key::EnginesRedisBinDir, absolute_path),
        valkey_bin_dir: reader.read(Key::EnginesValkeyBinDir, absolute_path),
        nats_bin_dir: reader.read(Key::EnginesNatsBinDir, absolute_path),
        rabbitmq_bin_dir: reader.read(Key::EnginesRabbitmqBinDir, absolute_path),
    }
}

/// The rule of Debian's `adduser` and of `useradd` (NAME_REGEX): what they would not make cannot be a user.
fn is_user_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
    let starts = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    starts && text.len() <= 32 && text.chars().all(inner)
}

fn custody(reader: &mut Reader<'_>, environment: RuntimeEnvironment, data_dir: &Path) -> Custody {
    let audit_file = reader.read(Key::CustodyAuditFile, absolute_path);
    Custody {
        seal: seal(reader, environment, data_dir),
        audit_file: audit_file.unwrap_or_else(|| data_dir.join("custody/audit.log")),
    }
}

/// What a text means by `Custody:Seal`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SealName {
    KeyFile,
    Shamir,
}

fn seal(reader: &mut Reader<'_>, environment: RuntimeEnvironment, data_dir: &Path) -> Seal {
    let name = reader.read(Key::CustodySeal, |text| {
        one_of(text, [SealName::KeyFile, SealName::Shamir], |seal| match seal {
            SealName::KeyFile => "key-file",
            SealName::Shamir => "shamir",
        })
    });
    let named = reader.read(Key::CustodyKeyFile, absolute_path);
    let origin = reader.origin(Key::CustodyKeyFile);
    if name == Some(SealName::Shamir) {
        if let Some(origin) = origin {
            let remedy = "remove it, or set Custody:Seal to key-file";
            let problem = "is set, while Custody:Seal is shamir, which has no key file";
            reader.mistakes.push(Mistake::about(Key::CustodyKeyFile, Some(origin), problem, remedy));
        }
        return Seal::Shamir;
    }
    if environment == RuntimeEnvironment::Production && origin.is_none() {
        let remedy = "make a key where backups of the data do not reach, and name it: \
                      (umask 077; head -c 32 /dev/urandom > /etc/mainstay/master.key); \
                      or set Custody:Seal to shamir, and let operators hold the key in shares";
        reader.mistakes.push(Mistake::about(Key::CustodyKeyFile, None, "is not set", remedy));
    }
    let may_create = named.is_none();
    Seal::KeyFile { file: named.unwrap_or_else(|| data_dir.join("custody/master.key")), may_create }
}

fn absolute_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err(format!("is {}, which is no absolute path", echo(text))) }
}

fn log(reader: &mut Reader<'_>) -> Log {
    let formats = [LogFormat::Auto, LogFormat::Text, LogFormat::Json];
    let format = reader.read(Key::LogFormat, |text| {
        one_of(text, formats, |format| match format {
            LogFormat::Auto => "auto",
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        })
    });
    let filter = reader.read_or(
        Key::LogFilter,
        |text| match tracing_subscriber::EnvFilter::try_new(text) {
            // It takes nearly any text for the name of a target, a misplaced connection string too.
            Ok(_) if !text.contains(['/', '@']) => Ok(text.to_owned()),
            _ => Err(format!("is {}, which is no filter", echo(text))),
        },
        DEFAULT_FILTER,
    );
    Log { format: format.unwrap_or(LogFormat::Auto), filter }
}

fn collector_url(text: &str) -> Result<String, String> {
    base_url(text, "a collector")
}

/// The http or https URL of a server, without a final slash.
fn base_url(text: &str, of: &str) -> Result<String, String> {
    let uri: ureq::http::Uri = text.parse().map_err(|_| "is not a URL".to_owned())?;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Err("holds credentials, which would be logged".to_owned());
    }
    let host = uri.host().unwrap_or_default();
    let is_server = !host.is_empty() && (authority == host || uri.port_u16().is_some());
    if !matches!(uri.scheme_str(), Some("http" | "https")) || !is_server || uri.query().is_some() {
        return Err(format!("is not the http or https base URL of {of}"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

// === Reader ===

/// Reads typed values and gathers what is wrong with them.
struct Reader<'a> {
    settings: &'a Settings,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    /// The value of a key, where it is set and right; where it is set and wrong, that is noted.
    fn read<T>(&mut self, key: Key, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let Setting { text, origin } = self.settings.get(&key)?;
        match parse(text.expose_secret()) {
            Ok(value) => Some(value),
            Err(problem) => {
                let remedy = format!("write it as {}", key.accepted());
                self.mistakes.push(Mistake::about(key, Some(origin.clone()), problem, remedy));
                None
            }
        }
    }

    /// The same, with a default that is known to be right.
    fn read_or<T>(&mut self, key: Key, parse: impl Fn(&str) -> Result<T, String>, default: &str) -> T {
        let value = self.read(key, &parse);
        value.unwrap_or_else(|| parse(default).expect("defaults are right, which a test shows"))
    }

    fn origin(&self, key: Key) -> Option<Origin> {
        self.settings.get(&key).map(|setting| setting.origin.clone())
    }
}

/// How many edits lie at most between a misspelt value and the one that is meant.
const NEAREST_EDITS: usize = 2;

/// The choice that the text names, upper and lower case being the same.
fn one_of<T: Copy>(
    text: &str,
    choices: impl IntoIterator<Item = T> + Clone,
    name: impl Fn(T) -> &'static str,
) -> Result<T, String> {
    let lower = text.to_ascii_lowercase();
    if let Some(choice) = choices.clone().into_iter().find(|choice| name(*choice) == lower) {
        return Ok(choice);
    }
    let near = |choice: &T| strsim::damerau_levenshtein(name(*choice), &lower) <= NEAREST_EDITS;
    let meant =
        choices.into_iter().find(near).map_or(String::new(), |choice| format!("; did you mean {}?", name(choice)));
    Err(format!("is {}{meant}", echo(text)))
}
