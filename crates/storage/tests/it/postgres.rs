//! A server that goes away, and strings that lead nowhere.

use std::time::{Duration, Instant};

use mainstay_storage::scratch::ScratchPostgres;
use mainstay_storage::{ClaimError, Location, OpenError, ReadError, Service, Statement, Store, WriteError};

use crate::SCHEMA;

fn put(id: i64) -> Statement {
    Statement::new("INSERT INTO notes (id, body) VALUES ($1, $2)", [id.into(), vec![7u8; 100].into()])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_no_acknowledged_write() {
    let mut server = ScratchPostgres::start();
    let store = Store::open(&Location::Postgres(server.uri()), Service::Journal, &SCHEMA).await.unwrap();
    let writing = tokio::spawn({
        let store = store.clone();
        async move {
            for id in 1.. {
                if let Err(error) = store.write(vec![put(id)]).await {
                    return (id - 1, error);
                }
            }
            unreachable!("the server is killed")
        }
    });
    while store.read(Statement::new("SELECT id FROM notes LIMIT 1", [])).await.unwrap().is_empty() {}
    tokio::task::block_in_place(|| server.kill());
    let (acknowledged, error) = writing.await.unwrap();
    let lost = matches!(error, WriteError::Unavailable { .. } | WriteError::OutcomeUnknown { .. });
    assert!(lost, "{error:?}");

    // Who asks for readiness waits two seconds, of which some are a busy machine's.
    let asked = Instant::now();
    let refused = store.health().await.unwrap_err();
    assert!(
        matches!(&refused, ReadError::Unavailable { source, .. } if source.to_string().contains("refused")),
        "{refused:?}"
    );
    assert!(matches!(store.write(vec![put(0)]).await, Err(WriteError::Unavailable { .. })));
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());

    tokio::task::block_in_place(|| server.restart());
    let rows = store.read(Statement::new("SELECT count(*), max(id) FROM notes", [])).await.unwrap();
    let (count, newest) = (rows[0].integer(0).unwrap(), rows[0].integer(1).unwrap());
    assert_eq!(count, newest);
    assert!(
        (acknowledged..=acknowledged + 1).contains(&newest),
        "{acknowledged} were acknowledged, {newest} are there"
    );
    store.write(vec![put(newest + 1)]).await.unwrap();
}

#[tokio::test]
async fn an_error_names_the_server_and_no_password() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let uri = format!("postgresql://someone:hunter2@{nobody}/journal").into();
    let Err(error) = Store::open(&Location::Postgres(uri), Service::Journal, &SCHEMA).await else {
        panic!("nothing listens there")
    };
    assert!(matches!(error, OpenError::Unavailable { .. }), "{error:?}");
    assert_eq!(error.to_string(), format!("the storage of journal at {nobody} cannot be opened"));
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[tokio::test]
async fn another_services_schema_is_another_schema() {
    let server = ScratchPostgres::start();
    let place = Location::Postgres(server.uri());
    let journal = Store::open(&place, Service::Journal, &SCHEMA).await.unwrap();
    let _custody = Store::open(&place, Service::Custody, &SCHEMA).await.unwrap();
    journal.write(vec![put(1)]).await.unwrap();
    assert_eq!(server.psql("postgres", "SELECT count(*) FROM mainstay_journal.notes"), "1");
    assert_eq!(server.psql("postgres", "SELECT count(*) FROM mainstay_custody.notes"), "0");
    assert_eq!(server.psql("postgres", "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_claimed_by_one_at_a_time() {
    let server = ScratchPostgres::start();
    let place = Location::Postgres(server.uri());
    let first = Store::open(&place, Service::Journal, &SCHEMA).await.unwrap();
    let second = Store::open(&place, Service::Journal, &SCHEMA).await.unwrap();
    let custody = Store::open(&place, Service::Custody, &SCHEMA).await.unwrap();
    let claim = first.claim("mainstay here pid 1").await.unwrap();
    let _of_another_schema = custody.claim("mainstay there pid 2").await.unwrap();
    let held = second.claim("mainstay there pid 2").await.unwrap_err();
    let ClaimError::Held { holder, session, .. } = &held else { panic!("{held:?}") };
    assert_eq!(holder, "mainstay here pid 1");
    assert_eq!(server.psql("postgres", &session_of(holder)), session.to_string());
    assert!(held.to_string().contains("mainstay here pid 1"), "{held}");

    drop(claim);
    let claim = second.claim("mainstay there pid 2").await.unwrap();
    // A claim that ends while it is waited for is taken over at once.
    let (taken, ()) = tokio::join!(first.claim("mainstay here pid 1"), async { drop(claim) });
    let _claim = taken.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_outlives_the_server_and_its_own_session() {
    let mut server = ScratchPostgres::start();
    let place = Location::Postgres(server.uri());
    let first = Store::open(&place, Service::Journal, &SCHEMA).await.unwrap();
    let _claim = first.claim("mainstay here pid 1").await.unwrap();
    tokio::task::block_in_place(|| {
        server.kill();
        server.restart();
        wait_for_session(&server, "mainstay here pid 1", None);
        let session = server.psql("postgres", &session_of("mainstay here pid 1"));
        server.psql("postgres", &format!("SELECT pg_terminate_backend({session})"));
        wait_for_session(&server, "mainstay here pid 1", Some(&session));
    });
    let second = Store::open(&place, Service::Journal, &SCHEMA).await.unwrap();
    let held = second.claim("mainstay there pid 2").await.unwrap_err();
    assert!(matches!(&held, ClaimError::Held { holder, .. } if holder == "mainstay here pid 1"), "{held:?}");
}

/// The question which session of that name holds a claim.
fn session_of(name: &str) -> String {
    format!(
        "SELECT pid FROM pg_stat_activity JOIN pg_locks USING (pid)
         WHERE locktype = 'advisory' AND application_name = '{name}'"
    )
}

/// Waits until a session of that name holds a claim, another one than before.
fn wait_for_session(server: &ScratchPostgres, name: &str, before: Option<&str>) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let session = server.psql("postgres", &session_of(name));
        if !session.is_empty() && Some(session.as_str()) != before {
            return;
        }
        assert!(Instant::now() < deadline, "the claim should be made again");
    }
}
