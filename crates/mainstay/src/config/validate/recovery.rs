//! Where backups are kept, and how one gets in there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_repository::{Credentials, Location};
use mainstay_storage::Driver;
use secrecy::{ExposeSecret, SecretString};

use super::super::key::Key;
use super::super::mistake::{Mistake, echo};
use super::super::{Recovery, RepositoryPlace, Sources};
use super::{Reader, absolute_path};

/// What says that nothing is to be protected.
const NONE: &str = "none";
/// Ten years: what is to stay longer is an archive, and no backup.
const LONGEST_IMMUTABLE_DAYS: u64 = 3650;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What is known of those who keep repositories.
struct Keyring {
    user: Option<String>,
    password: Option<SecretString>,
    access_key: Option<(String, SecretString)>,
    ssh_key: Option<PathBuf>,
}

/// With `mainstay up` the repository lies beside the data directory where nobody says otherwise. Else somebody has to say.
pub(super) fn recovery(reader: &mut Reader<'_>, sources: &Sources<'_>, data_dir: &Path) -> Recovery {
    let named = reader.read(Key::RecoveryRepository, |text| match text {
        NONE => Ok(None),
        text => location(text, data_dir).map(Some),
    });
    let copies = reader.read(Key::RecoveryCopies, |text| locations(text, data_dir)).unwrap_or_default();
    let days = reader.read(Key::RecoveryImmutableDays, |text| match text.parse::<u64>() {
        Ok(days) if days <= LONGEST_IMMUTABLE_DAYS => Ok(days),
        _ => Err(format!("is {}, which is no such number", echo(text))),
    });
    let keyring = keyring(reader);
    let unnamed = reader.origin(Key::RecoveryRepository).is_none();
    let beside = || Some(Location::Directory(beside(data_dir)));
    let repository = match named {
        Some(named) => named,
        // What is in memory is gone with the process, and its recovery key too.
        None if unnamed && sources.overrides.up && !is_in_memory(reader) => beside(),
        None => None,
    };
    if let (None, true, Some(origin)) = (&repository, unnamed || named_none(reader), reader.origin(Key::RecoveryCopies))
    {
        let problem = "is set, while Recovery:Repository names none";
        let remedy = "name a repository that these are copies of, or remove them";
        reader.mistakes.push(Mistake::about(Key::RecoveryCopies, Some(origin), problem, remedy));
    }
    Recovery {
        declined: named_none(reader),
        repository: repository.and_then(|location| keyring.place(reader, Key::RecoveryRepository, location)),
        copies: copies
            .into_iter()
            .filter_map(|location| keyring.place(reader, Key::RecoveryCopies, location))
            .collect(),
        immutable_for: DAY * u32::try_from(days.unwrap_or(0)).unwrap_or(0),
    }
}

/// The directory beside the data directory, so that losing the one does not lose the other.
fn beside(data_dir: &Path) -> PathBuf {
    let mut name = data_dir.components().collect::<PathBuf>().into_os_string();
    name.push("-repository");
    name.into()
}

fn is_in_memory(reader: &mut Reader<'_>) -> bool {
    let driver = reader.settings.get(&Key::StorageDriver);
    driver.is_some_and(|driver| driver.text.expose_secret().eq_ignore_ascii_case(Driver::InMemory.as_str()))
}

fn named_none(reader: &mut Reader<'_>) -> bool {
    reader.settings.get(&Key::RecoveryRepository).is_some_and(|setting| setting.text.expose_secret() == NONE)
}

fn locations(text: &str, data_dir: &Path) -> Result<Vec<Location>, String> {
    let words = text.split([',', ' ', '\t', '\n']).filter(|word| !word.is_empty());
    words.map(|word| location(word, data_dir)).collect()
}

fn location(text: &str, data_dir: &Path) -> Result<Location, String> {
    // Nothing of the text is repeated: a password may stand in it, however wrong it is.
    let location: Location = text.parse().map_err(|_| "names no location of a repository".to_owned())?;
    match &location {
        Location::Directory(path) if path.starts_with(data_dir) || data_dir.starts_with(path) => {
            Err("and the data directory lie in one another: who loses the one loses the other".to_owned())
        }
        _ => Ok(location),
    }
}

fn keyring(reader: &mut Reader<'_>) -> Keyring {
    let user = reader.read(Key::RecoveryUsername, |text| {
        let plain = |c: char| !c.is_whitespace() && !c.is_control() && !":/".contains(c);
        let fits = (1..=256).contains(&text.len()) && text.chars().all(plain);
        if fits { Ok(text.to_owned()) } else { Err(format!("is {}, which is no user name", echo(text))) }
    });
    let password = reader.read(Key::RecoveryPassword, |text| Ok(SecretString::from(text)));
    let id = reader.read(Key::RecoveryAccessKeyId, super::object_store::name);
    let secret = reader.read(Key::RecoverySecretAccessKey, |text| Ok(SecretString::from(text)));
    let ssh_key = reader.read(Key::RecoverySshKeyFile, absolute_path);
    for (one, other) in
        [(Key::RecoveryUsername, Key::RecoveryPassword), (Key::RecoveryAccessKeyId, Key::RecoverySecretAccessKey)]
    {
        for (missing, set) in [(one, other), (other, one)] {
            if let (None, Some(origin)) = (reader.origin(missing), reader.origin(set)) {
                let problem = format!("is not set, while {} is", set.name());
                reader.mistakes.push(Mistake::about(missing, Some(origin), problem, "set both, or neither"));
            }
        }
    }
    Keyring { user, password, access_key: id.zip(secret), ssh_key }
}

// === impl Keyring ===

impl Keyring {
    /// A location with what opens it. An S3 store that asks for nothing would be everybody's.
    fn place(&self, reader: &mut Reader<'_>, key: Key, location: Location) -> Option<RepositoryPlace> {
        let credentials = match &location {
            Location::Directory(_) => Credentials::None,
            Location::S3 { .. } => match &self.access_key {
                Some((id, secret)) => Credentials::AccessKey { id: id.clone(), secret: secret.clone() },
                None => {
                    if reader.origin(Key::RecoveryAccessKeyId).is_none() {
                        let remedy = "set it and Recovery:SecretAccessKey";
                        let problem = format!("is not set, while {} names an S3 store", key.name());
                        reader.mistakes.push(Mistake::about(Key::RecoveryAccessKeyId, None, problem, remedy));
                    }
                    return None;
                }
            },
            Location::WebDav { .. } => match (&self.user, &self.password) {
                (Some(user), Some(password)) => {
                    Credentials::Password { user: user.clone(), password: password.clone() }
                }
                _ => Credentials::None,
            },
            Location::Sftp { .. } => self.ssh_key.clone().map_or(Credentials::None, Credentials::KeyFile),
        };
        Some(RepositoryPlace { location, credentials })
    }
}
