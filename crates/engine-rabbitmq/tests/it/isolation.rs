//! What one tenant tries against the others and against the node.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::future::join_all;
use lapin::Channel;
use mainstay_engine::Engine;
use mainstay_engine_rabbitmq::{RabbitmqConfig, RabbitmqEngine};

use crate::place::{
    PASSWORD, Place, Tenant, cluster, connect, declare, eventually, get, listeners, manage, processes, publish, run,
    shared,
};

/// The longest that a message of one tenant may take there and back while another one does its worst.
const UNDISTURBED: Duration = Duration::from_secs(5);

#[test]
fn a_binding_reaches_its_own_virtual_host_alone() {
    run(async {
        let shared = shared().await;
        let mine = Tenant::new(&shared.engine, &shared.cluster, &[]).await;
        let other = Tenant::new(&shared.engine, &shared.cluster, &[]).await;
        let (_connection, channel) = other.channel().await;
        declare(&channel, "secret", None).await.unwrap();
        assert!(publish(&channel, "secret", b"of another").await.unwrap());

        let own = mine.virtual_host();
        for host in [other.virtual_host().as_str(), "", "%2F", "i_nothere", "%2e%2e", "i_%2A"] {
            assert!(connect(&mine.uri.replace(&own, host)).await.is_err(), "{host} is not the binding's");
        }
        let wrong = mine.uri.replace("b_", "b_0");
        assert!(connect(&wrong).await.is_err(), "an unknown user is refused");
        let (scheme, place) = (mine.uri.split_once("b_").unwrap().0, mine.uri.rsplit_once('@').unwrap().1);
        for stranger in ["guest:guest", "mainstay:mainstay", "mainstay:", "guest:", ":"] {
            assert!(connect(&format!("{scheme}{stranger}@{place}")).await.is_err(), "{stranger} is refused");
        }
        // In its own virtual host there is nothing of the other's.
        let (_connection, channel) = mine.channel().await;
        assert!(get(&channel, "secret").await.is_err());
    });
}

#[test]
fn nobody_is_let_in_without_a_password() {
    run(async {
        let shared = shared().await;
        let mut stream = TcpStream::connect(("127.0.0.1", shared.cluster.port)).unwrap();
        stream.write_all(b"AMQP\0\0\x09\x01").unwrap();
        let mut start = [0; 1_024];
        let length = stream.read(&mut start).unwrap();
        let start = String::from_utf8_lossy(&start[..length]).into_owned();
        assert!(start.contains("PLAIN"), "{start}");
        for mechanism in ["ANONYMOUS", "EXTERNAL", "CR-DEMO"] {
            assert!(!start.contains(mechanism), "{mechanism} is offered");
        }
    });
}

#[test]
fn the_management_api_is_closed_to_bindings() {
    run(async {
        let shared = shared().await;
        let tenant = Tenant::new(&shared.engine, &shared.cluster, &[]).await;
        let (user, host) = (tenant.credential.username(), tenant.virtual_host());
        let port = shared.place.management_port(&shared.cluster);
        let shovel = r#"{"value":{"src-protocol":"amqp091","src-uri":"amqp://","src-queue":"a","dest-protocol":"amqp091","dest-uri":"amqp://","dest-queue":"b"}}"#;
        let policy = r#"{"pattern":".*","definition":{"max-length":1}}"#;
        let attempts = [
            ("GET", "whoami".to_owned(), ""),
            ("GET", "overview".to_owned(), ""),
            ("GET", "users".to_owned(), ""),
            ("GET", "connections".to_owned(), ""),
            ("GET", "definitions".to_owned(), ""),
            (
                "POST",
                "definitions".to_owned(),
                r#"{"users":[{"name":"evil","password_hash":"","tags":"administrator"}]}"#,
            ),
            ("GET", format!("queues/{host}"), ""),
            ("PUT", "vhosts/evil".to_owned(), ""),
            ("PUT", format!("users/{user}"), r#"{"password":"x","tags":"administrator"}"#),
            ("PUT", format!("policies/{host}/evil"), policy),
            ("PUT", format!("operator-policies/{host}/mainstay"), policy),
            ("DELETE", format!("operator-policies/{host}/mainstay"), ""),
            ("DELETE", format!("vhost-limits/{host}/max-queues"), ""),
            ("PUT", format!("parameters/shovel/{host}/evil"), shovel),
            ("PUT", format!("parameters/federation-upstream/{host}/evil"), r#"{"value":{"uri":"amqp://"}}"#),
        ];
        for (name, password) in [(user.as_str(), PASSWORD), ("guest", "guest"), ("", ""), ("mainstay", "")] {
            for (method, path, body) in &attempts {
                let (status, answer) = manage(port, name, password, method, path, body);
                assert_eq!(status, 401, "{name} did {method} {path}: {answer}");
            }
        }
        // Not even whoever may do everything moves messages with it: the plugins are not there.
        let secret = std::fs::read_to_string(shared.place.path(&shared.cluster, "admin.secret")).unwrap();
        let path = format!("parameters/shovel/{host}/evil");
        assert_eq!(manage(port, "mainstay", &secret, "PUT", &path, shovel).0, 400);
    });
}

#[test]
fn limits_end_where_the_tenant_does() {
    run(async {
        let shared = shared().await;
        let neighbour = Tenant::new(&shared.engine, &shared.cluster, &[]).await;
        let (_connection, calm) = neighbour.channel().await;
        declare(&calm, "calm", None).await.unwrap();
        let limits = [("max_connections", "3"), ("max_channels", "8"), ("max_queues", "4"), ("max_queue_mib", "1")];
        let greedy = Tenant::new(&shared.engine, &shared.cluster, &limits).await;

        let (first, channel) = greedy.channel().await;
        let mut channels = Vec::new();
        while let Ok(channel) = first.create_channel().await {
            channels.push(channel);
            assert!(channels.len() < 20, "channels end");
        }
        assert_eq!(channels.len(), 7);
        drop(first);
        drop(channel);
        eventually("it may connect again", || async { connect(&greedy.uri).await.is_ok() }).await;

        let (connection, channel) = greedy.channel().await;
        let full = || async {
            let mut connections = Vec::new();
            while let Ok(connection) = connect(&greedy.uri).await {
                connections.push(connection);
                assert!(connections.len() < 20, "connections end");
            }
            connections.len() == 2
        };
        eventually("it has two more connections and no third", full).await;
        for (number, kind) in ["classic", "quorum", "classic", "classic"].into_iter().enumerate() {
            declare(&channel, &format!("q{number}"), Some(("x-queue-type", kind))).await.unwrap();
        }
        let another = connection.create_channel().await.unwrap();
        assert!(declare(&another, "q4", None).await.is_err(), "queues end");
        round_trip(&calm).await;
        assert!(neighbour.connect().await.status().connected());
    });
}

#[test]
fn a_full_queue_refuses_what_is_published_and_others_go_on() {
    run(async {
        let shared = shared().await;
        let neighbour = Tenant::new(&shared.engine, &shared.cluster, &[]).await;
        let (_connection, calm) = neighbour.channel().await;
        declare(&calm, "calm", None).await.unwrap();
        let limits = [("max_queue_mib", "4")];
        let greedy = Tenant::new(&shared.engine, &shared.cluster, &limits).await;
        let (_connection, channel) = greedy.channel().await;
        let body = vec![7; 64 << 10];
        for (queue, argument) in [
            ("classic", None),
            ("quorum", Some(("x-queue-type", "quorum"))),
            ("asking-for-more", Some(("x-overflow", "reject-publish"))),
        ] {
            declare(&channel, queue, argument).await.unwrap();
            let mut taken = 0;
            while publish(&channel, queue, &body).await.unwrap() {
                taken += 1;
                assert!(taken < 1_000, "{queue} has an end");
            }
            assert!((60..200).contains(&taken), "{queue} took {taken} messages of 64 KiB");
            round_trip(&calm).await;
        }

        // Without waiting for confirms, from several sessions at once.
        let sessions = join_all((0..4).map(|_| greedy.channel())).await;
        let flood = join_all(sessions.iter().map(|(_, channel)| async {
            for _ in 0..500 {
                let options = lapin::options::BasicPublishOptions::default();
                let sent = channel.basic_publish("".into(), "classic".into(), options, &body, Default::default()).await;
                drop(sent.unwrap());
            }
        }));
        let neighbours = async {
            for _ in 0..50 {
                round_trip(&calm).await;
            }
        };
        tokio::join!(flood, neighbours);
        let health = shared.engine.observe(&shared.cluster, &[], &[]).await.unwrap().health;
        assert_eq!(health, mainstay_types::Health::Serving);

        // A message larger than any may be ends its own channel only.
        let (_connection, channel) = greedy.channel().await;
        assert!(publish(&channel, "classic", &vec![0; (16 << 20) + 1]).await.is_err());
        round_trip(&calm).await;
    });
}

#[test]
fn only_clients_reach_the_node_and_only_where_it_listens_for_them() {
    run(async {
        let place = Place::new();
        let config = RabbitmqConfig { listen_address: "127.0.0.2".parse().unwrap(), ..place.config() };
        let engine = RabbitmqEngine::new(config);
        let spec = cluster();
        engine.start(&spec).await.unwrap();
        let tenant = Tenant::new(&engine, &spec, &[]).await;
        tenant.connect().await;

        let directory = place.path(&spec, "");
        let mut listening = listeners(&processes(&directory));
        listening.sort();
        let ports = place.read(&spec, "ports.json");
        let on = |address: &str, port: u64| format!("{address}:{port:04X}");
        let own = |name: &str| ports[name].as_u64().unwrap();
        // epmd listens on the loopback address of IPv6 too, whatever it is told.
        let mut expected = vec![
            on("0200007F", spec.port.into()),
            on("0100007F", own("management")),
            on("0100007F", own("distribution")),
            on("0100007F", own("epmd")),
            on("00000000000000000000000001000000", own("epmd")),
        ];
        if !Path::new("/proc/sys/net/ipv6").exists() {
            expected.pop();
        }
        expected.sort();
        assert_eq!(listening, expected);

        // Nothing that opens the node is readable for others, or told by the process list.
        assert_private(&directory.join("data"));
        let secret = std::fs::read_to_string(directory.join("admin.secret")).unwrap();
        let cookie = std::fs::read_to_string(directory.join("data/home/.erlang.cookie")).unwrap();
        for pid in processes(&directory) {
            for file in ["cmdline", "environ"] {
                let text = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                let text = String::from_utf8_lossy(&text);
                assert!(!text.contains(&secret) && !text.contains(&cookie), "{file} of {pid} holds a secret");
            }
        }
        assert!(!place.log(&spec).contains(&secret) && !place.log(&spec).contains(&cookie));

        engine.stop(&spec).await.unwrap();
        assert_eq!(processes(&directory), Vec::<i32>::new(), "nothing runs on");
        engine.remove(&spec).await.unwrap();
    });
}

fn assert_private(path: &Path) {
    let metadata = std::fs::symlink_metadata(path).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o077, 0, "{} is open to others", path.display());
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        assert_private(&entry.path());
    }
}

async fn round_trip(channel: &Channel) {
    let begin = Instant::now();
    assert!(publish(channel, "calm", b"still here").await.unwrap());
    assert_eq!(get(channel, "calm").await.unwrap().unwrap(), b"still here");
    assert!(begin.elapsed() < UNDISTURBED, "a message took {:?}", begin.elapsed());
}
