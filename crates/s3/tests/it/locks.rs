//! Object lock.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    BucketVersioningStatus, DefaultRetention, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockLegalHold,
    ObjectLockLegalHoldStatus, ObjectLockMode, ObjectLockRetention, ObjectLockRetentionMode, ObjectLockRule,
    VersioningConfiguration,
};

use crate::server::{Server, error, refused};

fn in_days(days: u64) -> DateTime {
    DateTime::from(SystemTime::now() + Duration::from_secs(days * 24 * 3600))
}

async fn locked_bucket() -> (Server, Client) {
    let server = Server::start().await;
    let client = server.client();
    client.create_bucket().bucket("vault").object_lock_enabled_for_bucket(true).send().await.unwrap();
    (server, client)
}

async fn put(client: &Client, mode: Option<ObjectLockMode>) -> String {
    let until = mode.as_ref().map(|_| in_days(1));
    let put = client.put_object().bucket("vault").key("a").body(ByteStream::from_static(b"x"));
    put.set_object_lock_mode(mode).set_object_lock_retain_until_date(until).send().await.unwrap().version_id.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn governance_and_compliance() {
    let (_server, client) = locked_bucket().await;
    let governed = put(&client, Some(ObjectLockMode::Governance)).await;
    let kept = put(&client, Some(ObjectLockMode::Compliance)).await;
    let delete = |id: &str| client.delete_object().bucket("vault").key("a").version_id(id);
    assert_eq!(refused(delete(&governed).send().await), error(403, "AccessDenied"));
    assert_eq!(refused(delete(&kept).send().await), error(403, "AccessDenied"));
    assert_eq!(refused(delete(&kept).bypass_governance_retention(true).send().await), error(403, "AccessDenied"));
    assert!(delete(&governed).bypass_governance_retention(true).send().await.is_ok());
    let head = client.head_object().bucket("vault").key("a").send().await.unwrap();
    assert_eq!(head.object_lock_mode(), Some(&ObjectLockMode::Compliance));
    let retain = |days| {
        let retention = ObjectLockRetention::builder().mode(ObjectLockRetentionMode::Compliance);
        let retention = retention.retain_until_date(in_days(days)).build();
        client.put_object_retention().bucket("vault").key("a").retention(retention)
    };
    assert!(retain(3).send().await.is_ok());
    assert_eq!(refused(retain(2).send().await), error(403, "AccessDenied"));
    let told = client.get_object_retention().bucket("vault").key("a").send().await.unwrap();
    assert_eq!(told.retention().and_then(|told| told.mode()), Some(&ObjectLockRetentionMode::Compliance));
}

#[tokio::test(flavor = "multi_thread")]
async fn legal_holds() {
    let (_server, client) = locked_bucket().await;
    let id = put(&client, None).await;
    let hold = |status| {
        let hold = ObjectLockLegalHold::builder().status(status).build();
        client.put_object_legal_hold().bucket("vault").key("a").legal_hold(hold).send()
    };
    let delete = || client.delete_object().bucket("vault").key("a").version_id(&id).send();
    hold(ObjectLockLegalHoldStatus::On).await.unwrap();
    assert_eq!(refused(delete().await), error(403, "AccessDenied"));
    let told = client.get_object_legal_hold().bucket("vault").key("a").send().await.unwrap();
    assert_eq!(told.legal_hold().and_then(|told| told.status()), Some(&ObjectLockLegalHoldStatus::On));
    hold(ObjectLockLegalHoldStatus::Off).await.unwrap();
    assert!(delete().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_locks_ask_of_buckets() {
    let (_server, client) = locked_bucket().await;
    let without = client
        .put_object()
        .bucket("photos")
        .key("a")
        .object_lock_mode(ObjectLockMode::Governance)
        .object_lock_retain_until_date(in_days(1))
        .send()
        .await;
    assert_eq!(refused(without), error(400, "InvalidRequest"));
    let none = client.get_object_lock_configuration().bucket("photos").send().await;
    assert_eq!(refused(none), error(404, "ObjectLockConfigurationNotFoundError"));
    let suspended = VersioningConfiguration::builder().status(BucketVersioningStatus::Suspended).build();
    let suspended = client.put_bucket_versioning().bucket("vault").versioning_configuration(suspended).send().await;
    assert_eq!(refused(suspended), error(409, "InvalidBucketState"));
    let default = |days| {
        let default = DefaultRetention::builder().mode(ObjectLockRetentionMode::Governance).days(days).build();
        let rule = ObjectLockRule::builder().default_retention(default).build();
        let lock = ObjectLockConfiguration::builder().object_lock_enabled(ObjectLockEnabled::Enabled).rule(rule);
        client.put_object_lock_configuration().bucket("vault").object_lock_configuration(lock.build())
    };
    assert_eq!(refused(default(0).send().await), error(400, "InvalidRetentionPeriod"));
    default(1).send().await.unwrap();
    let id = put(&client, None).await;
    let delete = client.delete_object().bucket("vault").key("a").version_id(id).send().await;
    assert_eq!(refused(delete), error(403, "AccessDenied"));
}
