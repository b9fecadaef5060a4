//! The flags that every verb takes, and what they mean.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use mainstay_types::TenantName;
use secrecy::{ExposeSecret, SecretString};

use crate::client::{Address, Authorities, Client};
use crate::failure::Failure;
use crate::output::Format;
use crate::session::Session;

/// The longest token file that is read: a token has some 50 bytes.
const LONGEST_TOKEN_FILE: usize = 4096;

/// Flags that every verb takes. Each has an environment variable, which a flag overrules.
#[derive(Args, Clone)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Where the native API is
    #[arg(long, global = true, env = "MAINSTAY_ADDR", value_name = "URL", default_value = "http://127.0.0.1:7400")]
    address: Address,

    /// The token to call it with [default: what `mainstay up` wrote to admin.token in the data directory]
    ///
    /// Prefer the environment variable: others on this machine can see the arguments of a process.
    #[arg(long, global = true, env = "MAINSTAY_TOKEN", value_name = "TOKEN", hide_env_values = true, value_parser = unchecked)]
    token: Option<SecretString>,

    /// The PEM file with the certificates to trust an https address by [default: the public authorities]
    #[arg(long, global = true, env = "MAINSTAY_CACERT", value_name = "FILE")]
    ca_cert: Option<PathBuf>,

    /// The tenant to act in [default: the token's, else 'default']
    #[arg(long, global = true, env = "MAINSTAY_TENANT", value_name = "NAME")]
    tenant: Option<TenantName>,

    /// Where a layer on this machine keeps its data
    /// [default: /var/lib/mainstay for root, $XDG_DATA_HOME/mainstay otherwise]
    #[arg(long, global = true, env = "MAINSTAY_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// How to print: for people or for programs [default: table]
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT")]
    output: Option<OutputFlag>,
}

#[derive(Clone, Copy, ValueEnum)]
enum OutputFlag {
    /// Columns, for people
    Table,
    /// What the API answered
    Json,
    /// The same, as YAML
    Yaml,
}

/// What is known of the caller's surroundings when no flag says otherwise.
struct Surroundings {
    root: bool,
    xdg_data_home: Option<PathBuf>,
    home: Option<PathBuf>,
}

// === impl Global ===

impl Global {
    /// The data directory of a layer on this machine.
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| {
            let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
            default_data_dir(&Surroundings {
                root: rustix::process::geteuid().is_root(),
                xdg_data_home: absolute("XDG_DATA_HOME"),
                home: absolute("HOME"),
            })
        })
    }

    /// Whether a flag or a variable names the data directory.
    pub fn data_dir_is_chosen(&self) -> bool {
        self.data_dir.is_some()
    }

    /// Whether programs read the output, so that commands outside this crate can print alike.
    pub fn wants_json(&self) -> bool {
        matches!(self.output, Some(OutputFlag::Json))
    }

    /// What a verb works with. One that needs no token gets the one that there is, or none.
    pub(crate) fn session(&self, needs_token: bool) -> Result<Session, Failure> {
        let found = match &self.token {
            Some(typed) => token(typed.expose_secret()).map_err(Failure::usage),
            None => token_of(&self.data_dir()),
        };
        let token = match found {
            Ok(token) => Some(token),
            Err(failure) if needs_token => return Err(failure),
            Err(_) => None,
        };
        let authorities = self.ca_cert.as_deref().map(Authorities::read).transpose()?;
        let format = self.output.map(|flag| match flag {
            OutputFlag::Table => Format::Table,
            OutputFlag::Json => Format::Json,
            OutputFlag::Yaml => Format::Yaml,
        });
        let client = Client::new(self.address.clone(), authorities, token, self.tenant.clone());
        Ok(Session::new(client, format))
    }
}

/// Takes anything: what a parser of clap's refuses, clap prints.
fn unchecked(text: &str) -> Result<SecretString, std::convert::Infallible> {
    Ok(SecretString::from(text))
}

/// Reads the token that a file holds.
pub(crate) fn token_in(file: &Path) -> Result<SecretString, Failure> {
    let text = crate::session::read_file(file, LONGEST_TOKEN_FILE)
        .map_err(|source| Failure::local(format!("{} cannot be read", file.display()), source))?;
    token(text.trim()).map_err(|rule| Failure::usage(format!("{} does not hold a token: {rule}", file.display())))
}

/// Reads a token without repeating it in the error.
fn token(text: &str) -> Result<SecretString, &'static str> {
    let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(SecretString::from(text)) } else { Err("a token is one word of printable ASCII characters") }
}

/// The token that `mainstay up` left in its data directory.
fn token_of(data_dir: &Path) -> Result<SecretString, Failure> {
    let file = data_dir.join("admin.token");
    let text = crate::session::read_file(&file, LONGEST_TOKEN_FILE)
        .map_err(|source| Failure::NoToken { file: file.clone(), source })?;
    token(text.trim()).map_err(|rule| Failure::BadTokenFile { file, rule })
}

fn default_data_dir(surroundings: &Surroundings) -> PathBuf {
    match surroundings {
        Surroundings { root: true, .. } => PathBuf::from("/var/lib/mainstay"),
        Surroundings { xdg_data_home: Some(data_home), .. } => data_home.join("mainstay"),
        Surroundings { home: Some(home), .. } => home.join(".local/share/mainstay"),
        // A user without a home, such as a service's: the place of a machine-wide layer is the best guess.
        _ => PathBuf::from("/var/lib/mainstay"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{Surroundings, default_data_dir, token};

    #[test]
    fn the_data_directory_follows_the_user() {
        let check = |root, xdg: Option<&str>, home: Option<&str>, expected| {
            let (xdg_data_home, home) = (xdg.map(PathBuf::from), home.map(PathBuf::from));
            assert_eq!(default_data_dir(&Surroundings { root, xdg_data_home, home }), Path::new(expected));
        };
        check(true, Some("/x"), Some("/root"), "/var/lib/mainstay");
        check(false, Some("/x"), Some("/home/a"), "/x/mainstay");
        check(false, None, Some("/home/a"), "/home/a/.local/share/mainstay");
        check(false, None, None, "/var/lib/mainstay");
    }

    #[test]
    fn a_bad_token_is_not_repeated() {
        assert!(token("t-abc.DEF_1").is_ok());
        for bad in ["", "hunter2 hunter2", "hunter2\n", "hünter2"] {
            assert!(!token(bad).unwrap_err().contains("nter2"));
        }
    }
}
