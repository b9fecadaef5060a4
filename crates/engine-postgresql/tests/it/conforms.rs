//! The suite that every engine passes.

use std::sync::Arc;

use async_trait::async_trait;
use mainstay_engine::conformance::{self, Delivery, Fixture, Session};
use mainstay_engine::{ClusterSpec, CredentialSpec, Engine, InstanceSpec};
use mainstay_types::Plan;
use rustix::process::{Pid, Signal, kill_process};
use secrecy::ExposeSecret;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use crate::place::{Place, cluster, execute, run};

pub struct PostgresqlFixture {
    pub place: Place,
}

struct Client(PgConnection);

#[async_trait]
impl Fixture for PostgresqlFixture {
    async fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(self.place.engine())
    }

    fn cluster(&self) -> ClusterSpec {
        cluster(Plan::Shared)
    }

    async fn connect(&self, delivery: &Delivery) -> Option<Box<dyn Session>> {
        let client = PgConnection::connect(delivery["uri"].expose_secret()).await.ok()?;
        Some(Box::new(Client(client)))
    }

    fn statements(&self) -> Option<(Vec<String>, String)> {
        let usual = "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; \
                     GRANT SELECT ON ALL TABLES IN SCHEMA public TO \"{{name}}\";";
        Some((vec![usual.to_owned()], "GRANT SELECT ON nothing TO \"{{name}}\"".to_owned()))
    }

    async fn kill(&self, cluster: &ClusterSpec) {
        kill_process(Pid::from_raw(self.place.server_pid(cluster)).unwrap(), Signal::KILL).unwrap();
    }

    async fn drop_instance(&self, cluster: &ClusterSpec, instance: &InstanceSpec) {
        let mut superuser = self.place.superuser(cluster, "postgres").await;
        let drop = format!("DROP DATABASE db_{} WITH (FORCE)", instance.id.suffix());
        execute(&mut superuser, &drop).await.unwrap();
    }

    async fn drop_credential(&self, cluster: &ClusterSpec, credential: &CredentialSpec) {
        let database = format!("db_{}", credential.instance.suffix());
        let mut superuser = self.place.superuser(cluster, &database).await;
        let user = credential.username();
        execute(&mut superuser, &format!("DROP OWNED BY {user}; DROP ROLE {user}")).await.unwrap();
    }

    async fn change_setting(&self, cluster: &ClusterSpec) -> bool {
        let mut superuser = self.place.superuser(cluster, "postgres").await;
        execute(&mut superuser, "ALTER SYSTEM SET fsync = off").await.unwrap();
        true
    }

    async fn lose_data(&self, cluster: &ClusterSpec) {
        std::fs::remove_dir_all(self.place.data(cluster)).unwrap();
    }

    fn remains(&self, cluster: &ClusterSpec) -> Vec<String> {
        let directory = self.place.clusters.join(cluster.name.as_str());
        directory.exists().then(|| directory.display().to_string()).into_iter().collect()
    }

    fn log(&self, cluster: &ClusterSpec) -> String {
        self.place.log(cluster)
    }
}

#[async_trait]
impl Session for Client {
    async fn is_open(&mut self) -> bool {
        self.0.ping().await.is_ok()
    }
}

#[test]
fn postgresql_conforms() {
    run(conformance::run(&PostgresqlFixture { place: Place::new() }));
}
