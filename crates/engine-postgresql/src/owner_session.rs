//! A session in which a tenant's statements run: as the instance's owner, and with no way to be more.
//!
//! A session that began as the superuser is one `RESET SESSION AUTHORIZATION` away from being it again. So a role is
//! made for the occasion that is a member of the owner and of nothing else; the session logs in as it, with a password
//! that nobody else ever has, over the network as any client does.

use std::net::SocketAddr;
use std::time::Duration;

use mainstay_engine::{CredentialSpec, EngineError};
use mainstay_types::Timestamp;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions, Connection};

use crate::admin::{Admin, failed, run_on};
use crate::names::{database, owner};
use crate::role;

/// How long all statements of one credential may take together: less than a consumer waits for the credential.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest that one statement runs, for a better word than that all took too long.
const STATEMENT_TIMEOUT: &str = "8s";
/// The longest that one waits for somebody else's lock. Whatever holds it may end, and then it is tried again.
const LOCK_TIMEOUT: &str = "3s";
/// When the role ends by itself, should nobody live to remove it.
const ROLE_LIFE_SECONDS: u64 = 120;

/// Runs statements for a credential in its instance's database, all of them or none.
pub(crate) async fn run(
    admin: &Admin,
    address: SocketAddr,
    credential: &CredentialSpec,
    statements: &[String],
) -> Result<(), EngineError> {
    let user = name(credential);
    // One of a control plane that died is not used again: nobody knows its password.
    role::remove(admin, &user, &credential.instance).await?;
    let password = draw_password()?;
    let verifier = postgres_protocol::password::scram_sha_256(password.as_bytes());
    let (owner, until) = (owner(&credential.instance), Timestamp::now().plus_seconds(ROLE_LIFE_SECONDS));
    let make = format!(
        "CREATE ROLE {user} LOGIN INHERIT CONNECTION LIMIT 1 VALID UNTIL '{until}' PASSWORD '{verifier}' IN ROLE {owner}"
    );
    admin.run(make).await.map_err(failed("the statements of the credential could not be begun"))?;

    let options = PgConnectOptions::new_without_pgpass()
        .host(&address.ip().to_string())
        .port(address.port())
        .username(&user)
        .password(&password)
        .database(&database(&credential.instance))
        .ssl_mode(PgSslMode::Disable)
        .application_name("mainstay")
        .options([("role", owner.as_str()), ("statement_timeout", STATEMENT_TIMEOUT), ("lock_timeout", LOCK_TIMEOUT)])
        .disable_statement_logging();
    let outcome = tokio::time::timeout(PATIENCE, carry_out(&options, &credential.username(), statements)).await;
    // Its session too, should it be in the middle of something.
    role::remove(admin, &user, &credential.instance).await?;
    outcome.unwrap_or_else(|_| {
        let reason = format!("the statements were not through after {} s", PATIENCE.as_secs());
        Err(EngineError::permanent(reason, "leave what takes long out of them"))
    })
}

/// The role that statements of a credential run as.
pub(crate) fn name(credential: &CredentialSpec) -> String {
    format!("s_{}_{}", credential.binding.suffix(), credential.login)
}

async fn carry_out(options: &PgConnectOptions, user: &str, statements: &[String]) -> Result<(), EngineError> {
    let begin = || failed("the statements of the credential could not be begun");
    let mut session = PgConnection::connect_with(options).await.map_err(begin())?;
    // Statements take for granted what PostgreSQL gives everybody; here a database is closed to everybody at first.
    let has_public: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace \
         WHERE nspname = 'public' AND pg_catalog.pg_has_role(nspowner, 'USAGE'))",
    )
    .fetch_one(&mut session)
    .await
    .map_err(begin())?;
    let usage = has_public.then(|| format!("GRANT USAGE ON SCHEMA public TO {user}"));
    run_on(&mut session, "BEGIN".to_owned()).await.map_err(begin())?;
    for statement in usage.iter().chain(statements) {
        run_on(&mut session, statement.clone()).await.map_err(judge)?;
    }
    run_on(&mut session, "COMMIT".to_owned()).await.map_err(judge)?;
    // The session's end undoes nothing any more.
    let _ = session.close().await;
    Ok(())
}

/// Whether a statement that failed may succeed later. What the server says is the tenant's to know: it is about their
/// own statement in their own database, and no password was in it.
fn judge(error: sqlx::Error) -> EngineError {
    let Some(refused) = error.as_database_error() else { return failed("a statement could not be run")(error) };
    let code = refused.code().unwrap_or_default();
    // Connections, rolled back by the server, out of resources, ended by an operator, the system; a lock not had.
    let passing = ["08", "40", "53", "57P", "58", "55P03"];
    if passing.iter().any(|class| code.starts_with(class)) {
        return failed("a statement could not be run")(error);
    }
    EngineError::permanent(
        format!("PostgreSQL refused a statement: {}", refused.message()),
        "change the statements; they run as the owner of the instance's database",
    )
}

/// 256 bits in hexadecimal.
fn draw_password() -> Result<String, EngineError> {
    let mut bits = [0; 32];
    getrandom::fill(&mut bits).map_err(|error| EngineError::transient_from("no random bits can be had", error))?;
    Ok(bits.iter().map(|byte| format!("{byte:02x}")).collect())
}
