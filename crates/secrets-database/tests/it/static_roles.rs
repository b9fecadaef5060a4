//! Static roles: one user each, whose password is replaced when it is due.

use std::time::{Duration, Instant};

use mainstay_secrets_engine::{Operation, Refusal};
use mainstay_types::Timestamp;
use serde_json::json;

use crate::harness::{Mounted, data, invalid};

async fn with_static(period: u64) -> Mounted {
    let mounted = Mounted::with_shop().await;
    mounted.write("static-roles/app", json!({"db_name": "shop", "rotation_period": period})).await.unwrap();
    mounted
}

async fn password_at(mounted: &Mounted, now: Timestamp) -> String {
    let data = data(mounted.ask(Operation::Read, "static-creds/app", now).await);
    data["password"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_static_role_is_made_shown_and_removed_with_its_user() {
    let mounted = with_static(3600).await;
    let shown = data(mounted.read("static-roles/app").await);
    let rotated = shown["last_vault_rotation"].clone();
    let expected = json!({
        "db_name": "shop", "username": "b_100000000000_1", "rotation_period": 3600, "rotation_statements": [],
        "last_vault_rotation": rotated, "credential_type": "password",
    });
    assert_eq!(shown, expected);
    let mut credentials = data(mounted.read("static-creds/app").await);
    let ttl = credentials["ttl"].take().as_u64().unwrap();
    assert!((3590..=3600).contains(&ttl), "{ttl}");
    let expected = json!({
        "username": "b_100000000000_1", "password": "password-1", "ttl": null, "rotation_period": 3600,
        "last_vault_rotation": rotated,
    });
    assert_eq!(credentials, expected);
    let made = mounted.fake.with(|state| state.bindings.values().next().unwrap().clone());
    assert_eq!((made.lease_seconds, made.wanted.lease_seconds, made.wanted.statements), (366 * 86_400, 600, None));

    assert_eq!(data(mounted.ask(Operation::List, "static-roles", Timestamp::now()).await), json!({"keys": ["app"]}));
    mounted.fake.with(|state| state.down = true);
    let refused = mounted.ask(Operation::Delete, "static-roles/app", Timestamp::now()).await;
    assert!(matches!(refused, Err(Refusal::Unavailable { .. })), "its user is not forgotten: {refused:?}");
    mounted.fake.with(|state| state.down = false);
    for _ in 0..2 {
        mounted.ask(Operation::Delete, "static-roles/app", Timestamp::now()).await.unwrap();
    }
    assert!(mounted.fake.with(|state| state.bindings.is_empty()));
    assert!(matches!(mounted.read("static-roles/app").await, Err(Refusal::NotFound)));
    assert_eq!(invalid(mounted.read("static-creds/app").await), "unknown role: app");
}

#[tokio::test]
async fn a_password_is_replaced_on_demand_and_when_it_is_due() {
    let mounted = with_static(3600).await;
    mounted.write("rotate-role/app", json!({})).await.unwrap();
    let now = Timestamp::now();
    assert_eq!(password_at(&mounted, now).await, "password-2");
    assert_eq!(invalid(mounted.write("rotate-role/other", json!({})).await), "no static role found for role name");

    let due = now.plus_seconds(3700);
    assert_eq!(password_at(&mounted, due).await, "password-3", "what is due is replaced before it is handed out");
    mounted.backend.tend(Timestamp::now().plus_seconds(3700)).await.unwrap();
    assert_eq!(password_at(&mounted, now).await, "password-4");

    // While it can not be replaced, the one that works is handed out.
    mounted.fake.with(|state| state.down = true);
    assert!(mounted.backend.tend(Timestamp::now().plus_seconds(3700)).await.is_err());
    mounted.fake.with(|state| state.down = false);
    mounted.backend.tend(Timestamp::now()).await.unwrap();
    assert_eq!(password_at(&mounted, Timestamp::now()).await, "password-4");
}

#[tokio::test]
async fn rotation_needs_nobody_to_tend_it() {
    let mounted = with_static(5).await.reopened().await;
    let made = Instant::now();
    while mounted.fake.with(|state| state.rotations) == 0 {
        assert!(made.elapsed() < Duration::from_secs(20), "it should be rotated after 5 s");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(made.elapsed() > Duration::from_secs(4), "and not before its time");
}

#[tokio::test]
async fn a_user_that_somebody_removed_is_made_again() {
    let mounted = with_static(3600).await;
    mounted.fake.with(|state| state.bindings.clear());
    let refused = mounted.read("static-creds/app").await;
    assert!(matches!(refused, Err(Refusal::Unavailable { .. })), "{refused:?}");
    mounted.write("rotate-role/app", json!({})).await.unwrap();
    assert_eq!(data(mounted.read("static-creds/app").await)["username"], "b_200000000000_1");
    // Also when it is only to be renewed.
    mounted.write("static-roles/app", json!({"rotation_period": 366 * 86_400})).await.unwrap();
    mounted.fake.with(|state| state.bindings.clear());
    mounted.backend.tend(Timestamp::now().plus_seconds(2 * 86_400)).await.unwrap();
    assert_eq!(data(mounted.read("static-creds/app").await)["username"], "b_300000000000_1");
}

#[tokio::test]
async fn what_may_be_changed_and_what_not() {
    let mounted = with_static(3600).await;
    let usual = "ALTER USER \"{{name}}\" WITH PASSWORD '{{password}}';";
    let same = json!({
        "db_name": "shop", "username": "b_100000000000_1", "rotation_period": "2h", "rotation_statements": [usual],
    });
    mounted.write("static-roles/app", same).await.unwrap();
    let shown = data(mounted.read("static-roles/app").await);
    assert_eq!((&shown["rotation_period"], &shown["rotation_statements"]), (&json!(7200), &json!([usual])));
    mounted.write("roles/dynamic", json!({"db_name": "shop"})).await.unwrap();
    let period = json!({"db_name": "shop", "rotation_period": 60});
    for (path, change, words) in [
        ("static-roles/app", json!({"username": "me"}), "cannot update static account username"),
        ("static-roles/app", json!({"db_name": "crm"}), "cannot update static account db_name"),
        ("static-roles/app", json!({"rotation_period": 4}), "rotation_period must be 5 seconds or more"),
        ("static-roles/app", json!({"rotation_statements": ["DROP TABLE x"]}), "rotation_statements are not taken"),
        ("static-roles/new", json!({"db_name": "shop"}), "rotation_period is required to create static accounts"),
        ("static-roles/new", json!({"rotation_period": 60}), "database name is a required field"),
        (
            "static-roles/new",
            json!({"db_name": "shop", "username": "me", "rotation_period": 60}),
            "username is not taken",
        ),
        ("static-roles/dynamic", period.clone(), "Role and Static Role names must be unique"),
        ("roles/app", json!({"db_name": "shop"}), "Role and Static Role names must be unique"),
    ] {
        let message = invalid(mounted.write(path, change).await);
        assert!(message.contains(words), "{path}: {message}");
    }
    assert_eq!(mounted.fake.with(|state| state.made), 1);
    // What can not be made leaves no record.
    mounted.fake.with(|state| state.down = true);
    assert!(matches!(mounted.write("static-roles/new", period).await, Err(Refusal::Unavailable { .. })));
    assert!(matches!(mounted.read("static-roles/new").await, Err(Refusal::NotFound)));
}
