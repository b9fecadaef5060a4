//! `redis/v1`, with redis-py and redis-cli.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use super::lifecycle::{Promise, Session, holds};
use super::{Asked, suite, text};
use crate::harness::{Layer, Options};
use crate::objects::{absent, python};

/// What a server that answers takes at most. One that hung up lets redis-cli wait for nothing.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
const KEY: &str = "kept";
const PROMISE: Promise = Promise { heals_within: Duration::from_secs(10), durable: true };

#[test]
fn redis_v1() {
    let Some(python) = python() else { return };
    let valkey = std::env::var_os("MAINSTAY_TEST_VALKEY_BIN_DIR")
        .map(PathBuf::from)
        .or_else(|| absent("MAINSTAY_TEST_VALKEY_BIN_DIR"));
    let environment =
        valkey.iter().map(|folder| ("Engines__Valkey__BinDir", folder.to_str().unwrap().to_owned())).collect();
    let mut layer = Layer::start(Options { environment, ..Options::default() });
    let engines = if valkey.is_some() { &["redis", "valkey"][..] } else { &["redis"] };
    let [cache, durable, shared] = [
        Asked { name: "", contract: "redis/v1", plan: "dedicated", engine: "", parameters: &[] },
        Asked {
            name: "",
            contract: "redis/v1",
            plan: "dedicated",
            engine: "",
            parameters: &[("persistence", "durable")],
        },
        Asked { name: "", contract: "redis/v1", plan: "shared", engine: "", parameters: &[] },
    ];

    let targets: Vec<_> = engines
        .iter()
        .flat_map(|engine| {
            [(cache, "cache"), (durable, "durable"), (shared, "shared")].map(|(asked, kind)| Asked {
                name: format!("{engine}-{kind}").leak(),
                engine,
                ..asked
            })
        })
        .collect();
    // The build of Valkey that is tested with has no TLS.
    let encrypted = Asked { name: "encrypted", engine: "redis", parameters: &[("tls", "true")], ..cache };
    suite::run(&layer, python, "redis_v1", &targets, &[encrypted]);

    for engine in engines {
        let neighbour = Asked { name: "neighbour", engine, ..shared };
        for (asked, durable) in [(cache, false), (durable, true), (shared, true)] {
            let asked = Asked { name: "kept", engine, ..asked };
            holds::<RedisCli>(&mut layer, asked, neighbour, Promise { durable, ..PROMISE });
        }
    }
}

/// redis-cli, which is told one command after the other.
struct RedisCli {
    process: Child,
    commands: ChildStdin,
    answers: Receiver<String>,
    key: String,
    /// What the server calls this session.
    session: String,
}

impl RedisCli {
    /// The lines of an answer.
    fn ask(&mut self, command: &str) -> Result<Vec<String>, String> {
        const END: &str = "--end--";
        writeln!(self.commands, "{command}\nECHO {END}").map_err(|error| error.to_string())?;
        let mut lines = Vec::new();
        loop {
            match self.answers.recv_timeout(ANSWER_PATIENCE) {
                Ok(line) if line == END => return Ok(lines),
                // It connects anew when a session has ended, as somebody whom the server does not know.
                Ok(line)
                    if ["NOAUTH", "WRONGPASS", "NOPERM", "Error", "Could not", "AUTH failed"]
                        .iter()
                        .any(|start| line.starts_with(start)) =>
                {
                    return Err(line);
                }
                Ok(line) if line.is_empty() => {}
                Ok(line) => lines.push(line),
                Err(error) => return Err(format!("{command}: {error}, after {lines:?}")),
            }
        }
    }
}

impl Session for RedisCli {
    fn open(given: &Value) -> Result<Self, String> {
        let mut command = Command::new("sh");
        command.args(["-c", r#"exec redis-cli --no-auth-warning -u "$1" 2>&1"#, "sh", text(given, "uri")]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (commands, printed) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        let (line, answers) = channel();
        std::thread::spawn(move || printed.lines().map_while(Result::ok).try_for_each(|read| line.send(read)));
        let key = format!("{}{KEY}", given["prefix"].as_str().unwrap_or_default());
        let mut opened = Self { process, commands, answers, key, session: String::new() };
        opened.session = opened.ask("CLIENT ID")?.concat();
        Ok(opened)
    }

    fn keep(&mut self, number: u64) -> Result<(), String> {
        let command = format!("RPUSH {} {number}", self.key);
        self.ask(&command)?.concat().parse::<u64>().map(drop).map_err(|error| error.to_string())
    }

    fn kept(&mut self) -> Result<Vec<u64>, String> {
        let command = format!("LRANGE {} 0 -1", self.key);
        self.ask(&command)?.iter().map(|line| line.parse().map_err(|_| line.clone())).collect()
    }

    fn is_open(&mut self) -> bool {
        self.ask("CLIENT ID").is_ok_and(|answer| answer.concat() == self.session)
    }
}

impl Drop for RedisCli {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
