//! What a database costs, as ratios to what a raw client pays on the same server in the same run.
//!
//! `cargo bench -p mainstay-engine-postgresql`

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use mainstay_engine::supervise::{EngineUser, confine};
use mainstay_engine::{ClusterSpec, CredentialSpec, Engine, InstanceSpec};
use mainstay_engine_postgresql::{PostgresqlConfig, PostgresqlEngine};
use mainstay_types::{BindingId, InstanceId, InstanceName, NodeName, Parameters, Plan, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection};

/// Enough for a median that two runs agree on to a few per cent.
const ROUNDS: u64 = 30;
/// Initialising takes a second or more.
const CLUSTER_ROUNDS: u64 = 5;

#[tokio::main]
async fn main() {
    let temporary = tempfile::tempdir().unwrap();
    std::fs::set_permissions(temporary.path(), PermissionsExt::from_mode(0o711)).unwrap();
    let user = EngineUser::resolve(None).unwrap();
    let engine = PostgresqlEngine::new(PostgresqlConfig::new(temporary.path().to_owned(), user.clone()));

    let shared = spec("postgresql-shared", Plan::Shared);
    engine.start(&shared).await.unwrap();
    let socket = temporary.path().join("postgresql-shared/run");
    let (mut raw, mut ours, mut unbinding) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // In turns, so that both meet the same disk.
        raw.push(time(raw_claim(&socket, shared.port, round)).await);
        ours.push(time(claim(&engine, &shared, round)).await);
        let (instance, credential) = claimed(round);
        unbinding.push(time(async { engine.unbind(&shared, &credential).await.unwrap() }).await);
        engine.deprovision(&shared, &instance).await.unwrap();
    }
    report("provision + bind + first connection, shared", median(ours), median(raw));
    println!("{:<48} {:>8.1} ms", "unbind", millis(median(unbinding)));
    println!("{:<48} {:>8.2} ms", "observe 100 instances, 100 credentials", observe(&engine, &shared).await);
    engine.remove(&shared).await.unwrap();

    let (mut raw, mut ours) = (Vec::new(), Vec::new());
    for round in 0..CLUSTER_ROUNDS {
        raw.push(time(raw_cluster(temporary.path(), &user)).await);
        let cluster = spec(&format!("postgresql-{round}"), Plan::Dedicated);
        let making = async {
            engine.start(&cluster).await.unwrap();
            claim(&engine, &cluster, round).await;
        };
        ours.push(time(making).await);
        engine.remove(&cluster).await.unwrap();
    }
    report("initialise + start + provision + bind, dedicated", median(ours), median(raw));
}

async fn claim(engine: &PostgresqlEngine, cluster: &ClusterSpec, number: u64) {
    let (instance, credential) = claimed(number);
    let password = SecretString::from("benchmark-password");
    engine.provision(cluster, &instance).await.unwrap();
    engine.bind(cluster, &instance, &credential, &password).await.unwrap();
    let delivery = engine.delivery(cluster, &instance, &credential, &password);
    PgConnection::connect(delivery["uri"].expose_secret()).await.unwrap().close().await.unwrap();
}

fn claimed(number: u64) -> (InstanceSpec, CredentialSpec) {
    let instance = InstanceSpec {
        id: InstanceId::from_random(number),
        name: InstanceName::first(),
        parameters: Parameters::default(),
    };
    let credential = CredentialSpec {
        binding: BindingId::from_random(number),
        generation: 1,
        login: 1,
        instance: instance.id.clone(),
        valid_until: Timestamp::now().plus_seconds(3_600).whole_seconds(),
        statements: None,
    };
    (instance, credential)
}

async fn raw_claim(socket: &Path, port: u16, number: u64) {
    let options =
        PgConnectOptions::new_without_pgpass().socket(socket).port(port).username("mainstay").database("postgres");
    let mut superuser = PgConnection::connect_with(&options).await.unwrap();
    let role = format!("CREATE ROLE raw_{number} LOGIN PASSWORD 'benchmark-password'");
    let database = format!("CREATE DATABASE raw_{number} OWNER raw_{number}");
    for statement in [role, database] {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut superuser).await.unwrap();
    }
    let uri = format!("postgresql://raw_{number}:benchmark-password@127.0.0.1:{port}/raw_{number}");
    PgConnection::connect(&uri).await.unwrap().close().await.unwrap();
}

async fn observe(engine: &PostgresqlEngine, cluster: &ClusterSpec) -> f64 {
    let (instances, credentials): (Vec<_>, Vec<_>) = (0..100).map(claimed).unzip();
    for (instance, credential) in instances.iter().zip(&credentials) {
        engine.provision(cluster, instance).await.unwrap();
        engine.bind(cluster, instance, credential, &"benchmark-password".into()).await.unwrap();
    }
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        times.push(time(async { engine.observe(cluster, &instances, &credentials).await.unwrap() }).await);
    }
    millis(median(times))
}

/// A bare `initdb` and start, as a person would do it, until the first query is answered.
async fn raw_cluster(base: &Path, user: &EngineUser) {
    let directory = base.join("raw");
    std::fs::create_dir(&directory).unwrap();
    std::os::unix::fs::chown(&directory, Some(user.uid), Some(user.gid)).unwrap();
    let bin = std::fs::read_dir("/usr/lib/postgresql").unwrap().next().unwrap().unwrap().path().join("bin");
    let data = directory.join("data");
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(bin.join(program));
        command.arg("-D").arg(&data).args(arguments).current_dir(&directory);
        confine(&mut command, user);
        let output = command.stdout(std::process::Stdio::null()).status().unwrap();
        assert!(output.success());
    };
    run("initdb", &["--data-checksums", "--encoding=UTF8", "--locale=C.UTF-8", "--username=mainstay", "--auth=trust"]);
    let options = format!("-c listen_addresses= -c unix_socket_directories={}", directory.display());
    run("pg_ctl", &["-w", "-l", "/dev/null", "-o", &options, "start"]);
    let connect = PgConnectOptions::new_without_pgpass().socket(&directory).port(5432).username("mainstay");
    PgConnection::connect_with(&connect.database("postgres")).await.unwrap().close().await.unwrap();
    run("pg_ctl", &["-m", "immediate", "-w", "stop"]);
    std::fs::remove_dir_all(&directory).unwrap();
}

fn spec(name: &str, plan: Plan) -> ClusterSpec {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    ClusterSpec {
        name: name.parse().unwrap(),
        node: NodeName::local(),
        plan,
        port,
        parameters: Parameters::default(),
        identity: None,
    }
}

async fn time<T>(work: impl Future<Output = T>) -> Duration {
    let begin = Instant::now();
    work.await;
    begin.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn report(what: &str, ours: Duration, raw: Duration) {
    let ratio = ours.as_secs_f64() / raw.as_secs_f64();
    println!("{what:<48} {:>8.1} ms, raw {:>8.1} ms, ratio {ratio:.2}", millis(ours), millis(raw));
}
