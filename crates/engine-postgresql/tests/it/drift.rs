//! What somebody changes with the server's own tools is seen and put right.

use mainstay_engine::Engine;
use mainstay_types::{Observation, Plan, Presence};

use crate::place::{PASSWORD, Place, Tenant, cluster, execute, overwrite, run, shared};

#[test]
fn a_changed_credential_is_seen_and_repaired() {
    run(async {
        let shared = shared().await;
        let (engine, cluster) = (&shared.engine, &shared.cluster);
        let tenant = Tenant::new(engine, cluster).await;
        let (user, owner, database) = (tenant.credential.username(), tenant.owner(), tenant.database());
        let mut superuser = shared.place.superuser(cluster, "postgres").await;
        let observe = || async {
            let (instances, credentials) = ([tenant.instance.clone()], [tenant.credential.clone()]);
            engine.observe(cluster, &instances, &credentials).await.unwrap()
        };
        for (damage, how) in [
            (format!("ALTER ROLE {user} NOLOGIN"), "it may not log in"),
            (format!("ALTER ROLE {user} SUPERUSER"), "it has rights that no binding has"),
            (format!("REVOKE {owner} FROM {user}"), "it is a member of []"),
            (format!("GRANT pg_read_server_files TO {user}"), "pg_read_server_files"),
            (format!("ALTER ROLE {user} VALID UNTIL 'infinity'"), "it expires at another time"),
            (format!("ALTER ROLE {user} CONNECTION LIMIT 1"), "its connection limit is 1"),
            (format!("ALTER ROLE {user} IN DATABASE {database} RESET role"), "its settings were changed"),
            (format!("ALTER ROLE {user} PASSWORD 'another'"), "its password was changed"),
            (format!("ALTER ROLE {user} PASSWORD NULL"), "it has no password"),
        ] {
            assert_eq!(credential(&observe().await, &tenant), &Presence::Present, "before {damage}");
            execute(&mut superuser, &damage).await.unwrap();
            match credential(&observe().await, &tenant) {
                Presence::Drifted { how: seen } => assert!(seen.contains(how), "{damage}: {seen}"),
                other => panic!("{damage}: {other:?}"),
            }
            engine.bind(cluster, &tenant.instance, &tenant.credential, &PASSWORD.into()).await.unwrap();
        }
        assert_eq!(credential(&observe().await, &tenant), &Presence::Present);
        tenant.connect().await;
    });
}

#[test]
fn a_changed_instance_is_seen_and_repaired() {
    run(async {
        let shared = shared().await;
        let (engine, cluster) = (&shared.engine, &shared.cluster);
        let tenant = Tenant::new(engine, cluster).await;
        let (owner, database) = (tenant.owner(), tenant.database());
        let mut superuser = shared.place.superuser(cluster, "postgres").await;
        for damage in [
            format!("GRANT CONNECT ON DATABASE {database} TO PUBLIC"),
            format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false"),
            format!("ALTER DATABASE {database} OWNER TO mainstay"),
            format!("REVOKE CONNECT ON DATABASE {database} FROM {owner}"),
            format!("ALTER DATABASE {database} CONNECTION LIMIT 0"),
        ] {
            execute(&mut superuser, &damage).await.unwrap();
            let instances = [tenant.instance.clone()];
            let observation = engine.observe(cluster, &instances, &[]).await.unwrap();
            let seen = &observation.instances[&tenant.instance.id];
            assert!(matches!(seen, Presence::Drifted { .. }), "{damage}: {seen:?}");
            engine.provision(cluster, &tenant.instance).await.unwrap();
            let observation = engine.observe(cluster, &instances, &[]).await.unwrap();
            assert_eq!(observation.instances[&tenant.instance.id], Presence::Present, "{damage}");
        }
        tenant.connect().await;
    });
}

#[test]
fn changed_files_are_seen_and_written_anew() {
    run(async {
        let place = Place::new();
        let engine = place.engine();
        let mut spec = cluster(Plan::Dedicated);
        spec.parameters = [("max_connections".to_owned(), "20".to_owned())].into_iter().collect();
        spec.identity = Some(engine.start(&spec).await.unwrap().identity);
        let mut superuser = place.superuser(&spec, "postgres").await;
        let limit: String = sqlx::query_scalar("SHOW max_connections").fetch_one(&mut superuser).await.unwrap();
        assert_eq!(limit, "30", "20 for the instance and 10 for us");

        overwrite(&place.data(&spec).join("pg_hba.conf"), "host all all all trust\n");
        execute(&mut superuser, "ALTER SYSTEM SET log_statement = 'all'").await.unwrap();
        let changes = engine.observe(&spec, &[], &[]).await.unwrap().changed_settings;
        assert_eq!(changes, ["pg_hba.conf is not as it was written", "log_statement was set with ALTER SYSTEM"]);
        engine.reconfigure(&spec).await.unwrap();
        assert!(engine.observe(&spec, &[], &[]).await.unwrap().changed_settings.is_empty());
        engine.stop(&spec).await.unwrap();
    });
}

fn credential<'a>(observation: &'a Observation, tenant: &Tenant) -> &'a Presence {
    &observation.credentials[&(tenant.credential.binding.clone(), 1)].presence
}
