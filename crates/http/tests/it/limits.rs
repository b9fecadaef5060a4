//! What one client can take from the others has bounds.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use mainstay_engine::fake::Operation;
use mainstay_http::Limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{PATIENCE, Server};

const SHORT: Duration = Duration::from_millis(300);

/// What the server sends until it closes the connection.
async fn until_closed(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A connection that is cut off may end in a reset, which is an end too.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the connection ends");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn the_limits_in_force_are_these() {
    let Limits { connections, followers, head_timeout, body_timeout, drain } = Limits::default();
    assert_eq!((connections, followers), (1024, 256));
    assert!([head_timeout, body_timeout, drain].iter().all(|limit| *limit == Duration::from_secs(10)));
}

#[tokio::test]
async fn a_head_that_comes_drop_by_drop_is_cut_off() {
    let server = Server::within(Limits { head_timeout: SHORT, ..Limits::default() }).await;
    let started = Instant::now();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let (mut read, mut write) = stream.split();
    let dripping = async {
        for byte in "GET /livez HTTP/1.1\r\nhost: here\r\nx-slow: ".bytes().chain(std::iter::repeat(b'x')) {
            if write.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let mut bytes = Vec::new();
    tokio::select! {
        () = dripping => {}
        read = tokio::time::timeout(PATIENCE, read.read_to_end(&mut bytes)) => drop(read.expect("the connection ends")),
    }
    assert!(started.elapsed() >= SHORT && !String::from_utf8_lossy(&bytes).contains("200 OK"));
    // A connection that says nothing at all is closed too, also after it was used.
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    until_closed(&mut silent).await;
    let mut used = TcpStream::connect(server.address).await.unwrap();
    used.write_all(b"GET /livez HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
    assert!(until_closed(&mut used).await.starts_with("HTTP/1.1 200 OK"));
    assert_eq!(server.get("/api/v1/status").await.status, 200);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!("GET /livez HTTP/1.1\r\nhost: here\r\nx-large: {}\r\n\r\n", "x".repeat(64 << 10));
    // The server may close before all of it is sent.
    let _ = stream.write_all(head.as_bytes()).await;
    let answer = until_closed(&mut stream).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(server.get("/api/v1/status").await.status, 200);
}

#[tokio::test]
async fn a_body_that_comes_drop_by_drop_is_cut_off() {
    let server = Server::within(Limits { body_timeout: SHORT, ..Limits::default() }).await;
    let started = Instant::now();
    let drops = futures::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
    });
    let answer = server.call("POST", "/api/v1/instances").body(Body::from_stream(drops)).send().await;
    assert_eq!(answer.problem(), (408, "body_timeout".to_owned(), None));
    assert!(started.elapsed() >= SHORT);
    // So is one that never comes, and one that goes on for ever is cut off where it is too large.
    let never = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let answer = server.call("POST", "/api/v1/instances").body(never).send().await;
    assert_eq!(answer.problem().1, "body_timeout");
    let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 4096])));
    let answer = server.call("POST", "/api/v1/instances").body(Body::from_stream(endless)).send().await;
    assert_eq!(answer.problem().1, "body_too_large");
    // Strangers are not even asked for a body.
    let never = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let answer = server.call("POST", "/api/v1/instances").without_token().body(never).send().await;
    assert_eq!(answer.problem().1, "token_missing");
}

#[tokio::test]
async fn idle_connections_do_not_keep_others_out_for_long() {
    let server = Server::within(Limits { connections: 8, head_timeout: SHORT, ..Limits::default() }).await;
    let mut idle = Vec::new();
    for _ in 0..8 {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    assert_eq!(server.get("/api/v1/status").await.status, 200);
}

/// Far more than there are places for: they wait in the operating system's queue, or are turned away there and come
/// again as clients do, and none of it is the end of the server.
#[tokio::test]
async fn two_thousand_connections_at_once_are_bounded_and_not_fatal() {
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).unwrap();
    if files.maximum.is_some_and(|maximum| maximum < 4096) {
        eprintln!("SKIPPED: this test needs 4096 open files, and {:?} are allowed (ulimit -Hn)", files.maximum);
        return;
    }
    let server = Server::within(Limits { connections: 100, ..Limits::default() }).await;
    let address = server.address;
    let calls = (0..2000).map(|_| {
        tokio::spawn(async move {
            let deadline = Instant::now() + 2 * PATIENCE;
            while !matches!(tokio::time::timeout(Duration::from_secs(2), livez(address)).await, Ok(Ok(true))) {
                assert!(Instant::now() < deadline, "nobody answers");
            }
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    server.create("shop").await;
}

/// Whether the server says that it lives, on a connection of its own.
async fn livez(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.starts_with("HTTP/1.1 200 OK"))
}

#[tokio::test]
async fn followers_leave_room_for_others() {
    let server = Server::within(Limits { followers: 2, ..Limits::default() }).await;
    let follow = || server.call("GET", "/api/v1/events").header("accept", "text/event-stream").open();
    let (first, second) = (follow().await, follow().await);
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 200));
    assert_eq!(follow().await.status(), 503);
    let third = server.call("GET", "/api/v1/events").header("accept", "text/event-stream").send().await;
    assert_eq!(third.problem().1, "overloaded");
    assert_eq!(server.get("/api/v1/events").await.status, 200, "pages are for everybody");
    drop(first);
    let deadline = Instant::now() + PATIENCE;
    while follow().await.status() != 200 {
        assert!(Instant::now() < deadline, "a place that was left is not given again");
        // The server notices that the follower is gone when it has something to send.
        server.call("POST", "/api/v1/tokens").json(&json!({"role": "viewer"})).send().await;
    }
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_progress_and_takes_nothing_new() {
    let server = Server::start().await;
    let follower = server.call("GET", "/api/v1/events").header("accept", "text/event-stream").open().await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    let mut hold = server.fake.hold(Operation::Provision);
    let body = json!({"name": "shop", "contract": "postgresql/v1"});
    let waiting = tokio::spawn(server.call("POST", "/api/v1/instances?wait=300s").json(&body).send());
    hold.reached(1).await;
    // A request whose body is still on its way: the server has asked for it.
    let mut arriving = TcpStream::connect(server.address).await.unwrap();
    let body = r#"{"role":"viewer"}"#;
    let head = format!(
        "POST /api/v1/tokens HTTP/1.1\r\nhost: here\r\nauthorization: Bearer {}\r\nexpect: 100-continue\r\n\
         content-length: {}\r\n\r\n",
        server.admin,
        body.len()
    );
    arriving.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    arriving.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");

    let (started, address) = (Instant::now(), server.address);
    server.stop();
    // Whoever waits is told that the work goes on, and whoever follows that there is no more.
    let told = waiting.await.unwrap();
    assert_eq!((told.status.as_u16(), &told.json()["state"]), (202, &json!("in progress")));
    axum::body::to_bytes(follower.into_body(), 1 << 20).await.unwrap();
    arriving.write_all(body.as_bytes()).await.unwrap();
    let answer = until_closed(&mut arriving).await;
    assert!(answer.starts_with("HTTP/1.1 201 Created"), "what had begun is finished: {answer}");
    until_closed(&mut idle).await;
    server.stopped().await;
    assert!(started.elapsed() < Limits::default().drain, "nothing had to be cut off");
    assert!(TcpStream::connect(address).await.is_err());
}
