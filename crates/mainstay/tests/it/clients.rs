//! Stock clients work with what `bind` printed, with no help from us.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use sqlx::{Connection, PgConnection};

use crate::harness::{Layer, runtime};

/// Makes an instance of its own on the shared layer, and gives the line that `bind --format uri` prints.
fn bound(instance: &str) -> String {
    let layer = Layer::shared();
    let created = layer.cli(&["create", "postgresql/v1", instance]);
    assert_eq!(created.code, 0, "{created:?}");
    bind(instance)
}

fn bind(instance: &str) -> String {
    let bound = Layer::shared().cli(&["bind", instance, "--consumer", "app", "--format", "uri"]);
    assert_eq!(bound.code, 0, "{bound:?}");
    let uri = bound.stdout.strip_suffix('\n').unwrap();
    assert!(uri.starts_with("postgresql://") && !uri.contains(char::is_whitespace), "{uri}");
    uri.to_owned()
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"));
    let Output { status, stdout, stderr } = output;
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(status.success(), "{:?}: {stdout}{stderr}", command.get_program());
    stdout
}

#[test]
fn psql() {
    let uri = bound("with-psql");
    let script = "CREATE TABLE t (a int PRIMARY KEY, b text NOT NULL); INSERT INTO t VALUES (1, 'ä'); SELECT b FROM t";
    let printed = succeed(Command::new("psql").args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", script, &uri]));
    assert_eq!(printed, "ä\n");
    // Another consumer of the same instance uses what the first has made.
    let printed = succeed(Command::new("psql").args([
        "-XAtq",
        "-c",
        "INSERT INTO t VALUES (2, 'b'); TABLE t",
        &bind("with-psql"),
    ]));
    assert_eq!(printed, "1|ä\n2|b\n");
}

#[test]
fn pgbench() {
    let uri = bound("with-pgbench");
    succeed(Command::new("pgbench").args(["-i", "-q", "-s", "1", &uri]));
    let read = succeed(Command::new("pgbench").args(["-S", "-c", "2", "-t", "200", &uri]));
    let written = succeed(Command::new("pgbench").args(["-c", "2", "-t", "100", &uri]));
    for (report, transactions) in [(read, "400/400"), (written, "200/200")] {
        assert!(report.contains(&format!("actually processed: {transactions}")), "{report}");
        assert!(report.contains("failed transactions: 0 "), "{report}");
    }
}

#[test]
fn psycopg() {
    let script = "
import os, psycopg
with psycopg.connect(os.environ['URI']) as connection:
    connection.execute('CREATE TABLE t (a int, b jsonb)')
    with connection.cursor().copy('COPY t (a) FROM STDIN') as copy:
        for number in range(100):
            copy.write_row([number])
    print(connection.execute('SELECT sum(a) FROM t').fetchone()[0])
";
    assert_eq!(python(script, &bound("with-psycopg")), "4950\n");
}

#[test]
fn sqlalchemy() {
    let script = "
import os
from sqlalchemy import create_engine, select, String
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

class Base(DeclarativeBase): pass

class Item(Base):
    __tablename__ = 'item'
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(30))

engine = create_engine(os.environ['URI'])
Base.metadata.create_all(engine)
with Session(engine) as session:
    session.add_all([Item(name='b'), Item(name='a')])
    session.commit()
    print(engine.dialect.driver, [item.name for item in session.scalars(select(Item).order_by(Item.name))])
";
    assert_eq!(python(script, &bound("with-sqlalchemy")), "psycopg ['a', 'b']\n");
}

#[test]
fn sqlx() {
    let uri = bound("with-sqlx");
    let sum: i64 = runtime().block_on(async {
        let mut connection = PgConnection::connect(&uri).await.unwrap();
        let mut transaction = connection.begin().await.unwrap();
        sqlx::query("CREATE TABLE t (a int)").execute(&mut *transaction).await.unwrap();
        for number in 1..=10 {
            sqlx::query("INSERT INTO t VALUES ($1)").bind(number).execute(&mut *transaction).await.unwrap();
        }
        transaction.commit().await.unwrap();
        sqlx::query_scalar("SELECT sum(a) FROM t").fetch_one(&mut connection).await.unwrap()
    });
    assert_eq!(sum, 55);
}

#[test]
fn variables_are_evaluated_by_a_shell() {
    bound("my-shop");
    let script = "
set -eu
eval \"$(\"$MAINSTAY\" bind my-shop --consumer web 2>/dev/null)\"
psql -XAtc 'SELECT 1' \"$MY_SHOP_URI\"
PGPASSWORD=\"$MY_SHOP_PASSWORD\" psql -XAtc 'SELECT 2' -h \"$MY_SHOP_HOST\" -p \"$MY_SHOP_PORT\" -U \"$MY_SHOP_USERNAME\" \"$MY_SHOP_DATABASE\"
";
    let layer = Layer::shared();
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).env("MAINSTAY", layer.command().get_program());
    shell.envs(layer.command().get_envs().filter_map(|(name, value)| Some((name, value?))));
    assert_eq!(succeed(&mut shell), "1\n2\n");
}

#[test]
fn a_document_has_what_the_api_answers() {
    bound("with-json");
    let bound = Layer::shared().cli(&["bind", "with-json", "--consumer", "web", "--ttl", "2h", "--format", "json"]);
    let bound: serde_json::Value = serde_json::from_str(&bound.stdout).unwrap();
    assert_eq!((&bound["instance"], &bound["consumer"]), (&"with-json".into(), &"web".into()));
    assert_eq!(bound["lease_seconds"], 7_200);
    let credentials = &bound["credentials"];
    let text = |key: &str| credentials[key].as_str().unwrap_or_else(|| panic!("{key} is missing"));
    assert_eq!((text("type"), text("provider")), ("postgresql", "mainstay"));
    let uri = text("uri");
    assert!(uri.starts_with(&format!(
        "postgresql://{}:{}@{}:{}/{}",
        text("username"),
        text("password"),
        text("host"),
        text("port"),
        text("database")
    )));
}

#[test]
fn a_directory_follows_the_service_binding_specification() {
    bound("with-files");
    let layer = Layer::shared();
    let out = layer.scratch().join("bindings");
    let bound =
        layer.cli(&["bind", "with-files", "--consumer", "web", "--format", "dir", "--out", out.to_str().unwrap()]);
    assert_eq!(bound.code, 0, "{bound:?}");
    assert!(!bound.stdout.contains("postgresql://") && !bound.stderr.contains("postgresql://"), "{bound:?}");
    let directory = out.join("with-files");
    let mut keys = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    keys.sort();
    assert_eq!(keys, ["database", "host", "password", "port", "provider", "type", "uri", "username"]);
    let read = |key: &str| std::fs::read_to_string(directory.join(key)).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&directory), mode(&directory.join("password"))), (0o700, 0o600));
    assert_eq!((read("type").as_str(), read("provider").as_str()), ("postgresql", "mainstay"));
    let keys = ["-h", &read("host"), "-p", &read("port"), "-U", &read("username"), &read("database")];
    let mut psql = Command::new("psql");
    assert_eq!(succeed(psql.args(["-XAtc", "SELECT 1"]).args(keys).env("PGPASSWORD", read("password"))), "1\n");
}

#[test]
fn a_command_runs_with_credentials_of_its_own() {
    bound("with-run");
    let layer = Layer::shared();
    let script = r#"psql -XAtc "SELECT 1" "$WITH_RUN_URI" && psql -XAtc "SELECT 2" "$(cat "$SERVICE_BINDING_ROOT/with-run/uri")""#;
    let run = layer.cli(&["run", "--bind", "with-run", "--", "sh", "-c", script]);
    assert_eq!((run.code, run.stdout.as_str()), (0, "1\n2\n"), "{run:?}");
    let left = layer.api().all("/api/v1/instances/with-run/bindings");
    assert!(left.iter().filter(|binding| binding["consumer"] == "sh").all(|binding| binding["state"] == "revoking"));
}

/// Runs a script with the Python that has the clients.
fn python(script: &str, uri: &str) -> String {
    let Some(interpreter) = std::env::var_os("MAINSTAY_TEST_PYTHON") else {
        panic!("MAINSTAY_TEST_PYTHON names no Python with psycopg and SQLAlchemy; run the tests with: make test")
    };
    succeed(Command::new(interpreter).args(["-c", script]).env("URI", uri))
}
