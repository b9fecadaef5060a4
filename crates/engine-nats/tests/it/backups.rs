//! What a backup brings back of an account, beyond what the suite asks of every engine.

use std::slice::from_ref;

use mainstay_engine::conformance::recovery::MemoryArchive;
use mainstay_engine::recovery::{Assertion, Recovery, Until};

use crate::place::{Place, Tenant, run};
use crate::wire::Wire;

async fn ask(wire: &mut Wire, subject: &str, data: &str) -> serde_json::Value {
    let answer: serde_json::Value = serde_json::from_str(&wire.request(subject, data).await.unwrap()).unwrap();
    assert!(answer.get("error").is_none(), "{subject}: {answer}");
    answer
}

#[test]
fn streams_come_back_with_their_consumers() {
    let Some(place) = Place::new() else { return };
    run(async {
        let (engine, cluster) = place.served().await;
        // The least payload that can be asked for, so that pieces are smaller than the server sends them.
        let tenant = Tenant::with(&engine, &cluster, &[("max_payload_kib", "2")]).await;
        let kept = MemoryArchive::default();
        let archive = kept.archive();
        let empty = engine.back_up(&cluster, from_ref(&tenant.instance), &archive).await.unwrap();
        assert!(empty.parts.len() == 1 && empty.uncovered.len() == 2, "{empty:?}");

        let mut wire = tenant.wire().await;
        ask(&mut wire, "$JS.API.STREAM.CREATE.ORDERS", r#"{"name":"ORDERS","subjects":["orders.>"],"storage":"file"}"#)
            .await;
        let bucket =
            r#"{"name":"KV_settings","subjects":["$KV.settings.>"],"max_msgs_per_subject":1,"storage":"file"}"#;
        ask(&mut wire, "$JS.API.STREAM.CREATE.KV_settings", bucket).await;
        let memory = r#"{"name":"FLEETING","subjects":["fleeting"],"storage":"memory"}"#;
        ask(&mut wire, "$JS.API.STREAM.CREATE.FLEETING", memory).await;
        for number in 0..600 {
            ask(&mut wire, "orders.new", &format!("{number:01500}")).await;
        }
        ask(&mut wire, "$JS.API.STREAM.MSG.DELETE.ORDERS", r#"{"seq":7}"#).await;
        ask(&mut wire, "$KV.settings.colour", "red").await;
        ask(&mut wire, "$KV.settings.colour", "blue").await;
        ask(&mut wire, "fleeting", "gone").await;
        let consumer = r#"{"stream_name":"ORDERS","config":{"durable_name":"worker","ack_policy":"explicit","deliver_policy":"all"}}"#;
        ask(&mut wire, "$JS.API.CONSUMER.DURABLE.CREATE.ORDERS.worker", consumer).await;
        let backup = engine.back_up(&cluster, from_ref(&tenant.instance), &archive).await.unwrap();
        assert_eq!((backup.note("streams").unwrap(), backup.note("messages").unwrap()), ("3", "601"));
        assert!(backup.uncovered.iter().any(|sentence| sentence.contains("FLEETING")), "{backup:?}");
        assert!(wire.is_open().await, "who is in the account does not notice");

        let assertion = |query: &str, expect: &str| Assertion { query: query.to_owned(), expect: expect.to_owned() };
        let assertions = [
            assertion("stream ORDERS messages", "599"),
            assertion("stream ORDERS last", "600"),
            assertion("stream ORDERS consumers", "1"),
            assertion("message KV_settings $KV.settings.colour", "blue"),
        ];
        let rehearsal = engine.rehearse(&cluster, &tenant.instance, &backup, &assertions, &archive).await.unwrap();
        assert!(rehearsal.is_passed(), "{rehearsal:?}");
        eprintln!("served after {:?}: {:?}", rehearsal.recovery_time, rehearsal.checks);
        let wrong = [assertion("stream NONE messages", "1"), assertion("drop ORDERS", "")];
        let rehearsal = engine.rehearse(&cluster, &tenant.instance, &backup, &wrong, &archive).await.unwrap();
        assert_eq!(rehearsal.checks.iter().filter(|check| check.failure.is_some()).count(), 2, "{rehearsal:?}");

        // What is there since goes, and what was there comes.
        ask(&mut wire, "$JS.API.STREAM.DELETE.KV_settings", "").await;
        ask(&mut wire, "$JS.API.STREAM.CREATE.LATER", r#"{"name":"LATER","subjects":["later"]}"#).await;
        let id = &tenant.instance.id;
        engine.restore_instance(&cluster, &tenant.instance, id, &backup, Until::Latest, &archive).await.unwrap();
        assert!(!wire.is_open().await, "sessions of the instance are ended");
        let mut wire = tenant.wire().await;
        let names = ask(&mut wire, "$JS.API.STREAM.NAMES", "").await;
        assert_eq!(names["streams"], serde_json::json!(["FLEETING", "KV_settings", "ORDERS"]));
        let orders = ask(&mut wire, "$JS.API.STREAM.INFO.ORDERS", "").await;
        assert_eq!((&orders["state"]["messages"], &orders["state"]["last_seq"]), (&599.into(), &600.into()));
        let consumer = ask(&mut wire, "$JS.API.CONSUMER.INFO.ORDERS.worker", "").await;
        assert_eq!(consumer["num_pending"], 599);
        let fleeting = ask(&mut wire, "$JS.API.STREAM.INFO.FLEETING", "").await;
        assert_eq!(fleeting["state"]["messages"], 0);
        ask(&mut wire, "orders.new", "next").await;

        engine.restore_instance(&cluster, &tenant.instance, id, &empty, Until::Latest, &archive).await.unwrap();
        let names = ask(&mut tenant.wire().await, "$JS.API.STREAM.NAMES", "").await;
        assert_eq!(names["total"], 0);
        assert!(engine.rehearse(&cluster, &tenant.instance, &empty, &[], &archive).await.unwrap().is_passed());
    });
}
