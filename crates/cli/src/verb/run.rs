//! `mainstay run --bind shop -- command`: credentials that live exactly as long as the command.
//!
//! The command gets values and never a token, and this process asks for exactly the paths that were named. So there is no
//! token to narrow: a policy for each run would have to be written by a token that may do far more, and would stay behind.

mod child;
mod grant;
mod leases;
mod place;

use std::ffi::OsString;
use std::path::Path;

use clap::Args;
use mainstay_types::{ConsumerName, InstanceName};
use secrecy::ExposeSecret;

use crate::delivery::{files, variables};
use crate::duration::Seconds;
use crate::failure::Failure;
use crate::session::Session;

use child::Command;
use grant::{Grant, Granted};
use leases::Leases;
use place::Place;

/// What was typed.
#[derive(Args)]
pub struct Run {
    /// An instance to bind; may be given more than once
    #[arg(long = "bind", value_name = "NAME", required_unless_present = "secrets")]
    instances: Vec<InstanceName>,

    /// A secret whose keys become variables: `secret/app` gives DB_PASSWORD, `secret/app=APP` gives APP_DB_PASSWORD;
    /// may be given more than once
    #[arg(long = "secret", value_name = "PATH[=PREFIX]")]
    secrets: Vec<Grant>,

    /// The application that the credentials are for [default: the command's name]
    #[arg(long, value_name = "APP")]
    consumer: Option<ConsumerName>,

    /// How long they outlive a `mainstay run` that was killed
    #[arg(long, value_name = "DURATION", default_value = "15m")]
    ttl: Seconds,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// What it means.
struct Meaning {
    /// Each once, in the order typed.
    instances: Vec<InstanceName>,
    secrets: Vec<Grant>,
    consumer: ConsumerName,
    ttl: Seconds,
    program: OsString,
    arguments: Vec<OsString>,
}

impl Run {
    pub(crate) fn run(self, session: &Session) -> Result<u8, Failure> {
        let Meaning { instances, secrets, consumer, ttl, program, arguments } = self.meaning()?;
        // Before anything is made that a signal would leave behind.
        let signals = child::catch_signals()?;
        let mut leases = Leases::new(&session.client, ttl);
        let mut command = Command::new(program, arguments);
        let mut granted = Granted::default();
        for grant in &secrets {
            granted.add(grant, &leases.read(&grant.path)?)?;
        }
        for (name, value) in granted.into_variables() {
            command.set(name, value.expose_secret());
        }
        let mut place = if instances.is_empty() { None } else { Some(Place::find()?) };
        for instance in &instances {
            let bound = leases.bind(instance, &consumer)?;
            if let Some(place) = &mut place {
                place.add(instance, |root| files(root, &bound))?;
                command.set("SERVICE_BINDING_ROOT".to_owned(), place.root());
            }
            for variable in variables(&bound) {
                command.set(variable.name, variable.value.expose_secret());
            }
        }
        leases.renewed_while(|| command.run(signals))
        // Here the files are removed and the bindings ended, also where something above failed.
    }

    fn meaning(self) -> Result<Meaning, Failure> {
        let Self { mut instances, mut secrets, consumer, ttl, command } = self;
        let mut command = command.into_iter();
        let program = command.next().ok_or_else(|| Failure::usage("a command is missing; name it after '--'"))?;
        let consumer = match consumer {
            Some(consumer) => consumer,
            None => consumer_of(Path::new(&program))?,
        };
        let mut seen = std::collections::BTreeSet::new();
        instances.retain(|instance| seen.insert(instance.clone()));
        secrets.dedup();
        Ok(Meaning { instances, secrets, consumer, ttl, program, arguments: command.collect() })
    }
}

/// The consumer's name that a command's file name gives: `./My_App.py` is `my-app-py`.
fn consumer_of(program: &Path) -> Result<ConsumerName, Failure> {
    let file_name = program.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let mapped: String =
        file_name.chars().map(|symbol| if symbol.is_ascii_alphanumeric() { symbol } else { '-' }).collect();
    let label: String = mapped.trim_matches('-').chars().take(63).collect();
    label.trim_end_matches('-').parse().map_err(|_| Failure::Usage {
        sentence: format!("no name for a consumer can be made of {}", program.display()),
        remedy: Some("name it with --consumer".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::consumer_of;

    #[test]
    fn a_command_names_its_consumer() {
        let cases =
            [("psql", "psql"), ("./My_App.py", "my-app-py"), ("/usr/bin/python3.11", "python3-11"), ("_x_", "x")];
        for (program, expected) in cases {
            assert_eq!(consumer_of(Path::new(program)).unwrap().as_str(), expected);
        }
        let long = "a".repeat(62) + "_b";
        assert_eq!(consumer_of(Path::new(&long)).unwrap().as_str(), "a".repeat(62));
        for bad in ["", "---", "ü", "/"] {
            assert!(consumer_of(Path::new(bad)).is_err(), "{bad:?}");
        }
    }
}
