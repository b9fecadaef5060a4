//! Tenants of a shared cluster that try to read, list, hear, write and exhaust one another.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;

use mainstay_engine::Engine;
use mainstay_types::{Health, Plan, Presence};
use redis::Value;

use crate::place::{PASSWORD, Session, Tenant, command, eventually, run_both, started};

/// What works without a key and is allowed, because it concerns nobody but who says it, or has its channels checked.
const HARMLESS: [&str; 21] = [
    "auth",
    "client|getname",
    "client|id",
    "client|info",
    "client|setinfo",
    "client|setname",
    "discard",
    "echo",
    "exec",
    "hello",
    "multi",
    "ping",
    "publish",
    "punsubscribe",
    "quit",
    "reset",
    "subscribe",
    "unsubscribe",
    "unwatch",
    "xgroup|help",
    "xinfo|help",
];

#[test]
fn a_tenant_reaches_no_other() {
    run_both(|place, flavour| async move {
        let engine = place.engine(flavour);
        let spec = started(&engine, flavour, Plan::Shared, &[]).await;
        let (victim, mallory) = (Tenant::new(&engine, &spec).await, Tenant::new(&engine, &spec).await);
        let (mut owner, mut attacker) = (victim.connect().await, mallory.connect().await);
        let (theirs, own) = (&victim.prefix, &mallory.prefix);
        for words in
            ["SET V:s secret", "RPUSH V:l secret", "XADD V:x 1-1 a secret", "ZADD V:z 1 secret", "SADD V:set a b"]
        {
            owner.done(&words.replace("V:", theirs)).await;
        }
        for words in ["SADD M:set a", "SET M:s own", "ZADD M:z 1 a", "GEOADD M:g 1 1 a", "RPUSH M:l a", "SET M:w_a 1"] {
            attacker.done(&words.replace("M:", own)).await;
        }
        // What is listed before and after tells whether an attack left something behind.
        let mut admin = place.admin(&spec).await;
        let before: u64 = admin.say("DBSIZE").await.unwrap();
        for words in [
            "GET V:s",
            "MGET M:s V:s",
            "LRANGE V:l 0 -1",
            "LMPOP 2 M:none V:l LEFT",
            "BLPOP M:none V:l 1",
            "XREAD STREAMS V:x 0",
            "XREAD STREAMS M:x V:x 0 0",
            "XRANGE V:x - +",
            "XINFO STREAM V:x",
            "XGROUP CREATE V:x g 0",
            "ZUNION 2 M:z V:z",
            "ZUNIONSTORE M:z 2 M:z V:z",
            "ZRANGESTORE V:z M:z 0 -1",
            "SINTERCARD 2 M:set V:set",
            "SMOVE M:set V:set a",
            "GEORADIUS M:g 1 1 1 km STORE V:z",
            "GEOSEARCHSTORE V:z M:g FROMLONLAT 1 1 BYRADIUS 1 km",
            "BITOP OR M:b V:s",
            "COPY V:s M:s REPLACE",
            "COPY M:s V:s REPLACE",
            "COPY M:s M:s DB 1",
            "RENAME M:s V:s",
            "RENAME V:s M:s",
            "MOVE M:s 1",
            "MSET M:s a V:s b",
            "SET V:s mine",
            "DEL V:s",
            "UNLINK V:s",
            "EXPIRE V:s 1",
            "DUMP V:s",
            "TYPE V:s",
            "EXISTS V:s",
            "TOUCH V:s",
            "OBJECT ENCODING V:s",
            "MEMORY USAGE V:s",
            "WATCH V:s",
            "SORT M:l BY V:*",
            "SORT M:l GET V:*",
            "SORT M:l STORE V:l",
            "SORT_RO M:l GET V:*",
            "KEYS *",
            "SCAN 0",
            "SCAN 0 MATCH V:*",
            "RANDOMKEY",
            "DBSIZE",
            "FLUSHALL",
            "FLUSHDB",
            "SWAPDB 0 1",
            "SELECT 0",
            "SELECT 1",
            "INFO",
            "CONFIG GET *",
            "CONFIG SET maxmemory 1",
            "CONFIG RESETSTAT",
            "ACL LIST",
            "ACL SETUSER eve on nopass ~* +@all",
            "ACL WHOAMI",
            "AUTH mainstay correct-horse-battery-staple",
            "AUTH default x",
            "EVAL return(1) 0",
            "EVAL return(redis.call('get','V:s')) 0",
            "EVAL_RO return(1) 0",
            "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0",
            "SCRIPT LOAD return(1)",
            "SCRIPT FLUSH",
            "SCRIPT KILL",
            "FUNCTION LIST",
            "FUNCTION FLUSH",
            "FUNCTION DELETE mainstay",
            "FCALL mainstay_identity 0",
            "FCALL_RO mainstay_identity 0",
            "PUBSUB CHANNELS",
            "PUBSUB NUMPAT",
            "PUBSUB SHARDCHANNELS",
            "PUBLISH V:c forged",
            "SPUBLISH V:c forged",
            "SUBSCRIBE V:c",
            "SUBSCRIBE *",
            "PSUBSCRIBE *",
            "PSUBSCRIBE V:*",
            "PSUBSCRIBE __key*__:*",
            "SSUBSCRIBE V:c",
            "CLIENT LIST",
            "CLIENT KILL TYPE normal",
            "CLIENT PAUSE 10000",
            "CLIENT UNPAUSE",
            "CLIENT NO-EVICT ON",
            "CLIENT TRACKING ON BCAST",
            "CLIENT TRACKING ON BCAST PREFIX V:",
            "CLIENT REPLY OFF",
            "MONITOR",
            "DEBUG SLEEP 1",
            "DEBUG OBJECT V:s",
            "MIGRATE 127.0.0.1 1 V:s 0 10",
            "RESTORE M:r 0 x",
            "MEMORY STATS",
            "MEMORY DOCTOR",
            "OBJECT FREQ V:s",
            "LATENCY DOCTOR",
            "SLOWLOG GET",
            "COMMAND LIST",
            "CLUSTER INFO",
            "CLUSTERSCAN 0",
            "REPLICAOF 127.0.0.1 1",
            "PSYNC ? -1",
            "SYNC",
            "ROLE",
            "FAILOVER",
            "WAIT 1 1",
            "SAVE",
            "BGSAVE",
            "BGREWRITEAOF",
            "LASTSAVE",
            "SHUTDOWN NOSAVE",
            "MODULE LIST",
            "LOLWUT",
        ] {
            let words = words.replace("V:", theirs).replace("M:", own);
            let answer = attacker.say::<Value>(&words).await;
            assert!(answer.is_err(), "{} allows {words}: {answer:?}", flavour.name());
            // A session that was ended for it is another refusal.
            if attacker.say::<()>("PING").await.is_err() {
                attacker = mallory.connect().await;
            }
        }
        assert_eq!(admin.say::<u64>("DBSIZE").await.unwrap(), before);
        assert_eq!(owner.say::<String>(&format!("GET {theirs}s")).await.unwrap(), "secret");
        assert_eq!(owner.say::<u64>(&format!("LLEN {theirs}l")).await.unwrap(), 1);
        assert_eq!(owner.say::<u64>(&format!("XLEN {theirs}x")).await.unwrap(), 1);
        // A transaction and a script are no way around it.
        let smuggled: Result<Value, _> =
            redis::pipe().atomic().add_command(command(&format!("GET {theirs}s"))).query_async(&mut attacker.0).await;
        assert!(smuggled.is_err(), "{smuggled:?}");
        engine.remove(&spec).await.unwrap();
    });
}

#[test]
fn what_is_allowed_without_a_key_was_looked_at() {
    run_both(|place, flavour| async move {
        let engine = place.engine(flavour);
        let spec = started(&engine, flavour, Plan::Shared, &[]).await;
        let tenant = Tenant::new(&engine, &spec).await;
        let mut admin = place.admin(&spec).await;
        let commands: Vec<Value> = admin.say("COMMAND").await.unwrap();
        let mut allowed = BTreeSet::new();
        for known in &commands {
            visit(known, &mut admin, &tenant, &mut allowed).await;
        }
        let harmless: BTreeSet<String> = HARMLESS.iter().map(|&name| name.to_owned()).collect();
        let new: Vec<_> = allowed.difference(&harmless).collect();
        assert!(new.is_empty(), "{} allows what nobody looked at: {new:?}", flavour.name());
        assert!(allowed.contains("publish"), "the look sees what is allowed");
        engine.remove(&spec).await.unwrap();
    });
}

/// Notes a command of the answer to `COMMAND` where it takes no keys and the tenant may use it.
async fn visit(known: &Value, admin: &mut Session, tenant: &Tenant, allowed: &mut BTreeSet<String>) {
    let Value::Array(parts) = known else { panic!("{known:?}") };
    let name: String = redis::from_redis_value(parts[0].clone()).unwrap();
    let arity: i64 = redis::from_redis_value(parts[1].clone()).unwrap();
    let keys: Vec<Value> = redis::from_redis_value(parts[8].clone()).unwrap();
    let subcommands: Vec<Value> = redis::from_redis_value(parts[9].clone()).unwrap();
    let mut dry_run = redis::cmd("ACL").arg("DRYRUN").arg(tenant.credential.username()).clone();
    let words: Vec<&str> = name.split('|').collect();
    dry_run.arg(&words);
    for _ in words.len()..arity.unsigned_abs() as usize {
        dry_run.arg(format!("{}k", tenant.prefix));
    }
    let answer: Result<String, _> = dry_run.query_async(&mut admin.0).await;
    if subcommands.is_empty() && keys.is_empty() && answer.is_ok_and(|answer| answer == "OK") {
        allowed.insert(name);
    }
    for subcommand in &subcommands {
        Box::pin(visit(subcommand, admin, tenant, allowed)).await;
    }
}

#[test]
fn nobody_gets_in_without_a_password() {
    run_both(|place, flavour| async move {
        let engine = place.engine(flavour);
        for (plan, parameters) in
            [(Plan::Shared, &[][..]), (Plan::Dedicated, &[][..]), (Plan::Dedicated, &[("persistence", "durable")][..])]
        {
            let spec = started(&engine, flavour, plan, parameters).await;
            for _ in 0..2 {
                let anonymous = format!("redis://127.0.0.1:{}", spec.port);
                let mut session = Session::connect(anonymous.as_str()).await.unwrap();
                for words in ["PING", "GET a", "SET a b", "ACL LIST", "CONFIG GET *", "AUTH default x", "AUTH x"] {
                    assert!(session.say::<Value>(words).await.is_err(), "an anonymous client may {words}");
                }
                // Right after the first start nobody has an instance; later somebody has.
                Tenant::new(&engine, &spec).await;
            }
            engine.remove(&spec).await.unwrap();
        }
    });
}

#[test]
fn a_port_that_opens_is_never_open_to_all() {
    run_both(|place, flavour| async move {
        let engine = place.engine(flavour);
        let spec = started(&engine, flavour, Plan::Dedicated, &[("persistence", "durable")]).await;
        let anonymous = format!("redis://127.0.0.1:{}", spec.port);
        engine.stop(&spec).await.unwrap();
        let knocking = tokio::spawn(async move {
            let mut refused = 0_u32;
            loop {
                if let Ok(mut session) = Session::connect(anonymous.as_str()).await {
                    match session.say::<()>("PING").await {
                        Err(error) if error.code() == Some("NOAUTH") => refused += 1,
                        answer => return Err(format!("{answer:?} after {refused}")),
                    }
                }
                if refused > 20 {
                    return Ok(());
                }
            }
        });
        engine.start(&spec).await.unwrap();
        knocking.await.unwrap().unwrap();
        engine.remove(&spec).await.unwrap();
    });
}

#[test]
fn a_flood_leaves_other_tenants_their_data() {
    run_both(|place, flavour| async move {
        let engine = place.engine(flavour);
        let spec = started(&engine, flavour, Plan::Shared, &[]).await;
        let (victim, mallory) = (Tenant::new(&engine, &spec).await, Tenant::new(&engine, &spec).await);
        let (mut owner, mut attacker) = (victim.connect().await, mallory.connect().await);
        for number in 0..300 {
            owner.done(&format!("SET {}{number} kept", victim.prefix)).await;
        }
        // As if the machine were small.
        place.admin(&spec).await.done("CONFIG SET maxmemory 32mb").await;
        let value = "x".repeat(1 << 20);
        let mut written = 0;
        let full = loop {
            match attacker.say::<()>(&format!("SET {}{written} {value}", mallory.prefix)).await {
                Ok(()) => written += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(full.code(), Some("OOM"), "{full}");
        for number in 0..300 {
            let kept: String = owner.say(&format!("GET {}{number}", victim.prefix)).await.unwrap();
            assert_eq!(kept, "kept");
        }
        owner.done(&format!("DEL {}0", victim.prefix)).await;

        // Whoever reads nothing of what it asks for is dropped before its buffers take what is for data.
        greedy(&mallory, spec.port);
        assert_eq!(engine.observe(&spec, &[], &[]).await.unwrap().health, Health::Serving);
        engine.deprovision(&spec, &mallory.instance).await.unwrap();
        eventually("there is room again", || {
            let mut owner = owner.clone();
            let write = format!("SET {}0 again", victim.prefix);
            async move { owner.say::<()>(&write).await.is_ok() }
        })
        .await;
        engine.remove(&spec).await.unwrap();
    });
}

#[test]
fn many_sessions_of_one_tenant_leave_room_for_others() {
    run_both(|place, flavour| async move {
        let engine = place.engine(flavour);
        let spec = started(&engine, flavour, Plan::Shared, &[]).await;
        let (victim, mallory) = (Tenant::new(&engine, &spec).await, Tenant::new(&engine, &spec).await);
        let mut held = Vec::new();
        for _ in 0..501 {
            held.push(mallory.connect().await);
        }
        let mut owner = victim.connect().await;
        owner.done(&format!("SET {}a b", victim.prefix)).await;
        let look = async || {
            let credentials = [mallory.credential.clone(), victim.credential.clone()];
            let mut seen = engine.observe(&spec, &[], &credentials).await.unwrap().credentials;
            let mut seen = |tenant: &Tenant| seen.remove(&(tenant.credential.binding.clone(), 1)).unwrap();
            (seen(&mallory), seen(&victim))
        };
        // The server itself limits nobody's sessions; whoever has too many loses them when that is seen.
        let (many, few) = look().await;
        assert_eq!((many.sessions, few.sessions, &few.presence), (501, 1, &Presence::Present));
        assert!(matches!(&many.presence, Presence::Drifted { how } if how == "it has 501 sessions of 500"), "{many:?}");
        engine.bind(&spec, &mallory.instance, &mallory.credential, &PASSWORD.into()).await.unwrap();
        let (none, few) = look().await;
        assert_eq!((none.sessions, &none.presence, few.sessions), (0, &Presence::Present, 1));
        owner.done("PING").await;

        held = vec![mallory.connect().await];
        engine.unbind(&spec, &mallory.credential).await.unwrap();
        for session in &mut held {
            assert!(session.say::<()>("PING").await.is_err());
        }
        engine.remove(&spec).await.unwrap();
    });
}

#[test]
fn a_dedicated_tenant_does_not_administer() {
    run_both(|place, flavour| async move {
        let engine = place.engine(flavour);
        let spec = started(&engine, flavour, Plan::Dedicated, &[("persistence", "durable")]).await;
        let tenant = Tenant::new(&engine, &spec).await;
        let mut session = tenant.connect().await;
        for words in [
            "CONFIG GET *",
            "CONFIG SET maxmemory 1",
            "ACL LIST",
            "ACL SETUSER eve on nopass ~* +@all",
            "ACL DELUSER mainstay",
            "SHUTDOWN",
            "DEBUG SLEEP 1",
            "MODULE LIST",
            "REPLICAOF 127.0.0.1 1",
            "FAILOVER",
            "PSYNC ? -1",
            "SAVE",
            "BGSAVE",
            "BGREWRITEAOF",
            "MONITOR",
            "CLIENT KILL TYPE normal",
            "CLIENT PAUSE 1000",
            "CLIENT LIST",
            "MIGRATE 127.0.0.1 1 a 0 10",
            "FUNCTION DELETE mainstay",
            "FUNCTION FLUSH",
            "FUNCTION RESTORE x",
            "SCRIPT DEBUG YES",
            "CLUSTER RESET",
        ] {
            let answer = session.say::<Value>(words).await;
            assert!(answer.is_err(), "{} allows {words}: {answer:?}", flavour.name());
        }
        for words in [
            "SELECT 3",
            "SET a 1",
            "KEYS *",
            "SCAN 0",
            "DBSIZE",
            "INFO",
            "EVAL return(1) 0",
            "SCRIPT LOAD return(1)",
            "FUNCTION LIST",
            "ROLE",
            "SLOWLOG GET",
            "MEMORY USAGE a",
            "SORT a",
            "FLUSHALL",
            "SWAPDB 0 1",
            "CLIENT SETNAME x",
            "CLIENT TRACKING OFF",
            "COMMAND COUNT",
            "PUBLISH c m",
        ] {
            if words == "SORT a" {
                session.done("DEL a").await;
            }
            session.say::<Value>(words).await.unwrap_or_else(|error| panic!("{words}: {error}"));
        }
        // Its data was its own to remove; what shows that the data is all there stayed.
        assert!(engine.observe(&spec, &[], &[]).await.unwrap().changed_settings.is_empty());
        engine.stop(&spec).await.unwrap();
        engine.start(&spec).await.unwrap();
        engine.remove(&spec).await.unwrap();
    });
}

/// Asks for far more than the server may hold for clients, and reads none of it, until the server ends the session.
fn greedy(tenant: &Tenant, port: u16) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let login = format!("AUTH {} {PASSWORD}\r\n", tenant.credential.username());
    stream.write_all(login.as_bytes()).unwrap();
    let ask = format!("GET {}0\r\n", tenant.prefix);
    let dropped = (0..2_000_000).any(|_| stream.write_all(ask.as_bytes()).is_err());
    assert!(dropped, "who reads nothing is dropped");
}

#[test]
fn a_script_that_does_not_end_keeps_nobody_in() {
    run_both(|place, flavour| async move {
        let engine = place.engine(flavour);
        for script in ["while true do end", "redis.call('SET','k','v') while true do end"] {
            let spec = started(&engine, flavour, Plan::Dedicated, &[("persistence", "durable")]).await;
            let tenant = Tenant::new(&engine, &spec).await;
            let mut admin = place.admin(&spec).await;
            admin.done("CONFIG SET busy-reply-threshold 10").await;
            let (mut running, mut asking) = (tenant.connect().await, tenant.connect().await);
            asking.done("SET kept 1").await;
            let script = tokio::spawn(async move {
                redis::cmd("EVAL").arg(script).arg(0).query_async::<Value>(&mut running.0).await
            });
            eventually("the script is running", || {
                let mut asking = asking.clone();
                async move { asking.say::<()>("PING").await.is_err() }
            })
            .await;
            let seen = engine.observe(&spec, &[], &[]).await.unwrap();
            assert!(matches!(seen.health, Health::Hindered { .. }), "{:?}", seen.health);
            if engine.unbind(&spec, &tenant.credential).await.is_err() {
                engine.start(&spec).await.unwrap();
                engine.unbind(&spec, &tenant.credential).await.unwrap();
            }
            assert!(script.await.unwrap().is_err());
            assert!(Session::connect(tenant.uri.as_str()).await.is_err());
            let mut admin = place.admin(&spec).await;
            assert_eq!(admin.say::<Option<String>>("GET kept").await.unwrap().as_deref(), Some("1"));
            engine.deprovision(&spec, &tenant.instance).await.unwrap();
            engine.remove(&spec).await.unwrap();
        }
    });
}

#[test]
fn one_command_does_not_take_the_machines_memory() {
    run_both(|place, flavour| async move {
        let engine = place.engine(flavour);
        let spec = started(&engine, flavour, Plan::Dedicated, &[("memory_mib", "64")]).await;
        let tenant = Tenant::new(&engine, &spec).await;
        let mut session = tenant.connect().await;
        session.done("SETRANGE k 4194303 x").await;
        let greedy = format!("MGET{}", " k".repeat(256));
        assert!(session.say::<Value>(&greedy).await.is_err());
        let status = std::fs::read_to_string(format!("/proc/{}/status", place.server_pid(&spec))).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")).unwrap();
        assert!(peak.parse::<u64>().unwrap() < 256 << 10, "{} took {peak} kB at its most", flavour.name());
        engine.remove(&spec).await.unwrap();
    });
}

#[test]
fn what_a_marker_is_replaced_with_is_not_carried_out() {
    run_both(|place, flavour| async move {
        let engine = place.engine(flavour);
        let spec = started(&engine, flavour, Plan::Dedicated, &[("persistence", "durable")]).await;
        let tenant = Tenant::new(&engine, &spec).await;
        let forged = "#!lua name=mainstay\nredis.register_function{function_name='mainstay_identity', \
                      flags={'no-writes'}, callback=function() while true do end end}";
        let load = redis::cmd("FUNCTION").arg("LOAD").arg("REPLACE").arg(forged).clone();
        let mut session = tenant.connect().await;
        session.done("SET kept 1").await;
        load.query_async::<()>(&mut session.0).await.unwrap();
        let seen = engine.observe(&spec, &[], &[]).await.unwrap();
        assert_eq!(seen.health, Health::Serving);
        assert_eq!(seen.changed_settings, ["its data does not tell its identity"]);
        engine.reconfigure(&spec).await.unwrap();
        assert_eq!(engine.observe(&spec, &[], &[]).await.unwrap().changed_settings, Vec::<String>::new());
        engine.remove(&spec).await.unwrap();
    });
}
