//! What is really on a server, and what is wrong with it. The queries read; the judgements are pure.

use std::collections::HashMap;

use mainstay_engine::{CredentialSpec, InstanceSpec};
use mainstay_types::{CredentialObservation, Digest, Presence};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};

use crate::admin::Admin;
use crate::credential::Wanted;
use crate::names::{database, owner};

/// A database as the server has it.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    name: String,
    owner: String,
    open: bool,
    /// Whether everybody may connect or make temporary tables.
    public: bool,
    owner_may_connect: bool,
    /// Whether its owner may log in, or has a right that no tenant has.
    owner_privileged: bool,
    connection_limit: i32,
}

/// A role as the server has it.
#[derive(Debug, Clone)]
pub(crate) struct Role {
    name: String,
    can_login: bool,
    /// Whether it has a right that no tenant has.
    privileged: bool,
    /// None where it does not expire.
    valid_until: Option<i64>,
    connection_limit: i32,
    member_of: Vec<String>,
    /// Its settings in its instance's database.
    settings: Vec<String>,
    sessions: i64,
    /// What the password is checked with, as a digest. None where there is no password.
    pub verifier: Option<Digest>,
}

impl FromRow<'_, PgRow> for Database {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            name: row.try_get("name")?,
            owner: row.try_get("owner")?,
            open: row.try_get("open")?,
            public: row.try_get("public")?,
            owner_may_connect: row.try_get("owner_may_connect")?,
            owner_privileged: row.try_get("owner_privileged")?,
            connection_limit: row.try_get("connection_limit")?,
        })
    }
}

impl FromRow<'_, PgRow> for Role {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let verifier: Option<&str> = row.try_get("verifier")?;
        Ok(Self {
            name: row.try_get("name")?,
            can_login: row.try_get("can_login")?,
            privileged: row.try_get("privileged")?,
            valid_until: row.try_get("valid_until")?,
            connection_limit: row.try_get("connection_limit")?,
            member_of: row.try_get("member_of")?,
            settings: row.try_get("settings")?,
            sessions: row.try_get("sessions")?,
            verifier: verifier.map(|verifier| Digest::of(verifier.as_bytes())),
        })
    }
}

/// The databases of these instances that there are, by name.
pub(crate) async fn databases(
    admin: &Admin,
    instances: &[InstanceSpec],
) -> Result<HashMap<String, Database>, sqlx::Error> {
    if instances.is_empty() {
        return Ok(HashMap::new());
    }
    let names: Vec<String> = instances.iter().map(|instance| database(&instance.id)).collect();
    let rows: Vec<Database> = sqlx::query_as(
        "SELECT datname::text AS name, rolname::text AS owner, datallowconn AS open, datconnlimit AS connection_limit, \
           has_database_privilege('public', pg_database.oid, 'CONNECT, TEMPORARY, CREATE') AS public, \
           has_database_privilege(datdba, pg_database.oid, 'CONNECT') AS owner_may_connect, \
           rolcanlogin OR rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls \
             OR EXISTS (SELECT FROM pg_auth_members WHERE member = datdba) AS owner_privileged \
         FROM pg_database JOIN pg_roles ON pg_roles.oid = datdba WHERE datname = ANY ($1::name[])",
    )
    .bind(names)
    .fetch_all(admin.pool())
    .await?;
    Ok(rows.into_iter().map(|row| (row.name.clone(), row)).collect())
}

/// The roles of these credentials that there are, by name.
pub(crate) async fn roles(admin: &Admin, credentials: &[CredentialSpec]) -> Result<HashMap<String, Role>, sqlx::Error> {
    if credentials.is_empty() {
        return Ok(HashMap::new());
    }
    let names: Vec<String> = credentials.iter().map(CredentialSpec::username).collect();
    let databases: Vec<String> = credentials.iter().map(|credential| database(&credential.instance)).collect();
    let rows: Vec<Role> = sqlx::query_as(
        "WITH asked AS (SELECT * FROM unnest($1::name[], $2::name[]) AS asked (username, dbname)), \
         open AS (SELECT usesysid, count(*) AS sessions FROM pg_stat_activity WHERE usesysid IS NOT NULL GROUP BY 1) \
         SELECT rolname::text AS name, rolcanlogin AS can_login, rolconnlimit AS connection_limit, \
           rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls AS privileged, \
           CASE WHEN isfinite(rolvaliduntil) THEN extract(epoch FROM rolvaliduntil)::int8 END AS valid_until, \
           ARRAY(SELECT DISTINCT owner.rolname::text FROM pg_auth_members JOIN pg_authid owner ON owner.oid = roleid \
                 WHERE member = role.oid ORDER BY 1) AS member_of, \
           coalesce((SELECT setconfig FROM pg_db_role_setting JOIN pg_database ON pg_database.oid = setdatabase \
                     WHERE setrole = role.oid AND datname = asked.dbname), '{}') AS settings, \
           coalesce(open.sessions, 0) AS sessions, \
           rolpassword AS verifier \
         FROM asked JOIN pg_authid role ON rolname = username LEFT JOIN open ON usesysid = role.oid",
    )
    .bind(names)
    .bind(databases)
    .fetch_all(admin.pool())
    .await?;
    Ok(rows.into_iter().map(|row| (row.name.clone(), row)).collect())
}

/// Whether an instance is as it should be.
pub(crate) fn instance_presence(instance: &InstanceSpec, found: Option<&Database>) -> Presence {
    let Some(found) = found else { return Presence::Missing };
    let how = if found.owner != owner(&instance.id) {
        format!("its database is owned by {}", found.owner)
    } else if !found.open {
        "its database takes no connections".to_owned()
    } else if found.public {
        "its database is open to other tenants".to_owned()
    } else if !found.owner_may_connect {
        "its owner may not connect".to_owned()
    } else if found.owner_privileged {
        "its owner has rights that no tenant has".to_owned()
    } else if found.connection_limit != -1 {
        format!("its database takes {} connections only", found.connection_limit)
    } else {
        return Presence::Present;
    };
    Presence::Drifted { how }
}

/// Whether a credential is as it should be, and how many sessions it has. What is wanted is not known of a
/// credential whose instance was not asked about, and the verifier is not known that was set before we started.
pub(crate) fn credential_observation(
    credential: &CredentialSpec,
    wanted: Option<&Wanted>,
    verifier: Option<Digest>,
    found: Option<&Role>,
) -> CredentialObservation {
    let Some(found) = found else {
        return CredentialObservation { presence: Presence::Missing, sessions: 0 };
    };
    let sessions = u32::try_from(found.sessions).unwrap_or(u32::MAX);
    let rightly_in = credential.statements.is_none().then(|| owner(&credential.instance));
    let presence = match drift(rightly_in.as_deref(), wanted, verifier, found) {
        None => Presence::Present,
        Some(how) => Presence::Drifted { how },
    };
    CredentialObservation { presence, sessions }
}

fn drift(rightly_in: Option<&str>, wanted: Option<&Wanted>, verifier: Option<Digest>, found: &Role) -> Option<String> {
    if !found.can_login {
        return Some("it may not log in".to_owned());
    }
    if found.privileged {
        return Some("it has rights that no binding has".to_owned());
    }
    if found.member_of.iter().map(String::as_str).ne(rightly_in) {
        let (found, rightly_in) = (found.member_of.join(", "), rightly_in.unwrap_or("nothing"));
        return Some(format!("it is a member of [{found}] and should be of {rightly_in} alone"));
    }
    if let Some(wanted) = wanted {
        if found.valid_until != Some(wanted.valid_until) {
            return Some("it expires at another time".to_owned());
        }
        if found.connection_limit != wanted.connection_limit {
            return Some(format!("its connection limit is {}", found.connection_limit));
        }
        if found.settings != wanted.settings {
            return Some("its settings were changed".to_owned());
        }
    }
    match (verifier, &found.verifier) {
        (_, None) => Some("it has no password".to_owned()),
        (Some(known), Some(verifier)) if known != *verifier => Some("its password was changed".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use mainstay_engine::{CredentialSpec, InstanceSpec};
    use mainstay_types::{BindingId, Digest, InstanceId, InstanceName, Parameters, Plan, Presence, Timestamp};

    use super::{Database, Role, credential_observation, instance_presence};
    use crate::credential::Wanted;

    fn drifted(how: &str) -> Presence {
        Presence::Drifted { how: how.to_owned() }
    }

    #[test]
    fn instances() {
        let instance = InstanceSpec {
            id: InstanceId::from_random(0),
            name: InstanceName::first(),
            parameters: Parameters::default(),
        };
        let right = Database {
            name: "db_000000000000".into(),
            owner: "o_000000000000".into(),
            open: true,
            public: false,
            owner_may_connect: true,
            owner_privileged: false,
            connection_limit: -1,
        };
        assert_eq!(instance_presence(&instance, None), Presence::Missing);
        assert_eq!(instance_presence(&instance, Some(&right)), Presence::Present);
        for (wrong, how) in [
            (Database { owner: "x".into(), ..right.clone() }, "its database is owned by x"),
            (Database { open: false, ..right.clone() }, "its database takes no connections"),
            (Database { public: true, ..right.clone() }, "its database is open to other tenants"),
            (Database { owner_may_connect: false, ..right.clone() }, "its owner may not connect"),
            (Database { owner_privileged: true, ..right.clone() }, "its owner has rights that no tenant has"),
            (Database { connection_limit: 0, ..right.clone() }, "its database takes 0 connections only"),
        ] {
            assert_eq!(instance_presence(&instance, Some(&wrong)), drifted(how));
        }
    }

    #[test]
    fn credentials() {
        let instance = InstanceSpec {
            id: InstanceId::from_random(0),
            name: InstanceName::first(),
            parameters: Parameters::default(),
        };
        let credential = CredentialSpec {
            binding: BindingId::from_random(0),
            generation: 1,
            login: 1,
            instance: instance.id.clone(),
            valid_until: Timestamp::from_micros(5_000_000),
            statements: None,
        };
        let wanted = Wanted::of(Plan::Shared, &instance, &credential);
        let right = Role {
            name: credential.username(),
            can_login: true,
            privileged: false,
            valid_until: Some(5),
            connection_limit: 50,
            member_of: vec!["o_000000000000".into()],
            settings: vec!["role=o_000000000000".into()],
            sessions: 3,
            verifier: Some(Digest::of(b"1")),
        };
        let judge =
            |found: Option<&Role>| credential_observation(&credential, Some(&wanted), Some(Digest::of(b"1")), found);
        assert_eq!(judge(None).presence, Presence::Missing);
        assert_eq!((judge(Some(&right)).presence, judge(Some(&right)).sessions), (Presence::Present, 3));
        for (wrong, how) in [
            (Role { can_login: false, ..right.clone() }, "it may not log in"),
            (Role { privileged: true, ..right.clone() }, "it has rights that no binding has"),
            (Role { member_of: vec![], ..right.clone() }, "it is a member of [] and should be of o_000000000000 alone"),
            (Role { valid_until: None, ..right.clone() }, "it expires at another time"),
            (Role { connection_limit: -1, ..right.clone() }, "its connection limit is -1"),
            (Role { settings: vec![], ..right.clone() }, "its settings were changed"),
            (Role { verifier: None, ..right.clone() }, "it has no password"),
            (Role { verifier: Some(Digest::of(b"2")), ..right.clone() }, "its password was changed"),
        ] {
            assert_eq!(judge(Some(&wrong)).presence, drifted(how));
        }
        let unknown = Role { verifier: Some(Digest::of(b"2")), connection_limit: 7, ..right };
        assert_eq!(credential_observation(&credential, None, None, Some(&unknown)).presence, Presence::Present);
    }
}
