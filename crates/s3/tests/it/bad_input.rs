//! What no client of good will sends: an error of S3's, never a crash, never a change.

use std::time::{Duration, SystemTime};

use mainstay_s3::{Limits, S3Config};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::raw::{Answer, Signed, receive, send};
use crate::server::{Server, get, put};

/// The server answers others as if nothing had happened.
async fn is_well(server: &Server) {
    put(&server.client(), "well", "still").await;
    assert_eq!(get(&server.client(), "well").await, b"still");
}

async fn ask(server: &Server, request: Signed<'_>, body: &[u8]) -> Answer {
    let head = request.header("content-length", body.len()).head(server.address);
    send(server.address, [head.as_bytes(), body].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_are_wrong() {
    let server = Server::start().await;
    let hour = Duration::from_secs(3600);
    for at in [SystemTime::now() - hour, SystemTime::now() + hour] {
        let answer = ask(&server, Signed { at, ..Signed::new("GET", "/photos", b"") }, b"").await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "RequestTimeTooSkewed"));
        assert_eq!(answer.element("RequestId"), answer.header("x-amz-request-id").unwrap());
        assert_eq!(answer.element("Resource"), "/photos");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_that_are_none() {
    let server = Server::start().await;
    let unsigned = |header: &str| format!("PUT /photos/a HTTP/1.1\r\nhost: x\r\n{header}content-length: 1\r\n\r\nx");
    for (header, status, code) in [
        ("", 403, "AccessDenied"),
        ("authorization: \r\n", 403, "AccessDenied"),
        ("authorization: AWS key:signature\r\n", 400, "InvalidRequest"),
        ("authorization: Bearer x\r\n", 400, "InvalidArgument"),
        ("authorization: AWS4-HMAC-SHA256 HAHAHA\r\n", 400, "AuthorizationHeaderMalformed"),
        ("x-amz-security-token: x\r\n", 400, "InvalidToken"),
    ] {
        let answer = send(server.address, unsigned(header)).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{header}");
    }
    let head = Signed::new("PUT", "/photos/a", b"x").header("content-length", 1).head(server.address);
    let added = head.replacen("\r\n", "\r\nx-amz-meta-forged: 1\r\n", 1);
    assert_eq!(send(server.address, format!("{added}x")).await.code(), "AccessDenied");
    let moved = head.replacen("/photos/a", "/photos/b", 1);
    assert_eq!(send(server.address, format!("{moved}x")).await.code(), "SignatureDoesNotMatch");
    is_well(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_look_like_paths_are_keys() {
    let server = Server::start().await;
    let client = server.client();
    for key in ["../../etc/passwd", "a/../b", "./a", "a//b", "//", "%2e%2e", "a\u{1}b", "🦀"] {
        put(&client, key, key).await;
        assert_eq!(get(&client, key).await, key.as_bytes(), "{key:?}");
    }
    let longest = format!("/photos/{}", "x".repeat(1024));
    assert_eq!(ask(&server, Signed::new("PUT", &longest, b"x"), b"x").await.status, 200);
    let longer = format!("{longest}x");
    let answer = ask(&server, Signed::new("PUT", &longer, b"x"), b"x").await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "KeyTooLongError"));
    for (path, code) in
        [("/photos/a%00b", "InvalidArgument"), ("/photos/%FF", "InvalidURI"), ("/..%2f..", "InvalidBucketName")]
    {
        let answer = ask(&server, Signed::new("PUT", path, b"x"), b"x").await;
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_not_what_was_signed() {
    let server = Server::start().await;
    let answer = ask(&server, Signed::new("PUT", "/photos/a", b"hello"), b"HELLO").await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "XAmzContentSHA256Mismatch"));
    // XML too, which s3s reads.
    let query = Signed { query: "delete=", ..Signed::new("POST", "/photos", b"<Delete/>") };
    let answer = ask(&server, query, b"<Evil--/>").await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "XAmzContentSHA256Mismatch"));
    // Longer than said: the rest is another request, which is none.
    let head = Signed::new("PUT", "/photos/a", b"hello").header("content-length", 4).head(server.address);
    assert_eq!(send(server.address, format!("{head}hello")).await.code(), "XAmzContentSHA256Mismatch");
    // Shorter than said, and gone.
    let head = Signed::new("PUT", "/photos/a", b"hello").header("content-length", 5).head(server.address);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(format!("{head}hell").as_bytes()).await.unwrap();
    drop(stream);
    let none = server.client().head_object().bucket("photos").key("a").send().await;
    assert!(none.is_err());
    let head = Signed::new("PUT", "/photos/a", b"hello").head(server.address);
    assert_eq!(send(server.address, head).await.status, 411);
    is_well(&server).await;
}

fn streaming<'a>(payload: &str, decoded: usize, encoded: usize) -> Signed<'a> {
    Signed { payload: payload.to_owned(), ..Signed::new("PUT", "/photos/a", b"") }
        .header("content-encoding", "aws-chunked")
        .header("x-amz-decoded-content-length", decoded)
        .header("content-length", encoded)
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_with_signatures() {
    let server = Server::start().await;
    let bytes = crate::server::noise(200_000, 8);
    let payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
    let pieces: Vec<&[u8]> = bytes.chunks(65_536).chain([&b""[..]]).collect();
    let framed: usize = pieces.iter().map(|piece| format!("{:x}", piece.len()).len() + 83 + piece.len() + 2).sum();
    let request = |decoded: usize| {
        let (head, mut seed) = streaming(payload, decoded, framed).head_and_seed(server.address);
        let chunks: Vec<u8> = pieces.iter().flat_map(|piece| seed.chunk(piece)).collect();
        [head.into_bytes(), chunks].concat()
    };
    let answer = send(server.address, request(bytes.len())).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(get(&server.client(), "a").await == bytes);
    let head = server.client().head_object().bucket("photos").key("a").send().await.unwrap();
    assert_eq!(head.content_encoding(), None);
    for decoded in [bytes.len() - 1, bytes.len() + 1] {
        assert_eq!(send(server.address, request(decoded)).await.code(), "IncompleteBody");
    }
    let mut forged = request(bytes.len());
    let at = forged.len() - 100_000;
    forged[at] ^= 1;
    assert_eq!(send(server.address, forged).await.code(), "SignatureDoesNotMatch");
    assert!(get(&server.client(), "a").await == bytes, "what was refused has changed nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_that_are_wrong() {
    let server = Server::start().await;
    let payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
    for (body, code) in [
        ("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", "BadDigest"),
        ("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:?\r\n\r\n", "MalformedTrailerError"),
        ("5\r\nhello\r\n0\r\n\r\n", "MalformedTrailerError"),
        ("5\r\nhello\r\n", "IncompleteBody"),
        ("ffffffff\r\nhello\r\n0\r\n\r\n", "IncompleteBody"),
        ("hello", "IncompleteBody"),
    ] {
        let request = streaming(payload, 5, body.len()).header("x-amz-trailer", "x-amz-checksum-crc32");
        let head = request.head(server.address);
        let answer = send(server.address, format!("{head}{body}")).await;
        assert_eq!(answer.code(), code, "{body:?}: {}", answer.text());
    }
    is_well(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn xml_that_is_a_bomb_or_none() {
    let server = Server::start().await;
    let bomb = "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY x \"xxxxxxxxxx\"><!ENTITY y \"&x;&x;&x;&x;&x;&x;&x;&x;\">]>\
                <Tagging><TagSet><Tag><Key>&y;</Key><Value>&y;</Value></Tag></TagSet></Tagging>";
    let deep = format!("{}{}", "<Tagging>".repeat(50_000), "</Tagging>".repeat(50_000));
    for body in [bomb, &deep, "", "<", "<Tagging>", "\0\0\0", "<a/>"] {
        let request = Signed { query: "tagging=", ..Signed::new("PUT", "/photos", body.as_bytes()) };
        let answer = ask(&server, request, body.as_bytes()).await;
        assert_eq!(answer.status, 400, "{}: {}", &body[..body.len().min(40)], answer.text());
    }
    let large = format!("<Tagging>{}</Tagging>", " ".repeat(5 << 20));
    let request = Signed { query: "tagging=", ..Signed::new("PUT", "/photos", large.as_bytes()) };
    let answer = ask(&server, request, large.as_bytes()).await;
    assert_eq!(answer.code(), "MaxMessageLengthExceeded");
    is_well(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_that_stall() {
    let limits = Limits {
        pace_within: Duration::from_millis(200),
        head_timeout: Duration::from_millis(500),
        ..Limits::default()
    };
    let server = Server::with(S3Config { limits, ..S3Config::default() }).await;
    let head = Signed::new("PUT", "/photos/a", b"hello").header("content-length", 5).head(server.address);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(format!("{head}hel").as_bytes()).await.unwrap();
    let answer = receive(&mut stream).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "RequestTimeout"));
    is_well(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_too_much() {
    let server = Server::start().await;
    let many = "x-a: b\r\n".repeat(5000);
    let answer = send(server.address, format!("GET /photos HTTP/1.1\r\nhost: x\r\n{many}\r\n")).await;
    assert_eq!(answer.status, 431);
    let long = "x".repeat(1 << 20);
    let answer = send(server.address, format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
    assert!(matches!(answer.status, 414 | 431), "{}", answer.status);
    is_well(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_ranges_and_numbers() {
    let server = Server::start().await;
    put(&server.client(), "a", "hello").await;
    for range in
        ["bytes=5-", "bytes=99999999999999999999-", "bytes=-0", "bytes=a-b", "bytes=0-1,3-4", "lines=1-2", "bytes=4-1"]
    {
        let answer = ask(&server, Signed::new("GET", "/photos/a", b"").header("range", range), b"").await;
        assert!(matches!(answer.status, 200 | 400 | 416), "{range}: {}", answer.status);
    }
    for query in ["max-keys=blah", "max-keys=-1", "max-keys=99999999999999999999", "encoding-type=rot13"] {
        let answer = ask(&server, Signed { query, ..Signed::new("GET", "/photos", b"") }, b"").await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "InvalidArgument"), "{query}");
    }
    is_well(&server).await;
}
