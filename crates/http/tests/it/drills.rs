//! Drills as the API tells of them: evidence, keys, metrics, and what their owner asserts.

use mainstay_domain::command::DrillDone;
use mainstay_domain::event::{Actor, DrillFailed, DrillPassed};
use mainstay_evidence::{Envelope, PublicKey};
use mainstay_types::{BackupId, Role, TenantName, Timestamp};
use serde_json::{Value, json};

use crate::health::check_open_metrics;
use crate::server::Server;

/// Reports a drill of an instance, as the recovery loop does.
async fn drilled(server: &Server, tenant: &str, name: &str, reason: Option<&str>) {
    let tenant: TenantName = tenant.parse().unwrap();
    let view = server.control.view();
    let instance = view.instance(&tenant, &name.parse().unwrap()).unwrap().id.clone();
    let (began_at, backup, checks) = (Timestamp::now(), BackupId::from_random(7), Vec::new());
    let done = match reason {
        None => DrillDone::Passed(DrillPassed {
            instance,
            backup,
            began_at,
            recovery_time_milliseconds: 1_500,
            loss_milliseconds: 20,
            checks,
            record: None,
        }),
        Some(reason) => {
            let reason = reason.to_owned();
            DrillDone::Failed(DrillFailed { instance, backup: Some(backup), began_at, reason, checks, record: None })
        }
    };
    server.control.submit(Actor::System, done).await.unwrap();
}

/// The statements that a token gets, verified with the keys that it gets.
async fn evidence(server: &Server, token: &str, query: &str) -> Vec<Value> {
    let get = |path: String| server.call("GET", &path).token(token).send();
    let listed = get(format!("/api/v1/drills/evidence{query}")).await.json();
    let keys = get("/api/v1/drills/keys".to_owned()).await.json();
    let key = |key: &Value| PublicKey::from_pem(key["public_key"].as_str().unwrap()).unwrap();
    let keys: Vec<_> = keys["items"].as_array().unwrap().iter().map(key).collect();
    let opened = listed["items"].as_array().unwrap().iter().map(|item| {
        let envelope: Envelope = serde_json::from_value(item.clone()).unwrap();
        serde_json::to_value(envelope.open(&keys).unwrap().predicate).unwrap()
    });
    opened.collect()
}

#[tokio::test]
async fn each_tenant_gets_evidence_of_its_own_drills() {
    let server = Server::start().await;
    server.create("shop").await;
    let stranger = server.token(Role::Operator, "other").await;
    let body = json!({"name": "shop", "contract": "postgresql/v1"});
    let made = server.call("POST", "/api/v1/instances?wait=30s").token(&stranger).json(&body).send().await;
    assert_eq!(made.json()["state"], "succeeded");
    drilled(&server, "default", "shop", None).await;
    drilled(&server, "other", "shop", Some("chunk 7 is damaged")).await;
    server.call("POST", "/api/v1/drills/keys").send().await;
    drilled(&server, "default", "shop", None).await;

    let viewer = server.token(Role::Viewer, "default").await;
    let ours = evidence(&server, &viewer, "").await;
    assert_eq!(ours.iter().map(|drill| drill["instance"]["tenant"].as_str()).collect::<Vec<_>>(), [Some("default"); 2]);
    assert_eq!(ours[0]["measured"]["rto_milliseconds"], 1_500);
    let theirs = evidence(&server, &stranger, "").await;
    assert_eq!((theirs.len(), &theirs[0]["reason"]), (1, &json!("chunk 7 is damaged")));

    let second = ours[1]["ended_at"].as_str().unwrap();
    assert_eq!(evidence(&server, &viewer, &format!("?since={second}")).await, ours[1..]);
    assert_eq!(evidence(&server, &viewer, &format!("?until={second}&instance=shop")).await, ours[..1]);
    assert_eq!(evidence(&server, &viewer, "?instance=none").await, [json!(null); 0]);
    let first = server.call("GET", "/api/v1/drills/evidence?limit=1").token(&viewer).send().await.json();
    let next = first["next"].as_u64().unwrap();
    assert_eq!(evidence(&server, &viewer, &format!("?after={next}")).await, ours[1..]);
    let wrong = server.call("GET", "/api/v1/drills/evidence?since=yesterday").token(&viewer).send().await;
    assert_eq!(wrong.problem().1, "query_invalid");
}

#[tokio::test]
async fn metrics_tell_how_the_last_drill_of_each_instance_went() {
    let server = Server::start().await;
    for name in ["shop", "blog", "wiki"] {
        server.create(name).await;
    }
    drilled(&server, "default", "shop", None).await;
    drilled(&server, "default", "blog", None).await;
    drilled(&server, "default", "blog", Some("chunk 7 is damaged")).await;
    let page = server.get("/metrics").await;
    let samples = check_open_metrics(&page.text);
    let of = |name: &str, instance: &str| {
        samples.get(&format!("{name}{{tenant=\"default\",instance=\"{instance}\"}}")).copied()
    };
    assert_eq!(samples["mainstay_drills_total{result=\"passed\"}"], 2.0);
    assert_eq!(samples["mainstay_drills_total{result=\"failed\"}"], 1.0);
    assert_eq!([of("mainstay_drill_passed", "shop"), of("mainstay_drill_passed", "blog")], [Some(1.0), Some(0.0)]);
    assert_eq!(of("mainstay_drill_recovery_time_seconds", "blog"), Some(1.5), "of the last that passed");
    assert_eq!(of("mainstay_drill_data_loss_seconds", "shop"), Some(0.02));
    let ended = of("mainstay_drill_timestamp_seconds", "shop").unwrap();
    assert!((Timestamp::now().seconds_since(Timestamp::EPOCH) - ended).abs() < 60.0, "{ended}");
    assert_eq!((of("mainstay_drill_passed", "wiki"), samples["mainstay_drill_instances_unlisted"]), (None, 0.0));
}

#[tokio::test]
async fn assertions_are_a_parameter_and_a_policy_at_once() {
    let server = Server::start().await;
    let create = |text: &str| {
        let body = json!({"name": "shop", "contract": "postgresql/v1", "parameters": {"drill.assertions": text}});
        server.call("POST", "/api/v1/instances?wait=30s").json(&body).send()
    };
    let refused = create("SELECT 1").await;
    let (status, code, field) = refused.problem();
    assert_eq!(
        (status, code.as_str(), field.as_deref()),
        (422, "parameter_invalid", Some("parameters.drill.assertions"))
    );
    assert_eq!(create("SELECT 1=>1").await.json()["state"], "succeeded");

    let shown = || async { server.get("/api/v1/instances/shop").await.json()["parameters"].clone() };
    assert_eq!(shown().await, json!({"drill.assertions": "SELECT 1 => 1"}));
    let policy = server.get("/api/v1/instances/shop/recovery").await.json();
    assert_eq!(policy["assertions"], json!([{"query": "SELECT 1", "expect": "1"}]));
    let server = &server;
    let put =
        |body: Value| async move { server.call("PUT", "/api/v1/instances/shop/recovery").json(&body).send().await };
    let answer = put(json!({"assertions": [{"query": "SELECT 2", "expect": "2\n3"}]})).await;
    assert_eq!(answer.status, 200);
    let text = shown().await["drill.assertions"].as_str().unwrap().to_owned();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json!([{"query": "SELECT 2", "expect": "2\n3"}]));
    let refused = put(json!({"assertions": [{"query": " ", "expect": "2"}]})).await;
    assert_eq!(refused.problem().1, "recovery_policy_invalid");
    assert_eq!(put(json!({})).await.status, 200);
    assert_eq!(shown().await, json!({}));
}
