//! More at the same time than there is memory for.

use std::time::{Duration, Instant};

use aws_sdk_s3::primitives::ByteStream;
use mainstay_s3::{Limits, S3Config};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::raw::{Signed, receive, send};
use crate::server::{Server, get, noise, put};

const DEADLINE: Duration = Duration::from_secs(20);

fn config(limits: Limits) -> S3Config {
    S3Config { limits: Limits { memory_wait: Duration::from_millis(100), ..limits }, ..S3Config::default() }
}

/// The head of an upload whose client sends its body once it is told to.
fn upload(server: &Server, size: u64) -> String {
    let signed = Signed { payload: "UNSIGNED-PAYLOAD".to_owned(), ..Signed::new("PUT", "/photos/large", b"") };
    let head = signed.header("content-length", size).head(server.address);
    format!("{}expect: 100-continue\r\n\r\n", head.strip_suffix("\r\n").unwrap())
}

/// The beginning of the answer to an upload whose body is not sent yet.
async fn begin(server: &Server, size: u64) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(upload(server, size).as_bytes()).await.unwrap();
    let mut line = [0; 12];
    tokio::time::timeout(DEADLINE, stream.read_exact(&mut line)).await.unwrap().unwrap();
    (stream, String::from_utf8(line.to_vec()).unwrap())
}

/// An upload that has been let in, and stands still.
async fn let_in(server: &Server, size: u64) -> TcpStream {
    let (stream, line) = begin(server, size).await;
    assert_eq!(line, "HTTP/1.1 100");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_share_their_memory_and_no_account_takes_it_all() {
    let server = Server::with(config(Limits { upload_bytes: 8 << 20, ..Limits::default() })).await;
    let other = server.other_client();
    other.create_bucket().bucket("theirs").send().await.unwrap();
    let mut standing = Vec::new();
    for _ in 0..3 {
        standing.push(let_in(&server, 1 << 30).await);
    }
    let answer = send(server.address, upload(&server, 1 << 30)).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "SlowDown"), "{}", answer.text());
    assert!(answer.header("retry-after").is_some());
    // What is small is let in beside what is large, and others have room for both.
    other.put_object().bucket("theirs").key("a").body(ByteStream::from(noise(3 << 20, 1))).send().await.unwrap();
    drop(standing);
    let begun = Instant::now();
    while begin(&server, 1 << 30).await.1 != "HTTP/1.1 100" {
        assert!(begun.elapsed() < DEADLINE, "what went away gives its memory back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_holds_a_download_for_a_while_only() {
    let limits = Limits { download_bytes: 256 << 10, write_timeout: Duration::from_secs(3), ..Limits::default() };
    let server = Server::with(config(limits)).await;
    let client = server.client();
    put(&client, "large", noise(32 << 20, 1)).await;
    put(&client, "small", "hello").await;
    let head = Signed::new("GET", "/photos/large", b"").head(server.address);
    let mut stalled = TcpStream::connect(server.address).await.unwrap();
    stalled.write_all(head.as_bytes()).await.unwrap();
    let mut first = [0; 1];
    tokio::time::timeout(DEADLINE, stalled.read_exact(&mut first)).await.unwrap().unwrap();
    let ask = || send(server.address, Signed::new("GET", "/photos/small", b"").head(server.address));
    let answer = ask().await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "SlowDown"), "{}", answer.text());
    let begun = Instant::now();
    while ask().await.status == 503 {
        assert!(begun.elapsed() < DEADLINE, "who takes nothing is ended");
    }
    drop(stalled);
    assert_eq!(get(&client, "small").await, b"hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_give_way_and_those_at_work_do_not() {
    let server = Server::with(config(Limits { connections: 8, ..Limits::default() })).await;
    let mut working = let_in(&server, 5).await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    let begun = Instant::now();
    let answer = send(server.address, Signed::new("GET", "/photos", b"").head(server.address)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(begun.elapsed() < DEADLINE, "it does not wait until the idle are ended for their idling");
    // The rest of the line that said to go on comes first.
    let mut rest = [0; 13];
    working.read_exact(&mut rest).await.unwrap();
    working.write_all(b"hello").await.unwrap();
    assert_eq!(receive(&mut working).await.status, 200);
}
