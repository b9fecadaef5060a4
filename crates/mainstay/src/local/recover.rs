//! `mainstay recover`: the whole layer onto an empty machine, from the repository and the recovery key alone.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use mainstay_cli::Global;
use mainstay_control::{Reached, RecoverError, Recovered, RecoveredLayer};
use mainstay_engine::recovery::Progress;
use mainstay_engine::supervise::UserError;
use mainstay_repository::{KeyShare, OpenError, RecoveryKey, Repository};
use mainstay_storage::Driver;
use mainstay_types::{ClusterName, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::{failed, runtime};
use crate::config::{Config, LoadError, Log, Overrides, RepositoryPlace};
use crate::layer::{
    BuildError, DataDir, DataDirError, Layer, Salvage, SalvageError, TenureError, engines, marker, stop_all, take_over,
};
use crate::telemetry;

/// The variable that the recovery key may be in.
const KEY_VARIABLE: &str = "MAINSTAY_RECOVERY_KEY";
/// The longest text that is read as a key or a share.
const LONGEST_KEY: usize = 4096;

/// Brings journal, secrets, configuration and every instance back into an empty directory.
#[derive(clap::Args)]
pub struct Recover {
    /// Where the repository lies: a directory, s3://BUCKET/PREFIX?endpoint=URL, webdavs://HOST/PATH or sftp://USER@HOST/PATH
    #[arg(long, value_name = "URL")]
    repository: String,
    /// The data directory that is made; it has to be empty or missing
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// A file with the recovery key [default: the variable MAINSTAY_RECOVERY_KEY, or a question]
    #[arg(long, value_name = "FILE")]
    recovery_key_file: Option<PathBuf>,
    /// A file with a share of the recovery key; give it as often as there are shares to bring
    #[arg(long, value_name = "FILE", conflicts_with = "recovery_key_file")]
    share_file: Vec<PathBuf>,
    /// The moment to go back to, such as 2026-11-21T12:00:00Z [default: the newest there is]
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// The configuration file to go by, in place of the one that is in the repository
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Why nothing, or not everything, came back.
#[derive(Debug, thiserror::Error)]
enum FailedRecovery {
    #[error(transparent)]
    Config(#[from] LoadError),
    #[error("the storage driver inmemory keeps nothing that could be recovered to; name another in Storage:Driver")]
    InMemory,
    #[error(
        "--repository {0} names no repository; write /PATH, s3://BUCKET/PREFIX?endpoint=URL, webdavs://HOST/PATH or sftp://USER@HOST/PATH"
    )]
    NoRepository(String),
    #[error(
        "{} is not empty, and nothing in it is overwritten; name an empty or missing directory with --to", .0.display()
    )]
    NotEmpty(PathBuf),
    #[error("{} cannot be used; see its owner and mode", path.display())]
    Directory {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} cannot be read; see that it exists and that this user may read it", file.display())]
    KeyFile {
        file: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("nobody can be asked for the recovery key; give --recovery-key-file FILE or set {KEY_VARIABLE}")]
    NoKey(#[source] std::io::Error),
    #[error("the recovery key is not right")]
    Key(#[source] mainstay_repository::InvalidKeyText),
    #[error("a share of the recovery key is not right")]
    Shares(#[source] mainstay_repository::SplitError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Salvage(#[from] SalvageError),
    #[error("the engines cannot be run")]
    User(#[from] UserError),
    #[error(transparent)]
    Tenure(#[from] TenureError),
    #[error("the layer's own state is back, and cannot be used")]
    Build(#[from] BuildError),
    #[error("the instances were not brought back")]
    Recover(#[from] RecoverError),
    #[error("{} engines of an earlier attempt could not be stopped; stop them with: mainstay down --data-dir {}", .0, .1.display())]
    Running(usize, PathBuf),
}

/// What came back.
struct Report {
    layer_of: Timestamp,
    recovered: RecoveredLayer,
    /// What to type next.
    next: String,
}

impl Recover {
    pub fn run(&self, global: &Global) -> ExitCode {
        let report = runtime().block_on(self.recover());
        match report {
            Ok(report) => report.print(global),
            Err(error) => failed(&error),
        }
    }

    async fn recover(&self) -> Result<Report, FailedRecovery> {
        let config = self.load(self.config.as_deref(), true)?;
        let place = config.recovery.repository.clone();
        let place = place.ok_or_else(|| FailedRecovery::NoRepository(self.repository.clone()))?;
        if config.storage.driver() == Driver::InMemory {
            return Err(FailedRecovery::InMemory);
        }
        // What is not said of others is that one was passed over, and why.
        let log = Log { filter: "warn".to_owned(), ..config.log.clone() };
        let _tracing = telemetry::init(&log, &config.telemetry).ok();
        for refused in mainstay_custody::protect_process() {
            tracing::warn!("secrets in memory are less protected than they could be: {refused}");
        }
        self.look(&config.data_dir)?;
        let key = self.key()?;
        let RepositoryPlace { location, credentials } = place;
        say(&format!("Reading {location}."));
        let repository = Repository::open(mainstay_repository::Config::new(location, credentials), &key).await?;
        let recovered = self.recover_from(&repository, config).await;
        if let Err(trouble) = repository.close().await {
            tracing::warn!(error = &trouble as &dyn std::error::Error, "the repository was not let go of in order");
        }
        recovered
    }

    async fn recover_from(&self, repository: &Repository, config: Config) -> Result<Report, FailedRecovery> {
        say("Looking for the newest backup of the layer's own state that is whole.");
        let salvage = Salvage::find(repository, self.at).await?;
        let layer_of = salvage.document().taken_at;
        // Held from here on until the engines were stopped again: nobody starts, or recovers, in there meanwhile.
        let held = DataDir::take(&config)?;
        let directory = config.data_dir.clone();
        let failed = |source| FailedRecovery::Directory { path: directory.clone(), source };
        if self.look(&directory)? {
            say("Clearing away what an earlier attempt has left.");
            let left = stop_all(&engines(&config, None).await?).await;
            if !left.is_empty() {
                return Err(FailedRecovery::Running(left.len(), directory));
            }
            marker::clear(&directory).map_err(failed)?;
        }
        marker::set(&directory).map_err(failed)?;
        say(&format!("Laying out the layer's own state of {layer_of}."));
        let file = match &self.config {
            Some(file) => Some(file.clone()),
            None => salvage.configuration(&directory).await?,
        };
        let config = self.load(file.as_deref(), true)?;
        held.furnish(&config)?;
        if !marker::has_taken_stores(&directory) {
            salvage.find_room(&config).await?;
            marker::take_stores(&directory).map_err(failed)?;
        }
        // The layer that is recovered may be running still, elsewhere: from now on it neither writes nor removes anything there.
        take_over(repository, &directory).await?;
        salvage.lay_out(&config).await?;
        let layer = Layer::build_anew(config, held, repository.clone()).await?;
        let recovered = layer.recover_clusters(self.at, &|cluster| Bar::of(cluster)).await;
        layer.stop_engines().await;
        if recovered.is_ok() {
            marker::remove(&directory).map_err(failed)?;
        }
        layer.close().await;
        Ok(Report { layer_of, recovered: recovered?, next: self.next(file.as_deref(), &directory)? })
    }

    fn load(&self, file: Option<&Path>, with_repository: bool) -> Result<Config, LoadError> {
        let repository = with_repository.then(|| self.repository.clone());
        Config::load(file, &Overrides { data_dir: Some(self.to.clone()), up: true, repository })
    }

    /// Says whether an earlier attempt has left the directory; one with anything else in it is refused.
    fn look(&self, directory: &Path) -> Result<bool, FailedRecovery> {
        if marker::is_set(directory) {
            return Ok(true);
        }
        match marker::is_bare(directory) {
            Ok(false) => Err(FailedRecovery::NotEmpty(directory.to_owned())),
            Ok(true) => Ok(false),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(FailedRecovery::Directory { path: directory.to_owned(), source }),
        }
    }

    fn key(&self) -> Result<RecoveryKey, FailedRecovery> {
        if !self.share_file.is_empty() {
            let shares: Result<Vec<KeyShare>, FailedRecovery> = self
                .share_file
                .iter()
                .map(|file| KeyShare::parse(read(file)?.expose_secret()).map_err(FailedRecovery::Key))
                .collect();
            return RecoveryKey::combine(&shares?).map_err(FailedRecovery::Shares);
        }
        let text = match (&self.recovery_key_file, std::env::var(KEY_VARIABLE)) {
            (Some(file), _) => read(file)?,
            (None, Ok(text)) if !text.is_empty() => text.into(),
            _ => mainstay_cli::ask_secret("The recovery key (it is not shown):").map_err(FailedRecovery::NoKey)?,
        };
        RecoveryKey::parse(text.expose_secret().trim()).map_err(FailedRecovery::Key)
    }

    /// What to type to serve what is back.
    fn next(&self, file: Option<&Path>, directory: &Path) -> Result<String, FailedRecovery> {
        // Whoever starts the layer now says nothing of the repository, unless the configuration does.
        let named = |config: &Config| config.recovery.repository.as_ref().map(|place| place.location.clone());
        let told = named(&self.load(file, false)?) == named(&self.load(file, true)?);
        let variable = if told { String::new() } else { format!("Recovery__Repository='{}' ", self.repository) };
        let file = file.map(|file| format!(" --config {}", file.display())).unwrap_or_default();
        Ok(format!("{variable}mainstay up --data-dir {}{file}", directory.display()))
    }
}

fn read(file: &Path) -> Result<SecretString, FailedRecovery> {
    let failed = |source| FailedRecovery::KeyFile { file: file.to_owned(), source };
    let text = std::fs::read_to_string(file).map_err(failed)?;
    if text.len() > LONGEST_KEY {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    Ok(text.into())
}

fn say(message: &str) {
    eprintln!("{message}");
}

// === impl Report ===

impl Report {
    fn print(&self, global: &Global) -> ExitCode {
        let RecoveredLayer { instances, left_aside } = &self.recovered;
        let missing = instances.iter().filter(|recovered| recovered.outcome.is_err()).count();
        if global.wants_json() {
            let instances: Vec<_> = instances.iter().map(as_json).collect();
            let layer_of = self.layer_of.to_string();
            println!(
                "{}",
                json!({ "layer_of": layer_of, "instances": instances, "left_aside": left_aside, "next": self.next })
            );
        } else {
            match &instances[..] {
                [] => println!("The layer had no instances."),
                recovered => print!("{}", table(recovered)),
            }
            println!("\nThe layer's own state is of {}.\nNext:\n  {}", self.layer_of, self.next);
        }
        if *left_aside > 0 {
            say(&format!(
                "Backups left aside, since they are of a time that was gone back from: {left_aside}. They stay in the repository for a \
                 month, for whoever recovers to another moment."
            ));
        }
        if missing > 0 {
            say(&format!("error: {missing} of {} instances did not come back; each says why", instances.len()));
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
    }
}

fn as_json(recovered: &Recovered) -> serde_json::Value {
    let Recovered { tenant, instance, engine, cluster, outcome } = recovered;
    json!({
        "tenant": tenant.to_string(),
        "instance": instance.to_string(),
        "engine": engine.to_string(),
        "cluster": cluster.to_string(),
        "recovered_until": outcome.as_ref().ok().map(|reached| reached.newest.to_string()),
        "lost": outcome.as_ref().ok().and_then(|reached| reached.lost.as_ref()),
        "error": outcome.as_ref().err(),
    })
}

/// One line for each instance, its columns as wide as they have to be.
fn table(recovered: &[Recovered]) -> String {
    let heading = ["TENANT", "INSTANCE", "ENGINE", "RECOVERED UNTIL"].map(str::to_owned);
    let rows = recovered.iter().map(|one| {
        let outcome = match &one.outcome {
            Ok(Reached { newest, lost: None }) => newest.to_string(),
            Ok(Reached { newest, lost: Some(lost) }) => format!("{newest}; {lost}"),
            Err(reason) => format!("not recovered: {reason}"),
        };
        [one.tenant.to_string(), one.instance.to_string(), one.engine.to_string(), outcome]
    });
    let rows: Vec<[String; 4]> = std::iter::once(heading).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let [tenant, instance, engine] = [0, 1, 2].map(width);
    let line = |[a, b, c, d]: &[String; 4]| format!("{a:tenant$}  {b:instance$}  {c:engine$}  {d}\n");
    rows.iter().map(line).collect()
}

/// Shows on a terminal how far a cluster is.
struct Bar(ProgressBar, ClusterName);

impl Bar {
    fn of(cluster: &ClusterName) -> Arc<dyn Progress> {
        let target =
            if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}: {msg} {bytes}") {
            bar.set_style(style);
        }
        bar.set_prefix(cluster.to_string());
        bar.set_message("bringing back");
        bar.enable_steady_tick(Duration::from_millis(200));
        Arc::new(Self(bar, cluster.clone()))
    }
}

impl Progress for Bar {
    fn stage(&self, stage: &str) {
        self.0.set_message(stage.to_owned());
        if self.0.is_hidden() {
            // Who looks at a log instead of a terminal sees it go on, too.
            say(&format!("{}: {stage}", self.1));
        }
    }

    fn copied(&self, bytes: u64) {
        self.0.inc(bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
        if self.0.position() > 0 {
            say(&format!("{}: {} read.", self.1, HumanBytes(self.0.position())));
        }
    }
}

#[cfg(test)]
mod tests {
    use mainstay_control::{Reached, Recovered};
    use mainstay_types::Timestamp;

    use super::table;

    #[test]
    fn the_table_says_what_came_back_and_what_did_not() {
        let one = |instance: &str, outcome| Recovered {
            tenant: "default".parse().unwrap(),
            instance: instance.parse().unwrap(),
            engine: "postgresql".parse().unwrap(),
            cluster: "postgresql-shared".parse().unwrap(),
            outcome,
        };
        let reached = |lost: Option<&str>| Ok(Reached { newest: Timestamp::EPOCH, lost: lost.map(str::to_owned) });
        let rows = [
            one("shop", reached(None)),
            one("wiki", reached(Some("the rest is lost"))),
            one("blog-of-somebody", Err("it has no backup".to_owned())),
        ];
        let expected = "TENANT   INSTANCE          ENGINE      RECOVERED UNTIL\n\
                        default  shop              postgresql  1970-01-01T00:00:00.000000Z\n\
                        default  wiki              postgresql  1970-01-01T00:00:00.000000Z; the rest is lost\n\
                        default  blog-of-somebody  postgresql  not recovered: it has no backup\n";
        assert_eq!(table(&rows), expected);
    }
}
