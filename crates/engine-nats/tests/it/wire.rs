//! A client that speaks the protocol and nothing more, so that a test sees what the server says and when it hangs up.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest that the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Wire {
    stream: BufReader<TcpStream>,
    requests: u32,
    subscriptions: u32,
    /// What its answers' subjects begin with.
    inbox: String,
    /// The server's first words.
    pub info: serde_json::Value,
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Message { subject: String, data: String },
    Error(String),
    Pong,
}

impl Wire {
    /// Connects; an error is what the server says, or that it hangs up.
    pub async fn connect(address: &str, login: Option<(&str, &str)>) -> Result<Self, String> {
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        // Small messages are sent at once, as every client of NATS does.
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let inbox = format!("_INBOX.wire{}", stream.local_addr().map_err(|error| error.to_string())?.port());
        let mut wire = Self {
            stream: BufReader::new(stream),
            requests: 0,
            subscriptions: 0,
            inbox,
            info: serde_json::Value::Null,
        };
        let first = wire.line().await?;
        wire.info = serde_json::from_str(first.strip_prefix("INFO ").ok_or(&first)?).unwrap();
        let mut options = serde_json::json!({
            "verbose": false, "pedantic": false, "lang": "rust", "version": "1", "protocol": 1, "headers": true,
            "no_responders": true,
        });
        if let Some((user, password)) = login {
            options["user"] = user.into();
            options["pass"] = password.into();
        }
        wire.send(&format!("CONNECT {options}\r\nPING\r\n")).await?;
        match wire.said().await? {
            Said::Pong => Ok(wire),
            other => Err(format!("{other:?}")),
        }
    }

    pub async fn subscribe(&mut self, subject: &str) {
        self.subscriptions += 1;
        self.send(&format!("SUB {subject} s{}\r\n", self.subscriptions)).await.unwrap();
    }

    /// The subject of the last answer.
    pub fn last_inbox(&self) -> String {
        format!("{}.{}", self.inbox, self.requests)
    }

    pub async fn publish(&mut self, subject: &str, data: &str) -> Result<(), String> {
        self.send(&format!("PUB {subject} {}\r\n{data}\r\n", data.len())).await
    }

    /// Asks, and answers what comes back first: a message, or an error.
    pub async fn request(&mut self, subject: &str, data: &str) -> Result<String, String> {
        self.requests += 1;
        if self.requests == 1 {
            self.send(&format!("SUB {}.* 9\r\n", self.inbox)).await?;
        }
        let inbox = format!("{}.{}", self.inbox, self.requests);
        self.send(&format!("PUB {subject} {inbox} {}\r\n{data}\r\n", data.len())).await?;
        loop {
            match self.said().await? {
                Said::Message { subject, data } if subject == inbox => return Ok(data),
                Said::Error(error) => return Err(error),
                _ => {}
            }
        }
    }

    /// Whether the server still answers.
    pub async fn is_open(&mut self) -> bool {
        if self.send("PING\r\n").await.is_err() {
            return false;
        }
        loop {
            match self.said().await {
                Ok(Said::Pong) => return true,
                Ok(Said::Message { .. }) => {}
                Ok(Said::Error(_)) | Err(_) => return false,
            }
        }
    }

    /// All messages that came until the server had answered a ping.
    pub async fn messages(&mut self) -> Vec<String> {
        self.send("PING\r\n").await.unwrap();
        let mut messages = Vec::new();
        loop {
            match self.said().await.unwrap() {
                Said::Pong => return messages,
                Said::Message { subject, .. } => messages.push(subject),
                Said::Error(error) => messages.push(error),
            }
        }
    }

    pub async fn said(&mut self) -> Result<Said, String> {
        loop {
            let line = self.line().await?;
            let words: Vec<&str> = line.split(' ').collect();
            match words[0] {
                "PING" => self.send("PONG\r\n").await?,
                "PONG" => return Ok(Said::Pong),
                "-ERR" => return Ok(Said::Error(line)),
                "MSG" | "HMSG" => {
                    let mut data = vec![0; words.last().unwrap().parse::<usize>().unwrap() + 2];
                    self.stream.read_exact(&mut data).await.map_err(|error| error.to_string())?;
                    let data = String::from_utf8_lossy(&data[..data.len() - 2]).into_owned();
                    return Ok(Said::Message { subject: words[1].to_owned(), data });
                }
                _ => {}
            }
        }
    }

    pub async fn send(&mut self, text: &str) -> Result<(), String> {
        self.stream.get_mut().write_all(text.as_bytes()).await.map_err(|error| error.to_string())
    }

    async fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match timeout(PATIENCE, self.stream.read_line(&mut line)).await {
            Ok(Ok(0)) => Err("the server hung up".to_owned()),
            Ok(Ok(_)) => Ok(line.trim_end().to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the server said nothing".to_owned()),
        }
    }
}
