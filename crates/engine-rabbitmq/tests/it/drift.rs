//! What somebody changed with RabbitMQ's own tools is seen and put right, without ending sessions.

use std::process::Command;
use std::slice::from_ref;

use mainstay_engine::Engine;
use mainstay_types::{Health, Presence};

use crate::place::{PASSWORD, Place, Shared, Tenant, cluster, declare, eventually, get, publish, run, shared};

#[test]
fn changes_are_seen_and_put_right() {
    run(async {
        let shared = shared().await;
        let tenant = Tenant::new(&shared.engine, &shared.cluster, &[]).await;
        let other = Tenant::new(&shared.engine, &shared.cluster, &[]).await;
        let (user, host) = (tenant.credential.username(), tenant.virtual_host());
        let (_connection, session) = tenant.channel().await;
        declare(&session, "queue", None).await.unwrap();
        assert_eq!(presence(shared, &tenant).await, (Presence::Present, Presence::Present));

        let all = r#"{"configure":".*","write":".*","read":".*"}"#;
        let policy = r#"{"pattern":"^q","apply-to":"queues","definition":{"max-length-bytes":67108864}}"#;
        let instance_changes = [
            ("DELETE", format!("vhost-limits/{host}/max-queues"), "", "its limits were changed"),
            ("PUT", format!("operator-policies/{host}/mainstay"), policy, "the limit of its queues was changed"),
            ("DELETE", format!("policies/{host}/mainstay"), "", "the policy of its queues was changed"),
        ];
        for (method, path, body, how) in instance_changes {
            shared.place.administer(&shared.cluster, method, &path, body);
            let drifted = Presence::Drifted { how: how.to_owned() };
            assert_eq!(presence(shared, &tenant).await, (drifted, Presence::Present));
            shared.engine.provision(&shared.cluster, &tenant.instance).await.unwrap();
            assert_eq!(presence(shared, &tenant).await, (Presence::Present, Presence::Present));
        }

        let promoted = r#"{"password":"known to somebody","tags":"administrator"}"#;
        let everywhere = format!("permissions/{}/{user}", other.virtual_host());
        let credential_changes = [
            ("PUT", format!("users/{user}"), promoted, "it has rights that no binding has"),
            ("PUT", format!("users/{user}"), r#"{"password":"x","tags":""}"#, "its password was changed"),
            ("PUT", everywhere.clone(), all, "it may use another instance's virtual host"),
            ("DELETE", format!("permissions/{host}/{user}"), "", "it may not do all that it should be allowed"),
            ("DELETE", format!("user-limits/{user}/max-channels"), "", "its limits were changed"),
        ];
        for (method, path, body, how) in credential_changes {
            shared.place.administer(&shared.cluster, method, &path, body);
            let drifted = Presence::Drifted { how: how.to_owned() };
            assert_eq!(presence(shared, &tenant).await, (Presence::Present, drifted));
            let (instance, credential) = (&tenant.instance, &tenant.credential);
            shared.engine.bind(&shared.cluster, instance, credential, &PASSWORD.into()).await.unwrap();
            assert_eq!(presence(shared, &tenant).await, (Presence::Present, Presence::Present), "after {how}");
        }
        assert!(publish(&session, "queue", b"the session went on").await.unwrap());
    });
}

#[test]
fn alarms_are_told_and_figures_read() {
    run(async {
        let place = Place::new();
        let engine = place.engine();
        let spec = cluster();
        engine.start(&spec).await.unwrap();
        let tenant = Tenant::new(&engine, &spec, &[]).await;
        let (_connection, channel) = tenant.channel().await;
        declare(&channel, "queue", None).await.unwrap();
        assert!(publish(&channel, "queue", b"before").await.unwrap());
        // The node counts every few seconds.
        eventually("there are figures", || async {
            let figures = engine.figures(&spec).await.unwrap();
            let figure = |name: &str| figures.iter().find(|(found, _)| *found == name).unwrap().1;
            assert_eq!(figure("rabbitmq.node.mem_alarm"), 0.0);
            let node = figure("rabbitmq.node.mem_used") > 1e6 && figure("rabbitmq.node.disk_free") > 1e6;
            node && figure("rabbitmq.queue.count") == 1.0 && figure("rabbitmq.message.published") == 1.0
        })
        .await;

        for (resource, expected) in [("memory", "too much memory"), ("disk", "make room")] {
            let alarm = format!("{{resource_limit, {resource}, node()}}");
            evaluate(&place, &spec, &format!("rabbit_alarm:set_alarm({{{alarm}, []}})."));
            let observed = engine.observe(&spec, from_ref(&tenant.instance), &[]).await.unwrap();
            let Health::Hindered { reason } = observed.health else { panic!("{:?}", observed.health) };
            assert!(reason.contains("publishers wait") && reason.contains(expected), "{reason}");
            assert_eq!(observed.instances.len(), 1, "it answers all the same");
            evaluate(&place, &spec, &format!("rabbit_alarm:clear_alarm({alarm})."));
            assert_eq!(engine.observe(&spec, &[], &[]).await.unwrap().health, Health::Serving);
        }
        assert_eq!(get(&channel, "queue").await.unwrap().unwrap(), b"before");
        engine.remove(&spec).await.unwrap();
    });
}

async fn presence(shared: &Shared, tenant: &Tenant) -> (Presence, Presence) {
    let (instances, credentials) = (from_ref(&tenant.instance), from_ref(&tenant.credential));
    let observed = shared.engine.observe(&shared.cluster, instances, credentials).await.unwrap();
    let key = (tenant.credential.binding.clone(), tenant.credential.generation);
    (observed.instances[&tenant.instance.id].clone(), observed.credentials[&key].presence.clone())
}

/// Has the node evaluate an expression, by the way of RabbitMQ's own tool.
fn evaluate(place: &Place, cluster: &mainstay_engine::ClusterSpec, expression: &str) {
    let place_of = |process: i32, file: &str| format!("/proc/{process}/{file}");
    let environment = std::fs::read(place_of(place.pid(cluster), "environ")).unwrap();
    let environment = String::from_utf8(environment).unwrap();
    let kept = ["PATH", "HOME", "LC_ALL", "ERL_EPMD_PORT", "ERL_FLAGS", "RABBITMQ_NODENAME", "RABBITMQ_CONF_ENV_FILE"];
    let kept =
        environment.split('\0').filter_map(|entry| entry.split_once('=')).filter(|(name, _)| kept.contains(name));
    let output =
        Command::new(place.program("rabbitmqctl")).args(["eval", expression]).env_clear().envs(kept).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
