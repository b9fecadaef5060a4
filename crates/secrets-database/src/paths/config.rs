//! `config/:name`, `reset/:name` and `rotate-root/:name`: which instance is meant.

use mainstay_secrets_engine::{Answer, Fields, Operation, Refusal, Request};
use mainstay_types::InstanceName;
use serde_json::json;

use super::{refuse_statements, refuse_text};
use crate::backend::{Database, no_config};
use crate::records::{self, Config};

/// The one plugin that clients can name.
const PLUGIN: &str = "postgresql-database-plugin";
/// What an instance's address begins with.
const SCHEME: &str = "mainstay://";
/// Whom this engine serves, for those who believed otherwise.
const SERVES: &str = "this engine serves the instances of this layer: write connection_url=\"mainstay://INSTANCE\" or \
                      instance=INSTANCE, without a username and a password; see the instances with: mainstay list";

pub async fn handle(database: &Database, request: &Request, name: &str) -> Result<Answer, Refusal> {
    match request.operation {
        Operation::Create | Operation::Update => write(database, request, name).await,
        Operation::Read => match records::find::<Config>(&database.storage, name).await? {
            Some(stored) => Ok(read(&stored.value)),
            None => Err(Refusal::NotFound),
        },
        Operation::Delete => {
            records::remove::<Config>(&database.storage, name).await?;
            Ok(Answer::nothing())
        }
        _ => Err(Refusal::UnsupportedOperation),
    }
}

/// There is no connection that would have to be opened anew.
pub async fn reset(database: &Database, request: &Request, name: &str) -> Result<Answer, Refusal> {
    expect_write(database, request, name).await?;
    Ok(Answer::nothing())
}

pub async fn rotate_root(database: &Database, request: &Request, name: &str) -> Result<Answer, Refusal> {
    expect_write(database, request, name).await?;
    Err(Refusal::invalid(format!(
        "unable to rotate root credentials: there are none. Connection {name:?} is an instance of this layer, which \
         needs no password to make credentials on it"
    )))
}

async fn expect_write(database: &Database, request: &Request, name: &str) -> Result<(), Refusal> {
    if !request.is_write() {
        return Err(Refusal::UnsupportedOperation);
    }
    records::find::<Config>(&database.storage, name).await?.map(drop).ok_or_else(|| no_config(name))
}

async fn write(database: &Database, request: &Request, name: &str) -> Result<Answer, Refusal> {
    let fields = request.fields();
    let before = records::find::<Config>(&database.storage, name).await?.map(|stored| stored.value);
    match fields.text("plugin_name")?.as_deref() {
        Some(PLUGIN) => {}
        None | Some("") if before.is_some() => {}
        None | Some("") => return Err(Refusal::invalid("empty plugin name")),
        Some(other) => {
            return Err(Refusal::invalid(format!(
                "error creating database object: there is no plugin {other:?} here; use {PLUGIN:?}"
            )));
        }
    }
    for field in ["username", "password", "username_template", "password_policy"] {
        refuse_text(fields, field, SERVES)?;
    }
    refuse_statements(fields, "root_rotation_statements", "there is no root credential to rotate")?;
    let instance = match (named_instance(fields)?, &before) {
        (Some(instance), _) => instance,
        (None, Some(before)) => before.instance.clone(),
        (None, None) => {
            return Err(Refusal::invalid(format!("error creating database object: no connection_url; {SERVES}")));
        }
    };
    let verify_connection = fields.boolean("verify_connection")?;
    let verify_connection = verify_connection.or(before.as_ref().map(|before| before.verify_connection));
    let allowed_roles = fields.list("allowed_roles")?.or(before.map(|before| before.allowed_roles));
    let config = Config {
        instance,
        allowed_roles: allowed_roles.unwrap_or_default(),
        verify_connection: verify_connection.unwrap_or(true),
    };
    if config.verify_connection {
        database.databases.check(&request.tenant, &config.instance).await?;
    }
    records::put(&database.storage, name, &config).await?;
    Ok(Answer::nothing())
}

/// The instance that a request names. What it says instead is not repeated: an address may have a password in it.
fn named_instance(fields: Fields<'_>) -> Result<Option<InstanceName>, Refusal> {
    let url = fields.text("connection_url")?.filter(|url| !url.is_empty());
    let of_url = match &url {
        None => None,
        Some(url) => {
            let foreign =
                || Refusal::invalid(format!("error creating database object: a foreign connection_url; {SERVES}"));
            let name = url.strip_prefix(SCHEME).ok_or_else(foreign)?;
            Some(name.strip_suffix('/').unwrap_or(name).parse::<InstanceName>().map_err(|_| foreign())?)
        }
    };
    let plain = fields.text("instance")?.filter(|name| !name.is_empty());
    let plain = plain.map(|name| name.parse::<InstanceName>()).transpose();
    let plain = plain.map_err(|error| Refusal::invalid(format!("error creating database object: {error}")))?;
    match (of_url, plain) {
        (Some(one), Some(other)) if one != other => {
            Err(Refusal::invalid("connection_url and instance name two instances; leave one of them out"))
        }
        (one, other) => Ok(one.or(other)),
    }
}

fn read(config: &Config) -> Answer {
    Answer::data(json!({
        "plugin_name": PLUGIN,
        "plugin_version": "",
        "connection_details": {
            "connection_url": format!("{SCHEME}{}", config.instance),
            "instance": config.instance,
        },
        "allowed_roles": config.allowed_roles,
        "password_policy": "",
        "root_credentials_rotate_statements": [],
        "verify_connection": config.verify_connection,
    }))
}
