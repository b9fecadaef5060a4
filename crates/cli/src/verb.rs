//! The verbs: one file each.

mod agent;
mod apply;
mod backup;
mod backups;
mod bind;
mod bindings;
mod clusters;
mod create;
mod custody;
mod delete;
mod diff;
mod drill;
mod drills;
mod events;
mod export;
mod get;
mod list;
mod move_instance;
mod offerings;
mod operations;
mod protect;
mod recovery_key;
mod repository;
mod restore;
mod rotate;
mod run;
mod scrub;
mod secret;
mod status;
mod token;
mod unbind;

use clap::Subcommand;

use crate::failure::Failure;
use crate::session::Session;

/// Everything that is done by asking a running layer.
#[derive(Subcommand)]
pub enum Verb {
    /// Show how the layer is, or one instance
    ///
    /// Exits with 1 where the layer is not ready, for scripts that wait for it.
    Status(status::Status),
    /// List what can be created here
    Offerings(offerings::Offerings),
    /// Create an instance
    Create(create::Create),
    /// List instances
    List(list::List),
    /// Show one instance
    Get(get::Get),
    /// Move an instance to another engine while it is used
    ///
    /// Its address, its bindings and its data are the same afterwards. Writes wait for a moment, and how long is told. Where no
    /// engine is named it gets a new process of its own engine, in the version that is installed now.
    Move(move_instance::Move),
    /// Back an instance up now
    Backup(backup::Backup),
    /// List what an instance can be restored from
    Backups(backups::Backups),
    /// Bring an instance back to a moment, in place or as a new one
    ///
    /// In place its bindings stay valid, and what is replaced can be had back in the same way.
    Restore(restore::Restore),
    /// Prove that the newest recovery point of an instance can be restored
    ///
    /// It is restored into a scratch cluster that nobody else can reach, looked at, and removed. Exits with 1 where it is not well.
    Drill(drill::Drill),
    /// List the drills, write signed evidence of them, and verify that
    Drills(drills::Drills),
    /// Say how an instance is backed up, what is kept, and what its drills look at
    ///
    /// What is not said is the layer's default, whatever was said before.
    Protect(protect::Protect),
    /// Delete an instance with all its data
    Delete(delete::Delete),
    /// Make credentials for a consumer of an instance
    Bind(bind::Bind),
    /// List the bindings of an instance
    Bindings(bindings::Bindings),
    /// Give a binding new credentials; the old ones serve on for a while
    Rotate(rotate::Rotate),
    /// End a binding: its credentials are refused and its sessions closed
    Unbind(unbind::Unbind),
    /// Run a command with credentials that end when it does
    ///
    /// The command finds them as variables (NAME_URI, NAME_HOST, ...) and as files below $SERVICE_BINDING_ROOT. They are
    /// renewed while it runs. The keys of a secret are variables, and on no disk. It does not get MAINSTAY_TOKEN.
    ///
    /// Exits with the command's exit code, 128 and the signal where one ended it, 127 where it does not exist, 126 where
    /// it cannot be run.
    Run(run::Run),
    /// Write, read, list and delete secrets
    Secret(secret::Secret),
    /// Render secrets into files, again whenever they change
    ///
    /// A template is a Jinja text in which `secret("secret/app").password` stands for a value. The agent writes each file
    /// at once and for its owner alone, and runs a command after a change. While custody cannot be asked the files stay as
    /// they were. It ends on SIGTERM.
    Agent(agent::Agent),
    /// Look after the seal, the keys and the leases of secret custody
    Custody(custody::Custody),
    /// Show what happened
    Events(events::Events),
    /// Create what a file of instances names and is missing
    ///
    /// Nothing is ever deleted, and of what exists only what drills ask is changed: where another field differs, nothing at all is
    /// done.
    Apply(apply::Apply),
    /// Show what `apply` would do
    ///
    /// Exits with 0 where nothing differs, 1 where something does, 2 where that could not be found out.
    Diff(diff::Diff),
    /// Write the instances as a file for `apply`
    Export(export::Export),
    /// Make, list and revoke tokens
    Token(token::Token),
    /// Read all stored objects and name what is damaged
    ///
    /// Every content is read in full and compared with its digests. Exits with 1 where something is damaged.
    Scrub(scrub::Scrub),
    /// Look after the backup repository
    Repository(repository::Repository),
    /// Show the key that opens the backups, split it, or say that it is kept
    RecoveryKey(recovery_key::RecoveryKey),
    /// List the clusters that instances live on
    Clusters(clusters::Clusters),
    /// List long work, or show one piece of it
    Operations(operations::Operations),
}

impl Verb {
    /// Does it. The number is the exit code.
    pub(crate) fn run(self, session: &Session) -> Result<u8, Failure> {
        match self {
            Self::Status(verb) => return verb.run(session),
            Self::Run(verb) => return verb.run(session),
            Self::Diff(verb) => return verb.run(session),
            Self::Custody(verb) => return verb.run(session),
            Self::Drill(verb) => return verb.run(session),
            Self::Drills(verb) => return verb.run(session),
            Self::Scrub(verb) => return verb.run(session),
            Self::Repository(verb) => return verb.run(session),
            Self::Secret(verb) => verb.run(session),
            Self::Agent(verb) => verb.run(session),
            Self::Offerings(verb) => verb.run(session),
            Self::Create(verb) => verb.run(session),
            Self::List(verb) => verb.run(session),
            Self::Get(verb) => verb.run(session),
            Self::Move(verb) => verb.run(session),
            Self::Backup(verb) => verb.run(session),
            Self::Backups(verb) => verb.run(session),
            Self::Restore(verb) => verb.run(session),
            Self::Protect(verb) => verb.run(session),
            Self::Delete(verb) => verb.run(session),
            Self::Bind(verb) => verb.run(session),
            Self::Bindings(verb) => verb.run(session),
            Self::Rotate(verb) => verb.run(session),
            Self::Unbind(verb) => verb.run(session),
            Self::Events(verb) => verb.run(session),
            Self::Apply(verb) => verb.run(session),
            Self::Export(verb) => verb.run(session),
            Self::Token(verb) => verb.run(session),
            Self::RecoveryKey(verb) => verb.run(session),
            Self::Clusters(verb) => verb.run(session),
            Self::Operations(verb) => verb.run(session),
        }?;
        Ok(0)
    }

    /// Whether it cannot do without a token.
    pub(crate) fn needs_token(&self) -> bool {
        match self {
            Self::Custody(verb) => verb.needs_token(),
            Self::Agent(verb) => verb.needs_token(),
            Self::Drills(verb) => verb.needs_token(),
            _ => true,
        }
    }

    /// The exit code of a failure: 1, except where 1 is an answer.
    pub(crate) fn exit_code_of_failure(&self) -> u8 {
        if matches!(self, Self::Diff(_)) { 2 } else { 1 }
    }
}
