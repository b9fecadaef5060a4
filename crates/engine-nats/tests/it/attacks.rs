//! What one tenant, or nobody in particular, tries on others.

use mainstay_engine::Engine;
use serde_json::Value;

use crate::place::{Place, Tenant, cluster, eventually, run};
use crate::wire::{Said, Wire};

#[test]
fn nobody_comes_in_without_a_password() {
    let Some(place) = Place::new() else { return };
    run(async {
        // From before the first start until instances come and go, somebody tries all the time.
        let cluster = cluster();
        let address = format!("127.0.0.1:{}", cluster.port);
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let trying = tokio::spawn({
            let address = address.clone();
            async move {
                let mut refused = 0;
                while !*stopped.borrow() {
                    match Wire::connect(&address, None).await {
                        Ok(_) => panic!("somebody came in"),
                        Err(error) if error.contains("Authorization Violation") => refused += 1,
                        Err(_) => tokio::task::yield_now().await,
                    }
                }
                refused
            }
        });
        let engine = place.engine();
        engine.start(&cluster).await.unwrap();
        eventually("an anonymous client is refused", || async {
            Wire::connect(&address, None).await.is_err_and(|error| error.contains("Authorization"))
        })
        .await;
        let tenant = Tenant::new(&engine, &cluster).await;
        engine.unbind(&cluster, &tenant.credential).await.unwrap();
        engine.deprovision(&cluster, &tenant.instance).await.unwrap();
        engine.reconfigure(&cluster).await.unwrap();
        for login in [("", ""), ("mainstay_system", ""), ("mainstay_system", "x"), ("mainstay_keeper", "x"), ("$G", "")]
        {
            assert!(Wire::connect(&address, Some(login)).await.is_err(), "{login:?}");
        }
        engine.stop(&cluster).await.unwrap();
        stop.send_replace(true);
        assert!(trying.await.unwrap() > 0);
    });
}

#[test]
fn a_tenant_hears_and_reaches_nothing_of_another() {
    let Some(place) = Place::new() else { return };
    run(async {
        let (engine, cluster) = place.served().await;
        let (victim, attacker) = (Tenant::new(&engine, &cluster).await, Tenant::new(&engine, &cluster).await);
        let mut own = victim.wire().await;
        own.request("$JS.API.STREAM.CREATE.ORDERS", r#"{"name":"ORDERS","subjects":["orders.>"]}"#).await.unwrap();
        let mut spy = attacker.wire().await;
        for subject in [">", "$SYS.>", "$JS.>", "_INBOX.>", "orders.>", "$JS.API.>", "$SYS.ACCOUNT.*.>", "*.*", "_R_.>"]
        {
            spy.subscribe(subject).await;
        }
        assert!(spy.is_open().await);

        // What the victim says is not heard, its requests and their answers included.
        own.subscribe("orders.new").await;
        own.publish("orders.new", "a secret").await.unwrap();
        let answer = own.request("orders.new", "another secret").await.unwrap();
        assert!(answer.contains("\"seq\":2"), "{answer}");
        own.request("$JS.API.STREAM.INFO.ORDERS", "").await.unwrap();
        let mut another = victim.wire().await;
        another.publish(&own.last_inbox(), "to the victim alone").await.unwrap();
        assert!(another.is_open().await && own.is_open().await);
        assert_eq!(spy.messages().await, Vec::<String>::new());

        // What the attacker says does not arrive.
        own.messages().await;
        for subject in ["orders.new".to_owned(), own.last_inbox()] {
            spy.publish(&subject, "false").await.unwrap();
        }
        assert!(spy.is_open().await);
        assert_eq!(own.messages().await, Vec::<String>::new());

        // The victim's streams are not there for the attacker.
        let mut attack = attacker.wire().await;
        for subject in ["INFO.ORDERS", "DELETE.ORDERS", "PURGE.ORDERS", "MSG.GET.ORDERS", "SNAPSHOT.ORDERS"] {
            let answer =
                attack.request(&format!("$JS.API.STREAM.{subject}"), r#"{"seq":1,"deliver_subject":"x"}"#).await;
            assert!(answer.as_ref().unwrap().contains("\"error\""), "{subject}: {answer:?}");
        }
        let names = attack.request("$JS.API.STREAM.NAMES", "").await.unwrap();
        assert!(!names.contains("ORDERS"), "{names}");
        let info: Value = serde_json::from_str(&own.request("$JS.API.STREAM.INFO.ORDERS", "").await.unwrap()).unwrap();
        assert_eq!(info["state"]["messages"], 2, "{info}");
    });
}

#[test]
fn a_tenant_asks_nothing_of_the_server() {
    let Some(place) = Place::new() else { return };
    run(async {
        let (engine, cluster) = place.served().await;
        let (victim, attacker) = (Tenant::new(&engine, &cluster).await, Tenant::new(&engine, &cluster).await);
        let account = place.account(&cluster, &victim.instance);
        let mut own = victim.wire().await;
        own.request("$JS.API.STREAM.CREATE.ORDERS", r#"{"name":"ORDERS","subjects":["orders.>"]}"#).await.unwrap();

        // Nobody answers what only the server's own account may ask; what old servers answer to all is forbidden.
        let mut attack = attacker.wire().await;
        for subject in [
            "$SYS.REQ.SERVER.PING",
            "$SYS.REQ.SERVER.PING.VARZ",
            "$SYS.REQ.SERVER.PING.ACCOUNTZ",
            "$SYS.REQ.SERVER.PING.CONNZ",
            &format!("$SYS.REQ.ACCOUNT.{account}.CONNZ"),
            &format!("$SYS.REQ.ACCOUNT.{account}.JSZ"),
            &format!("$SYS.ACCOUNT.{account}.CLAIMS.UPDATE"),
            "$SYS.REQ.CLAIMS.LIST",
        ] {
            let answer = attack.request(subject, "").await;
            assert!(answer.as_ref().is_ok_and(|answer| answer.contains("503")), "{subject}: {answer:?}");
        }
        for subject in [
            format!("$JS.API.ACCOUNT.PURGE.{account}"),
            format!("$JS.API.ACCOUNT.STREAM.MOVE.{account}.ORDERS"),
            "$JS.API.SERVER.REMOVE".to_owned(),
            "$JS.API.META.LEADER.STEPDOWN".to_owned(),
        ] {
            let answer = attack.request(&subject, "").await;
            assert!(
                answer.as_ref().is_err_and(|error| error.contains("Permissions Violation")),
                "{subject}: {answer:?}"
            );
        }

        // A detour by a stream that republishes: it needs the account's name, of which only the instance's own part is
        // ever told to anybody.
        let stream = r#"{"name":"S","subjects":["q.>"],"republish":{"src":"q.>","dest":"$JS.API.ACCOUNT.PURGE.>"}}"#;
        attack.request("$JS.API.STREAM.CREATE.S", stream).await.unwrap();
        let known = format!("a_{}", victim.instance.id.suffix());
        for guess in [known.as_str(), "MAINSTAY", "SYS", "$G", ">", "*"] {
            attack.publish(&format!("q.{guess}"), "").await.unwrap();
        }
        attack.request("q.last", "").await.unwrap();
        let answer = own.request("$JS.API.STREAM.INFO.ORDERS", "").await.unwrap();
        assert!(!answer.contains("\"error\""), "{answer}");

        // The identity of the cluster is as it was.
        engine.stop(&cluster).await.unwrap();
        engine.start(&cluster).await.unwrap();
        let answer = victim.wire().await.request("$JS.API.STREAM.INFO.ORDERS", "").await.unwrap();
        assert!(!answer.contains("\"error\""), "{answer}");
    });
}

#[test]
fn a_tenant_is_not_told_names_of_accounts_that_are_not_its_own() {
    let Some(place) = Place::new() else { return };
    run(async {
        let (engine, cluster) = place.served().await;
        let (victim, attacker) = (Tenant::new(&engine, &cluster).await, Tenant::new(&engine, &cluster).await);
        let account = place.account(&cluster, &victim.instance);
        let mut spy = attacker.wire().await;
        assert!(!spy.info.to_string().contains("a_"), "{}", spy.info);
        spy.subscribe(">").await;
        assert!(spy.is_open().await);
        let mut own = victim.wire().await;
        own.request("$JS.API.STREAM.CREATE.ORDERS", r#"{"name":"ORDERS","subjects":["orders.>"]}"#).await.unwrap();
        own.request("$JS.API.STREAM.DELETE.ORDERS", "").await.unwrap();
        let mut own_second = attacker.wire().await;
        own_second.request("$JS.API.STREAM.CREATE.S", r#"{"name":"S","subjects":["s.>"]}"#).await.unwrap();
        // Advisories about its own account do arrive, so that the silence about others means something.
        let mut heard = String::new();
        while !heard.contains("$JS.EVENT.ADVISORY") {
            if let Said::Message { subject, data } = spy.said().await.unwrap() {
                heard.push_str(&subject);
                heard.push_str(&data);
            }
        }
        assert!(!heard.contains(&account), "{heard}");
    });
}
