//! What one tenant must not be able to do to another, tried.

use sqlx::Connection;
use sqlx::postgres::PgConnection;

use crate::place::{Tenant, count, execute, run, shared};

/// The SQLSTATE of `insufficient_privilege`.
const DENIED: &str = "42501";

#[test]
fn a_tenant_reaches_no_database_but_its_own() {
    run(async {
        let shared = shared().await;
        let attacker = Tenant::new(&shared.engine, &shared.cluster).await;
        let victim = Tenant::new(&shared.engine, &shared.cluster).await;
        for database in [victim.database().as_str(), "postgres", "template1", "template0"] {
            let uri = attacker.uri.replace(&attacker.database(), database);
            let error = PgConnection::connect(&uri).await.expect_err(database);
            let code = error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned());
            assert!(matches!(code.as_deref(), Some(DENIED | "55000")), "{database}: {error}");
        }
        for user in ["mainstay", &victim.owner(), &victim.credential.username()] {
            let uri = attacker.uri.replace(&attacker.credential.username(), user);
            let result = PgConnection::connect(&uri).await;
            // Both were given the same password by the test, which is the one way in.
            assert!(result.is_err(), "as {user}");
        }
    });
}

#[test]
fn a_tenant_has_no_power_beyond_its_database() {
    run(async {
        let shared = shared().await;
        let attacker = Tenant::new(&shared.engine, &shared.cluster).await;
        let victim = Tenant::new(&shared.engine, &shared.cluster).await;
        let mut victims_session = victim.connect().await;
        let victims_pid = count(&mut victims_session, "SELECT pg_backend_pid()::int8").await;
        execute(&mut victims_session, "SELECT 'a secret of the victim'").await.unwrap();

        let mut session = attacker.connect().await;
        let (owner, database, user) = (victim.owner(), victim.database(), victim.credential.username());
        for attack in [
            "SELECT pg_read_file('postgresql.conf')".to_owned(),
            "SELECT pg_read_file('/etc/passwd')".to_owned(),
            "SELECT pg_ls_dir('.')".to_owned(),
            "SELECT pg_stat_file('PG_VERSION')".to_owned(),
            "SELECT lo_import('/etc/passwd')".to_owned(),
            "CREATE TABLE loot (line text); COPY loot FROM '/etc/passwd'".to_owned(),
            "CREATE TABLE loot (line text); COPY loot FROM PROGRAM 'id'".to_owned(),
            "COPY (SELECT 1) TO PROGRAM 'cat'".to_owned(),
            "CREATE ROLE mine".to_owned(),
            "CREATE DATABASE mine".to_owned(),
            format!("SET ROLE {owner}"),
            format!("SET ROLE NONE; SET ROLE {owner}"),
            "SET ROLE mainstay".to_owned(),
            format!("SET SESSION AUTHORIZATION {user}"),
            format!("ALTER DATABASE {database} OWNER TO {}", attacker.owner()),
            format!("DROP DATABASE {database}"),
            format!("ALTER ROLE {user} PASSWORD 'mine'"),
            format!("GRANT {owner} TO {}", attacker.owner()),
            format!("SELECT pg_terminate_backend({victims_pid})"),
            format!("SELECT pg_cancel_backend({victims_pid})"),
            "ALTER SYSTEM SET work_mem = '1GB'".to_owned(),
            "SELECT pg_reload_conf()".to_owned(),
            "SELECT rolpassword FROM pg_authid".to_owned(),
            "SELECT passwd FROM pg_shadow".to_owned(),
            "SHOW data_directory".to_owned(),
            "SELECT * FROM pg_hba_file_rules".to_owned(),
            "CREATE EXTENSION file_fdw".to_owned(),
            "CREATE EXTENSION dblink".to_owned(),
            "CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'libc', 'system'".to_owned(),
            "CREATE LANGUAGE plpython3u".to_owned(),
            "SET log_statement = 'all'".to_owned(),
            "SET temp_file_limit = -1".to_owned(),
            "LOAD '/tmp/evil.so'".to_owned(),
            "CHECKPOINT".to_owned(),
            "SELECT pg_create_physical_replication_slot('mine')".to_owned(),
            "CREATE TABLESPACE mine LOCATION '/tmp'".to_owned(),
        ] {
            let error = execute(&mut session, &attack).await.expect_err(&attack);
            let code = error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned());
            // Most are denied; some fail even earlier because there is no such extension or library.
            assert!(code.is_some(), "{attack} broke the connection: {error}");
        }
        let seen =
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%of the victim%' AND pid <> pg_backend_pid()";
        assert_eq!(count(&mut session, seen).await, 0, "others' statements are hidden");
        let spied = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE pid = {victims_pid} AND query <> '<insufficient privilege>'"
        );
        assert_eq!(count(&mut session, &spied).await, 0, "others' statements are hidden");
        victims_session.ping().await.expect("the victim's session is alive");
    });
}

#[test]
fn a_tenant_is_master_of_its_own_database() {
    run(async {
        let shared = shared().await;
        let tenant = Tenant::new(&shared.engine, &shared.cluster).await;
        let mut session = tenant.connect().await;
        for statement in [
            "CREATE TABLE t (id int PRIMARY KEY, name text); INSERT INTO t VALUES (1, 'a')",
            "CREATE TEMPORARY TABLE scratch (id int)",
            "CREATE SCHEMA extra; CREATE VIEW extra.v AS SELECT * FROM public.t",
            "CREATE EXTENSION pgcrypto",
            "CREATE FUNCTION one() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'",
            "SET work_mem = '8MB'",
            "VACUUM ANALYZE t",
            "COMMENT ON TABLE t IS 'mine'",
        ] {
            execute(&mut session, statement).await.expect(statement);
        }
        let locale = "SELECT count(*) FROM pg_database WHERE datname = current_database() \
                      AND pg_encoding_to_char(encoding) = 'UTF8' AND datcollate LIKE 'C%'";
        assert_eq!(count(&mut session, locale).await, 1);
        let checksums: String = sqlx::query_scalar("SHOW data_checksums").fetch_one(&mut session).await.unwrap();
        assert_eq!(checksums, "on");
    });
}

#[test]
fn a_binding_has_a_connection_limit() {
    run(async {
        let shared = shared().await;
        let mut tenant = Tenant::new(&shared.engine, &shared.cluster).await;
        tenant.instance.parameters = [("connection_limit".to_owned(), "2".to_owned())].into_iter().collect();
        let limited = Tenant::binding(&shared.engine, &shared.cluster, &tenant.instance).await;
        let (_first, _second) = (limited.connect().await, limited.connect().await);
        let error = PgConnection::connect(&limited.uri).await.unwrap_err();
        assert!(error.to_string().contains("too many connections"), "{error}");
        tenant.connect().await;
    });
}
