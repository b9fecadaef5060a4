//! Buckets and what is set for them.

use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, BucketLocationConstraint, BucketVersioningStatus, CorsConfiguration, CorsRule,
    CreateBucketConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleFilter,
    PublicAccessBlockConfiguration, ServerSideEncryption, ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration, ServerSideEncryptionRule, StorageClass, Tag, Tagging, Transition,
    TransitionStorageClass, VersioningConfiguration,
};

use crate::server::{Server, error, put, refused};

#[tokio::test(flavor = "multi_thread")]
async fn made_listed_and_deleted() {
    let server = Server::start().await;
    let client = server.client();
    client.create_bucket().bucket("albums").send().await.unwrap();
    let listed = client.list_buckets().send().await.unwrap();
    let names: Vec<_> = listed.buckets().iter().filter_map(|bucket| bucket.name()).collect();
    assert_eq!(names, ["albums", "photos"]);
    let page = client.list_buckets().max_buckets(1).send().await.unwrap();
    assert_eq!(page.continuation_token(), Some("albums"));
    assert!(server.other_client().list_buckets().send().await.unwrap().buckets().is_empty());
    assert_eq!(refused(client.create_bucket().bucket("photos").send().await), error(409, "BucketAlreadyOwnedByYou"));
    let others = server.other_client().create_bucket().bucket("photos").send().await;
    assert_eq!(refused(others), error(409, "BucketAlreadyExists"));
    put(&client, "a", "x").await;
    assert_eq!(refused(client.delete_bucket().bucket("photos").send().await), error(409, "BucketNotEmpty"));
    client.delete_bucket().bucket("albums").send().await.unwrap();
    assert_eq!(refused(client.delete_bucket().bucket("albums").send().await), error(404, "NoSuchBucket"));
    assert_eq!(refused(client.head_bucket().bucket("albums").send().await).0, 404);
    let head = client.head_bucket().bucket("photos").send().await.unwrap();
    assert_eq!(head.bucket_region(), Some("mainstay"));
    let location = client.get_bucket_location().bucket("photos").send().await.unwrap();
    assert_eq!(location.location_constraint().map(BucketLocationConstraint::as_str), Some("mainstay"));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_places_that_are_refused() {
    let server = Server::start().await;
    let client = server.client();
    for bad in ["ab", "Upper", "under_score", "192.168.5.4", "dots..dots"] {
        assert_eq!(refused(client.create_bucket().bucket(bad).send().await), error(400, "InvalidBucketName"), "{bad}");
    }
    let placed = |region: &str| {
        let place = CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::from(region));
        client.create_bucket().bucket("placed").create_bucket_configuration(place.build())
    };
    assert_eq!(refused(placed("eu-west-1").send().await), error(400, "InvalidLocationConstraint"));
    assert!(placed("mainstay").send().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_come_back_and_go() {
    let server = Server::start().await;
    let client = server.client();
    // Versioning.
    let versioning = || client.get_bucket_versioning().bucket("photos").send();
    assert_eq!(versioning().await.unwrap().status(), None);
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    client.put_bucket_versioning().bucket("photos").versioning_configuration(enabled).send().await.unwrap();
    assert_eq!(versioning().await.unwrap().status(), Some(&BucketVersioningStatus::Enabled));
    // CORS.
    let none = client.get_bucket_cors().bucket("photos").send().await;
    assert_eq!(refused(none), error(404, "NoSuchCORSConfiguration"));
    let rule = CorsRule::builder().allowed_methods("GET").allowed_origins("*").build().unwrap();
    let rules = CorsConfiguration::builder().cors_rules(rule.clone()).build().unwrap();
    client.put_bucket_cors().bucket("photos").cors_configuration(rules).send().await.unwrap();
    assert_eq!(client.get_bucket_cors().bucket("photos").send().await.unwrap().cors_rules(), [rule]);
    client.delete_bucket_cors().bucket("photos").send().await.unwrap();
    // Encryption.
    let none = client.get_bucket_encryption().bucket("photos").send().await;
    assert_eq!(refused(none), error(404, "ServerSideEncryptionConfigurationNotFoundError"));
    let encryption = |algorithm| {
        let default = ServerSideEncryptionByDefault::builder().sse_algorithm(algorithm).build().unwrap();
        let rule = ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(default).build();
        let rules = ServerSideEncryptionConfiguration::builder().rules(rule).build().unwrap();
        client.put_bucket_encryption().bucket("photos").server_side_encryption_configuration(rules)
    };
    assert_eq!(refused(encryption(ServerSideEncryption::AwsKms).send().await), error(501, "NotImplemented"));
    encryption(ServerSideEncryption::Aes256).send().await.unwrap();
    put(&client, "a", "x").await;
    let head = client.head_object().bucket("photos").key("a").send().await.unwrap();
    assert_eq!(head.server_side_encryption(), Some(&ServerSideEncryption::Aes256));
    client.delete_bucket_encryption().bucket("photos").send().await.unwrap();
    // Tags.
    let none = client.get_bucket_tagging().bucket("photos").send().await;
    assert_eq!(refused(none), error(404, "NoSuchTagSet"));
    let tag = Tag::builder().key("team").value("blue").build().unwrap();
    let tags = Tagging::builder().tag_set(tag.clone()).build().unwrap();
    client.put_bucket_tagging().bucket("photos").tagging(tags).send().await.unwrap();
    assert_eq!(client.get_bucket_tagging().bucket("photos").send().await.unwrap().tag_set(), [tag]);
    client.delete_bucket_tagging().bucket("photos").send().await.unwrap();
    // Public access.
    let none = client.get_public_access_block().bucket("photos").send().await;
    assert_eq!(refused(none), error(404, "NoSuchPublicAccessBlockConfiguration"));
    let block = PublicAccessBlockConfiguration::builder().block_public_policy(true).build();
    client.put_public_access_block().bucket("photos").public_access_block_configuration(block).send().await.unwrap();
    let told = client.get_public_access_block().bucket("photos").send().await.unwrap();
    assert_eq!(told.public_access_block_configuration().and_then(|block| block.block_public_policy()), Some(true));
    client.delete_public_access_block().bucket("photos").send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lifecycle_rules() {
    let server = Server::start().await;
    let client = server.client();
    let none = client.get_bucket_lifecycle_configuration().bucket("photos").send().await;
    assert_eq!(refused(none), error(404, "NoSuchLifecycleConfiguration"));
    let rule = || {
        let filter = LifecycleRuleFilter::builder().prefix("logs/").build();
        LifecycleRule::builder().id("old logs").status(ExpirationStatus::Enabled).filter(filter)
    };
    let set = |rule| {
        let rules = BucketLifecycleConfiguration::builder().rules(rule).build().unwrap();
        client.put_bucket_lifecycle_configuration().bucket("photos").lifecycle_configuration(rules)
    };
    let expires = |days| LifecycleExpiration::builder().days(days).build();
    let kept = rule().expiration(expires(7)).build().unwrap();
    set(kept.clone()).send().await.unwrap();
    let told = client.get_bucket_lifecycle_configuration().bucket("photos").send().await.unwrap();
    assert_eq!(told.rules(), [kept]);
    put(&client, "logs/1", "x").await;
    let head = client.head_object().bucket("photos").key("logs/1").send().await.unwrap();
    assert!(head.expiration().is_some_and(|told| told.contains("rule-id=\"old%20logs\"")), "{:?}", head.expiration());
    assert_eq!(
        refused(set(rule().expiration(expires(0)).build().unwrap()).send().await),
        error(400, "InvalidArgument")
    );
    let transition = Transition::builder().days(1).storage_class(TransitionStorageClass::Glacier).build();
    let moving = rule().transitions(transition).build().unwrap();
    assert_eq!(refused(set(moving).send().await), error(501, "NotImplemented"));
    client.delete_bucket_lifecycle().bucket("photos").send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_access_are_the_owners() {
    use aws_sdk_s3::types::{BucketCannedAcl, ObjectCannedAcl};
    let server = Server::start().await;
    let client = server.client();
    put(&client, "a", "x").await;
    let told = client.get_object_acl().bucket("photos").key("a").send().await.unwrap();
    assert_eq!(told.grants().len(), 1);
    assert_eq!(told.owner().and_then(|owner| owner.id()), Some(server.alpha.as_str()));
    let acl = |acl| client.put_object_acl().bucket("photos").key("a").acl(acl);
    assert!(acl(ObjectCannedAcl::Private).send().await.is_ok());
    assert_eq!(refused(acl(ObjectCannedAcl::PublicRead).send().await), error(400, "AccessControlListNotSupported"));
    let public = client.put_bucket_acl().bucket("photos").acl(BucketCannedAcl::PublicRead).send().await;
    assert_eq!(refused(public), error(400, "AccessControlListNotSupported"));
    let granted = client.put_object().bucket("photos").key("b").grant_read("id=x").send().await;
    assert_eq!(refused(granted), error(400, "AccessControlListNotSupported"));
    let cold = client.put_object().bucket("photos").key("b").storage_class(StorageClass::Glacier).send().await;
    assert_eq!(refused(cold), error(400, "InvalidStorageClass"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_yet_is_never_a_success() {
    let server = Server::start().await;
    let client = server.client();
    let not_implemented = error(501, "NotImplemented");
    assert_eq!(refused(client.get_bucket_website().bucket("photos").send().await), not_implemented);
    assert_eq!(refused(client.get_bucket_replication().bucket("photos").send().await), not_implemented);
    assert_eq!(refused(client.get_bucket_logging().bucket("photos").send().await), not_implemented);
    assert_eq!(refused(client.get_bucket_request_payment().bucket("photos").send().await), not_implemented);
    assert_eq!(refused(client.get_object_torrent().bucket("photos").key("a").send().await), not_implemented);
    assert_eq!(refused(client.restore_object().bucket("photos").key("a").send().await), not_implemented);
    let appended = client.put_object().bucket("photos").key("a").write_offset_bytes(5).send().await;
    assert_eq!(refused(appended), not_implemented);
}
