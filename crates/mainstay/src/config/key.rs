//! Every key there is: its published name, its environment form, what it accepts.

use mainstay_storage::Service;

/// A key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    StorageDriver,
    ObjectStoreDriver,
    ObjectStoreEndpoint,
    ObjectStoreRegion,
    ObjectStoreBucket,
    ObjectStorePrefix,
    ObjectStoreAccessKeyId,
    ObjectStoreSecretAccessKey,
    ObjectStoreGraceSeconds,
    DataPlaneMode,
    DataPlaneSocket,
    DefaultConnection,
    JournalConnection,
    CustodyConnection,
    ObjectsConnection,
    ArtifactsConnection,
    RuntimeEnvironment,
    ListenApi,
    ListenS3,
    ListenPostgresql,
    ListenRedis,
    ListenValkey,
    ListenNats,
    ListenRabbitmq,
    ListenRabbitmqTls,
    ListenDedicatedPorts,
    ListenTlsCertificate,
    ListenTlsKey,
    S3Region,
    S3Domain,
    EnginesUser,
    EnginesPostgresqlBinDir,
    EnginesRedisBinDir,
    EnginesValkeyBinDir,
    EnginesNatsBinDir,
    EnginesRabbitmqBinDir,
    CustodySeal,
    CustodyKeyFile,
    CustodyAuditFile,
    RecoveryRepository,
    RecoveryCopies,
    RecoveryUsername,
    RecoveryPassword,
    RecoveryAccessKeyId,
    RecoverySecretAccessKey,
    RecoverySshKeyFile,
    RecoveryImmutableDays,
    LogFormat,
    LogFilter,
    TelemetryOtlpEndpoint,
}

/// Separates the parts of a key in a file and in messages.
pub(super) const SEPARATOR: &str = ":";

/// Separates them in an environment variable, whose name cannot hold a colon.
pub(super) const ENVIRONMENT_SEPARATOR: &str = "__";

/// How many edits lie at most between a misspelt key and the one that is meant: two letters swapped, one missing
/// and one wrong. More would suggest keys that have nothing to do with what was written.
const NEAREST_EDITS: usize = 3;

/// How long a key is for each edit in which a variable of another section may differ and still be meant as ours:
/// `Storge__Driver` is, while `LOGS__FORMAT` and `APP__FILTER` belong to somebody else.
const LETTERS_PER_EDIT: usize = 12;

impl Key {
    /// Every key, in the order of the documentation.
    pub const ALL: [Key; 50] = [
        Key::StorageDriver,
        Key::ObjectStoreDriver,
        Key::ObjectStoreEndpoint,
        Key::ObjectStoreRegion,
        Key::ObjectStoreBucket,
        Key::ObjectStorePrefix,
        Key::ObjectStoreAccessKeyId,
        Key::ObjectStoreSecretAccessKey,
        Key::ObjectStoreGraceSeconds,
        Key::DataPlaneMode,
        Key::DataPlaneSocket,
        Key::DefaultConnection,
        Key::JournalConnection,
        Key::CustodyConnection,
        Key::ObjectsConnection,
        Key::ArtifactsConnection,
        Key::RuntimeEnvironment,
        Key::ListenApi,
        Key::ListenS3,
        Key::ListenPostgresql,
        Key::ListenRedis,
        Key::ListenValkey,
        Key::ListenNats,
        Key::ListenRabbitmq,
        Key::ListenRabbitmqTls,
        Key::ListenDedicatedPorts,
        Key::ListenTlsCertificate,
        Key::ListenTlsKey,
        Key::S3Region,
        Key::S3Domain,
        Key::EnginesUser,
        Key::EnginesPostgresqlBinDir,
        Key::EnginesRedisBinDir,
        Key::EnginesValkeyBinDir,
        Key::EnginesNatsBinDir,
        Key::EnginesRabbitmqBinDir,
        Key::CustodySeal,
        Key::CustodyKeyFile,
        Key::CustodyAuditFile,
        Key::RecoveryRepository,
        Key::RecoveryCopies,
        Key::RecoveryUsername,
        Key::RecoveryPassword,
        Key::RecoveryAccessKeyId,
        Key::RecoverySecretAccessKey,
        Key::RecoverySshKeyFile,
        Key::RecoveryImmutableDays,
        Key::LogFormat,
        Key::LogFilter,
        Key::TelemetryOtlpEndpoint,
    ];

    /// The keys that hold a connection string, and with it a password.
    pub const CONNECTIONS: [Key; 5] = [
        Key::DefaultConnection,
        Key::JournalConnection,
        Key::CustodyConnection,
        Key::ObjectsConnection,
        Key::ArtifactsConnection,
    ];

    /// The published name.
    pub const fn name(self) -> &'static str {
        match self {
            Key::StorageDriver => "Storage:Driver",
            Key::ObjectStoreDriver => "Storage:ObjectStore:Driver",
            Key::ObjectStoreEndpoint => "Storage:ObjectStore:Endpoint",
            Key::ObjectStoreRegion => "Storage:ObjectStore:Region",
            Key::ObjectStoreBucket => "Storage:ObjectStore:Bucket",
            Key::ObjectStorePrefix => "Storage:ObjectStore:Prefix",
            Key::ObjectStoreAccessKeyId => "Storage:ObjectStore:AccessKeyId",
            Key::ObjectStoreSecretAccessKey => "Storage:ObjectStore:SecretAccessKey",
            Key::ObjectStoreGraceSeconds => "Storage:ObjectStore:GraceSeconds",
            Key::DataPlaneMode => "DataPlane:Mode",
            Key::DataPlaneSocket => "DataPlane:Socket",
            Key::DefaultConnection => "ConnectionStrings:Default",
            Key::JournalConnection => "ConnectionStrings:Journal",
            Key::CustodyConnection => "ConnectionStrings:Custody",
            Key::ObjectsConnection => "ConnectionStrings:Objects",
            Key::ArtifactsConnection => "ConnectionStrings:Artifacts",
            Key::RuntimeEnvironment => "Runtime:Environment",
            Key::ListenApi => "Listen:Api",
            Key::ListenS3 => "Listen:S3",
            Key::ListenPostgresql => "Listen:PostgreSQL",
            Key::ListenRedis => "Listen:Redis",
            Key::ListenValkey => "Listen:Valkey",
            Key::ListenNats => "Listen:NATS",
            Key::ListenRabbitmq => "Listen:RabbitMQ",
            Key::ListenRabbitmqTls => "Listen:RabbitMQTls",
            Key::ListenDedicatedPorts => "Listen:DedicatedPorts",
            Key::ListenTlsCertificate => "Listen:TlsCertificate",
            Key::ListenTlsKey => "Listen:TlsKey",
            Key::S3Region => "S3:Region",
            Key::S3Domain => "S3:Domain",
            Key::EnginesUser => "Engines:User",
            Key::EnginesPostgresqlBinDir => "Engines:PostgreSQL:BinDir",
            Key::EnginesRedisBinDir => "Engines:Redis:BinDir",
            Key::EnginesValkeyBinDir => "Engines:Valkey:BinDir",
            Key::EnginesNatsBinDir => "Engines:NATS:BinDir",
            Key::EnginesRabbitmqBinDir => "Engines:RabbitMQ:BinDir",
            Key::CustodySeal => "Custody:Seal",
            Key::CustodyKeyFile => "Custody:KeyFile",
            Key::CustodyAuditFile => "Custody:AuditFile",
            Key::RecoveryRepository => "Recovery:Repository",
            Key::RecoveryCopies => "Recovery:Copies",
            Key::RecoveryUsername => "Recovery:Username",
            Key::RecoveryPassword => "Recovery:Password",
            Key::RecoveryAccessKeyId => "Recovery:AccessKeyId",
            Key::RecoverySecretAccessKey => "Recovery:SecretAccessKey",
            Key::RecoverySshKeyFile => "Recovery:SshKeyFile",
            Key::RecoveryImmutableDays => "Recovery:ImmutableDays",
            Key::LogFormat => "Log:Format",
            Key::LogFilter => "Log:Filter",
            Key::TelemetryOtlpEndpoint => "Telemetry:OtlpEndpoint",
        }
    }

    /// The name of the environment variable that sets it.
    pub fn environment(self) -> String {
        self.name().replace(SEPARATOR, ENVIRONMENT_SEPARATOR)
    }

    /// What values it takes, as the messages and the documentation say it.
    pub const fn accepted(self) -> &'static str {
        match self {
            Key::StorageDriver => "postgres, or in development filesystem or inmemory",
            Key::ObjectStoreDriver => "seed-fs or rustfs",
            Key::ObjectStoreEndpoint => {
                "the http or https URL of an S3-compatible store, such as http://127.0.0.1:3900"
            }
            Key::ObjectStoreBucket => "the name of a bucket that is Mainstay's alone",
            Key::ObjectStorePrefix => "letters, digits, '-', '_', '.' and '/', not beginning or ending with '/'",
            Key::ObjectStoreAccessKeyId => "the id of an access key of that store",
            Key::ObjectStoreSecretAccessKey => "the secret of that access key",
            Key::ObjectStoreGraceSeconds => "a whole number of seconds from 60 to 31536000",
            Key::DataPlaneMode => "inproc or remote",
            Key::DataPlaneSocket => "the absolute path of a Unix socket, at most 100 bytes long",
            Key::ObjectStoreRegion | Key::S3Region => "the name of a region, such as us-east-1",
            Key::S3Domain => "a domain name, such as s3.example.org",
            Key::DefaultConnection
            | Key::JournalConnection
            | Key::CustodyConnection
            | Key::ObjectsConnection
            | Key::ArtifactsConnection => "a PostgreSQL URI, postgresql://USER:PASSWORD@HOST:PORT/DATABASE",
            Key::RuntimeEnvironment => "production or development",
            Key::ListenApi
            | Key::ListenS3
            | Key::ListenPostgresql
            | Key::ListenRedis
            | Key::ListenValkey
            | Key::ListenNats
            | Key::ListenRabbitmq
            | Key::ListenRabbitmqTls => "an IP address and a port, such as 127.0.0.1:7400",
            Key::ListenDedicatedPorts => "a port from 1024 to 65000",
            Key::ListenTlsCertificate => "the absolute path of a PEM file with the certificate and its chain",
            Key::ListenTlsKey => "the absolute path of a PEM file with the private key",
            Key::EnginesUser => "the name of a system user other than root",
            Key::EnginesPostgresqlBinDir
            | Key::EnginesRedisBinDir
            | Key::EnginesValkeyBinDir
            | Key::EnginesNatsBinDir
            | Key::EnginesRabbitmqBinDir => "the absolute path of a folder, such as /usr/lib/postgresql/15/bin",
            Key::CustodySeal => "key-file or shamir",
            Key::CustodyAuditFile => "the absolute path of a file",
            Key::CustodyKeyFile => "the absolute path of a file with 32 random bytes that its owner alone can read",
            Key::RecoveryRepository => {
                "none, a directory, or s3://BUCKET/PREFIX?endpoint=URL, webdavs://HOST/PATH or sftp://USER@HOST/PATH"
            }
            Key::RecoveryCopies => "locations as of Recovery:Repository, separated by spaces or commas",
            Key::RecoveryUsername => "the name of a user of the WebDAV server, without ':', '/' and spaces",
            Key::RecoveryPassword => "the password of that user, best one for this application alone",
            Key::RecoveryAccessKeyId => "the id of an access key of the S3 store",
            Key::RecoverySecretAccessKey => "the secret of that access key",
            Key::RecoverySshKeyFile => "the absolute path of a private key that OpenSSH reads",
            Key::RecoveryImmutableDays => "a whole number of days from 0 to 3650",
            Key::LogFormat => "auto, text or json",
            Key::LogFilter => "directives of tracing's EnvFilter, such as info or info,mainstay_control=debug",
            Key::TelemetryOtlpEndpoint => "the http or https URL of an OTLP collector, such as http://127.0.0.1:4318",
        }
    }

    /// The key that sets a service's own connection string.
    pub const fn connection_of(service: Service) -> Key {
        match service {
            Service::Journal => Key::JournalConnection,
            Service::Custody => Key::CustodyConnection,
            Service::Objects => Key::ObjectsConnection,
            Service::Artifacts => Key::ArtifactsConnection,
        }
    }

    /// The key of that name, upper and lower case being the same.
    pub(super) fn find(name: &str) -> Option<Key> {
        Key::ALL.into_iter().find(|key| key.name().eq_ignore_ascii_case(name))
    }

    /// The key that a misspelt name is most like, where one is like it.
    pub(super) fn nearest(name: &str) -> Option<Key> {
        let (edits, key) = Key::closest(name)?;
        (edits <= NEAREST_EDITS).then_some(key)
    }

    /// Whether the name of an environment variable is meant for Mainstay, rightly spelt or not.
    ///
    /// The environment belongs to others too: a whole section is claimed only where it is one of ours.
    pub(super) fn is_meant_by(name: &str) -> bool {
        let Some((section, _)) = name.split_once(SEPARATOR) else { return false };
        let misspelt = || Key::closest(name).is_some_and(|(edits, key)| edits <= key.name().len() / LETTERS_PER_EDIT);
        Key::is_section(section) || misspelt()
    }

    fn closest(name: &str) -> Option<(usize, Key)> {
        let name = name.to_ascii_lowercase();
        let edits = |key: Key| strsim::damerau_levenshtein(&key.name().to_ascii_lowercase(), &name);
        Key::ALL.into_iter().map(|key| (edits(key), key)).min()
    }

    /// Whether a name begins with a section of ours.
    fn is_section(name: &str) -> bool {
        Key::ALL.into_iter().any(|key| key.section().eq_ignore_ascii_case(name))
    }

    /// The names of all keys in the section that a name begins with, or of all sections.
    pub(super) fn neighbours(name: &str) -> String {
        let section = name.split(SEPARATOR).next().unwrap_or_default();
        let mut names: Vec<&str> = if Key::is_section(section) {
            Key::ALL.into_iter().filter(|key| key.section().eq_ignore_ascii_case(section)).map(Key::name).collect()
        } else {
            Key::ALL.into_iter().map(Key::section).collect()
        };
        names.dedup();
        names.join(", ")
    }

    fn section(self) -> &'static str {
        self.name().split(SEPARATOR).next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn names_are_found_in_any_case_and_guessed_when_misspelt() {
        assert_eq!(Key::find("STORAGE:driver"), Some(Key::StorageDriver));
        assert_eq!(Key::find("Storage"), None);
        for (misspelt, meant) in [
            ("Storage:Drvier", Some(Key::StorageDriver)),
            ("storge:driver", Some(Key::StorageDriver)),
            ("ConnectionStrings:Defualt", Some(Key::DefaultConnection)),
            ("ConnectionString:Default", Some(Key::DefaultConnection)),
            ("Telemetry:Colour", None),
        ] {
            assert_eq!(Key::nearest(misspelt), meant, "{misspelt}");
        }
    }

    #[test]
    fn variables_of_others_are_left_alone() {
        for ours in ["Storage:Drvier", "storge:driver", "ConnectionString:Default", "LOG:anything"] {
            assert!(Key::is_meant_by(ours), "{ours}");
        }
        for foreign in ["Logs:Format", "App:Filter", "Storage", "", "PATH", "Kestrel:Endpoints", "Logging:LogLevel"] {
            assert!(!Key::is_meant_by(foreign), "{foreign}");
        }
    }

    #[test]
    fn the_documentation_has_every_key() {
        let page = include_str!("../../../../docs/configuration.md");
        for key in Key::ALL {
            assert!(page.contains(&format!("| `{}` | `{}` |", key.name(), key.environment())), "{}", key.name());
        }
    }
}
