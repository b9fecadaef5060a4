//! An API that answers from a table.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Answers each request line that begins with one of its keys; the first that fits counts.
pub struct Api {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    answers: Arc<Mutex<Vec<Answer>>>,
}

type Answer = (String, u16, String);

impl Api {
    pub fn start(answers: &[(&str, u16, &str)]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answers = answers.iter().map(|&(line, status, body)| (line.to_owned(), status, body.to_owned()));
        let answers = Arc::new(Mutex::new(answers.collect::<Vec<_>>()));
        let (noted, table) = (seen.clone(), answers.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &table, &noted);
            }
        });
        Self { address, seen, answers }
    }

    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on a request line that begins with this key is answered so.
    pub fn answers(&self, key: &str, status: u16, body: &str) {
        self.answers.lock().unwrap().insert(0, (key.to_owned(), status, body.to_owned()));
    }

    /// Every request so far: its method, its path and its body.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn answer(mut stream: TcpStream, answers: &Mutex<Vec<Answer>>, seen: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    let mut length = 0;
    reader.read_line(&mut line).unwrap();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let line = line.trim().trim_end_matches(" HTTP/1.1").replace("/api/v1", "");
    seen.lock().unwrap().push(format!("{line} {}", String::from_utf8(body).unwrap()).trim().to_owned());
    let found = answers.lock().unwrap().iter().find(|(key, ..)| line.starts_with(key)).cloned();
    let (status, text) = found.map_or((404, r#"{"detail":"not here"}"#.to_owned()), |(_, status, text)| (status, text));
    let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}", text.len());
    let _ = stream.write_all(format!("{head}\r\nconnection: close\r\n\r\n{text}").as_bytes());
}
