//! Version 2, as hvac's own tests and Vault's documentation have it.

use mainstay_secrets_engine::{Operation, Storage};
use serde_json::{Value, json};

use crate::{Kv, START, body};

#[tokio::test]
async fn answers_have_the_documented_shapes() {
    let mut kv = Kv::versioned().await;
    let written = kv.write("my/secret", json!({"foo": "bar"})).await;
    let described = json!({
        "version": 1, "created_time": "2026-11-21T12:00:00.000000Z", "deletion_time": "", "destroyed": false,
        "custom_metadata": null,
    });
    assert_eq!(written, described);
    assert_eq!(kv.read("data/my/secret").await, json!({"data": {"foo": "bar"}, "metadata": described}));
    kv.now = START.plus_seconds(60);
    kv.call(Operation::Update, "metadata/my/secret", json!({"custom_metadata": {"owner": "jdoe", "n": 5}})).await;
    kv.write("my/secret", json!({})).await;
    assert_eq!(
        kv.read("metadata/my/secret").await,
        json!({
            "versions": {
                "1": {"created_time": "2026-11-21T12:00:00.000000Z", "deletion_time": "", "destroyed": false},
                "2": {"created_time": "2026-11-21T12:01:00.000000Z", "deletion_time": "", "destroyed": false},
            },
            "current_version": 2, "oldest_version": 0, "max_versions": 0, "cas_required": false,
            "created_time": "2026-11-21T12:00:00.000000Z", "updated_time": "2026-11-21T12:01:00.000000Z",
            "delete_version_after": "0s", "custom_metadata": {"owner": "jdoe", "n": "5"},
        })
    );
    assert_eq!(kv.read("data/my/secret").await["metadata"]["custom_metadata"], json!({"owner": "jdoe", "n": "5"}));
    assert_eq!(
        kv.read("config").await,
        json!({"max_versions": 0, "cas_required": false, "delete_version_after": "0s"})
    );
}

#[tokio::test]
async fn the_configuration_is_kept() {
    let storage = Storage::scratch().await;
    let kv = Kv::open(storage.clone(), "2").await;
    let table = [
        (json!({"max_versions": 10, "delete_version_after": "30m0s"}), (10, false, "30m0s")),
        (json!({"max_versions": "17", "cas_required": true}), (17, true, "30m0s")),
        (json!({"delete_version_after": "-1s"}), (17, true, "-1s")),
        (json!({}), (17, true, "-1s")),
        (json!({"delete_version_after": 0, "cas_required": false}), (17, false, "0s")),
        (json!({"delete_version_after": 12319}), (17, false, "3h25m19s")),
    ];
    for (change, (max_versions, cas_required, delete_version_after)) in table {
        assert!(kv.call(Operation::Update, "config", change.clone()).await.data.is_none());
        let expected = json!({
            "max_versions": max_versions, "cas_required": cas_required, "delete_version_after": delete_version_after,
        });
        assert_eq!(kv.read("config").await, expected, "{change}");
        assert_eq!(Kv::open(storage.clone(), "2").await.read("config").await, expected, "{change}, opened again");
    }
}

#[tokio::test]
async fn old_versions_are_read_by_number_until_they_make_place() {
    let kv = Kv::versioned().await;
    for number in 1..=15 {
        assert_eq!(kv.write("top-secret", json!({ "pssst": number })).await["version"], json!(number));
    }
    let read = async |version: Value| {
        let answer = kv.try_call(Operation::Read, "data/top-secret", json!({ "version": version })).await;
        answer.ok().map(|answer| body(answer)["data"]["pssst"].clone())
    };
    assert_eq!(read(json!("6")).await, Some(json!(6)));
    assert_eq!(read(json!(15)).await, Some(json!(15)));
    for current in [json!(0), json!("0"), json!(-3), json!(null)] {
        assert_eq!(read(current).await, Some(json!(15)));
    }
    for gone in [json!(5), json!(16), json!("99999999999999")] {
        assert_eq!(read(gone).await, None);
    }
    assert!(kv.refusal(Operation::Read, "data/top-secret", json!({"version": "x"})).await.contains("version"));
    let metadata = kv.read("metadata/top-secret").await;
    assert_eq!((&metadata["oldest_version"], metadata["versions"].as_object().unwrap().len()), (&json!(6), 10));
}

#[tokio::test]
async fn the_greater_of_both_limits_counts_and_takes_hold_at_the_next_write() {
    let storage = Storage::scratch().await;
    let kv = Kv::open(storage.clone(), "2").await;
    kv.call(Operation::Update, "metadata/a", json!({"max_versions": 2})).await;
    let kept = async || -> Vec<String> {
        kv.read("metadata/a").await["versions"].as_object().unwrap().keys().cloned().collect()
    };
    for _ in 0..4 {
        kv.write("a", json!({})).await;
    }
    assert_eq!(kept().await, ["3", "4"]);
    kv.call(Operation::Update, "config", json!({"max_versions": 3})).await;
    kv.write("a", json!({})).await;
    assert_eq!(kept().await, ["3", "4", "5"]);
    kv.call(Operation::Update, "config", json!({"max_versions": 1})).await;
    kv.call(Operation::Update, "metadata/a", json!({"max_versions": 1})).await;
    assert_eq!(kept().await, ["3", "4", "5"]);
    kv.write("a", json!({})).await;
    assert_eq!(kept().await, ["6"]);
    assert_eq!(storage.keys("versions/", None, 100).await.unwrap(), ["versions/a/6"]);
}

#[tokio::test]
async fn the_current_version_is_deleted_and_described() {
    let kv = Kv::versioned().await;
    assert!(kv.call(Operation::Delete, "data/no-secret-here", json!({})).await.data.is_none());
    assert_eq!(kv.refusal(Operation::Read, "metadata/no-secret-here", json!({})).await, "404");
    kv.write("hvac", json!({"pssst": 1})).await;
    kv.write("hvac", json!({"pssst": 2})).await;
    kv.call(Operation::Delete, "data/hvac", json!({})).await;
    let deleted = kv.call(Operation::Read, "data/hvac", json!({})).await;
    assert_eq!(deleted.status, Some(404));
    assert_eq!(
        body(deleted),
        json!({"data": null, "metadata": {
            "version": 2, "created_time": START, "deletion_time": START, "destroyed": false, "custom_metadata": null,
        }})
    );
    let first = kv.call(Operation::Read, "data/hvac", json!({"version": 1})).await;
    assert_eq!(body(first)["data"], json!({"pssst": 1}));
    kv.call(Operation::Update, "undelete/hvac", json!({"versions": [2]})).await;
    assert_eq!(kv.read("data/hvac").await["data"], json!({"pssst": 2}));
}

#[tokio::test]
async fn versions_are_deleted_undeleted_and_destroyed_one_by_one() {
    let storage = Storage::scratch().await;
    let kv = Kv::open(storage.clone(), "2").await;
    for number in 1..=7 {
        kv.write("hvac", json!({ "pssst": number })).await;
    }
    let states = async || -> String {
        let metadata = kv.read("metadata/hvac").await;
        let versions = metadata["versions"].as_object().unwrap().values();
        versions
            .map(|version| match (version["destroyed"].as_bool(), version["deletion_time"].as_str()) {
                (Some(true), _) => 'x',
                (_, Some("")) => 'o',
                _ => 'd',
            })
            .collect()
    };
    let table = [
        ("delete", json!([1, 3, 5, 9, 12]), "dododoo"),
        ("undelete", json!("3, 4, 8"), "dooodoo"),
        ("destroy", json!(["1", 2]), "xxoodoo"),
        ("undelete", json!([1, 2]), "xxoodoo"),
        ("delete", json!(2), "xxoodoo"),
    ];
    for (verb, versions, expected) in table {
        let answer = kv.call(Operation::Update, &format!("{verb}/hvac"), json!({ "versions": versions })).await;
        assert!(answer.data.is_none());
        assert_eq!(states().await, expected, "{verb} {versions}");
    }
    let destroyed = kv.call(Operation::Read, "data/hvac", json!({"version": 2})).await;
    assert_eq!((destroyed.status, &body(destroyed)["metadata"]["destroyed"]), (Some(404), &json!(true)));
    let left = storage.keys("versions/", None, 100).await.unwrap();
    assert_eq!(left, [3, 4, 5, 6, 7].map(|number| format!("versions/hvac/{number}")));

    kv.call(Operation::Delete, "metadata/hvac", json!({})).await;
    assert_eq!(kv.refusal(Operation::Read, "metadata/hvac", json!({})).await, "404");
    assert_eq!(kv.refusal(Operation::Read, "data/hvac", json!({})).await, "404");
    assert!(storage.keys("", None, 100).await.unwrap().is_empty());
    for verb in ["delete", "undelete", "destroy"] {
        kv.call(Operation::Update, &format!("{verb}/hvac"), json!({"versions": [1]})).await;
    }
    assert!(storage.keys("", None, 100).await.unwrap().is_empty());
    assert_eq!(kv.write("hvac", json!({})).await["version"], json!(1));
}

#[tokio::test]
async fn versions_are_deleted_after_the_shorter_time() {
    let mut kv = Kv::versioned().await;
    kv.call(Operation::Update, "config", json!({"delete_version_after": "1h"})).await;
    assert_eq!(kv.write("mount", json!({})).await["deletion_time"], json!(START.plus_seconds(3600)));
    kv.call(Operation::Update, "metadata/own", json!({"delete_version_after": "30s"})).await;
    assert_eq!(kv.write("own", json!({"a": 1})).await["deletion_time"], json!(START.plus_seconds(30)));
    assert_eq!(kv.read("metadata/own").await["delete_version_after"], json!("30s"));
    kv.now = START.plus_seconds(29);
    assert_eq!(kv.read("data/own").await["data"], json!({"a": 1}));
    kv.now = START.plus_seconds(30);
    assert_eq!(kv.call(Operation::Read, "data/own", json!({})).await.status, Some(404));
    // Deleting it again changes nothing; undeleting gives it as long again.
    kv.call(Operation::Delete, "data/own", json!({})).await;
    kv.call(Operation::Update, "undelete/own", json!({"versions": [1]})).await;
    assert_eq!(kv.read("data/own").await["metadata"]["deletion_time"], json!(START.plus_seconds(60)));
    kv.call(Operation::Update, "config", json!({"delete_version_after": "-1s"})).await;
    assert_eq!(kv.write("own", json!({})).await["deletion_time"], json!(""));
}

#[tokio::test]
async fn a_write_may_say_which_version_it_replaces() {
    let kv = Kv::versioned().await;
    let write = async |cas: Value| {
        let data = json!({"options": {"cas": cas}, "data": {"pssst": "hi"}});
        match kv.try_call(Operation::Update, "data/hvac", data).await {
            Ok(answer) => body(answer)["version"].to_string(),
            Err(error) => error.to_string(),
        }
    };
    let mismatch = "check-and-set parameter did not match the current version";
    assert_eq!(write(json!(1)).await, mismatch);
    assert_eq!(write(json!(0)).await, "1");
    for wrong in [json!(0), json!(-1), json!(2), json!(null), json!("0")] {
        assert_eq!(write(wrong).await, mismatch);
    }
    for malformed in [json!("x"), json!([1]), json!({}), json!(1.5)] {
        assert_eq!(write(malformed).await, "error parsing check-and-set parameter");
    }
    assert_eq!(write(json!("1")).await, "2");
    assert_eq!(write(json!(2)).await, "3");

    let required = "check-and-set parameter required for this call";
    kv.call(Operation::Update, "metadata/hvac", json!({"cas_required": true})).await;
    let plain = json!({"data": {}, "options": {}});
    assert_eq!(kv.refusal(Operation::Update, "data/hvac", plain.clone()).await, required);
    assert_eq!(kv.refusal(Operation::Patch, "data/hvac", plain.clone()).await, required);
    kv.call(Operation::Update, "config", json!({"cas_required": true})).await;
    assert_eq!(kv.refusal(Operation::Create, "data/new", plain).await, required);
    let answer = kv.call(Operation::Update, "metadata/hvac", json!({"cas_required": false})).await;
    assert!(answer.warnings[0].contains("mandated by backend config"), "{answer:?}");
}

#[tokio::test]
async fn a_patch_changes_the_current_version() {
    let kv = Kv::versioned().await;
    let patch = json!({"data": {"b": null, "c": {"d": 1}}});
    assert_eq!(kv.refusal(Operation::Patch, "data/app", patch.clone()).await, "404");
    kv.write("app", json!({"a": 1, "b": 2, "c": {"e": 3}})).await;
    assert_eq!(body(kv.call(Operation::Patch, "data/app", patch.clone()).await)["version"], json!(2));
    assert_eq!(kv.read("data/app").await["data"], json!({"a": 1, "c": {"d": 1, "e": 3}}));
    let cas = |cas| json!({"data": {"a": 2}, "options": {"cas": cas}});
    assert!(kv.refusal(Operation::Patch, "data/app", cas(1)).await.contains("did not match"));
    assert_eq!(body(kv.call(Operation::Patch, "data/app", cas(2)).await)["version"], json!(3));
    kv.call(Operation::Delete, "data/app", json!({})).await;
    let deleted = kv.call(Operation::Patch, "data/app", patch.clone()).await;
    assert_eq!((deleted.status, &body(deleted)["deletion_time"]), (Some(404), &json!(START)));
    kv.call(Operation::Update, "destroy/app", json!({"versions": 3})).await;
    assert_eq!(kv.call(Operation::Patch, "data/app", patch.clone()).await.status, Some(404));
    kv.call(Operation::Update, "metadata/empty", json!({"max_versions": 1})).await;
    assert_eq!(kv.refusal(Operation::Patch, "data/empty", patch).await, "404");
}

#[tokio::test]
async fn a_patch_of_metadata_changes_what_it_names() {
    let kv = Kv::versioned().await;
    assert_eq!(kv.refusal(Operation::Patch, "metadata/app", json!({"max_versions": 3})).await, "404");
    let settings = json!({
        "max_versions": 5, "cas_required": true, "delete_version_after": "1m", "custom_metadata": {"a": "1", "b": "2"},
    });
    kv.call(Operation::Update, "metadata/app", settings).await;
    let patch = json!({"max_versions": null, "custom_metadata": {"a": null, "c": true}});
    assert!(kv.call(Operation::Patch, "metadata/app", patch).await.data.is_none());
    let metadata = kv.read("metadata/app").await;
    assert_eq!(
        json!([
            metadata["max_versions"],
            metadata["cas_required"],
            metadata["delete_version_after"],
            metadata["custom_metadata"]
        ]),
        json!([0, true, "1m0s", {"b": "2", "c": "1"}])
    );
    // A write without fields changes nothing, and makes nothing.
    kv.call(Operation::Update, "metadata/app", json!({})).await;
    kv.call(Operation::Update, "metadata/other", json!({})).await;
    assert_eq!(kv.read("metadata/app").await, metadata);
    assert_eq!(kv.refusal(Operation::Read, "metadata/other", json!({})).await, "404");
}

#[tokio::test]
async fn names_are_told_without_values() {
    let kv = Kv::versioned().await;
    kv.write("app", json!({"user": "u", "db": {"password": "p", "deep": {"er": 1}}})).await;
    kv.write("app", json!({"only": "now"})).await;
    let subkeys = async |data: Value| body(kv.call(Operation::Read, "subkeys/app", data).await);
    assert_eq!(subkeys(json!({})).await["subkeys"], json!({"only": null}));
    let first = subkeys(json!({"version": "1"})).await;
    assert_eq!(first["subkeys"], json!({"user": null, "db": {"password": null, "deep": {"er": null}}}));
    assert_eq!(first["metadata"]["version"], json!(1));
    assert_eq!(subkeys(json!({"version": 1, "depth": "1"})).await["subkeys"], json!({"user": null, "db": null}));
    kv.call(Operation::Delete, "data/app", json!({})).await;
    let deleted = kv.call(Operation::Read, "subkeys/app", json!({})).await;
    assert_eq!((deleted.status, &body(deleted)["subkeys"]), (Some(404), &json!(null)));
    assert_eq!(kv.refusal(Operation::Read, "subkeys/none", json!({})).await, "404");
}

#[tokio::test]
async fn secrets_are_listed_by_folder() {
    let kv = Kv::versioned().await;
    assert_eq!(kv.refusal(Operation::List, "metadata/", json!({})).await, "404");
    for path in ["hvac/top-secret", "hvac/top-secret/below", "hvac/other", "b", "weird/a b/ü%2f*+", "1", "1/1"] {
        kv.write(path, json!({ "path": path })).await;
        kv.write(path, json!({ "path": path })).await;
        assert_eq!(kv.read(&format!("data/{path}")).await["data"]["path"], json!(path));
    }
    let table = [
        ("metadata", json!(["1", "1/", "b", "hvac/", "weird/"])),
        ("metadata/", json!(["1", "1/", "b", "hvac/", "weird/"])),
        ("metadata/hvac", json!(["other", "top-secret", "top-secret/"])),
        ("metadata/hvac/top-secret/", json!(["below"])),
        ("metadata/weird/a b/", json!(["ü%2f*+"])),
    ];
    for (folder, keys) in table {
        assert_eq!(body(kv.call(Operation::List, folder, json!({})).await)["keys"], keys, "{folder}");
    }
    assert_eq!(kv.refusal(Operation::List, "metadata/hva", json!({})).await, "404");
    // A deleted secret stays in the list; one whose metadata is gone does not.
    kv.call(Operation::Delete, "data/b", json!({})).await;
    kv.call(Operation::Delete, "metadata/1", json!({})).await;
    let keys = body(kv.call(Operation::List, "metadata/", json!({})).await);
    assert_eq!(keys["keys"], json!(["1/", "b", "hvac/", "weird/"]));
    assert_eq!(kv.read("data/1/1").await["data"]["path"], json!("1/1"));
}

#[tokio::test]
async fn a_first_write_creates_and_the_next_updates() {
    let kv = Kv::versioned().await;
    let exists = async |path: &str| {
        let request = kv.request(Operation::Update, path, json!({"data": {}}));
        kv.backend.exists(&request).await.unwrap()
    };
    assert_eq!((exists("data/a").await, exists("metadata/a").await), (Some(false), Some(false)));
    kv.write("a", json!({})).await;
    kv.call(Operation::Delete, "data/a", json!({})).await;
    assert_eq!((exists("data/a").await, exists("metadata/a").await), (Some(true), Some(true)));
    for path in ["config", "delete/a", "undelete/a", "destroy/a", "other", "data/"] {
        assert_eq!(exists(path).await, None, "{path}");
    }
}
