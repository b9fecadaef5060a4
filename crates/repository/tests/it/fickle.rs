//! A server that stops answering, breaks connections, is away, full, or lets nobody in.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt, stream};
use mainstay_dataplane::{DataPlane, IngestError, Source, Trouble};
use mainstay_repository::{Config, Contender, Credentials, Location, OpenError, Repository, VerifyOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use uuid::Uuid;

use crate::faults::small_disk;
use crate::keepers::one_of_two_that_begin_at_once_keeps_it;
use crate::remote::{Server, create, free_port, program, start};
use crate::{files, gives, hints, ingest, key, noise, source};

/// What the line to the server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Carries,
    /// Connections are made and stay, and nothing comes through.
    Stalls,
    /// Each connection breaks after so many bytes to the server.
    BreaksAfter(u64),
    /// Each connection breaks when the server has done a `MOVE`, and before anybody hears that.
    LosesMoves,
    Away,
}

/// A line to a server that does as it is told.
struct Proxy {
    address: SocketAddr,
    line: watch::Sender<Line>,
}

impl Proxy {
    async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (line, told) = watch::channel(Line::Carries);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if *told.borrow() != Line::Away {
                    tokio::spawn(carry(client, port, told.clone()));
                }
            }
        });
        Self { address, line }
    }
}

async fn carry(client: TcpStream, port: u16, told: watch::Receiver<Line>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let mut ends = told.clone();
    let lost = AtomicBool::new(false);
    let up = pass(&mut from_client, &mut to_server, told.clone(), &lost, true);
    let down = pass(&mut from_server, &mut to_client, told, &lost, false);
    tokio::select! {
        () = up => {}
        () = down => {}
        _ = ends.wait_for(|line| *line == Line::Away) => {}
    }
}

async fn pass(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    mut told: watch::Receiver<Line>,
    lost: &AtomicBool,
    to_server: bool,
) {
    let (mut buffer, mut passed) = (vec![0; 64 << 10], 0);
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
        if told.wait_for(|line| *line != Line::Stalls).await.is_err() {
            return;
        }
        passed += read as u64;
        match *told.borrow() {
            Line::BreaksAfter(most) if to_server && passed > most => return,
            Line::LosesMoves if to_server => {
                lost.fetch_or(buffer[..read].starts_with(b"MOVE "), Ordering::Relaxed);
            }
            Line::LosesMoves if lost.load(Ordering::Relaxed) => return,
            _ => {}
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

fn credentials(password: &str) -> Credentials {
    Credentials::Password { user: "me".into(), password: password.to_owned().into() }
}

fn serve(directory: &std::path::Path) -> Option<(Server, u16)> {
    let (program, port) = (program("MAINSTAY_TEST_RCLONE", "rclone")?, free_port());
    let mut command = Command::new(program);
    command.args(["serve", "webdav", "--user", "me", "--pass", "secret", "--addr"]);
    Some((start(command.arg(format!("127.0.0.1:{port}")).arg(directory)), port))
}

fn at(address: impl std::fmt::Display) -> Location {
    format!("webdav://{address}/backups").parse().unwrap()
}

/// More than is held at a time, and how much of it was taken.
fn endless(taken: &Arc<AtomicU64>) -> Source {
    const PIECES: u64 = 400;
    let taken = Arc::clone(taken);
    Box::pin(stream::iter(0..PIECES).map(move |seed| {
        taken.fetch_add(1 << 20, Ordering::Relaxed);
        Ok(noise(seed, 1 << 20))
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stalls_is_told_and_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let Some((_server, port)) = serve(directory.path()) else { return };
    let proxy = Proxy::to(port).await;
    let repository = create(&at(proxy.address), &credentials("secret")).await;
    ingest(&repository, &noise(1, 3_000_000)).await;

    proxy.line.send_replace(Line::Stalls);
    let taken = Arc::default();
    let (busy, endless) = (repository.clone(), endless(&taken));
    let running = tokio::spawn(async move { busy.ingest_stream(endless, hints()).await });
    let health = repository.backend_health().await;
    assert!(health.trouble.as_ref().is_some_and(|trouble| trouble.contains("does not answer within")), "{health:?}");
    let held = taken.load(Ordering::Relaxed);
    assert!(held > 0 && held <= 160 << 20, "{held} bytes are held for a server that does not take them");
    assert!(!running.is_finished());
    proxy.line.send_replace(Line::Carries);
    running.await.unwrap().unwrap();
    assert_eq!(repository.backend_health().await.trouble, None);
    gives(&repository, &noise(1, 3_000_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_broke_off_is_written_anew_and_leaves_nothing_half() {
    let directory = tempfile::tempdir().unwrap();
    let Some((_server, port)) = serve(directory.path()) else { return };
    let proxy = Proxy::to(port).await;
    let repository = create(&at(proxy.address), &credentials("secret")).await;
    ingest(&repository, &noise(1, 3_000_000)).await;

    proxy.line.send_replace(Line::BreaksAfter(1 << 20));
    let begun = Instant::now();
    let error = repository.ingest_stream(source(&noise(2, 20_000_000)), hints()).await.unwrap_err();
    assert!(matches!(error, IngestError::Trouble(Trouble::Unavailable { .. })), "{error}");
    proxy.line.send_replace(Line::Away);
    let error = repository.ingest_stream(source(&noise(2, 20_000_000)), hints()).await.unwrap_err();
    assert!(matches!(error, IngestError::Trouble(Trouble::Unavailable { .. })), "{error}");
    assert!(repository.put_document("points", "a", Bytes::new()).await.is_err());
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());

    proxy.line.send_replace(Line::Carries);
    gives(&repository, &noise(1, 3_000_000)).await;
    ingest(&repository, &noise(2, 20_000_000)).await;
    let report = repository.verify(VerifyOptions::default(), |_| ()).await.unwrap();
    assert!(report.is_whole(), "{report:#?}");
    // Another process clears what this one was not able to.
    repository.close().await.unwrap();
    let config = Config::new(at(proxy.address), credentials("secret"));
    let repository = Repository::open(config, &key()).await.unwrap();
    gives(&repository, &noise(2, 20_000_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_keeps_it_knows_that_again_though_the_answer_was_lost() {
    let directory = tempfile::tempdir().unwrap();
    let Some((_server, port)) = serve(directory.path()) else { return };
    let proxy = Proxy::to(port).await;
    let repository = create(&at(proxy.address), &credentials("secret")).await;
    let (layer, mut contender) = (Uuid::from_u128(1), Contender::new());
    repository.keep_for(layer, &mut contender).await.unwrap();
    let keeper = || std::fs::read(directory.path().join("backups/mainstay-keeper.json")).unwrap();
    let before = keeper();
    proxy.line.send_replace(Line::LosesMoves);
    let unheard = repository.keep_for(layer, &mut contender).await;
    assert!(unheard.is_err() && keeper() != before, "it was written, and nobody was told: {unheard:?}");
    proxy.line.send_replace(Line::Carries);
    repository.keep_for(layer, &mut contender).await.unwrap();
    repository.put_document("points", "a", Bytes::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_begin_at_the_same_moment_one_keeps_it() {
    let directory = tempfile::tempdir().unwrap();
    let Some((_server, port)) = serve(directory.path()) else { return };
    let location = at(format!("127.0.0.1:{port}"));
    let one = create(&location, &credentials("secret")).await;
    let other = Repository::open(Config::new(location, credentials("secret")), &key()).await.unwrap();
    one_of_two_that_begin_at_once_keeps_it(&one, &other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_is_told_so() {
    let directory = tempfile::tempdir().unwrap();
    let Some((_server, port)) = serve(directory.path()) else { return };
    let location = at(format!("127.0.0.1:{port}"));
    drop(create(&location, &credentials("secret")).await);
    let refused = Repository::open(Config::new(location, credentials("wrong")), &key()).await.err().unwrap();
    assert!(matches!(refused, OpenError::Denied { .. }), "{refused:?}");
    assert!(!format!("{refused} {refused:?}").contains("wrong"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_server_says_is_told_and_nothing_half_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = small_disk(directory.path()) else { return };
    let Some((_server, port)) = serve(directory.path()) else { return };
    let location = at(format!("127.0.0.1:{port}"));
    let repository = create(&location, &credentials("secret")).await;
    ingest(&repository, &noise(1, 3_000_000)).await;
    let error = repository.ingest_stream(source(&noise(2, 90_000_000)), hints()).await.unwrap_err();
    // This one says that it does not do that; others say that there is no room.
    assert!(matches!(error, IngestError::Trouble(_)), "{error}");
    gives(&repository, &noise(1, 3_000_000)).await;
    let report = repository.verify(VerifyOptions::default(), |_| ()).await.unwrap();
    assert!(report.is_whole(), "{report:#?}");
    assert_eq!(files(directory.path(), "backups/unfinished").len(), 0, "nothing half is left");
    drop(disk);
}
