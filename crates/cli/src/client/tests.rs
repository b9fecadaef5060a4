//! The client against a server that misbehaves.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use secrecy::SecretString;

use super::{Address, Client, Pages};
use crate::failure::Failure;

/// Answers one connection after another with these texts, and tells what was asked.
fn stub(answers: Vec<String>) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, requests) = channel();
    thread::spawn(move || {
        for answer in answers {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !complete(&request) {
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(length) => request.extend_from_slice(&buffer[..length]),
                }
            }
            let _ = asked.send(String::from_utf8(request).unwrap());
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (address, requests)
}

fn complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    body.len() >= length
}

fn answer(status: &str, media_type: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

fn client(address: SocketAddr) -> Client {
    let address: Address = address.to_string().parse().unwrap();
    Client::new(address, None, Some(SecretString::from("canary-token")), Some("acme".parse().unwrap()))
}

fn said(failure: &Failure) -> String {
    let said = format!("{} {failure:?}", failure.chain());
    assert!(!said.contains("canary-token"), "{said}");
    failure.chain()
}

#[test]
fn a_request_carries_token_tenant_and_key() {
    let (address, requests) = stub(vec![answer("200 OK", "application/json", "{}"); 2]);
    let client = client(address);
    assert_eq!(client.get("/instances", &[("contract", "postgresql/v1")]).unwrap(), "{}");
    let request = requests.recv().unwrap();
    assert!(request.starts_with("GET /api/v1/instances?contract=postgresql"), "{request}");
    assert!(request.contains("authorization: Bearer canary-token\r\n"), "{request}");
    assert!(request.contains("mainstay-tenant: acme\r\n"), "{request}");
    client.post("/instances", &[("wait", "1s")], &serde_json::json!({"name": "a"})).unwrap();
    let request = requests.recv().unwrap();
    assert!(request.starts_with("POST /api/v1/instances?wait=1s HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("idempotency-key: ") && request.ends_with("\r\n\r\n{\"name\":\"a\"}"), "{request}");
}

#[test]
fn where_nobody_listens_it_says_how_to_start() {
    let free = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let failure = client(free).get("/status", &[]).unwrap_err();
    assert!(matches!(failure, Failure::NotRunning { .. }), "{failure:?}");
    assert_eq!(said(&failure), format!("nothing answers at http://{free}"));
}

#[test]
fn a_problem_is_a_refusal_and_anything_else_is_not_the_api() {
    let problem = r#"{"type":"urn:x","title":"T","status":404,"detail":"instance \"a\" does not exist","code":"instance_not_found"}"#;
    let answers = vec![
        answer("404 Not Found", "application/problem+json", problem),
        answer("502 Bad Gateway", "text/html", "<html>"),
        answer("200 OK", "text/html", "<html>"),
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/steal\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            .to_owned(),
    ];
    let (address, _requests) = stub(answers);
    let client = client(address);
    let failure = client.get("/instances/a", &[]).unwrap_err();
    assert!(matches!(&failure, Failure::Refused(problem) if problem.status == 404), "{failure:?}");
    assert_eq!(said(&failure), "instance \"a\" does not exist");
    for status in [502, 200, 302] {
        let failure = client.get("/status", &[]).unwrap_err();
        assert!(matches!(failure, Failure::NotTheApi { status: found, .. } if found == status), "{failure:?}");
        said(&failure);
    }
}

#[test]
fn a_broken_answer_is_an_error() {
    let cut =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\nconnection: close\r\n\r\n{\"a\":";
    let (address, _requests) = stub(vec![cut.to_owned(), "nonsense\r\n\r\n".to_owned(), String::new()]);
    let client = client(address);
    for _ in 0..3 {
        let failure = client.get("/status", &[]).unwrap_err();
        assert!(matches!(failure, Failure::Transport { .. }) && failure.may_pass(), "{failure:?}");
        said(&failure);
    }
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let patient = client(listener.local_addr().unwrap());
    let agent = ureq::Agent::config_builder().timeout_recv_response(Some(Duration::from_millis(50))).build();
    let failure = Client { agent: agent.into(), ..patient }.get("/status", &[]).unwrap_err();
    assert!(matches!(failure, Failure::Timeout { .. }) && failure.may_pass(), "{failure:?}");
}

#[test]
fn pages_are_followed_to_the_end_and_joined_unchanged() {
    let pages =
        [r#"{"items":[{"b":1,"a":1.50},2],"next":"x y"}"#, r#"{"items":[3],"next":7}"#, r#"{"items":[4],"next":7}"#];
    let (address, requests) = stub(pages.map(|page| answer("200 OK", "application/json", page)).to_vec());
    let all = Pages::new(&client(address), "/events", &[("after", "0")]).collect().unwrap();
    assert_eq!(all, r#"{"items":[{"b":1,"a":1.50},2,3,4],"next":null}"#);
    let asked: Vec<String> =
        requests.iter().take(3).map(|request| request.lines().next().unwrap().to_owned()).collect();
    assert_eq!(
        asked,
        [
            "GET /api/v1/events?limit=500&after=0 HTTP/1.1",
            "GET /api/v1/events?limit=500&after=x%20y HTTP/1.1",
            "GET /api/v1/events?limit=500&after=7 HTTP/1.1"
        ]
    );
}

#[test]
fn addresses() {
    for (text, expected) in [
        ("http://127.0.0.1:7400", "http://127.0.0.1:7400"),
        ("http://127.0.0.1:7400/", "http://127.0.0.1:7400"),
        ("host:80", "http://host:80"),
        ("https://mainstay.example", "https://mainstay.example"),
        ("[::1]:7400", "http://[::1]:7400"),
    ] {
        assert_eq!(text.parse::<Address>().unwrap().to_string(), expected);
    }
    for bad in ["", "http://", "ftp://host", "http://host/path", "http://user:secret@host", "http://host?x", "ho st"] {
        assert!(bad.parse::<Address>().is_err(), "{bad:?}");
    }
    let loopback = |text: &str| text.parse::<Address>().unwrap().is_loopback();
    assert!(loopback("localhost:1") && loopback("127.3.2.1:1") && loopback("[::1]:1") && !loopback("10.0.0.1:1"));
}
