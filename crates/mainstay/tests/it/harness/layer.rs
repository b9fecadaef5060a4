//! A layer: the real binary on a data directory and ports of its own.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use super::api::Api;
use super::guardian::{Guardian, program};
use super::ports::Ports;
use super::wait::until;

/// How long a layer may take to be ready, its engines too, on a machine that has much else to do.
const READY_PATIENCE: Duration = Duration::from_secs(120);
/// How much of the logs a failed test shows.
const LAST_LINES: usize = 60;

/// What a test wants to be different.
#[derive(Default)]
pub struct Options {
    /// Configuration in its environment form, such as `Log__Filter`.
    pub environment: Vec<(&'static str, String)>,
    /// Whether it has a backup repository, beside its data directory.
    pub repository: bool,
    /// Called with the data directory before anything is in it.
    pub prepare: Option<fn(&Path)>,
}

/// A running layer. Dropping it ends it, engines and all.
pub struct Layer {
    root: PathBuf,
    ports: Ports,
    environment: Vec<(String, String)>,
    process: Option<Child>,
    guardian: Guardian,
}

/// What a call of the command line came to.
#[derive(Debug)]
pub struct Cli {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Layer {
    /// Starts a layer in the foreground and waits until it is ready.
    pub fn start(options: Options) -> Self {
        let mut layer = Self::new(options);
        layer.restart();
        layer
    }

    /// The place for a layer that does not run yet.
    pub fn new(options: Options) -> Self {
        let root = tempfile::tempdir().unwrap().keep();
        // Engines run as another user, who has to get to their directories in it.
        std::fs::set_permissions(&root, PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::create_dir(root.join("data")).unwrap();
        if let Some(prepare) = options.prepare {
            prepare(&root.join("data"));
        }
        let ports = Ports::allocate();
        let mut environment = vec![
            ("PATH".to_owned(), std::env::var("PATH").unwrap()),
            ("MAINSTAY_DATA_DIR".to_owned(), root.join("data").to_str().unwrap().to_owned()),
            ("MAINSTAY_ADDR".to_owned(), format!("http://127.0.0.1:{}", ports.api)),
            ("Listen__Api".to_owned(), format!("127.0.0.1:{}", ports.api)),
            ("Listen__S3".to_owned(), format!("127.0.0.1:{}", ports.s3)),
            ("Listen__PostgreSQL".to_owned(), format!("127.0.0.1:{}", ports.postgresql)),
            ("Listen__Redis".to_owned(), format!("127.0.0.1:{}", ports.redis)),
            ("Listen__Valkey".to_owned(), format!("127.0.0.1:{}", ports.valkey)),
            ("Listen__NATS".to_owned(), format!("127.0.0.1:{}", ports.nats)),
            ("Listen__RabbitMQ".to_owned(), format!("127.0.0.1:{}", ports.rabbitmq)),
            ("Listen__RabbitMQTls".to_owned(), format!("127.0.0.1:{}", ports.rabbitmq_tls)),
            ("Listen__DedicatedPorts".to_owned(), ports.dedicated.to_string()),
            // Most tests are about something else, and backups of theirs would only take time.
            ("Recovery__Repository".to_owned(), "none".to_owned()),
        ];
        if options.repository {
            environment.retain(|(name, _)| name != "Recovery__Repository");
            environment.push(("Recovery__Repository".to_owned(), root.join("repository").to_str().unwrap().to_owned()));
        }
        environment.extend(options.environment.into_iter().map(|(name, value)| (name.to_owned(), value)));
        let guardian = Guardian::watch(&root, &environment, &log_file(&root));
        Self { root, ports, environment, process: None, guardian }
    }

    /// A layer that tests share which neither harm it nor count what it has. It ends with the test process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Layer> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(Options::default()))
    }

    /// Gives whatever is started from now on another value of a setting, in its environment form.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Starts the control plane, which has to be stopped, and waits until everything is ready.
    pub fn restart(&mut self) {
        self.launch();
        self.wait_for_start("the layer is ready", Self::is_ready);
    }

    /// Starts the control plane, which has to be stopped, and waits until it answers, however its engines are.
    pub fn restart_in_trouble(&mut self) {
        self.launch();
        self.wait_for_start("the control plane answers", Self::is_live);
    }

    fn launch(&mut self) {
        assert!(self.process.is_none(), "the layer runs");
        let log = log_file(&self.root);
        let mut command = self.command();
        command.arg("up").stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        self.process = Some(command.spawn().unwrap());
    }

    fn wait_for_start(&mut self, what: &str, started: fn(&Self) -> bool) {
        until(what, READY_PATIENCE, || {
            let ended = self.process.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the layer ended while it started: {ended:?}");
            started(self).then_some(())
        });
    }

    /// Ends the control plane, and nothing else, as a crash does.
    pub fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Stops the layer in order, engines and all.
    pub fn stop(&mut self) {
        let stopped = self.cli(&["down"]);
        assert_eq!(stopped.code, 0, "{stopped:?}");
        self.process.take().unwrap().wait().unwrap();
    }

    /// Asks the control plane to stop, as Ctrl-C does.
    pub fn interrupt(&self) {
        let pid = Pid::from_child(self.process.as_ref().unwrap());
        rustix::process::kill_process(pid, Signal::INT).unwrap();
    }

    /// Whether the control plane, which was asked to stop, has done so.
    pub fn has_ended(&mut self) -> bool {
        self.process.as_mut().unwrap().try_wait().unwrap().is_some()
    }

    /// Lets go of a control plane that has been stopped.
    pub fn ended(&mut self) {
        self.process.take().unwrap().wait().unwrap();
    }

    /// Whether it says that it is ready.
    pub fn is_ready(&self) -> bool {
        self.says_yes("/readyz")
    }

    /// Whether the control plane answers at all.
    pub fn is_live(&self) -> bool {
        self.says_yes("/livez")
    }

    fn says_yes(&self, path: &str) -> bool {
        let answer = Api::new(self.address(), String::new()).call(ureq::http::Method::GET, path, &[], "");
        answer.is_ok_and(|answer| answer.status == 200)
    }

    /// The API, with the first admin's token.
    pub fn api(&self) -> Api {
        let token = std::fs::read_to_string(self.data_dir().join("admin.token")).unwrap();
        Api::new(self.address(), token.trim().to_owned())
    }

    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.api)
    }

    /// Runs the program against this layer.
    pub fn cli(&self, arguments: &[&str]) -> Cli {
        let output = self.command().args(arguments).stdin(Stdio::null()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Cli { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// The program, set up for this layer, with nothing of the developer's own environment.
    pub fn command(&self) -> Command {
        let mut command = Command::new(program());
        command.env_clear().envs(self.environment.iter().cloned()).current_dir(&self.root);
        command
    }

    /// Every event of the journal.
    pub fn events(&self) -> Vec<Value> {
        self.api().all("/api/v1/events")
    }

    /// The events of one type.
    pub fn events_of(&self, kind: &str) -> Vec<Value> {
        self.events().into_iter().filter(|event| event["type"] == kind).collect()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Where the backup repository lies, if one was asked for.
    pub fn repository(&self) -> PathBuf {
        self.root.join("repository")
    }

    /// A directory beside the data directory, for the test's own files.
    pub fn scratch(&self) -> &Path {
        &self.root
    }

    /// Everything that the layer has printed, whichever of its processes did.
    pub fn log(&self) -> String {
        std::fs::read_to_string(log_path(&self.root)).unwrap()
    }

    /// Where the shared PostgreSQL cluster listens.
    pub fn postgresql_port(&self) -> u16 {
        self.ports.postgresql
    }

    /// Where the S3 API listens.
    pub fn s3_port(&self) -> u16 {
        self.ports.s3
    }

    /// The process of the control plane.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// The first process of a PostgreSQL server, as its own file says it.
    pub fn postmaster(&self, cluster: &str) -> i32 {
        let file = self.data_dir().join("clusters").join(cluster).join("data/postmaster.pid");
        std::fs::read_to_string(file).unwrap().lines().next().unwrap().trim().parse().unwrap()
    }

    /// Makes a PostgreSQL instance on the shared server and waits until it is ready.
    pub fn create(&self, name: &str) -> Value {
        self.create_with(name, "shared")
    }

    pub fn create_with(&self, name: &str, plan: &str) -> Value {
        self.create_as(&json!({ "name": name, "contract": "postgresql/v1", "plan": plan }))
    }

    /// Makes an S3 instance with these parameters and waits until it is ready.
    pub fn create_bucket(&self, name: &str, parameters: Value) -> Value {
        self.create_as(&json!({ "name": name, "contract": "s3/v1", "parameters": parameters }))
    }

    fn create_as(&self, wanted: &Value) -> Value {
        let name = wanted["name"].as_str().unwrap();
        let operation = self.api().post("/api/v1/instances?wait=60s", wanted).expect(200);
        assert_eq!(operation["state"], "succeeded", "{operation}");
        self.api().get(&format!("/api/v1/instances/{name}")).expect(200)
    }

    /// Makes a binding; gives it with its credentials.
    pub fn bind(&self, instance: &str, consumer: &str) -> Value {
        let path = format!("/api/v1/instances/{instance}/bindings?wait=60s");
        self.api().post(&path, &json!({ "consumer": consumer })).expect(201)
    }

    /// What a statement gives, a line for each row.
    #[track_caller]
    pub fn psql(&self, uri: &str, statement: &str) -> String {
        self.try_psql(uri, statement).unwrap()
    }

    /// The same, where it may fail.
    pub fn try_psql(&self, uri: &str, statement: &str) -> Result<String, String> {
        let mut psql = Command::new("psql");
        let output = psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement, uri]).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout).trim_end().to_owned()) } else { Err(text(output.stderr)) }
    }

    /// The way to a server's superuser, which the engine itself takes.
    pub fn superuser(&self, cluster: &str, port: u16) -> String {
        let socket = self.data_dir().join("clusters").join(cluster).join("run");
        format!("host={} port={port} user=mainstay dbname=postgres", socket.display())
    }
}

impl Drop for Layer {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            eprintln!("--- the layer's log ends with:\n{}", last_lines(&self.log()));
            for cluster in std::fs::read_dir(self.data_dir().join("clusters")).into_iter().flatten().flatten() {
                let log = std::fs::read_to_string(cluster.path().join("log/engine.log")).unwrap_or_default();
                eprintln!("--- the log of {} ends with:\n{}", cluster.file_name().display(), last_lines(&log));
            }
        }
        let log = File::open(log_path(&self.root));
        let stopped = self.guardian.finish();
        if let Some(mut process) = self.process.take() {
            // It was told to stop; one that did not is not to be left behind.
            let _ = process.kill();
            let _ = process.wait();
        }
        if !failed && !stopped {
            panic!(
                "the layer could not be stopped; it logged:\n{}",
                last_lines(&std::io::read_to_string(log.unwrap()).unwrap())
            );
        }
    }
}

fn log_path(root: &Path) -> PathBuf {
    root.join("layer.log")
}

fn log_file(root: &Path) -> File {
    OpenOptions::new().append(true).create(true).open(log_path(root)).unwrap()
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}
