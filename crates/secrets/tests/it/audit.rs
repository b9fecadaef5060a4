//! The audit log: two lines for each request, whatever becomes of it, and no secret in any.

use mainstay_secrets::Method;
use serde_json::json;

use crate::core::{Client, Core};

#[tokio::test]
async fn each_request_has_its_lines() {
    let (core, admin) = (Core::new().await, Client::admin());
    let forged = "s.canary-forged-token";
    core.post(&admin, "secret/data/x", json!({ "data": { "a": "canary-value" } })).await.expect(200);
    core.get(&admin, "secret/data/x").await.expect(200);
    core.get(&admin, "secret/data/none").await.refused(404);
    core.post(&admin, "auth/token/create", json!({ "id": "canary-chosen" })).await.expect(200);
    let answered = core.audit_lines();
    for pair in answered.chunks(2) {
        assert_eq!((&pair[0]["type"], &pair[1]["type"]), (&json!("request"), &json!("response")), "{pair:?}");
        assert_eq!(pair[0]["request"]["id"], pair[1]["request"]["id"]);
    }
    assert_eq!(answered.len(), 8);
    // A request that is refused has its one line, also where nobody knows who asked.
    core.get(&Client::default(), "secret/data/x").await.refused(403);
    core.get(&admin.bearing(forged), "secret/data/x").await.refused(403);
    core.get(&admin.bearing(forged).of("nowhere"), "secret/data/x").await.refused(403);
    core.get(&admin, "nothing/here").await.refused(404);
    let refused = core.audit_lines().split_off(answered.len());
    assert_eq!(refused.len(), 4);
    for line in &refused {
        assert!(line["type"] == "request" && line["error"].is_string(), "{line}");
    }
    let hash = core.post(&admin, "sys/audit-hash/file", json!({ "input": forged })).await.expect(200);
    assert_eq!(refused[1]["request"]["client_token"], hash["data"]["hash"]);
    let value = core.post(&admin, "sys/audit-hash/file", json!({ "input": "canary-value" })).await.expect(200);
    assert_eq!(answered[0]["request"]["data"]["data"]["a"], value["data"]["hash"]);
    assert_eq!(answered[3]["response"]["data"]["data"]["a"], value["data"]["hash"]);
    let text = std::fs::read_to_string(core.audit_file()).unwrap();
    assert!(!text.contains("canary") && !text.contains(crate::core::ADMIN), "{text}");
}

#[tokio::test]
async fn without_an_audit_log_nothing_is_done() {
    let (core, admin) = (Core::new().await, Client::admin());
    core.post(&admin, "secret/data/x", json!({ "data": { "n": 1 } })).await.expect(200);
    // A file that was moved away is made anew.
    let moved = core.audit_file().with_extension("1");
    std::fs::rename(core.audit_file(), &moved).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !core.audit_file().exists() {
        core.get(&admin, "secret/data/x").await.expect(200);
        assert!(std::time::Instant::now() < deadline, "the file is made anew");
        tokio::task::yield_now().await;
    }
    // Where no file can be made, nothing is done: its folder is gone.
    let folder = core.audit_file().parent().unwrap().to_owned();
    std::fs::remove_dir_all(&folder).unwrap();
    let refusal = loop {
        let answer = core.get(&admin, "secret/data/x").await;
        if answer.status != 200 {
            break answer.refused(500);
        }
        assert!(std::time::Instant::now() < deadline, "it is noticed");
        tokio::task::yield_now().await;
    };
    assert!(refusal.contains("audit log"), "{refusal}");
    for (method, path) in
        [(Method::Post, "secret/data/gone"), (Method::Get, "secret/data/x"), (Method::Post, "auth/token/create")]
    {
        core.call(&admin, method, path, json!({ "data": { "n": 3 } })).await.refused(500);
    }
    std::fs::create_dir(&folder).unwrap();
    let read = core.get(&admin, "secret/data/x").await.expect(200);
    assert_eq!(read["data"]["data"]["n"], 1);
    core.get(&admin, "secret/data/gone").await.refused(404);
}
