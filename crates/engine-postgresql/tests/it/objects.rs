//! What one binding makes, the instance's other bindings can use, whatever becomes of the first.

use mainstay_engine::{CredentialSpec, Engine};
use sqlx::Connection;

use crate::place::{PASSWORD, Tenant, count, execute, run, shared};

#[test]
fn objects_belong_to_the_instance() {
    run(async {
        let shared = shared().await;
        let (engine, cluster) = (&shared.engine, &shared.cluster);
        let first = Tenant::new(engine, cluster).await;
        let mut session = first.connect().await;
        execute(&mut session, "CREATE TABLE notes (id int); INSERT INTO notes VALUES (1)").await.unwrap();
        // Made as the binding itself, and granted to it: what unbinding has to tidy up.
        let own = "SET ROLE NONE; CREATE SCHEMA private; CREATE TABLE private.own (id int); \
                   INSERT INTO private.own VALUES (1), (2)";
        execute(&mut session, own).await.unwrap();
        let grant = format!("RESET ROLE; GRANT SELECT ON notes TO {}", first.credential.username());
        execute(&mut session, &grant).await.unwrap();

        let second = Tenant::binding(engine, cluster, &first.instance).await;
        let mut other = second.connect().await;
        execute(&mut other, "INSERT INTO notes VALUES (2); ALTER TABLE notes ADD COLUMN text text").await.unwrap();

        // Rotation: the next generation of the first binding, then the end of its old one.
        let next = CredentialSpec { generation: 2, login: 2, ..first.credential.clone() };
        engine.bind(cluster, &first.instance, &next, &PASSWORD.into()).await.unwrap();
        engine.unbind(cluster, &first.credential).await.unwrap();
        assert!(session.ping().await.is_err(), "its sessions ended");
        let uri = first.uri.replace(&first.credential.username(), &next.username());
        let mut rotated = sqlx::PgConnection::connect(&uri).await.unwrap();
        assert_eq!(count(&mut rotated, "SELECT count(*) FROM notes").await, 2);
        execute(&mut rotated, "DROP TABLE notes").await.unwrap();
        assert_eq!(count(&mut other, "SELECT count(*) FROM private.own").await, 2, "nothing was dropped");
        let foreign = format!(
            "SELECT count(*) FROM pg_class JOIN pg_roles ON pg_roles.oid = relowner \
             WHERE relnamespace::regnamespace::text IN ('public', 'private') AND rolname <> '{}'",
            first.owner()
        );
        assert_eq!(count(&mut other, &foreign).await, 0, "all belongs to the owner");

        engine.deprovision(cluster, &first.instance).await.unwrap();
        let mut superuser = shared.place.superuser(cluster, "postgres").await;
        let left = format!(
            "SELECT count(*) FROM pg_roles WHERE rolname IN ('{}', '{}', '{}', '{}')",
            first.owner(),
            first.credential.username(),
            next.username(),
            second.credential.username()
        );
        assert_eq!(count(&mut superuser, &left).await, 0, "no role is left");
    });
}

#[test]
fn stock_clients_connect_with_the_uri() {
    run(async {
        let shared = shared().await;
        let tenant = Tenant::new(&shared.engine, &shared.cluster).await;
        let psql = |statement: &str| {
            let mut command = tokio::process::Command::new("psql");
            command.arg(&tenant.uri).args(["-X", "-At", "-v", "ON_ERROR_STOP=1", "-c", statement]);
            command.output()
        };
        let output = psql("CREATE TABLE t (id int); INSERT INTO t VALUES (7); SELECT id FROM t").await.unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).ends_with("7\n"), "{output:?}");
        let dump = tokio::process::Command::new("pg_dump").arg(&tenant.uri).output().await.unwrap();
        assert!(dump.status.success(), "{dump:?}");
        assert!(String::from_utf8_lossy(&dump.stdout).contains("CREATE TABLE public.t"), "{dump:?}");
    });
}
