//! One instance comes back: its database is copied from a scratch cluster into a new one, which takes the old one's place.

use std::process::{Command, Stdio};
use std::time::Duration;

use mainstay_engine::recovery::{Archive, Backup, Restored, Until};
use mainstay_engine::supervise::confine;
use mainstay_engine::{ClusterSpec, EngineError, InstanceSpec};
use mainstay_types::{InstanceId, Timestamp};
use sqlx::Connection;
use tokio::io::AsyncReadExt;
use tokio::process::Child;

use super::reach::Goal;
use super::scratch::{Purpose, Scratch};
use super::{replay, restorer};
use crate::PostgresqlEngine;
use crate::admin::{failed, run_on};
use crate::cluster::Cluster;
use crate::data::ENVIRONMENT;
use crate::instance;
use crate::names::{ADMIN_ROLE, RESTORER_ROLE, database, new_database, old_database, owner};

/// The longest that copying a database takes at least, however little is in it.
const LEAST_PATIENCE: Duration = Duration::from_secs(600);
/// The slowest that one is copied, in bytes a second. With its indexes made anew it is some tens of megabytes.
const SLOWEST_COPY: u64 = 1 << 20;
/// The most that a program says of itself that is kept.
const WORDS: u64 = 64 << 10;

pub(super) async fn restore(
    engine: &PostgresqlEngine,
    spec: &ClusterSpec,
    instance: &InstanceSpec,
    origin: &InstanceId,
    backup: &Backup,
    until: Until,
    archive: &Archive,
) -> Result<Restored, EngineError> {
    let cluster = engine.running(spec).await?;
    let replay = replay(backup, Goal::Until(until), archive).await?;
    // One at a time: the role that restores is a member of one owner.
    let _turn = cluster.restoring.lock().await;
    let scratch = Scratch::restore(engine, spec, backup, &replay, Purpose::Copy, archive).await?;
    let copied = from_scratch(&scratch, &cluster, instance, origin, backup, archive).await;
    scratch.remove().await?;
    let newest = copied?;
    let identity: String = sqlx::query_scalar("SELECT system_identifier::text FROM pg_control_system()")
        .fetch_one(cluster.admin.pool())
        .await
        .map_err(failed("the cluster's identity could not be read"))?;
    Ok(Restored { identity, version: backup.version.clone(), newest })
}

/// The newest change that was replayed into a scratch cluster; none where there was none after the backup.
pub(super) async fn newest(scratch: &Scratch<'_>) -> Result<Option<Timestamp>, EngineError> {
    let micros: Option<i64> =
        sqlx::query_scalar("SELECT (extract(epoch FROM pg_last_xact_replay_timestamp()) * 1000000)::int8")
            .fetch_one(scratch.cluster.admin.pool())
            .await
            .map_err(failed("what was replayed last could not be read"))?;
    Ok(micros.map(Timestamp::from_micros))
}

async fn from_scratch(
    scratch: &Scratch<'_>,
    cluster: &Cluster,
    instance: &InstanceSpec,
    origin: &InstanceId,
    backup: &Backup,
    archive: &Archive,
) -> Result<Timestamp, EngineError> {
    let newest = newest(scratch).await?.unwrap_or(backup.ended_at);
    archive.progress.stage("copying the database");
    adopt(scratch, cluster, instance, origin, backup).await?;
    make_new(cluster, instance).await?;
    let copied = match restorer::make(&cluster.admin, &owner(&instance.id)).await {
        Ok(()) => copy(scratch, cluster, instance, origin).await,
        Err(error) => Err(error),
    };
    restorer::remove(&cluster.admin).await?;
    copied?;
    archive.progress.stage("putting the database in its place");
    exchange(cluster, instance).await?;
    Ok(newest)
}

/// Makes a restored database the instance's own before it is copied: its owner is the instance's, and nobody is named in
/// it who is not there any more, or who belongs to another instance.
async fn adopt(
    scratch: &Scratch<'_>,
    cluster: &Cluster,
    instance: &InstanceSpec,
    origin: &InstanceId,
    backup: &Backup,
) -> Result<(), EngineError> {
    let admin = &scratch.cluster.admin;
    let attempt = || failed(format!("database {} could not be prepared", database(origin)));
    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
        .bind(database(origin))
        .fetch_one(admin.pool())
        .await
        .map_err(attempt())?;
    if !exists {
        return Err(EngineError::permanent(
            format!("instance {origin} is not in the backup that ended at {}", backup.ended_at),
            "choose a moment at which it was there",
        ));
    }
    let (from, to) = (owner(origin), owner(&instance.id));
    if *origin != instance.id {
        let taken: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
            .bind(&to)
            .fetch_one(admin.pool())
            .await
            .map_err(attempt())?;
        let aside = if taken { format!("ALTER ROLE {to} RENAME TO mainstay_aside; ") } else { String::new() };
        admin.run(format!("{aside}ALTER ROLE {from} RENAME TO {to}")).await.map_err(attempt())?;
    }
    // A closed database is as good a copy as any.
    let open = format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", database(origin));
    admin.run(open).await.map_err(attempt())?;
    let mut connection = admin.connect(&database(origin)).await.map_err(attempt())?;
    let named: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT rolname::text FROM pg_shdepend JOIN pg_roles ON pg_roles.oid = refobjid \
         WHERE refclassid = 'pg_authid'::regclass AND rolname <> $1 AND rolname <> $2 \
         AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    .bind(&to)
    .bind(ADMIN_ROLE)
    .fetch_all(&mut connection)
    .await
    .map_err(attempt())?;
    let there: Vec<String> = sqlx::query_scalar("SELECT rolname::text FROM pg_roles WHERE rolname = ANY($1)")
        .bind(&named)
        .fetch_all(cluster.admin.pool())
        .await
        .map_err(attempt())?;
    for role in named {
        // Everything is the owner's in the copy; what a role was allowed stays where it is the same instance's.
        let stays = *origin == instance.id && there.contains(&role);
        let drop = if stays { String::new() } else { format!("DROP OWNED BY {role}") };
        run_on(&mut connection, format!("REASSIGN OWNED BY {role} TO {to}; {drop}")).await.map_err(attempt())?;
    }
    connection.close().await.map_err(attempt())
}

/// Makes the database that is copied into. Nobody but who restores may enter it.
async fn make_new(cluster: &Cluster, instance: &InstanceSpec) -> Result<(), EngineError> {
    let (new, owner) = (new_database(&instance.id), owner(&instance.id));
    let attempt = || failed(format!("database {new} could not be made"));
    instance::drop_database(&cluster.admin, &new).await?;
    cluster.admin.run(format!("CREATE DATABASE {new} TEMPLATE template0 OWNER {owner}")).await.map_err(attempt())?;
    let close = format!(
        "REVOKE ALL ON DATABASE {new} FROM PUBLIC, {owner}; GRANT CREATE, TEMPORARY ON DATABASE {new} TO {owner}"
    );
    cluster.admin.run(close).await.map_err(attempt())
}

/// From one database into the other, through a pipe.
async fn copy(
    scratch: &Scratch<'_>,
    cluster: &Cluster,
    instance: &InstanceSpec,
    origin: &InstanceId,
) -> Result<(), EngineError> {
    let (new, owner) = (new_database(&instance.id), owner(&instance.id));
    let enter = format!("GRANT CONNECT ON DATABASE {new} TO {RESTORER_ROLE}");
    cluster.admin.run(enter).await.map_err(failed(format!("database {new} could not be entered")))?;
    prepare_extensions(scratch, cluster, instance, origin).await?;
    let size: i64 = sqlx::query_scalar("SELECT pg_database_size($1)")
        .bind(database(origin))
        .fetch_one(scratch.cluster.admin.pool())
        .await
        .map_err(failed("the size of the database could not be read"))?;

    let config = &scratch.engine.config;
    let program = |cluster: &Cluster, name: &str, port: u16| -> Result<Command, EngineError> {
        let mut command = Command::new(cluster.installation(config)?.program(name));
        command.arg("--no-password").arg("--host").arg(cluster.directory.run()).args(["--port", &port.to_string()]);
        command.current_dir("/");
        confine(&mut command, &config.user);
        command.envs(ENVIRONMENT).stderr(Stdio::piped());
        Ok(command)
    };
    let mut dump = program(&scratch.cluster, "pg_dump", scratch.port())?;
    dump.args(["--format=custom", "--compress=0", "--username", ADMIN_ROLE, "--dbname", &database(origin)]);
    let mut restore = program(cluster, "pg_restore", scratch.port())?;
    restore.args(["--exit-on-error", "--no-owner", "--username", RESTORER_ROLE, "--role", &owner, "--dbname", &new]);

    let mut dump = spawn(dump.stdout(Stdio::piped()), "pg_dump")?;
    let output: Option<Stdio> = dump.stdout.take().and_then(|output| output.try_into().ok());
    let output = output.ok_or_else(|| EngineError::transient("pg_dump has no output"))?;
    let mut restore = spawn(restore.stdin(output).stdout(Stdio::null()), "pg_restore")?;
    let patience = LEAST_PATIENCE + Duration::from_secs(size as u64 / SLOWEST_COPY);
    let ended = async { futures::join!(outcome(&mut dump, "pg_dump"), outcome(&mut restore, "pg_restore")) };
    let (dumped, restored) = tokio::time::timeout(patience, ended).await.map_err(|_| {
        EngineError::transient(format!("database {} was not copied within {patience:?}", database(origin)))
    })?;
    // Where the reader ends first, the writer's complaint is of that.
    restored.and(dumped)
}

/// Who may make an extension owns it. Those that a superuser has made are made by one again; the others by the owner, as
/// they come.
async fn prepare_extensions(
    scratch: &Scratch<'_>,
    cluster: &Cluster,
    instance: &InstanceSpec,
    origin: &InstanceId,
) -> Result<(), EngineError> {
    let attempt = || failed("the extensions could not be prepared");
    let mut from = scratch.cluster.admin.connect(&database(origin)).await.map_err(attempt())?;
    let extensions: Vec<(String, String)> = sqlx::query_as(
        "SELECT quote_ident(extname), quote_ident(nspname) FROM pg_extension \
         JOIN pg_namespace ON pg_namespace.oid = extnamespace JOIN pg_roles ON pg_roles.oid = extowner \
         WHERE rolsuper AND extname <> 'plpgsql' ORDER BY pg_extension.oid",
    )
    .fetch_all(&mut from)
    .await
    .map_err(attempt())?;
    let mut to = cluster.admin.connect(&new_database(&instance.id)).await.map_err(attempt())?;
    for (extension, schema) in extensions {
        let make = format!("CREATE EXTENSION {extension} SCHEMA {schema}");
        run_on(&mut to, make).await.map_err(attempt())?;
        // Only its owner may comment on it, and that is not who restores.
        run_on(&mut from, format!("COMMENT ON EXTENSION {extension} IS NULL")).await.map_err(attempt())?;
    }
    from.close().await.map_err(attempt())?;
    to.close().await.map_err(attempt())
}

fn spawn(command: &mut Command, name: &str) -> Result<Child, EngineError> {
    let command = std::mem::replace(command, Command::new("true"));
    let unstarted = |error| EngineError::transient_from(format!("{name} could not be started"), error);
    tokio::process::Command::from(command).kill_on_drop(true).spawn().map_err(unstarted)
}

async fn outcome(child: &mut Child, name: &str) -> Result<(), EngineError> {
    let mut text = String::new();
    if let Some(words) = child.stderr.take() {
        let _ = words.take(WORDS).read_to_string(&mut text).await;
    }
    let ended = child.wait().await;
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => {
            let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).take(4).collect();
            Err(EngineError::transient(format!("{name} failed: {}", lines.join(" | "))))
        }
        Err(error) => Err(EngineError::transient_from(format!("{name} was lost"), error)),
    }
}

/// The new database takes the old one's name, with what the old one allowed to whom and what it was set to. Sessions of the
/// old one end.
async fn exchange(cluster: &Cluster, instance: &InstanceSpec) -> Result<(), EngineError> {
    let admin = &cluster.admin;
    let (name, new, old) = (database(&instance.id), new_database(&instance.id), old_database(&instance.id));
    let owner = owner(&instance.id);
    let attempt = || failed(format!("database {name} could not be replaced"));
    // Of a restore that was interrupted after this.
    instance::drop_database(admin, &old).await?;
    let grants: Vec<String> = sqlx::query_scalar(
        "SELECT format('GRANT %s ON DATABASE %I TO %I; ', privilege_type, $2, rolname) \
         FROM pg_database, aclexplode(datacl) JOIN pg_roles ON pg_roles.oid = grantee \
         WHERE datname = $1 AND rolname NOT IN ($3, $4)",
    )
    .bind(&name)
    .bind(&new)
    .bind(ADMIN_ROLE)
    .bind(RESTORER_ROLE)
    .fetch_all(admin.pool())
    .await
    .map_err(attempt())?;
    // A setting's text is not always that of a statement which makes it: lists have no quotes around them. So rows are
    // copied; nothing refers to them but the database and the role that they name.
    let prepare = format!(
        "DELETE FROM pg_db_role_setting WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = '{new}'); \
         INSERT INTO pg_db_role_setting (setdatabase, setrole, setconfig) \
         SELECT (SELECT oid FROM pg_database WHERE datname = '{new}'), setrole, setconfig FROM pg_db_role_setting \
         WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = '{name}'); \
         {}GRANT ALL ON DATABASE {new} TO {owner}",
        grants.concat()
    );
    admin.run(prepare).await.map_err(attempt())?;

    let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
        .bind(&name)
        .fetch_one(admin.pool())
        .await
        .map_err(attempt())?;
    if !exists {
        return admin.run(format!("ALTER DATABASE {new} RENAME TO {name}")).await.map_err(attempt());
    }
    let renamed = async {
        // Closed first: clients that come back faster than their sessions end would keep it alive.
        admin.run(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await?;
        admin
            .run(format!(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname IN ('{name}', '{new}')"
            ))
            .await?;
        // One transaction: at no moment is there none of that name, or one that is not whole.
        admin.run(format!("ALTER DATABASE {name} RENAME TO {old}; ALTER DATABASE {new} RENAME TO {name}")).await
    };
    if let Err(error) = renamed.await {
        admin.run(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await.map_err(attempt())?;
        return Err(attempt()(error));
    }
    instance::drop_database(admin, &old).await
}
