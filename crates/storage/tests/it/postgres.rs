//! A server that goes away, and strings that lead nowhere.

use std::time::{Duration, Instant};

use mainstay_storage::scratch::ScratchPostgres;
use mainstay_storage::{Location, OpenError, ReadError, Service, Statement, Store, WriteError};

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
