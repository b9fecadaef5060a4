use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use crate::agent::{self, Mode, Origin, Plan, Target, Template};
use crate::duration::Seconds;
use crate::failure::Failure;
use crate::session::Session;

/// What was typed.
#[derive(Args)]
pub struct Agent {
    /// A template, and the file that it is rendered into; may be given more than once
    #[arg(long = "template", value_name = "SRC=DEST", required = true)]
    templates: Vec<Pair>,

    /// A command line for /bin/sh that runs after a change, and again where it fails
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,

    /// Render once and end; with exit code 1 where something could not be rendered
    #[arg(long)]
    once: bool,

    /// How often secrets are looked at
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    interval: Seconds,

    /// The permissions of the files, in octal
    #[arg(long, value_name = "MODE", default_value = "0600")]
    mode: Mode,

    /// Use the token in this file, which is read again when it ends
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Log in with the AppRole whose role id this file has, and again when the token ends
    #[arg(long, value_name = "FILE", requires = "secret_id_file", conflicts_with_all = ["token_file", "narrow"])]
    role_id_file: Option<PathBuf>,

    /// The file with the AppRole's secret id
    #[arg(long, value_name = "FILE", requires = "role_id_file")]
    secret_id_file: Option<PathBuf>,

    /// Where the AppRole method is mounted below auth/
    #[arg(long, value_name = "PATH", default_value = "approle")]
    auth_mount: String,

    /// Make a token with this policy alone, and read with that; may be given more than once
    ///
    /// The policy has to be there: one that the agent wrote itself would stay behind after each run, and writing it takes a
    /// token that may do far more. `default` comes with it.
    #[arg(long, value_name = "POLICY")]
    narrow: Vec<String>,
}

/// `SRC=DEST`
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pair {
    source: PathBuf,
    destination: PathBuf,
}

impl Agent {
    /// Whether the token of the command line is the one that it uses.
    pub(crate) fn needs_token(&self) -> bool {
        self.token_file.is_none() && self.role_id_file.is_none()
    }

    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        let plan = self.meaning()?;
        agent::run(&session.client, plan)
    }

    fn meaning(self) -> Result<Plan, Failure> {
        let mut destinations = BTreeSet::new();
        if let Some(twice) = self.templates.iter().find(|pair| !destinations.insert(&pair.destination)) {
            return Err(Failure::usage(format!("{} is the file of two templates", twice.destination.display())));
        }
        let origin = match (self.token_file, self.role_id_file, self.secret_id_file) {
            (Some(file), ..) => Origin::File(file),
            (None, Some(role_id), Some(secret_id)) => {
                let mount = self.auth_mount.trim_matches('/').to_owned();
                Origin::AppRole { mount, role_id, secret_id }
            }
            (None, ..) => Origin::Given,
        };
        let target = |destination| Target::new(destination, self.mode);
        let templates = self.templates.into_iter();
        let templates = templates.map(|pair| Ok((Template::read(pair.source)?, target(pair.destination))));
        Ok(Plan {
            templates: templates.collect::<Result<_, Failure>>()?,
            command: self.exec,
            interval: Duration::from_secs(self.interval.get()),
            once: self.once,
            origin,
            narrow: self.narrow,
        })
    }
}

impl FromStr for Pair {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((source, destination)) if !source.is_empty() && !destination.is_empty() => {
                Ok(Self { source: source.into(), destination: destination.into() })
            }
            _ => Err("write it as SRC=DEST: a template, and the file to render it into"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pair;

    #[test]
    fn pairs() {
        let pair: Pair = "app.j2=/run/app/app.env".parse().unwrap();
        assert_eq!((pair.source.to_str(), pair.destination.to_str()), (Some("app.j2"), Some("/run/app/app.env")));
        for bad in ["", "app.j2", "=x", "x="] {
            assert!(bad.parse::<Pair>().is_err(), "{bad:?}");
        }
    }
}
