//! The suite of engines that bring data back.

use async_trait::async_trait;
use mainstay_engine::conformance::Delivery;
use mainstay_engine::conformance::recovery::{self, Contents, RecoveryFixture};
use mainstay_engine::recovery::Assertion;
use secrecy::ExposeSecret;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use crate::conforms::PostgresqlFixture;
use crate::place::{Place, execute, run};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS contents (key text PRIMARY KEY, text text NOT NULL)";

#[async_trait]
impl RecoveryFixture for PostgresqlFixture {
    async fn put(&self, delivery: &Delivery, key: &str, text: &str) {
        let mut session = connect(delivery).await;
        execute(&mut session, &format!("{TABLE}; INSERT INTO contents VALUES ('{key}', '{text}')")).await.unwrap();
    }

    async fn contents(&self, delivery: &Delivery) -> Contents {
        let mut session = connect(delivery).await;
        execute(&mut session, TABLE).await.unwrap();
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT key, text FROM contents").fetch_all(&mut session).await.unwrap();
        rows.into_iter().collect()
    }

    async fn wipe(&self, delivery: &Delivery) {
        execute(&mut connect(delivery).await, "DROP TABLE contents").await.unwrap();
    }

    fn assertion(&self, key: &str, text: &str) -> Option<Assertion> {
        let query = format!("SELECT text, true, NULL FROM contents WHERE key = '{key}'");
        Some(Assertion { query, expect: format!("{text}|t|") })
    }

    fn scratch_processes(&self) -> Vec<String> {
        let scratch = self.place.clusters.join("scratch-");
        let scratch = scratch.to_string_lossy().into_owned();
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let directories = processes.filter_map(|process| std::fs::read_link(process.path().join("cwd")).ok());
        let directories = directories.map(|directory| directory.to_string_lossy().into_owned());
        directories.filter(|directory| directory.starts_with(&scratch)).collect()
    }

    fn scratch_remains(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.place.clusters).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with("scratch-")).collect()
    }
}

async fn connect(delivery: &Delivery) -> PgConnection {
    PgConnection::connect(delivery["uri"].expose_secret()).await.unwrap()
}

#[test]
fn postgresql_brings_data_back() {
    run(recovery::run(&PostgresqlFixture { place: Place::new() }));
}
