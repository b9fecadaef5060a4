//! What another hand changes on a server is put right by itself, and each repair is on record with its cause.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Layer, Options, kill_process, until, uri_of};

/// A change is seen within the 5 s between two looks, and put right in a moment; the rest is for busy machines.
const REPAIRED: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(60);
const SHARED: &str = "postgresql-shared";

#[test]
fn roles_and_databases_that_somebody_changed_are_put_right() {
    let layer = Layer::start(Options::default());
    let superuser = layer.superuser(SHARED, layer.postgresql_port());
    // One instance and binding for each change, so that every repair has a cause of its own.
    let changes = [
        ("dropped", "DROP ROLE {role}", "v1.binding.repaired", "missing"),
        ("password", "ALTER ROLE {role} PASSWORD 'somebody-elses'", "v1.binding.repaired", "its password was changed"),
        ("forgotten", "ALTER ROLE {role} PASSWORD NULL", "v1.binding.repaired", "it has no password"),
        ("nologin", "ALTER ROLE {role} NOLOGIN", "v1.binding.repaired", "it may not log in"),
        ("super", "ALTER ROLE {role} SUPERUSER", "v1.binding.repaired", "it has rights that no binding has"),
        ("expired", "ALTER ROLE {role} VALID UNTIL '2000-01-01'", "v1.binding.repaired", "it expires at another time"),
        ("member", "GRANT pg_read_all_data TO {role}", "v1.binding.repaired", "pg_read_all_data"),
        ("outcast", "REVOKE {owner} FROM {role}", "v1.binding.repaired", "it is a member of []"),
        ("limited", "ALTER ROLE {role} CONNECTION LIMIT 0", "v1.binding.repaired", "its connection limit is 0"),
        ("settings", "ALTER ROLE {role} IN DATABASE {database} RESET ALL", "v1.binding.repaired", "its settings"),
        ("public", "GRANT CONNECT ON DATABASE {database} TO PUBLIC", "v1.instance.repaired", "open to other tenants"),
        ("owned", "ALTER DATABASE {database} OWNER TO mainstay", "v1.instance.repaired", "owned by mainstay"),
        ("risen", "ALTER ROLE {owner} SUPERUSER LOGIN", "v1.instance.repaired", "its owner has rights"),
        ("granted", "GRANT pg_read_server_files TO {owner}", "v1.instance.repaired", "its owner has rights"),
        ("closed", "ALTER DATABASE {database} ALLOW_CONNECTIONS false", "v1.instance.repaired", "no connections"),
    ];
    let bindings: Vec<Value> = changes
        .iter()
        .map(|(name, ..)| {
            layer.create(name);
            layer.bind(name, "app")
        })
        .collect();
    for (binding, (name, ..)) in bindings.iter().zip(changes) {
        layer.psql(&uri_of(binding), &format!("CREATE TABLE kept AS SELECT '{name}' AS word"));
    }

    for (binding, (_, change, ..)) in bindings.iter().zip(changes) {
        let credentials = &binding["credentials"];
        let database = credentials["database"].as_str().unwrap();
        let change = change.replace("{role}", credentials["username"].as_str().unwrap());
        let change = change.replace("{database}", database).replace("{owner}", &database.replacen("db_", "o_", 1));
        layer.psql(&superuser, &change);
    }

    for (binding, (name, change, kind, cause)) in bindings.iter().zip(changes) {
        let subject = if kind.contains("binding") { binding["id"].as_str().unwrap() } else { name };
        let event = until(&format!("{change} is repaired"), REPAIRED, || {
            layer.events_of(kind).into_iter().find(|event| event["subject"]["id"] == subject)
        });
        assert!(event["payload"]["cause"].as_str().unwrap().contains(cause), "{change}: {event}");
        assert_eq!(event["actor"], "system");
        let kept = layer.psql(&uri_of(binding), "SELECT word FROM kept");
        assert_eq!(kept, name, "the same password works, and what was there is there");
    }
    let repairs = layer.events().iter().filter(|event| event["type"].as_str().unwrap().ends_with(".repaired")).count();
    assert_eq!(repairs, changes.len(), "each is repaired once");
}

#[test]
fn settings_that_somebody_changed_are_put_back() {
    let layer = Layer::start(Options::default());
    layer.create("shop");
    let uri = uri_of(&layer.bind("shop", "app"));
    let superuser = layer.superuser(SHARED, layer.postgresql_port());
    let show = || layer.psql(&uri, "SELECT current_setting('work_mem') || ' ' || current_setting('log_statement')");
    let before = show();

    let data = data_directory(&layer);
    layer.psql(&superuser, "ALTER SYSTEM SET work_mem = '64kB'");
    for (file, line) in [("postgresql.conf", "log_statement = 'all'"), ("pg_hba.conf", "host all all 0.0.0.0/0 trust")]
    {
        let mut file = OpenOptions::new().append(true).open(data.join(file)).unwrap();
        writeln!(file, "{line}").unwrap();
    }
    layer.psql(&superuser, "SELECT pg_reload_conf()");
    for cause in [
        "work_mem was set with ALTER SYSTEM",
        "postgresql.conf is not as it was written",
        "pg_hba.conf is not as it was written",
    ] {
        let event = until(cause, REPAIRED, || {
            let events = layer.events_of("v1.engine.reconfigured");
            events.into_iter().find(|event| event["payload"]["changes"].to_string().contains(cause))
        });
        assert_eq!(event["subject"]["id"], SHARED);
    }
    assert!(!std::fs::read_to_string(data.join("pg_hba.conf")).unwrap().contains("trust"));
    until("the settings are as before", REPAIRED, || (show() == before).then_some(()));
}

/// A server may be behind what was acknowledged after a machine lost its power: what it is to have is on record, and so is each password.
#[test]
fn users_that_a_cache_forgot_come_back_with_their_passwords() {
    let mut layer = Layer::start(Options::default());
    let wanted = json!({ "name": "jobs", "contract": "redis/v1", "plan": "shared", "engine": "redis" });
    layer.api().post("/api/v1/instances?wait=60s", &wanted).expect(200);
    let users = layer.data_dir().join("clusters/redis-shared/data/users.acl");
    let before = std::fs::read(&users).unwrap();
    let bound = layer.bind("jobs", "app");
    let answer = || {
        let mut client = Command::new("redis-cli");
        let output = client.args(["-u", &uri_of(&bound), "--no-auth-warning", "PING"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(answer(), "PONG\n");
    layer.stop();
    assert_ne!(std::fs::read(&users).unwrap(), before);
    std::fs::write(&users, &before).unwrap();

    layer.restart();
    until("the password works again", REPAIRED, || (answer() == "PONG\n").then_some(()));
    let repairs = layer.events_of("v1.binding.repaired");
    assert_eq!(repairs.len(), 1, "{repairs:?}");
    assert_eq!(repairs[0]["payload"]["cause"], "the credential was missing in the engine");
    assert_eq!(layer.api().get("/api/v1/instances/jobs").expect(200)["state"], "ready");
}

#[test]
fn a_dropped_database_is_told_of_and_not_made_anew() {
    let layer = Layer::start(Options::default());
    let superuser = layer.superuser(SHARED, layer.postgresql_port());
    layer.create("lost");
    layer.create("kept");
    let (lost, kept) = (layer.bind("lost", "app"), layer.bind("kept", "app"));
    let database = lost["credentials"]["database"].as_str().unwrap();
    layer.psql(&superuser, &format!("DROP DATABASE {database} WITH (FORCE)"));

    let failed = until("its loss is noticed", REPAIRED, || in_state(&layer, "lost", "failed"));
    let reason = failed["reason"].as_str().unwrap();
    assert!(reason.contains("its data is no longer on") && reason.contains("mainstay delete lost"), "{reason}");
    assert_eq!(layer.events_of("v1.instance.failed")[0]["payload"]["reason"], *reason);
    layer.try_psql(&uri_of(&lost), "SELECT 1").unwrap_err();
    let refused = layer.cli(&["bind", "lost", "--consumer", "another"]).fail(1);
    assert!(refused.contains("lost has failed"), "{refused}");
    assert_eq!(layer.psql(&uri_of(&kept), "SELECT 1"), "1", "the others go on");
    layer.cli(&["delete", "lost", "--yes", "--force"]).succeed();
    layer.cli(&["get", "lost"]).fail(1);
}

#[test]
fn data_that_is_gone_is_not_initialised_anew_and_comes_back() {
    let mut layer = Layer::start(Options::default());
    layer.create("shop");
    let uri = uri_of(&layer.bind("shop", "app"));
    layer.psql(&uri, "CREATE TABLE kept AS SELECT 42 AS answer");
    layer.stop();
    let (data, away) = (data_directory(&layer), layer.scratch().join("away"));
    std::fs::rename(&data, &away).unwrap();

    layer.restart_in_trouble();
    let failed = until("the cluster fails", PATIENCE, || in_state(&layer, "shop", "failed"));
    assert_failed_with(&layer, &failed, &["is gone from", "not initialised anew", "put the directory back"]);
    assert!(!data.exists());
    let bound = layer.cli(&["create", "postgresql/v1", "another"]).fail(1);
    assert!(bound.contains("is gone from"), "{bound}");

    std::fs::rename(&away, &data).unwrap();
    until("it heals by itself", PATIENCE, || in_state(&layer, "shop", "ready"));
    assert_eq!(layer.psql(&uri, "SELECT answer FROM kept"), "42");
    until("what waited is made", PATIENCE, || in_state(&layer, "another", "ready"));
}

#[test]
fn data_of_another_major_version_is_refused_and_comes_back() {
    let mut layer = Layer::start(Options::default());
    layer.create("shop");
    let uri = uri_of(&layer.bind("shop", "app"));
    layer.psql(&uri, "CREATE TABLE kept AS SELECT 42 AS answer");
    layer.stop();
    let version = data_directory(&layer).join("PG_VERSION");
    let right = std::fs::read_to_string(&version).unwrap();
    std::fs::write(&version, "14\n").unwrap();

    layer.restart_in_trouble();
    let failed = until("the cluster fails", PATIENCE, || in_state(&layer, "shop", "failed"));
    assert_failed_with(
        &layer,
        &failed,
        &["belongs to PostgreSQL 14", "installed here is", "apt-get install postgresql-14"],
    );

    std::fs::write(&version, right).unwrap();
    until("it heals by itself", PATIENCE, || in_state(&layer, "shop", "ready"));
    assert_eq!(layer.psql(&uri, "SELECT answer FROM kept"), "42");
}

#[test]
fn data_of_another_cluster_is_refused() {
    let layer = Layer::start(Options::default());
    layer.create("shop");
    layer.create_with("own", "dedicated");
    let own = layer.api().get("/api/v1/instances/own").expect(200)["cluster"].as_str().unwrap().to_owned();
    let clusters = layer.data_dir().join("clusters");
    let (shared, own_data) = (data_directory(&layer), clusters.join(&own).join("data"));
    // Somebody who moves a directory to the wrong place, while both servers are dead.
    let away = layer.scratch().join("away");
    std::fs::rename(&own_data, &away).unwrap();
    kill_process(server_in(&away));
    until("its end is noticed", PATIENCE, || in_state(&layer, "own", "failed"));
    copy(&shared, &own_data);
    let failed = until("the wrong data is noticed", PATIENCE, || {
        in_state(&layer, "own", "failed").filter(|own| own["reason"].as_str().unwrap().contains("another one"))
    });
    assert!(failed["reason"].as_str().unwrap().contains("put the right directory back"), "{failed}");
    std::fs::remove_dir_all(&own_data).unwrap();
    std::fs::rename(&away, &own_data).unwrap();
    until("it heals by itself", PATIENCE, || in_state(&layer, "own", "ready"));
}

fn data_directory(layer: &Layer) -> PathBuf {
    layer.data_dir().join("clusters").join(SHARED).join("data")
}

/// An instance, where it is in this state.
fn in_state(layer: &Layer, name: &str, state: &str) -> Option<Value> {
    Some(layer.api().get(&format!("/api/v1/instances/{name}")).expect(200)).filter(|found| found["state"] == state)
}

/// The reason is the same wherever somebody looks.
#[track_caller]
fn assert_failed_with(layer: &Layer, instance: &Value, said: &[&str]) {
    let reason = instance["reason"].as_str().unwrap();
    assert!(said.iter().all(|said| reason.contains(said)), "{reason}");
    let cluster = &layer.api().all("/api/v1/clusters")[0];
    assert_eq!((&cluster["state"], &cluster["reason"]), (&"failed".into(), &reason.into()));
    let ready = layer.api().get("/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.text.contains(SHARED) && !ready.text.contains("shop"), "{}", ready.text);
    assert_eq!(layer.cli(&["status"]).code, 1);
    assert_eq!(layer.events_of("v1.cluster.failed").len(), 1, "said once, however often it is tried");
}

fn server_in(data: &Path) -> i32 {
    let pid = std::fs::read_to_string(data.join("postmaster.pid")).unwrap();
    pid.lines().next().unwrap().trim().parse().unwrap()
}

fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success());
}
