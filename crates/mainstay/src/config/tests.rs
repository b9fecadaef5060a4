//! Every rule of the configuration as a row of a table.

use std::path::{Path, PathBuf};

use mainstay_repository::Credentials;
use mainstay_storage::{Driver, Location, Service};
use proptest::prelude::{Strategy, any, prop_assert, proptest};
use secrecy::ExposeSecret;

use super::{
    Config, ConfigErrors, DataPlaneMode, Key, LogFormat, ObjectBackend, Overrides, RuntimeEnvironment, Seal, Sources,
};

const URI: &str = "postgresql://mainstay:hunter2@db.example:5432/mainstay";

/// What a test says, in the words of the person who configures.
#[derive(Default)]
struct Given<'a> {
    file: Option<&'a str>,
    environment: &'a [(&'a str, &'a str)],
    overrides: Overrides,
    user: bool,
}

impl Given<'_> {
    fn config(&self) -> Result<Config, ConfigErrors> {
        let own = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        let environment: Vec<(String, String)> = self.environment.iter().map(own).collect();
        Config::from_sources(Sources {
            file: self.file.map(|text| (Path::new("/etc/mainstay.toml"), text)),
            environment: &environment,
            overrides: &self.overrides,
            superuser: !self.user,
            working_directory: Path::new("/srv"),
        })
    }

    fn message(&self) -> String {
        self.config().unwrap_err().to_string()
    }
}

fn up<'a>(environment: &'a [(&'a str, &'a str)]) -> Given<'a> {
    Given { environment, overrides: Overrides { up: true, ..Overrides::default() }, ..Given::default() }
}

fn server<'a>(environment: &'a [(&'a str, &'a str)]) -> Given<'a> {
    Given { environment, ..Given::default() }
}

const KEY_FILE: (&str, &str) = ("Custody__KeyFile", "/etc/mainstay/master.key");

#[test]
fn up_needs_nothing() {
    let config = up(&[]).config().unwrap();
    assert_eq!(config.environment, RuntimeEnvironment::Development);
    assert_eq!(config.storage.driver(), Driver::Filesystem);
    assert_eq!(config.storage.directory(), Some(Path::new("/var/lib/mainstay/storage")));
    let key_file = Seal::KeyFile { file: "/var/lib/mainstay/custody/master.key".into(), may_create: true };
    assert_eq!(config.custody.seal, key_file);
    assert_eq!(config.custody.audit_file, Path::new("/var/lib/mainstay/custody/audit.log"));
    assert_eq!(config.listen.tls, None);
    assert_eq!(config.listen.api, "127.0.0.1:7400".parse().unwrap());
    assert_eq!(config.listen.postgresql, "127.0.0.1:7432".parse().unwrap());
    assert_eq!(config.listen.dedicated_ports, 7500);
    assert_eq!(config.engines.user, None);
    assert_eq!(config.engines.postgresql_bin_dir, None);
    assert_eq!((config.log.format, config.log.filter.as_str()), (LogFormat::Auto, "info"));
    assert_eq!(config.telemetry.otlp_endpoint, None);
    assert!(matches!(
        config.object_store.unwrap().backend,
        ObjectBackend::SeedFs(directory) if directory == Path::new("/var/lib/mainstay/objects")
    ));
    assert_eq!(config.data_plane, DataPlaneMode::InProcess);
    assert_eq!(config.listen.s3, "127.0.0.1:7401".parse().unwrap());
    assert_eq!((config.s3.region.as_str(), config.s3.domain.as_str()), ("mainstay", "localhost"));
}

#[test]
fn the_environment_outranks_the_file_and_both_outrank_what_up_assumes() {
    let file = "[storage]\ndriver = \"inmemory\"\n[listen]\napi = \"127.0.0.1:1\"\ndedicatedports = 8000\n";
    let environment =
        [("LISTEN__API", "127.0.0.1:2"), ("engines__user", "postgres"), ("Unrelated", "x"), ("PATH", "/bin")];
    let given = Given { file: Some(file), ..up(&environment) };
    let config = given.config().unwrap();
    assert_eq!(config.engines.user.as_deref(), Some("postgres"));
    assert_eq!(config.storage.driver(), Driver::InMemory);
    assert_eq!(config.listen.api.port(), 2);
    assert_eq!(config.listen.dedicated_ports, 8000);

    let postgres = [("Storage__Driver", "postgres"), ("ConnectionStrings__Default", URI)];
    assert_eq!(up(&postgres).config().unwrap().storage.driver(), Driver::Postgres);
}

#[test]
fn a_file_may_write_its_keys_in_any_toml_way() {
    for file in [
        "[Storage]\nDriver = \"inmemory\"\n[Storage.ObjectStore]\nDriver = \"seed-fs\"",
        "Storage.Driver = \"INMEMORY\"\nstorage.objectstore.driver = \"seed-fs\"",
        "\"Storage:Driver\" = \"inmemory\"\n\"Storage:ObjectStore:Driver\" = \"seed-fs\"",
        "Storage = { Driver = \"inmemory\", ObjectStore = { Driver = \"seed-fs\" } }",
    ] {
        let config = Given { file: Some(file), ..up(&[]) }.config().unwrap();
        assert_eq!(config.storage.driver(), Driver::InMemory, "{file}");
        assert!(matches!(config.object_store.unwrap().backend, ObjectBackend::SeedFs(_)), "{file}");
    }
}

#[test]
fn a_service_s_own_connection_string_takes_precedence() {
    let own = "postgres://journal@db.example/journal";
    let environment = [KEY_FILE, ("ConnectionStrings__Default", URI), ("ConnectionStrings__Journal", own)];
    let config = server(&environment).config().unwrap();
    assert_eq!(config.storage.driver(), Driver::Postgres);
    for (service, expected) in [(Service::Journal, own), (Service::Custody, URI)] {
        match config.storage.location(service) {
            Location::Postgres(uri) => assert_eq!(uri.expose_secret(), expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_default_is_not_needed_where_every_service_has_its_own() {
    let all = ["Journal", "Custody", "Objects", "Artifacts"].map(|service| format!("ConnectionStrings__{service}"));
    let mut environment: Vec<(&str, &str)> = all.iter().map(|name| (name.as_str(), URI)).collect();
    environment.push(KEY_FILE);
    server(&environment).config().unwrap();
    environment.retain(|(name, _)| !name.ends_with("Objects"));
    let message = server(&environment).message();
    assert!(message.contains("ConnectionStrings:Default is not set, and objects has no connection"), "{message}");
}

#[test]
fn production_with_nothing_set_names_what_it_needs() {
    let message = server(&[]).message();
    for expected in [
        "has 2 mistakes (configuration_invalid)",
        "1. Storage:Driver is not set",
        "environment: Storage__Driver",
        "accepted:    postgres, or in development filesystem or inmemory",
        "ConnectionStrings:Default",
        "2. Custody:KeyFile is not set",
        "environment: Custody__KeyFile",
    ] {
        assert!(message.contains(expected), "{expected} is not in:\n{message}");
    }
}

#[test]
fn production_offers_objects_only_where_somebody_says_where_their_bytes_are_kept() {
    let production = [KEY_FILE, ("ConnectionStrings__Default", URI)];
    assert!(server(&production).config().unwrap().object_store.is_none());
    let named = [&production[..], &[("Storage__ObjectStore__Driver", "seed-fs")]].concat();
    assert!(server(&named).config().unwrap().object_store.is_some());
}

#[test]
fn rustfs_is_reached_as_the_configuration_says() {
    let environment = [
        ("Storage__ObjectStore__Driver", "rustfs"),
        ("Storage__ObjectStore__Endpoint", "http://127.0.0.1:3900/"),
        ("Storage__ObjectStore__Bucket", "mainstay"),
        ("Storage__ObjectStore__AccessKeyId", "GK31c2f218a2e44f485b94239e"),
        ("Storage__ObjectStore__SecretAccessKey", "hunter2"),
        ("Storage__ObjectStore__GraceSeconds", "60"),
        ("DataPlane__Mode", "remote"),
    ];
    let config = up(&environment).config().unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    let socket = Path::new("/var/lib/mainstay/dataplane/plane.sock");
    assert_eq!(config.data_plane, DataPlaneMode::Remote(socket.to_owned()));
    let store = config.object_store.unwrap();
    assert_eq!(store.grace.as_secs(), 60);
    let ObjectBackend::Rustfs(rustfs) = store.backend else { panic!("{:?}", store.backend) };
    assert_eq!(rustfs.endpoint, "http://127.0.0.1:3900");
    assert_eq!((rustfs.region.as_str(), rustfs.prefix.as_str()), ("us-east-1", "mainstay"));
    assert_eq!(rustfs.secret_access_key.expose_secret(), "hunter2");

    let message = up(&environment[..1]).message();
    for key in ["Endpoint", "Bucket", "AccessKeyId", "SecretAccessKey"] {
        assert!(message.contains(&format!("Storage:ObjectStore:{key} is not set, while")), "{message}");
    }
    let message = up(&environment[1..2]).message();
    assert!(message.contains("Storage:ObjectStore:Endpoint is set, while"), "{message}");
}

#[test]
fn up_protects_and_production_where_somebody_says_where_to() {
    let location = |given: &Given<'_>| {
        let place = given.config().unwrap().recovery.repository;
        place.map(|place| place.location.to_string())
    };
    assert_eq!(location(&up(&[])).as_deref(), Some("/var/lib/mainstay-repository"));
    assert_eq!(location(&up(&[("MAINSTAY_DATA_DIR", "/b/")])).as_deref(), Some("/b-repository"));
    assert_eq!(location(&up(&[("Recovery__Repository", "none")])), None);
    assert_eq!(location(&up(&[("Recovery__Repository", "/elsewhere")])).as_deref(), Some("/elsewhere"));
    // Its recovery key would be gone with the process.
    assert_eq!(location(&up(&[("Storage__Driver", "inmemory")])), None);
    let production = [KEY_FILE, ("ConnectionStrings__Default", URI)];
    assert_eq!(location(&server(&production)), None);
    let overrides = Overrides { up: true, repository: Some("/flag".to_owned()), ..Overrides::default() };
    let environment = [("Recovery__Repository", "/elsewhere")];
    let given = Given { environment: &environment, overrides, ..Given::default() };
    assert_eq!(location(&given).as_deref(), Some("/flag"));
}

#[test]
fn repositories_elsewhere_are_opened_with_what_fits_them() {
    let s3 = "s3://backups/layer?endpoint=https://s3.example.org";
    let environment = [
        ("Recovery__Repository", s3),
        ("Recovery__Copies", "/mnt/copy, webdavs://cloud.example.org/backups sftp://backup@host.example.org/srv"),
        ("Recovery__AccessKeyId", "GK31c2f218a2e44f485b94239e"),
        ("Recovery__SecretAccessKey", "hunter2"),
        ("Recovery__Username", "ada"),
        ("Recovery__Password", "hunter2"),
        ("Recovery__SshKeyFile", "/etc/mainstay/ssh.key"),
        ("Recovery__ImmutableDays", "7"),
    ];
    let config = up(&environment).config().unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    let recovery = config.recovery;
    assert_eq!(recovery.immutable_for.as_secs(), 7 * 24 * 3600);
    assert!(
        matches!(recovery.repository.unwrap().credentials, Credentials::AccessKey { id, .. } if id.starts_with("GK"))
    );
    let [directory, dav, sftp] = &recovery.copies[..] else { panic!("{:?}", recovery.copies) };
    assert!(matches!(directory.credentials, Credentials::None));
    assert!(matches!(&dav.credentials, Credentials::Password { user, .. } if user == "ada"));
    assert!(matches!(&sftp.credentials, Credentials::KeyFile(file) if file == Path::new("/etc/mainstay/ssh.key")));
    let message = up(&environment[..1]).message();
    assert!(message.contains("Recovery:AccessKeyId is not set, while Recovery:Repository names an S3"), "{message}");
}

/// Environment of `mainstay server`, and what the message has to say.
type Refused = (&'static [(&'static str, &'static str)], &'static [&'static str]);

const REFUSED: &[Refused] = &[
    (
        &[("Storage__Driver", "filesystem")],
        &[
            "Storage:Driver is filesystem, which production refuses",
            "source:      environment variable Storage__Driver",
        ],
    ),
    (&[("Storage__Driver", "inmemory")], &["Storage:Driver is inmemory, which production refuses"]),
    (&[("Storage__Driver", "postgress")], &["Storage:Driver is \"postgress\"; did you mean postgres?"]),
    (&[("Storage__Driver", "oracle")], &["Storage:Driver is \"oracle\"\n"]),
    (&[("Storage__Driver", " ")], &["Storage:Driver is empty"]),
    (&[("Storage__Driver", "postgres")], &["ConnectionStrings:Default is not set, and journal has no"]),
    (
        &[("Storage__Drvier", "postgres")],
        &["Storage:Drvier is not a key", "did you mean Storage:Driver (Storage__Driver)?", "Storage:Driver is not set"],
    ),
    (&[("Storge__Driver", "postgres")], &["Storge:Driver is not a key", "did you mean Storage:Driver"]),
    (
        &[("Storage__Colour", "red")],
        &["Storage:Colour is not a key", "accepted:    Storage:Driver, Storage:ObjectStore"],
    ),
    (
        &[("Storage__Driver", "postgres"), ("STORAGE__DRIVER", "inmemory")],
        &["has another value at environment variable"],
    ),
    (&[("Storage__ObjectStore__Driver", "s3")], &["Storage:ObjectStore:Driver is \"s3\""]),
    (&[("Runtime__Environment", "staging")], &["Runtime:Environment is \"staging\"", "production or development"]),
    (&[("Runtime__Environment", "development")], &["Storage:Driver is not set"]),
    (
        &[
            ("Runtime__Environment", "development"),
            ("Storage__Driver", "inmemory"),
            ("ConnectionStrings__Custody", URI),
        ],
        &["Storage:Driver is inmemory, while ConnectionStrings:Custody names a PostgreSQL database"],
    ),
    (
        &[("ConnectionStrings__Default", "mysql://u:hunter2@h/d")],
        &["ConnectionStrings:Default is not a PostgreSQL URI"],
    ),
    (&[("ConnectionStrings__Default", "host=h password=hunter2")], &["is not a PostgreSQL URI"]),
    (&[("ConnectionStrings__Default", "postgres://u:hunter2 @h/d")], &["holds a space"]),
    (&[("ConnectionStrings__Default", "postgres://")], &["names no server"]),
    (&[("ConnectionStrings__Defualt", URI)], &["did you mean ConnectionStrings:Default"]),
    (&[("Listen__Api", "localhost")], &["Listen:Api is \"localhost\", which is no address"]),
    (&[("Listen__Api", "127.0.0.1:0")], &["Listen:Api is on port 0"]),
    (&[("Listen__Api", "127.0.0.1:7432")], &["Listen:PostgreSQL and Listen:Api are both on port 7432"]),
    (&[("Listen__DedicatedPorts", "80")], &["Listen:DedicatedPorts is \"80\", which is no such port"]),
    (&[("Engines__User", "root")], &["Engines:User is root"]),
    (&[("Engines__User", "a b")], &["Engines:User is a value that is not repeated here, which is no user name"]),
    (&[("Engines__PostgreSQL__BinDir", "bin")], &["Engines:PostgreSQL:BinDir is \"bin\", which is no absolute path"]),
    (&[("Custody__KeyFile", "master.key")], &["Custody:KeyFile is \"master.key\", which is no absolute path"]),
    (&[("Log__Format", "xml")], &["Log:Format is \"xml\""]),
    (&[("Log__Filter", "info,=nonsense=")], &["Log:Filter is a value that is not repeated here, which is no filter"]),
    (&[("Telemetry__OtlpEndpoint", "collector:4318")], &["Telemetry:OtlpEndpoint is not the http or https"]),
    (&[("Storage__ObjectStore__Driver", "seedfs")], &["did you mean seed-fs?"]),
    (&[("Storage__ObjectStore__GraceSeconds", "1")], &["GraceSeconds is \"1\", which is no such number"]),
    (&[("DataPlane__Mode", "remot")], &["did you mean remote?"]),
    (&[("DataPlane__Socket", "plane.sock")], &["which is no absolute path"]),
    (&[("Listen__S3", "127.0.0.1:7400")], &["Listen:S3 and Listen:Api are both on port 7400"]),
    (&[("S3__Domain", "-x")], &["which is no domain name"]),
    (&[("Recovery__Repository", "ftp://u:hunter2@h/d")], &["Recovery:Repository names no location"]),
    (&[("Recovery__Repository", "webdavs://u:hunter2@h/d")], &["Recovery:Repository names no location"]),
    (&[("Recovery__Repository", "/var/lib/mainstay/backups")], &["lie in one another"]),
    (&[("Recovery__Repository", "/var/lib")], &["lie in one another"]),
    (&[("Recovery__Copies", "/mnt/copy")], &["Recovery:Copies is set, while Recovery:Repository names none"]),
    (&[("Recovery__Username", "ada")], &["Recovery:Password is not set, while Recovery:Username is"]),
    (&[("Recovery__Username", "a b")], &["which is no user name"]),
    (&[("Recovery__ImmutableDays", "9999")], &["Recovery:ImmutableDays is \"9999\", which is no such number"]),
    (&[("Telemetry__OtlpEndpoint", "http://u:hunter2@c")], &["Telemetry:OtlpEndpoint holds credentials"]),
];

#[test]
fn what_is_wrong_is_refused_by_name() {
    for (environment, expected) in REFUSED {
        let message = server(environment).message();
        for part in *expected {
            assert!(message.contains(part), "{environment:?} should say {part:?}, and says:\n{message}");
        }
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn every_mistake_is_in_one_message() {
    let file = "[Storage]\nDriver = \"sqlite\"\nDrive = 1\n\n[Listen]\nApi = [1]\n[Logging]\nLevel = true\n";
    let errors = Given { file: Some(file), ..Given::default() }.config().unwrap_err();
    let found: Vec<(&str, String)> = errors
        .mistakes()
        .iter()
        .map(|mistake| (mistake.subject.as_str(), mistake.origin.as_ref().map_or(String::new(), ToString::to_string)))
        .collect();
    let expected = [
        ("Listen:Api", "/etc/mainstay.toml:6"),
        ("Logging:Level", "/etc/mainstay.toml:8"),
        ("Storage:Drive", "/etc/mainstay.toml:3"),
        ("Storage:Driver", "/etc/mainstay.toml:2"),
        ("Custody:KeyFile", ""),
    ];
    assert_eq!(found, expected.map(|(subject, origin)| (subject, origin.to_owned())));
}

#[test]
fn a_file_that_is_not_toml_is_named_with_its_line_and_nothing_of_it() {
    let file = format!("[ConnectionStrings]\nDefault = {URI}\n");
    let message = Given { file: Some(&file), ..Given::default() }.message();
    assert!(message.contains("the configuration file is not TOML"), "{message}");
    assert!(message.contains("/etc/mainstay.toml:2"), "{message}");
    assert!(!message.contains("hunter2"), "{message}");
}

#[test]
fn up_does_not_override_what_somebody_says() {
    let message = up(&[("Runtime__Environment", "production")]).message();
    assert!(message.contains("Storage:Driver is filesystem, which production refuses"), "{message}");
    assert!(message.contains("assumed by `mainstay up`"), "{message}");
    let message = up(&[("ConnectionStrings__Default", URI)]).message();
    assert!(message.contains("Storage:Driver is filesystem, while ConnectionStrings:Default names"), "{message}");
}

#[test]
fn the_data_directory() {
    let of = |flag: Option<&str>, environment: &[(&str, &str)], user: bool| {
        let overrides = Overrides { data_dir: flag.map(PathBuf::from), up: true, repository: None };
        let given = Given { environment, overrides, user, ..Given::default() };
        given.config().map(|config| config.data_dir.to_string_lossy().into_owned()).map_err(|error| error.to_string())
    };
    let variable = [("MAINSTAY_DATA_DIR", "/b"), ("XDG_DATA_HOME", "/c"), ("HOME", "/home/d")];
    assert_eq!(of(Some("/a"), &variable, true).unwrap(), "/a");
    assert_eq!(of(Some("a"), &variable, true).unwrap(), "/srv/a");
    assert_eq!(of(None, &variable, true).unwrap(), "/b");
    assert_eq!(of(None, &variable[1..], true).unwrap(), "/c/mainstay");
    assert_eq!(of(None, &variable[1..], false).unwrap(), "/var/lib/mainstay");
    assert_eq!(of(None, &variable[2..], true).unwrap(), "/home/d/.local/share/mainstay");
    assert_eq!(of(None, &[("XDG_DATA_HOME", "relative"), ("HOME", "/h")], true).unwrap(), "/h/.local/share/mainstay");
    let message = of(None, &[], true).unwrap_err();
    assert!(message.contains("give --data-dir DIR or set MAINSTAY_DATA_DIR"), "{message}");
}

#[test]
fn neither_the_configuration_nor_a_setting_shows_a_password() {
    let environment = [KEY_FILE, ("ConnectionStrings__Default", URI)];
    let config = server(&environment).config().unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

/// A connection string with a password that no other text could hold by chance, well or badly formed.
fn connection_strings() -> impl Strategy<Value = String> {
    let scheme = proptest::sample::select(vec!["postgres://", "postgresql://", "mysql://", "http://", "postgres:/"]);
    let rest = proptest::sample::select(vec!["@db/mainstay", "@[::1", " @db", "@db\"\n= [", "", "@db?x=\u{1b}"]);
    let user = "[a-z]{0,4}";
    (scheme, user, rest).prop_map(|(scheme, user, rest)| format!("{scheme}{user}:zQ9-sEcReT_7{rest}"))
}

proptest! {
    #[test]
    fn no_message_holds_the_password_of_a_connection_string(
        uri in connection_strings(),
        key in proptest::sample::select(Key::ALL.to_vec()),
        misspelt in any::<bool>(),
        quoted in any::<bool>(),
        is_up in any::<bool>(),
    ) {
        let name = if misspelt { format!("{}x", key.environment()) } else { key.environment() };
        let line = if quoted { format!("\"{}\" = '{uri}'", key.name()) } else { format!("{} = {uri}", key.name()) };
        let environment = [(name.as_str(), uri.as_str())];
        let overrides = || Overrides { up: is_up, ..Overrides::default() };
        for given in [
            Given { environment: &environment, overrides: overrides(), ..Given::default() },
            Given { file: Some(&line), overrides: overrides(), ..Given::default() },
        ] {
            let text = match given.config() {
                Ok(config) => format!("{config:?}"),
                Err(errors) => format!("{errors} {errors:?}"),
            };
            prop_assert!(!text.contains("sEcReT"), "{text}");
        }
    }
}
