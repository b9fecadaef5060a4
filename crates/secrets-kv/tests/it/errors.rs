//! What is refused, in Vault's words.

use mainstay_secrets_engine::Operation;
use serde_json::{Value, json};

use crate::Kv;

#[tokio::test]
async fn wrong_requests_are_told_what_is_wrong() {
    let kv = Kv::versioned().await;
    kv.write("a", json!({})).await;
    let table = [
        (Operation::Update, "data/a", json!({}), "no data provided"),
        (Operation::Update, "data/a", json!({"data": null}), "no data provided"),
        (Operation::Update, "data/a", json!({"data": "text"}), "error converting input for field \"data\""),
        (
            Operation::Update,
            "data/a",
            json!({"data": {}, "options": 5}),
            "error converting input for field \"options\"",
        ),
        (Operation::Patch, "data/a", json!({"options": {}}), "no data provided"),
        (Operation::Create, "data/", json!({"data": {}}), "missing path"),
        (Operation::Create, "data/a/", json!({"data": {}}), "cannot write to a path ending in '/'"),
        (Operation::Create, "metadata/", json!({"max_versions": 1}), "missing path"),
        (Operation::Create, "metadata/a/", json!({"max_versions": 1}), "cannot write to a path ending in '/'"),
        (Operation::Update, "delete/a", json!({}), "No version number provided"),
        (Operation::Update, "undelete/a", json!({"versions": []}), "No version number provided"),
        (Operation::Update, "destroy/a", json!({"versions": ""}), "no version number provided"),
        (Operation::Update, "destroy/a", json!({"versions": ["x"]}), "field \"versions\""),
        (Operation::Update, "metadata/a", json!({"max_versions": -1}), "max_versions"),
        (Operation::Update, "metadata/a", json!({"max_versions": 5_000_000_000_u64}), "max_versions"),
        (Operation::Update, "metadata/a", json!({"cas_required": "cats"}), "cas_required"),
        (Operation::Update, "metadata/a", json!({"custom_metadata": "not-a-dict"}), "custom_metadata"),
        (Operation::Update, "metadata/a", json!({"delete_version_after": "-5s"}), "delete_version_after"),
        (Operation::Update, "config", json!({"delete_version_after": "soon"}), "delete_version_after"),
        (Operation::Read, "delete/a", json!({}), "405"),
        (Operation::Delete, "destroy/a", json!({}), "405"),
        (Operation::Update, "subkeys/a", json!({}), "405"),
        (Operation::Delete, "config", json!({}), "405"),
        (Operation::Read, "metadata/a/", json!({}), "404"),
    ];
    for (operation, path, data, expected) in table {
        let told = kv.refusal(operation, path, data.clone()).await;
        assert!(told.contains(expected), "{operation:?} {path} {data}: {told}");
    }
}

#[tokio::test]
async fn paths_of_version_1_are_pointed_to_the_right_ones() {
    let kv = Kv::versioned().await;
    let root = "Non-listing operations on the root of a K/V v2 mount are not supported.";
    let table = [
        (Operation::Read, "my/secret", "use 'vault kv get' for this operation."),
        (Operation::Create, "my/secret", "use 'vault kv put' for this operation."),
        (Operation::Patch, "my/secret", "use 'vault kv patch' for this operation."),
        (Operation::List, "my/", "use 'vault kv list' for this operation."),
        (Operation::Delete, "dat/a", "use 'vault kv delete' for this operation."),
        (Operation::Read, "data/a/", "use 'vault kv get' for this operation."),
        (Operation::Read, "data/", "use 'vault kv get' for this operation."),
        (Operation::List, "data/a", "use 'vault kv list' for this operation."),
        (Operation::Read, "config/x", "use 'vault kv get' for this operation."),
        (Operation::Read, "", "use 'vault kv get' for this operation."),
        (Operation::Read, "data", root),
        (Operation::Delete, "metadata", root),
        (Operation::Update, "undelete", root),
    ];
    for (operation, path, expected) in table {
        let answer = kv.call(operation, path, json!({"data": {}, "versions": [1]})).await;
        assert_eq!((answer.status, answer.data), (Some(404), None), "{operation:?} {path}");
        assert!(answer.warnings[0].ends_with(expected), "{operation:?} {path}: {:?}", answer.warnings);
    }
}

#[tokio::test]
async fn custom_metadata_is_held_to_its_limits() {
    let kv = Kv::versioned().await;
    let many = |count| -> Value { (0..count).map(|number| (format!("k{number}"), json!("v"))).collect() };
    let fits = [many(64), json!({"k".repeat(128): "v".repeat(512)}), json!({"ключ": "значение с пробелом"})];
    for custom in fits {
        kv.call(Operation::Update, "metadata/a", json!({ "custom_metadata": custom })).await;
    }
    let one = "1 error occurred:\n\t* custom_metadata validation failed: ";
    let table = [
        (many(65), format!("{one}payload must contain at most 64 keys, provided 65\n\n")),
        (json!({"": "v"}), format!("{one}length of key \"\" is 0 but must be 0 < len(key) <= 128\n\n")),
        (json!({"k": ""}), format!("{one}length of value for key \"k\" is 0 but must be 0 < len(value) <= 512\n\n")),
        (json!({"k": null}), format!("{one}length of value for key \"k\" is 0 but must be 0 < len(value) <= 512\n\n")),
        (json!({"k": "a\nb"}), format!("{one}value for key \"k\" contains unprintable characters\n\n")),
        (json!({"k": "v".repeat(513), "l\u{200b}": "v"}), "2 errors occurred:\n\t* custom_metadata".to_owned()),
        (
            json!({"k": ["v"]}),
            "custom_metadata validation failed: the value of key \"k\" has to be a string".to_owned(),
        ),
    ];
    for (custom, expected) in table {
        let told = kv.refusal(Operation::Update, "metadata/a", json!({ "custom_metadata": custom })).await;
        assert!(told.starts_with(&expected), "{custom}: {told}");
    }
    // A patch may not add beyond the limit either, and leaves everything as it was.
    let before = kv.read("metadata/a").await;
    let told = kv.refusal(Operation::Patch, "metadata/a", json!({ "custom_metadata": many(64) })).await;
    assert!(told.contains("provided 65"), "{told}");
    assert_eq!(kv.read("metadata/a").await, before);
}
