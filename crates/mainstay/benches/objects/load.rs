//! One client for all peers: connections that each send a request, read its answer, and send the next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use crc_fast::CrcAlgorithm;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::sign::Account;

/// How much of an answer is read at once.
const BUFFER: usize = 1 << 20;
/// Every so many bytes a body gets a number of its own, so that no store finds two pieces alike.
const STAMP_EVERY: usize = 4096;

/// What a window of time saw.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub requests: u64,
    pub seconds: f64,
}

impl Load {
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

/// What is put.
#[derive(Debug, Clone, Copy)]
pub struct Body {
    pub size: usize,
    /// Whether the client sends its CRC64NVME, so that nobody has to give it an MD5.
    pub checksum: bool,
}

impl Body {
    fn headers(self, body: &[u8]) -> Vec<(&'static str, String)> {
        let crc = || BASE64_STANDARD.encode(crc_fast::checksum(CrcAlgorithm::Crc64Nvme, body).to_be_bytes());
        self.checksum.then(|| ("x-amz-checksum-crc64nvme", crc())).into_iter().collect()
    }
}

/// Puts objects under keys of their own until the time is over; answers how many each connection made.
pub async fn put(account: &Account, what: Body, connections: usize, window: Duration, series: u64) -> (Load, Vec<u64>) {
    let size = what.size;
    let started = Instant::now();
    let tasks = (0..connections).map(|connection| {
        let account = account.clone();
        tokio::spawn(async move {
            let mut stream = connect(&account).await;
            let mut body = vec![0u8; size];
            let mut answer = vec![0u8; BUFFER];
            let mut made = 0;
            while made == 0 || started.elapsed() < window {
                stamp(&mut body, (series << 40) | ((connection as u64) << 28) | made);
                let path = account.path(&key(series, connection, made));
                let mut request = account.head_with("PUT", &path, Some(size), &what.headers(&body));
                if size <= STAMP_EVERY {
                    request.extend_from_slice(&body);
                    stream.write_all(&request).await.unwrap();
                } else {
                    stream.write_all(&request).await.unwrap();
                    stream.write_all(&body).await.unwrap();
                }
                read_answer(&mut stream, &mut answer).await;
                made += 1;
            }
            made
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let mut made = Vec::new();
    for task in tasks {
        made.push(task.await.unwrap());
    }
    (Load { requests: made.iter().sum(), seconds: started.elapsed().as_secs_f64() }, made)
}

/// Gets what [`put`] has put, over and over, until the time is over.
pub async fn get(account: &Account, size: usize, made: &[u64], window: Duration, series: u64) -> Load {
    /// More keys than a processor's cache holds the records of.
    const KEYS: u64 = 1000;
    let requests: Vec<Arc<Vec<Vec<u8>>>> = made
        .iter()
        .enumerate()
        .map(|(connection, made)| {
            let keys = (0..(*made).min(KEYS)).map(|number| key(series, connection, number));
            Arc::new(keys.map(|key| account.head("GET", &account.path(&key), None)).collect())
        })
        .collect();
    let started = Instant::now();
    let tasks: Vec<_> = requests
        .into_iter()
        .map(|requests| {
            let account = account.clone();
            tokio::spawn(async move {
                let mut stream = connect(&account).await;
                let mut answer = vec![0u8; BUFFER];
                let mut got = 0u64;
                for request in requests.iter().cycle() {
                    stream.write_all(request).await.unwrap();
                    assert_eq!(read_answer(&mut stream, &mut answer).await, size);
                    got += 1;
                    if started.elapsed() >= window {
                        break;
                    }
                }
                got
            })
        })
        .collect();
    let mut got = 0;
    for task in tasks {
        got += task.await.unwrap();
    }
    Load { requests: got, seconds: started.elapsed().as_secs_f64() }
}

/// Sends one request and answers the body.
pub async fn once(account: &Account, request: &[u8]) -> Vec<u8> {
    let mut stream = connect(account).await;
    stream.write_all(request).await.unwrap();
    let mut answer = vec![0u8; BUFFER];
    let (head, mut filled) = read_head(&mut stream, &mut answer).await;
    let length = content_length(&answer[..head]);
    while filled < head + length {
        if answer.len() < head + length {
            answer.resize(head + length, 0);
        }
        filled += stream.read(&mut answer[filled..]).await.unwrap();
    }
    answer[head..head + length].to_vec()
}

fn key(series: u64, connection: usize, number: u64) -> String {
    format!("bench/{series}/{connection}/{number:08}")
}

fn stamp(body: &mut [u8], number: u64) {
    for (place, piece) in body.chunks_mut(STAMP_EVERY).enumerate() {
        let number = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(place as u64);
        let length = piece.len().min(8);
        piece[..length].copy_from_slice(&number.to_le_bytes()[..length]);
    }
}

async fn connect(account: &Account) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", account.port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Reads an answer of status 200 to its end; answers the length of its body.
async fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> usize {
    let (head, filled) = read_head(stream, buffer).await;
    assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..filled.min(800)]));
    let length = content_length(&buffer[..head]);
    let mut missing = length - (filled - head);
    while missing > 0 {
        let read = stream.read(buffer).await.unwrap();
        assert!(read > 0, "the connection ended in the middle of an answer");
        missing -= read;
    }
    length
}

/// The length of an answer's head, and how much was read with it.
async fn read_head(stream: &mut TcpStream, buffer: &mut [u8]) -> (usize, usize) {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await.unwrap();
        assert!(read > 0, "the connection ended before an answer");
        filled += read;
        if let Some(end) = buffer[..filled.min(8192)].windows(4).position(|window| window == b"\r\n\r\n") {
            return (end + 4, filled);
        }
    }
}

fn content_length(head: &[u8]) -> usize {
    let head = std::str::from_utf8(head).unwrap();
    let value = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim())
    });
    value.unwrap_or("0").parse().unwrap()
}
