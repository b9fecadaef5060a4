//! Credentials: a login role each, which becomes its instance's owner when it logs in, or is allowed what its
//! statements say.

use std::net::SocketAddr;

use mainstay_engine::{CredentialSpec, EngineError, InstanceSpec};
use mainstay_types::{Digest, InstanceId, Plan, Timestamp};
use secrecy::{ExposeSecret, SecretString};

use crate::admin::{Admin, failed};
use crate::names::{database, owner};
use crate::{offering, owner_session, role, statements};

/// 9999-12-31T23:59:59Z, the last moment that has a text with a year of four digits.
const LAST_SECOND: i64 = 253_402_300_799;

/// What a credential's role is like when it is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub connection_limit: i32,
    /// Seconds after the Unix epoch.
    pub valid_until: i64,
    /// The one role that it is a member of; none where it has statements.
    pub member_of: Option<String>,
    /// The role's settings in its database, as `pg_db_role_setting` has them.
    pub settings: Vec<String>,
}

impl Wanted {
    /// What a credential for an instance on a cluster of this plan is like.
    pub fn of(plan: Plan, instance: &InstanceSpec, credential: &CredentialSpec) -> Self {
        let member_of = credential.statements.is_none().then(|| owner(&instance.id));
        Self {
            connection_limit: offering::connection_limit(plan, &instance.parameters),
            valid_until: (credential.valid_until.as_micros() / 1_000_000).min(LAST_SECOND),
            settings: member_of.iter().map(|owner| format!("role={owner}")).collect(),
            member_of,
        }
    }
}

/// Makes a credential work, or puts right what somebody changed about it. Gives the digest of what its
/// password is checked with.
pub(crate) async fn bind(
    admin: &Admin,
    address: SocketAddr,
    plan: Plan,
    instance: &InstanceSpec,
    credential: &CredentialSpec,
    password: &SecretString,
) -> Result<Digest, EngineError> {
    let user = credential.username();
    let wanted = Wanted::of(plan, instance, credential);
    // Computed here, so that the server never sees the password: not in a statement, not in its memory.
    let verifier = postgres_protocol::password::scram_sha_256(password.expose_secret().as_bytes());
    let attributes = format!(
        "LOGIN INHERIT CONNECTION LIMIT {} VALID UNTIL '{}' PASSWORD '{verifier}'",
        wanted.connection_limit,
        Timestamp::from_micros(wanted.valid_until * 1_000_000),
    );
    match &credential.statements {
        None => {
            let attempt = failed(format!("credential {user} could not be made"));
            bind_member(admin, &instance.id, &user, &attributes).await.map_err(attempt)?;
        }
        Some(statements) => bind_limited(admin, address, credential, statements, &attributes).await?,
    }
    Ok(Digest::of(verifier.as_bytes()))
}

/// Refuses a credential, ends its sessions, hands what it owns to the instance's owner, and removes it.
pub(crate) async fn unbind(admin: &Admin, credential: &CredentialSpec) -> Result<(), EngineError> {
    if credential.statements.is_some() {
        role::remove(admin, &owner_session::name(credential), &credential.instance).await?;
    }
    role::remove(admin, &credential.username(), &credential.instance).await
}

/// A role as it is found.
struct Found {
    /// What it is a member of and should not be, quoted.
    strange: Vec<String>,
    has_password: bool,
}

/// Makes a role that is a member of the owner, or puts it right.
async fn bind_member(admin: &Admin, instance: &InstanceId, user: &str, attributes: &str) -> Result<(), sqlx::Error> {
    let (owner, database) = (owner(instance), database(instance));
    let make = match find(admin, user, Some(&owner)).await? {
        None => format!("CREATE ROLE {user} {attributes} IN ROLE {owner}"),
        Some(found) => {
            let right = put_right(user, &database, attributes, &found.strange);
            format!("{right}; GRANT {owner} TO {user}; REVOKE ADMIN OPTION FOR {owner} FROM {user}")
        }
    };
    // What it makes belongs to the owner, so that the instance's other bindings can use it.
    admin.run(format!("{make}; ALTER ROLE {user} IN DATABASE {database} SET role = {owner}")).await
}

/// Makes a role that is allowed what its statements say, or puts it right.
///
/// It gets its password last. So a role without one was left behind by whoever was interrupted, and is made anew.
async fn bind_limited(
    admin: &Admin,
    address: SocketAddr,
    credential: &CredentialSpec,
    statements: &[String],
    attributes: &str,
) -> Result<(), EngineError> {
    let (user, database) = (credential.username(), database(&credential.instance));
    let attempt = || failed(format!("credential {user} could not be made"));
    // What every database of PostgreSQL allows everybody, and ours nobody whom they were not made for.
    let enter = format!("GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {user}");
    match find(admin, &user, None).await.map_err(attempt())? {
        Some(found) if found.has_password => {
            let right = put_right(&user, &database, attributes, &found.strange);
            return admin.run(format!("{right}; {enter}")).await.map_err(attempt());
        }
        Some(_) => role::remove(admin, &user, &credential.instance).await?,
        None => {}
    }
    let statements = statements::prepare(statements, &user, credential.valid_until)?;
    admin.run(format!("CREATE ROLE {user} NOLOGIN; {enter}")).await.map_err(attempt())?;
    if let Err(error) = owner_session::run(admin, address, credential, &statements).await {
        role::remove(admin, &user, &credential.instance).await?;
        return Err(error);
    }
    admin.run(format!("ALTER ROLE {user} {attributes}")).await.map_err(attempt())
}

async fn find(admin: &Admin, user: &str, rightly_in: Option<&str>) -> Result<Option<Found>, sqlx::Error> {
    let found: Option<(Vec<String>, bool)> = sqlx::query_as(
        "SELECT ARRAY(SELECT quote_ident(strange.rolname) FROM pg_auth_members \
                      JOIN pg_roles strange ON strange.oid = roleid \
                      WHERE member = role.oid AND strange.rolname IS DISTINCT FROM $2), \
           rolpassword IS NOT NULL \
         FROM pg_authid role WHERE rolname = $1",
    )
    .bind(user)
    .bind(rightly_in)
    .fetch_optional(admin.pool())
    .await?;
    Ok(found.map(|(strange, has_password)| Found { strange, has_password }))
}

/// The statements that give a role our attributes, and take away what others gave it.
fn put_right(user: &str, database: &str, attributes: &str, strange: &[String]) -> String {
    let leave: String = strange.iter().map(|role| format!("REVOKE {role} FROM {user}; ")).collect();
    format!(
        "ALTER ROLE {user} NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS {attributes}; \
         {leave}ALTER ROLE {user} RESET ALL; ALTER ROLE {user} IN DATABASE {database} RESET ALL"
    )
}
