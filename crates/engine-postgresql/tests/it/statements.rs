//! Credentials with statements: what they are allowed, what statements cannot do, and that nothing is left of them.

use mainstay_engine::{CredentialSpec, Engine, EngineError};
use mainstay_types::{Observation, Presence};
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use crate::place::{PASSWORD, Shared, Tenant, count, execute, run, shared};

const USUAL: &str = "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; \
                     GRANT SELECT ON ALL TABLES IN SCHEMA public TO \"{{name}}\";";

/// A tenant with a table.
async fn with_table(shared: &Shared) -> (Tenant, PgConnection) {
    let tenant = Tenant::new(&shared.engine, &shared.cluster).await;
    let mut session = tenant.connect().await;
    execute(&mut session, "CREATE TABLE notes (id int); INSERT INTO notes VALUES (1), (2)").await.unwrap();
    (tenant, session)
}

/// Whatever a tenant's credentials made that is not there any more when they are gone.
async fn left(superuser: &mut PgConnection, tenant: &Tenant) -> i64 {
    let suffix = tenant.credential.binding.suffix();
    count(superuser, &format!("SELECT count(*) FROM pg_roles WHERE rolname ~ '^[bs]_{suffix}_'")).await
}

async fn roles_of_statements(shared: &Shared) -> i64 {
    let mut superuser = shared.place.superuser(&shared.cluster, "postgres").await;
    count(&mut superuser, "SELECT count(*) FROM pg_roles WHERE rolname ~ '^s_' AND rolvaliduntil < now()").await
}

fn presence<'a>(observation: &'a Observation, credential: &CredentialSpec) -> &'a Presence {
    &observation.credentials[&(credential.binding.clone(), credential.generation)].presence
}

fn refusal(outcome: Result<Tenant, EngineError>) -> String {
    match outcome {
        Err(error @ EngineError::Permanent { .. }) => error.to_string(),
        Err(error) => panic!("it is refused for a while only: {error:?}"),
        Ok(_) => panic!("it is not refused"),
    }
}

#[test]
fn a_credential_is_allowed_what_its_statements_say_and_no_more() {
    run(async {
        let shared = shared().await;
        let (tenant, _owner) = with_table(shared).await;
        let limited = tenant.limited(shared, &[USUAL]).await.unwrap();
        let mut session = limited.connect().await;
        assert_eq!(count(&mut session, "SELECT count(*) FROM notes").await, 2);
        execute(&mut session, "CREATE TEMPORARY TABLE scratch (id int)").await.unwrap();
        for beyond in [
            "INSERT INTO notes VALUES (3)",
            "DROP TABLE notes",
            "CREATE TABLE mine (id int)",
            "CREATE SCHEMA mine",
            &format!("SET ROLE {}", tenant.owner()),
            &format!("GRANT {} TO {}", tenant.owner(), limited.credential.username()),
            "ALTER ROLE CURRENT_USER SUPERUSER",
            "ALTER ROLE CURRENT_USER VALID UNTIL 'infinity'",
        ] {
            execute(&mut session, beyond).await.expect_err(beyond);
        }
        let other = Tenant::new(&shared.engine, &shared.cluster).await;
        let uri = limited.uri.replace(&limited.database(), &other.database());
        PgConnection::connect(&uri).await.expect_err("another tenant's database is closed");
    });
}

#[test]
fn statements_have_no_more_rights_than_the_owner() {
    run(async {
        let shared = shared().await;
        let (tenant, _owner) = with_table(shared).await;
        let victim = Tenant::new(&shared.engine, &shared.cluster).await;
        let (owner, victims, database) = (tenant.owner(), victim.owner(), victim.database());
        let user = victim.credential.username();
        for attack in [
            "RESET ROLE; ALTER ROLE \"{{name}}\" SUPERUSER".to_owned(),
            "RESET SESSION AUTHORIZATION; ALTER ROLE \"{{name}}\" SUPERUSER".to_owned(),
            "RESET ALL; SET ROLE NONE; ALTER ROLE CURRENT_USER CREATEROLE".to_owned(),
            "SET SESSION AUTHORIZATION mainstay".to_owned(),
            format!("SET SESSION AUTHORIZATION {victims}"),
            "SET ROLE mainstay".to_owned(),
            "SET ROLE NONE; SET ROLE mainstay".to_owned(),
            format!("SET ROLE {victims}"),
            "ALTER ROLE \"{{name}}\" SUPERUSER".to_owned(),
            "ALTER ROLE \"{{name}}\" LOGIN PASSWORD 'mine'".to_owned(),
            format!("GRANT {owner} TO \"{{{{name}}}}\""),
            format!("SET ROLE NONE; GRANT {owner} TO \"{{{{name}}}}\""),
            format!("GRANT {victims} TO \"{{{{name}}}}\""),
            "GRANT pg_execute_server_program TO \"{{name}}\"".to_owned(),
            format!("GRANT CONNECT ON DATABASE {database} TO \"{{{{name}}}}\"; SELECT 1/0"),
            format!("ALTER ROLE {user} PASSWORD 'mine'"),
            "CREATE ROLE other SUPERUSER".to_owned(),
            "COPY (SELECT 1) TO PROGRAM 'id'".to_owned(),
            "COPY notes FROM PROGRAM 'id'".to_owned(),
            "COPY notes FROM '/etc/passwd'".to_owned(),
            "SELECT pg_read_file('postgresql.conf')".to_owned(),
            "SELECT rolpassword FROM pg_authid".to_owned(),
            "ALTER SYSTEM SET log_statement = 'all'".to_owned(),
            "CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'libc', 'system'".to_owned(),
            "DO $$ BEGIN EXECUTE 'RESET ROLE'; EXECUTE 'ALTER ROLE mainstay NOLOGIN'; END $$".to_owned(),
            "COMMIT; RESET SESSION AUTHORIZATION; SET ROLE mainstay".to_owned(),
        ] {
            let message = refusal(tenant.limited(shared, &[USUAL, &attack]).await);
            assert!(message.starts_with("PostgreSQL refused a statement: "), "{attack}: {message}");
        }
        let mut superuser = shared.place.superuser(&shared.cluster, "postgres").await;
        let powerful = "SELECT count(*) FROM pg_roles WHERE rolname ~ '^[bso]_' AND (rolsuper OR rolcreaterole \
                        OR rolcreatedb OR rolreplication OR rolbypassrls)";
        assert_eq!(count(&mut superuser, powerful).await, 0);
        let granted = format!(
            "SELECT count(*) FROM pg_database, aclexplode(datacl) JOIN pg_roles ON pg_roles.oid = grantee \
             WHERE datname = '{database}' AND rolname NOT IN ('{victims}')"
        );
        assert_eq!(count(&mut superuser, &granted).await, 0);
        let members = format!(
            "SELECT count(*) FROM pg_auth_members JOIN pg_roles ON pg_roles.oid = roleid WHERE rolname = '{owner}'"
        );
        assert_eq!(count(&mut superuser, &members).await, 1, "the first binding alone is a member of the owner");
        victim.connect().await;
        assert_eq!(roles_of_statements(shared).await, 0);
    });
}

#[test]
fn a_statement_that_fails_leaves_nothing() {
    run(async {
        let shared = shared().await;
        let (tenant, mut owner) = with_table(shared).await;
        let mut superuser = shared.place.superuser(&shared.cluster, "postgres").await;
        for (statement, words) in [
            ("GRANT SELECT ON nothing TO \"{{name}}\"", "relation \"nothing\" does not exist"),
            ("GRANT readonly TO \"{{name}}\"", "role \"readonly\" does not exist"),
            ("CREATE TABLE made (id int); GRANT", "syntax error"),
            ("SET LOCAL statement_timeout = '10ms'; SELECT pg_sleep(60)", "statement timeout"),
            ("SET statement_timeout = 0; SELECT pg_sleep(60)", "not through after 10 s"),
            ("ALTER ROLE \"{{name}}\" PASSWORD '{{password}}'", "{{password}}"),
            ("CREATE ROLE \"{{name}}\" SUPERUSER", "SUPERUSER"),
        ] {
            let message = refusal(tenant.limited(shared, &[USUAL, statement]).await);
            assert!(message.contains(words), "{statement}: {message}");
            assert!(!message.contains(PASSWORD) && !message.contains("SCRAM"), "{message}");
        }
        assert_eq!(count(&mut owner, "SELECT count(*) FROM pg_class WHERE relname = 'made'").await, 0);
        let granted = format!(
            "SELECT count(*) FROM pg_database, aclexplode(datacl) JOIN pg_roles ON pg_roles.oid = grantee \
             WHERE datname = '{}' AND rolname ~ '^[bs]_'",
            tenant.database()
        );
        assert_eq!(count(&mut superuser, &granted).await, 0, "a role that is left could enter");
        assert!(!shared.place.log(&shared.cluster).contains("SCRAM-SHA-256$"));
    });
}

#[test]
fn names_of_any_kind_are_no_trouble() {
    run(async {
        let shared = shared().await;
        let (tenant, mut owner) = with_table(shared).await;
        let hostile = "CREATE SCHEMA \"a\"\"; DROP TABLE notes; --\"; \
             CREATE TABLE \"a\"\"; DROP TABLE notes; --\".\"b'; DROP TABLE notes; --\" (id int)";
        execute(&mut owner, hostile).await.unwrap();
        let limited = tenant
            .limited(
                shared,
                &[
                    USUAL,
                    "GRANT ALL ON SCHEMA \"a\"\"; DROP TABLE notes; --\" TO \"{{name}}\"",
                    "GRANT ALL ON ALL TABLES IN SCHEMA \"a\"\"; DROP TABLE notes; --\" TO \"{{name}}\" WITH GRANT OPTION",
                    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO \"{{name}}\"",
                    "ALTER TABLE notes ENABLE ROW LEVEL SECURITY; \
                     CREATE POLICY \"p;'\" ON notes TO \"{{name}}\" USING (id = 1)",
                ],
            )
            .await
            .unwrap();
        let mut session = limited.connect().await;
        assert_eq!(count(&mut session, "SELECT count(*) FROM notes").await, 1, "the policy holds");
        // What it makes of its own, in a schema whose name is an attack too.
        let own = "CREATE TABLE \"a\"\"; DROP TABLE notes; --\".\"own\"\"'; DROP ROLE mainstay\" (id int)";
        execute(&mut session, own).await.unwrap();
        // And what the owner says of the database is not for us.
        let database = tenant.database();
        for setting in ["role = pg_monitor", "search_path = evil", "default_transaction_read_only = on"] {
            let set = format!("ALTER DATABASE {database} SET {setting}");
            let mut superuser = shared.place.superuser(&shared.cluster, "postgres").await;
            execute(&mut superuser, &set).await.unwrap();
        }
        shared.engine.unbind(&shared.cluster, &limited.credential).await.unwrap();
        session.ping().await.expect_err("its session ended");
        let mut superuser = shared.place.superuser(&shared.cluster, "postgres").await;
        assert_eq!(left(&mut superuser, &limited).await, 0);
        execute(&mut superuser, &format!("ALTER DATABASE {database} RESET ALL")).await.unwrap();
        let mut owner = tenant.connect().await;
        assert_eq!(count(&mut owner, "SELECT count(*) FROM notes").await, 2, "nothing was dropped");
        let kept = "SELECT count(*) FROM pg_class WHERE relname ~ '^own' AND relowner = current_user::regrole";
        assert_eq!(count(&mut owner, kept).await, 1, "what it made belongs to the owner");
        assert_eq!(count(&mut owner, "SELECT count(*) FROM pg_default_acl").await, 0);
        // It is gone already, by our hand or another.
        shared.engine.unbind(&shared.cluster, &limited.credential).await.unwrap();
    });
}

#[test]
fn an_interrupted_attempt_is_finished_or_removed() {
    run(async {
        let shared = shared().await;
        let (tenant, mut owner) = with_table(shared).await;
        let (engine, cluster) = (&shared.engine, &shared.cluster);
        let mut superuser = shared.place.superuser(cluster, "postgres").await;
        let unfinished = |limited: &Tenant| {
            let (user, session) = (limited.credential.username(), limited.credential.username().replacen('b', "s", 1));
            format!(
                "ALTER ROLE {user} NOLOGIN PASSWORD NULL; \
                 CREATE ROLE {session} LOGIN PASSWORD 'x' IN ROLE {}",
                tenant.owner()
            )
        };
        let limited = tenant.limited(shared, &[USUAL]).await.unwrap();
        execute(&mut superuser, &unfinished(&limited)).await.unwrap();
        // Statements run again on a role that is new.
        execute(&mut owner, &format!("REVOKE ALL ON notes FROM {}", limited.credential.username())).await.unwrap();
        engine.bind(cluster, &limited.instance, &limited.credential, &PASSWORD.into()).await.unwrap();
        assert_eq!(left(&mut superuser, &limited).await, 1, "the role of the session is gone");
        let mut session = limited.connect().await;
        assert_eq!(count(&mut session, "SELECT count(*) FROM notes").await, 2);

        execute(&mut superuser, &unfinished(&limited)).await.unwrap();
        engine.unbind(cluster, &limited.credential).await.unwrap();
        assert_eq!(left(&mut superuser, &limited).await, 0);

        // An instance takes what is left with it.
        let limited = tenant.limited(shared, &[USUAL]).await.unwrap();
        execute(&mut superuser, &unfinished(&limited)).await.unwrap();
        engine.deprovision(cluster, &limited.instance).await.unwrap();
        assert_eq!(left(&mut superuser, &limited).await, 0);
        engine.unbind(cluster, &limited.credential).await.unwrap();
    });
}

#[test]
fn a_changed_credential_with_statements_is_repaired_and_stays_limited() {
    run(async {
        let shared = shared().await;
        let (tenant, _owner) = with_table(shared).await;
        let (engine, cluster) = (&shared.engine, &shared.cluster);
        let limited = tenant.limited(shared, &[USUAL]).await.unwrap();
        let (user, database) = (limited.credential.username(), limited.database());
        let mut superuser = shared.place.superuser(cluster, "postgres").await;
        let observe = || async {
            let (instances, credentials) = ([limited.instance.clone()], [limited.credential.clone()]);
            presence(&engine.observe(cluster, &instances, &credentials).await.unwrap(), &limited.credential).clone()
        };
        for (damage, how) in [
            (format!("GRANT {} TO {user}", tenant.owner()), "should be of nothing"),
            (format!("ALTER ROLE {user} SUPERUSER"), "rights that no binding has"),
            (format!("ALTER ROLE {user} NOLOGIN"), "it may not log in"),
            (format!("ALTER ROLE {user} IN DATABASE {database} SET role = {user}"), "its settings were changed"),
            (format!("ALTER ROLE {user} PASSWORD 'another'"), "its password was changed"),
        ] {
            assert_eq!(observe().await, Presence::Present, "before {damage}");
            execute(&mut superuser, &damage).await.unwrap();
            match observe().await {
                Presence::Drifted { how: seen } => assert!(seen.contains(how), "{damage}: {seen}"),
                other => panic!("{damage}: {other:?}"),
            }
            engine.bind(cluster, &limited.instance, &limited.credential, &PASSWORD.into()).await.unwrap();
        }
        assert_eq!(observe().await, Presence::Present);
        let mut session = limited.connect().await;
        assert_eq!(count(&mut session, "SELECT count(*) FROM notes").await, 2);
        execute(&mut session, "DROP TABLE notes").await.expect_err("it is not the owner");
    });
}
