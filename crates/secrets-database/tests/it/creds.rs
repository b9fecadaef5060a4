//! Credentials with leases.

use mainstay_secrets_engine::{Lease, Operation, Refusal};
use mainstay_types::Timestamp;
use serde_json::json;

use crate::harness::{Mounted, data, invalid};

async fn with_role(role: serde_json::Value) -> Mounted {
    let mounted = Mounted::with_shop().await;
    mounted.write("roles/My.App", role).await.unwrap();
    mounted
}

async fn given(mounted: &Mounted) -> Lease {
    mounted.read("creds/My.App").await.unwrap().lease.unwrap()
}

#[tokio::test]
async fn credentials_are_made_renewed_and_revoked_with_their_lease() {
    let mounted =
        with_role(json!({"db_name": "shop", "creation_statements": ["GRANT x TO \"{{name}}\""], "default_ttl": 60}))
            .await;
    let answer = mounted.read("creds/My.App").await.unwrap();
    let lease = answer.lease.clone().unwrap();
    assert_eq!(data(Ok(answer)), json!({"username": "b_100000000000_1", "password": "password-1"}));
    assert_eq!((lease.ttl_seconds, lease.max_ttl_seconds, lease.renewable), (60, 7200, true));
    let made = mounted.fake.with(|state| state.bindings.values().next().unwrap().clone());
    assert_eq!((made.wanted.consumer.as_str(), made.wanted.instance.as_str()), ("secrets-my-app", "shop"));
    assert_eq!(made.wanted.statements, Some(vec!["GRANT x TO \"{{name}}\"".to_owned()]));
    assert_eq!(made.lease_seconds, 65, "a credential does not end before its lease");

    mounted.write("roles/My.App", json!({"default_ttl": 90, "max_ttl": 100})).await.unwrap();
    let lease = mounted.backend.renew(lease, 80, Timestamp::now()).await.unwrap();
    assert_eq!((lease.ttl_seconds, lease.max_ttl_seconds), (90, 100), "as the role is now");
    assert_eq!(mounted.fake.with(|state| state.bindings.values().next().unwrap().lease_seconds), 85);

    // While the server is down it stays on record, and is tried again.
    mounted.fake.with(|state| state.down = true);
    let refused = mounted.backend.revoke(&lease.internal, Timestamp::now()).await;
    assert!(matches!(refused, Err(Refusal::Unavailable { .. })), "{refused:?}");
    mounted.fake.with(|state| state.down = false);
    for _ in 0..2 {
        mounted.backend.revoke(&lease.internal, Timestamp::now()).await.unwrap();
        assert!(mounted.fake.with(|state| state.bindings.is_empty()));
    }
    match mounted.backend.renew(lease, 80, Timestamp::now()).await {
        Err(Refusal::Invalid(message)) => assert!(message.contains("the credential is gone"), "{message}"),
        answer => panic!("{answer:?}"),
    }
}

#[tokio::test]
async fn leases_are_bounded_by_the_role_and_the_mount() {
    for (default_ttl, max_ttl, expected) in
        [(0, 0, (3600, 7200)), (0, 600, (600, 600)), (9000, 0, (7200, 7200)), (60, 9000, (60, 7200))]
    {
        let mounted = with_role(
            json!({"db_name": "shop", "creation_statements": "x", "default_ttl": default_ttl, "max_ttl": max_ttl}),
        )
        .await;
        let lease = given(&mounted).await;
        assert_eq!((lease.ttl_seconds, lease.max_ttl_seconds), expected);
    }
}

#[tokio::test]
async fn what_is_not_there_or_not_allowed() {
    let mounted = with_role(json!({"db_name": "shop", "creation_statements": "x"})).await;
    assert_eq!(invalid(mounted.read("creds/other").await), "unknown role: other");
    mounted.write("config/shop", json!({"allowed_roles": ["other"]})).await.unwrap();
    let refused = mounted.read("creds/My.App").await.unwrap_err();
    assert_eq!(refused.to_string(), "\"My.App\" is not an allowed role");
    mounted.ask(Operation::Delete, "config/shop", Timestamp::now()).await.unwrap();
    let refused = mounted.read("creds/My.App").await.unwrap_err();
    assert_eq!(refused.to_string(), "failed to find entry for connection with name: \"shop\"");
    let mounted = with_role(json!({"db_name": "shop"})).await;
    assert_eq!(mounted.read("creds/My.App").await.unwrap_err().to_string(), "empty creation statements");
}

#[tokio::test]
async fn what_was_given_outlives_its_role_and_ends_with_its_lease() {
    let mounted = with_role(json!({"db_name": "shop", "creation_statements": "x"})).await;
    let lease = given(&mounted).await;
    for path in ["roles/My.App", "config/shop"] {
        mounted.ask(Operation::Delete, path, Timestamp::now()).await.unwrap();
    }
    assert_eq!(mounted.fake.with(|state| state.bindings.len()), 1);
    match mounted.backend.renew(lease.clone(), 80, Timestamp::now()).await {
        Err(Refusal::Invalid(message)) => {
            assert_eq!(message, "error during renew: could not find role with name: \"My.App\"");
        }
        answer => panic!("{answer:?}"),
    }
    mounted.backend.revoke(&lease.internal, Timestamp::now()).await.unwrap();
    assert!(mounted.fake.with(|state| state.bindings.is_empty()));
}
