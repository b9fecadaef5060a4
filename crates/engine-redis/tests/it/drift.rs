//! What somebody changes with the server's own tools is seen and put right.

use mainstay_engine::Engine;
use mainstay_types::{Plan, Presence};

use crate::place::{PASSWORD, Session, Tenant, run_both, started};

#[test]
fn a_changed_credential_is_seen_and_repaired() {
    run_both(|place, flavour| async move {
        let engine = place.engine(flavour);
        let spec = started(&engine, flavour, Plan::Shared, &[]).await;
        let tenant = Tenant::new(&engine, &spec).await;
        let mut admin = place.admin(&spec).await;
        let presence = async || {
            let credentials = [tenant.credential.clone()];
            let observation = engine.observe(&spec, &[], &credentials).await.unwrap();
            observation.credentials[&(tenant.credential.binding.clone(), 1)].presence.clone()
        };
        let mut listener = tenant.connect().await;
        for (damage, how) in [
            ("off", "it may not log in"),
            ("+@all", "its commands are others"),
            ("-get", "its commands are others"),
            ("nopass", "it has 0 passwords"),
            ("~*", "it reaches"),
            ("&*", "it reaches"),
            ("resetkeys", "it reaches"),
            (">another", "it has 2 passwords"),
            ("(~* +get)", "it has rights besides those of a binding"),
            ("clearselectors", "it ends at another time"),
        ] {
            assert_eq!(presence().await, Presence::Present, "before {damage}");
            let mut command = redis::cmd("ACL");
            command.arg("SETUSER").arg(tenant.credential.username()).arg(damage);
            command.query_async::<()>(&mut admin.0).await.unwrap();
            match presence().await {
                Presence::Drifted { how: seen } => assert!(seen.contains(how), "{damage}: {seen}"),
                other => panic!("{damage}: {other:?}"),
            }
            engine.bind(&spec, &tenant.instance, &tenant.credential, &PASSWORD.into()).await.unwrap();
        }
        admin.done(&format!("ACL SETUSER {} resetpass >another", tenant.credential.username())).await;
        assert_eq!(presence().await, Presence::Drifted { how: "its password was changed".to_owned() });
        engine.bind(&spec, &tenant.instance, &tenant.credential, &PASSWORD.into()).await.unwrap();
        listener.done("PING").await;
        tenant.connect().await;

        admin.done(&format!("ACL SETUSER i_{} on nopass +@all ~*", tenant.instance.id.suffix())).await;
        let instances = [tenant.instance.clone()];
        let seen = engine.observe(&spec, &instances, &[]).await.unwrap().instances[&tenant.instance.id].clone();
        assert!(matches!(seen, Presence::Drifted { .. }), "{seen:?}");
        engine.provision(&spec, &tenant.instance).await.unwrap();
        let seen = engine.observe(&spec, &instances, &[]).await.unwrap().instances[&tenant.instance.id].clone();
        assert_eq!(seen, Presence::Present);
        engine.remove(&spec).await.unwrap();
    });
}

#[test]
fn changed_settings_and_users_are_seen_and_put_right() {
    run_both(|place, flavour| async move {
        let engine = place.engine(flavour);
        let spec = started(&engine, flavour, Plan::Dedicated, &[("persistence", "durable")]).await;
        let tenant = Tenant::new(&engine, &spec).await;
        let mut session = tenant.connect().await;
        let mut admin = place.admin(&spec).await;
        for (damage, seen) in [
            ("CONFIG SET maxmemory 1gb", "maxmemory is \"1073741824\" and should be \"268435456\""),
            ("CONFIG SET maxclients 20", "maxclients is \"20\" and should be \"1002\""),
            ("CONFIG SET appendfsync no", "appendfsync is \"no\" and should be \"everysec\""),
            ("CONFIG SET port 0", "port is \"0\" and should be"),
            ("ACL SETUSER default on nopass ~* +@all", "the user default is not shut off"),
            ("ACL SETUSER eve on nopass ~* +@all", "the user eve is nobody's"),
            ("FUNCTION DELETE mainstay", "its data does not tell its identity"),
            ("REPLICAOF 127.0.0.1 1", "it follows another server"),
        ] {
            session.done("SET a b").await;
            admin.done(damage).await;
            let changes = engine.observe(&spec, &[], &[]).await.unwrap().changed_settings;
            assert!(changes.len() == 1 && changes[0].starts_with(seen), "{damage}: {changes:?}");
            engine.reconfigure(&spec).await.unwrap();
            assert_eq!(
                engine.observe(&spec, &[], &[]).await.unwrap().changed_settings,
                Vec::<String>::new(),
                "{damage}"
            );
        }
        std::fs::write(place.data(&spec).join("server.conf"), "port 1\n").unwrap();
        let changes = engine.observe(&spec, &[], &[]).await.unwrap().changed_settings;
        assert_eq!(changes, ["server.conf is not as it was written"]);
        engine.reconfigure(&spec).await.unwrap();
        assert_eq!(engine.observe(&spec, &[], &[]).await.unwrap().changed_settings, Vec::<String>::new());
        session.done("PING").await;
        let anonymous = format!("redis://127.0.0.1:{}", spec.port);
        let mut anonymous = Session::connect(anonymous.as_str()).await.unwrap();
        assert!(anonymous.say::<()>("PING").await.is_err());
        engine.remove(&spec).await.unwrap();
    });
}
