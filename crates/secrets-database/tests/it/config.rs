//! Connections and roles: kept, shown, listed and refused as in Vault.

use mainstay_secrets_engine::{Operation, Refusal};
use mainstay_types::Timestamp;
use serde_json::json;

use crate::harness::{Mounted, data, invalid};

const PLUGIN: &str = "postgresql-database-plugin";

#[tokio::test]
async fn a_connection_is_kept_and_shown() {
    let mounted = Mounted::new().await;
    assert!(matches!(mounted.read("config/shop").await, Err(Refusal::NotFound)));
    let list = |path: &'static str| mounted.ask(Operation::List, path, Timestamp::now());
    assert!(matches!(list("config/").await, Err(Refusal::NotFound)));
    let written = mounted
        .write("config/shop", json!({"plugin_name": PLUGIN, "instance": "shop", "allowed_roles": ["app-*", "ro"]}))
        .await;
    assert!(written.unwrap().data.is_none(), "204");
    let expected = json!({
        "plugin_name": PLUGIN,
        "plugin_version": "",
        "connection_details": {"connection_url": "mainstay://shop", "instance": "shop"},
        "allowed_roles": ["app-*", "ro"],
        "password_policy": "",
        "root_credentials_rotate_statements": [],
        "verify_connection": true,
    });
    assert_eq!(data(mounted.read("config/shop").await), expected);
    // An update keeps what it does not name.
    mounted.write("config/shop", json!({"allowed_roles": "a,b"})).await.unwrap();
    let shown = data(mounted.read("config/shop").await);
    assert_eq!(
        (&shown["allowed_roles"], &shown["connection_details"]["instance"]),
        (&json!(["a", "b"]), &json!("shop"))
    );
    assert_eq!(data(list("config").await), json!({"keys": ["shop"]}));
    mounted.write("reset/shop", json!({})).await.unwrap();
    assert!(invalid(mounted.write("rotate-root/shop", json!({})).await).contains("there are none"));
    mounted.ask(Operation::Delete, "config/shop", Timestamp::now()).await.unwrap();
    assert!(matches!(mounted.read("config/shop").await, Err(Refusal::NotFound)));
    assert!(matches!(mounted.write("reset/shop", json!({})).await, Err(Refusal::Failed { .. })));
}

#[tokio::test]
async fn connections_to_elsewhere_are_refused_without_repeating_their_secrets() {
    let mounted = Mounted::new().await;
    for (config, words) in [
        (json!({"plugin_name": PLUGIN, "connection_url": "postgresql://u:hunter2@db:5432/x"}), "serves the instances"),
        (json!({"plugin_name": PLUGIN, "instance": "shop", "password": "hunter2"}), "password is not taken"),
        (json!({"plugin_name": PLUGIN, "instance": "shop", "username": "u"}), "username is not taken"),
        (json!({"plugin_name": "mysql-database-plugin", "instance": "shop"}), "no plugin"),
        (json!({"instance": "shop"}), "empty plugin name"),
        (json!({"plugin_name": PLUGIN}), "no connection_url"),
        (json!({"plugin_name": PLUGIN, "connection_url": "mainstay://../shop"}), "foreign connection_url"),
        (json!({"plugin_name": PLUGIN, "instance": "shop", "connection_url": "mainstay://crm"}), "two instances"),
        (json!({"plugin_name": PLUGIN, "instance": "nowhere"}), "no instance is called nowhere"),
    ] {
        let message = invalid(mounted.write("config/x", config.clone()).await);
        assert!(message.contains(words) && !message.contains("hunter2"), "{config}: {message}");
    }
    let unverified = json!({"plugin_name": PLUGIN, "instance": "nowhere", "verify_connection": "false"});
    mounted.write("config/x", unverified).await.unwrap();
}

#[tokio::test]
async fn a_role_is_kept_and_shown() {
    let mounted = Mounted::with_shop().await;
    assert_eq!(invalid(mounted.write("roles/app", json!({})).await), "database name is required");
    let role = json!({"db_name": "shop", "creation_statements": "GRANT a, b TO \"{{name}}\"", "default_ttl": "1h"});
    mounted.write("roles/app", role).await.unwrap();
    mounted.write("roles/app", json!({"max_ttl": 7200})).await.unwrap();
    let expected = json!({
        "db_name": "shop",
        "creation_statements": ["GRANT a, b TO \"{{name}}\""],
        "revocation_statements": [],
        "rollback_statements": [],
        "renew_statements": [],
        "default_ttl": 3600,
        "max_ttl": 7200,
        "credential_type": "password",
    });
    assert_eq!(data(mounted.read("roles/app").await), expected);
    for (change, words) in [
        (json!({"revocation_statements": ["DROP ROLE x"]}), "revocation_statements are not taken"),
        (json!({"renew_statements": "ALTER ROLE x"}), "renew_statements are not taken"),
        (json!({"rollback_statements": ["x"]}), "rollback_statements are not taken"),
        (json!({"credential_type": "rsa_private_key"}), "invalid credential_type \"rsa_private_key\""),
        (json!({"default_ttl": "3h"}), "default_ttl cannot be greater than max_ttl"),
    ] {
        let message = invalid(mounted.write("roles/app", change).await);
        assert!(message.contains(words), "{message}");
    }
    let empty = json!({"revocation_statements": [], "renew_statements": "", "rollback_statements": []});
    mounted.write("roles/app", empty).await.unwrap();
    assert_eq!(data(mounted.read("roles/app").await), expected);
    assert_eq!(data(mounted.ask(Operation::List, "roles/", Timestamp::now()).await), json!({"keys": ["app"]}));
    mounted.ask(Operation::Delete, "roles/app", Timestamp::now()).await.unwrap();
    assert!(matches!(mounted.read("roles/app").await, Err(Refusal::NotFound)));
}

#[tokio::test]
async fn paths_that_are_none() {
    let mounted = Mounted::with_shop().await;
    for path in ["config/a/b", "roles/-a", "nothing", "nothing/a", "creds"] {
        let answer = mounted.read(path).await;
        assert!(matches!(answer, Err(Refusal::UnsupportedPath)), "{path}: {answer:?}");
    }
    for (operation, path) in
        [(Operation::Read, "roles"), (Operation::Update, "creds/app"), (Operation::Read, "rotate-role/a")]
    {
        let answer = mounted.ask(operation, path, Timestamp::now()).await;
        assert!(matches!(answer, Err(Refusal::UnsupportedOperation)), "{path}: {answer:?}");
    }
}
