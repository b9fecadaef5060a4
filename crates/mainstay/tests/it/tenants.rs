//! Two tenants on one layer and one server: neither reaches what is the other's, whatever it tries.

use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};
use ureq::http::Method;

use crate::harness::{Api, Layer, Options, until, uri_of};

const PATIENCE: Duration = Duration::from_secs(30);
const SHARED: &str = "postgresql-shared";
const TENANT: &str = "mainstay-tenant";

/// How the server says that somebody may not.
const REFUSALS: [&str; 6] = ["permission denied", "must be", "must have", "cannot be", "not allowed", "not a member"];

/// One tenant: its tokens, and an instance called `shop` with a binding.
struct Tenant {
    name: &'static str,
    viewer: Api,
    operator: Api,
    admin: Api,
    operation: String,
    binding: Value,
    uri: String,
}

struct Stage {
    layer: Layer,
    acme: Tenant,
    evil: Tenant,
}

fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let layer = Layer::start(Options::default());
        let (acme, evil) = (Tenant::settle(&layer, "acme"), Tenant::settle(&layer, "evil"));
        Stage { layer, acme, evil }
    })
}

impl Tenant {
    fn settle(layer: &Layer, name: &'static str) -> Self {
        let api = |role| layer.api().with_token(&token(layer, name, role, "1h"));
        let operator = api("operator");
        let wanted = json!({
            "name": "shop", "contract": "postgresql/v1", "parameters": { "connection_limit": "10" },
        });
        let operation = operator.post("/api/v1/instances?wait=60s", &wanted).expect(200);
        let consumer = json!({ "consumer": "web" });
        let binding = operator.post("/api/v1/instances/shop/bindings?wait=60s", &consumer).expect(201);
        Self {
            name,
            viewer: api("viewer"),
            admin: api("admin"),
            operator,
            operation: operation["id"].as_str().unwrap().to_owned(),
            uri: uri_of(&binding),
            binding,
        }
    }

    fn credential(&self, key: &str) -> &str {
        self.binding["credentials"][key].as_str().unwrap()
    }

    fn binding_id(&self) -> &str {
        self.binding["id"].as_str().unwrap()
    }

    /// The role that owns its database.
    fn owner(&self) -> String {
        self.credential("database").replacen("db_", "o_", 1)
    }
}

/// A token that the layer's admin makes for a tenant.
fn token(layer: &Layer, tenant: &str, role: &str, ttl: &str) -> String {
    let made = layer.cli(&["token", "create", "--tenant", tenant, "--role", role, "--ttl", ttl, "-o", "json"]).json();
    made["token"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_the_others_does_not_exist() {
    let Stage { acme, evil, .. } = stage();
    let ledger = json!({ "name": "ledger", "contract": "postgresql/v1", "plan": "dedicated" });
    acme.operator.post("/api/v1/instances?wait=60s", &ledger).expect(200);
    let own = acme.viewer.get("/api/v1/instances/ledger").expect(200);

    let id = acme.binding_id();
    let absent = [
        (Method::GET, "/api/v1/instances/ledger".to_owned()),
        (Method::DELETE, "/api/v1/instances/ledger?force=true".to_owned()),
        (Method::GET, "/api/v1/instances/ledger/bindings".to_owned()),
        (Method::POST, "/api/v1/instances/ledger/bindings".to_owned()),
        (Method::GET, format!("/api/v1/bindings/{id}")),
        (Method::DELETE, format!("/api/v1/bindings/{id}")),
        (Method::POST, format!("/api/v1/bindings/{id}/renew")),
        (Method::POST, format!("/api/v1/bindings/{id}/rotate")),
        (Method::GET, format!("/api/v1/operations/{}", acme.operation)),
    ];
    for (method, path) in absent {
        let body = if path.ends_with("bindings") { r#"{"consumer":"x"}"# } else { "{}" };
        let body = if method == Method::POST { body } else { "" };
        let answer = evil.admin.call(method, &path, &[], body).unwrap();
        assert_eq!(answer.status, 404, "{path}: {}", answer.text);
        assert!(!answer.text.contains("acme"), "{}", answer.text);
    }

    let names = |items: &[Value]| items.iter().map(|item| item["name"].clone()).collect::<Vec<_>>();
    assert_eq!(names(&evil.viewer.all("/api/v1/instances")), ["shop"]);
    let clusters = evil.viewer.all("/api/v1/clusters");
    assert_eq!(names(&clusters), [SHARED], "only what everybody shares");
    assert_eq!(clusters[0]["instances"], 1, "only its own are counted");
    assert!(names(&acme.viewer.all("/api/v1/clusters")).contains(&own["cluster"]));
    let status = evil.viewer.get("/api/v1/status").expect(200);
    assert_eq!(status["instances"], json!({ "ready": 1 }));
    for path in ["/api/v1/events", "/api/v1/operations", "/api/v1/tokens", "/api/v1/instances/shop/bindings"] {
        let seen = Value::from(evil.admin.all(path)).to_string();
        let strange = ["acme", "ledger", id, &acme.operation, own["cluster"].as_str().unwrap()];
        assert!(strange.iter().all(|strange| !seen.contains(strange)), "{path} shows what is acme's: {seen}");
    }
    let events = evil.viewer.all("/api/v1/events");
    assert!(events.iter().any(|event| event["tenant"] == "evil") && events.iter().all(|e| e["tenant"] != "acme"));
}

#[test]
fn a_token_is_for_its_tenant_and_its_role() {
    let Stage { layer, acme, evil } = stage();
    let as_acme = [(TENANT, acme.name)];
    for (method, path, body) in [
        (Method::GET, "/api/v1/instances", ""),
        (Method::GET, "/api/v1/events", ""),
        (Method::POST, "/api/v1/instances", r#"{"name":"planted","contract":"postgresql/v1"}"#),
        (Method::DELETE, "/api/v1/instances/shop?force=true", ""),
    ] {
        let refused = evil.admin.call(method, path, &as_acme, body).unwrap().expect(403);
        assert_eq!(refused["code"], "tenant_forbidden", "{path}");
    }
    let refused = evil.admin.call(Method::GET, "/api/v1/instances", &[(TENANT, "No Tenant")], "").unwrap();
    assert_eq!(refused.expect(400)["code"], "header_invalid");
    // The layer's admin may act in every tenant, and acts in the one that is named.
    let seen = layer.api().call(Method::GET, "/api/v1/instances/shop", &as_acme, "").unwrap().expect(200);
    assert_eq!(seen["tenant"], "acme");

    for wanted in [json!({ "role": "admin", "tenant": "acme" }), json!({ "role": "viewer", "tenant": "*" })] {
        assert_eq!(evil.admin.post("/api/v1/tokens", &wanted).expect(403)["code"], "tenant_forbidden");
    }
    let acmes = acme.admin.all("/api/v1/tokens")[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(evil.admin.delete(&format!("/api/v1/tokens/{acmes}")).expect(404)["code"], "token_not_found");
    evil.admin.get("/metrics").expect(403);

    let create = json!({ "name": "another", "contract": "postgresql/v1" });
    for (what, answer) in [
        ("create", evil.viewer.post("/api/v1/instances", &create)),
        ("delete", evil.viewer.delete("/api/v1/instances/shop")),
        ("bind", evil.viewer.post("/api/v1/instances/shop/bindings", &json!({ "consumer": "x" }))),
        ("rotate", evil.viewer.post(&format!("/api/v1/bindings/{}/rotate", evil.binding_id()), &json!({}))),
        ("renew", evil.viewer.post(&format!("/api/v1/bindings/{}/renew", evil.binding_id()), &json!({}))),
        ("unbind", evil.viewer.delete(&format!("/api/v1/bindings/{}", evil.binding_id()))),
        ("list tokens", evil.operator.get("/api/v1/tokens")),
        ("make a token", evil.operator.post("/api/v1/tokens", &json!({ "role": "admin" }))),
    ] {
        assert_eq!(answer.expect(403)["code"], "role_insufficient", "{what}");
    }
}

#[test]
fn tokens_end() {
    let Stage { layer, evil, .. } = stage();
    let instances = |token: &str| layer.api().with_token(token).get("/api/v1/instances");

    let short = token(layer, "evil", "viewer", "1s");
    let expired =
        until("the token expires", PATIENCE, || Some(instances(&short)).filter(|answer| answer.status != 200));
    assert_eq!((&expired.body["status"], &expired.body["code"]), (&json!(401), &json!("token_expired")));

    let good = token(layer, "evil", "viewer", "1h");
    instances(&good).expect(200);
    let mut forged = good.clone();
    let last = if forged.pop() == Some('a') { 'b' } else { 'a' };
    forged.push(last);
    for forged in [forged.as_str(), &good[..good.len() - 1], "mst_", "x", &good.to_uppercase()] {
        assert_eq!(instances(forged).expect(401)["code"], "token_refused", "a forged token");
    }
    assert_eq!(instances("").expect(401)["code"], "token_missing");

    let id = format!("t-{}", good.split('_').nth(1).unwrap());
    assert_eq!(evil.admin.delete(&format!("/api/v1/tokens/{id}")).status, 204);
    assert_eq!(instances(&good).expect(401)["code"], "token_refused");
}

#[test]
fn a_tenants_credentials_reach_its_own_database_and_nothing_else() {
    let Stage { layer, acme, evil } = stage();
    layer.psql(&evil.uri, "CREATE TABLE mine (line text)");
    layer.psql(&acme.uri, "CREATE TABLE IF NOT EXISTS secret AS SELECT 'sesame' AS word");
    let own = evil.credential("database");
    for database in [acme.credential("database"), "postgres", "template1", "template0"] {
        let error = layer.try_psql(&evil.uri.replace(own, database), "SELECT 1").unwrap_err();
        let refused = error.contains("permission denied for database") || error.contains("not currently accepting");
        assert!(refused, "{database}: {error}");
    }
    let as_superuser = evil.uri.replace(evil.credential("username"), "mainstay");
    assert!(layer.try_psql(&as_superuser, "SELECT 1").unwrap_err().contains("pg_hba.conf rejects"));
    let replication = format!("{}?replication=database", evil.uri);
    layer.try_psql(&replication, "IDENTIFY_SYSTEM").unwrap_err();

    let (role, owner, database) = (acme.credential("username"), acme.owner(), acme.credential("database"));
    let (self_role, self_owner) = (evil.credential("username"), evil.owner());
    for attack in [
        "COPY (SELECT 1) TO PROGRAM 'id'",
        "COPY mine FROM PROGRAM 'id'",
        "COPY mine FROM '/etc/passwd'",
        "COPY mine TO '/tmp/mine'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT pg_read_binary_file('postgresql.conf')",
        "SELECT pg_ls_dir('.')",
        "SELECT pg_stat_file('PG_VERSION')",
        "SELECT lo_import('/etc/passwd')",
        "SELECT rolpassword FROM pg_authid",
        "SELECT passwd FROM pg_shadow",
        "SELECT * FROM pg_hba_file_rules",
        "CREATE EXTENSION dblink",
        "CREATE EXTENSION postgres_fdw",
        "CREATE EXTENSION file_fdw",
        "CREATE FUNCTION f() RETURNS int LANGUAGE c AS '/lib/x86_64-linux-gnu/libc.so.6', 'getpid'",
        "LOAD '/lib/x86_64-linux-gnu/libc.so.6'",
        "SET SESSION AUTHORIZATION mainstay",
        "SET ROLE mainstay",
        "SET ROLE pg_read_all_data",
        "SET temp_file_limit = -1",
        "SET session_replication_role = replica",
        "ALTER SYSTEM SET fsync = off",
        "SELECT pg_reload_conf()",
        "SELECT pg_create_physical_replication_slot('full', true)",
        "CREATE DATABASE another",
        "CREATE ROLE another",
        "CREATE TABLESPACE another LOCATION '/tmp'",
        "CREATE PUBLICATION everything FOR ALL TABLES",
        "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1' PUBLICATION p",
        "CREATE EVENT TRIGGER t ON ddl_command_start EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "ALTER DATABASE template1 IS_TEMPLATE false",
        &format!("ALTER DATABASE {own} RENAME TO another"),
        &format!("SET ROLE {owner}"),
        &format!("SET ROLE {role}"),
        &format!("ALTER ROLE {role} PASSWORD 'stolen'"),
        &format!("ALTER ROLE {owner} LOGIN"),
        &format!("ALTER ROLE {role} IN DATABASE {database} RESET ALL"),
        &format!("DROP ROLE {role}"),
        &format!("GRANT {owner} TO {self_role}"),
        &format!("GRANT pg_execute_server_program TO {self_owner}"),
        &format!("REASSIGN OWNED BY {owner} TO {self_owner}"),
        &format!("ALTER DATABASE {database} CONNECTION LIMIT 0"),
        &format!("DROP DATABASE {database} WITH (FORCE)"),
        &format!("ALTER ROLE {self_role} SUPERUSER"),
        &format!("SET ROLE NONE; ALTER ROLE {self_role} CREATEROLE"),
        &format!("SET ROLE NONE; ALTER ROLE {self_role} CONNECTION LIMIT -1"),
        &format!("SET ROLE NONE; ALTER ROLE {self_role} VALID UNTIL 'infinity'"),
    ] {
        let outcome = layer.try_psql(&evil.uri, attack);
        let refused = outcome.as_ref().is_err_and(|error| REFUSALS.iter().any(|refusal| error.contains(refusal)));
        assert!(refused, "{attack}: {outcome:?}");
    }
    assert_eq!(layer.psql(&acme.uri, "SELECT word FROM secret"), "sesame");
}

#[test]
fn a_tenants_sessions_are_its_own_affair() {
    let Stage { layer, acme, evil } = stage();
    let mut session = Command::new("psql")
        .args(["-Xc", "SELECT 'sesame', pg_sleep(600)", &acme.uri])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let superuser = layer.superuser(SHARED, layer.postgresql_port());
    let its_pid = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%sesame%' AND pid <> pg_backend_pid()";
    let pid = until("acme's session is open", PATIENCE, || {
        Some(layer.psql(&superuser, its_pid)).filter(|pid| !pid.is_empty())
    });

    for function in ["pg_terminate_backend", "pg_cancel_backend", "pg_log_backend_memory_contexts"] {
        let refused = layer.try_psql(&evil.uri, &format!("SELECT {function}({pid})")).unwrap_err();
        assert!(refused.contains("ERROR"), "{refused}");
    }
    let seen = layer.psql(&evil.uri, &format!("SELECT query FROM pg_stat_activity WHERE pid = {pid}"));
    assert_eq!(seen, "<insufficient privilege>");
    assert_eq!(session.try_wait().unwrap(), None, "the session goes on");
    session.kill().unwrap();
    session.wait().unwrap();
}

#[test]
fn a_tenant_that_takes_all_its_sessions_leaves_the_others_theirs() {
    let Stage { layer, acme, evil } = stage();
    let consumer = json!({ "consumer": "greedy" });
    let greedy = uri_of(&evil.operator.post("/api/v1/instances/shop/bindings?wait=60s", &consumer).expect(201));
    let open = || {
        let mut psql = Command::new("psql");
        psql.args(["-Xc", "SELECT pg_sleep(600)", &greedy]).stdout(Stdio::null()).stderr(Stdio::null());
        psql.spawn().unwrap()
    };
    // The look itself takes a session for a moment and can keep one of these out, so each look is preceded by one more.
    let mut sessions = Vec::new();
    let refused = until("no further session is let in", PATIENCE, || {
        sessions.push(open());
        layer.try_psql(&greedy, "SELECT 1").err()
    });
    assert!(refused.contains("too many connections for role"), "{refused}");
    assert_eq!(layer.psql(&acme.uri, "SELECT 1"), "1");
    for session in &mut sessions {
        session.kill().unwrap();
        session.wait().unwrap();
    }
}
