//! What is kept of a cluster's log, whatever became of the cluster, the disk or the one before it.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mainstay_engine::Engine;
use mainstay_engine::conformance::recovery::MemoryArchive;
use mainstay_engine::recovery::{LogPiece, Recovery, Until};
use mainstay_types::Timestamp;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use crate::place::{Tenant, count, eventually, execute, run};
use crate::restores::{Followed, follow};

#[test]
fn a_log_that_was_lost_is_a_gap_that_is_told_and_the_next_backup_is_good() {
    run(async {
        let followed = Followed::new().await;
        let tenant = Tenant::new(&followed.engine, &followed.spec).await;
        let first = followed.back_up().await;
        followed.follower.abort();
        let mut superuser = followed.place.superuser(&followed.spec, "postgres").await;
        let bound = "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'";
        execute(&mut superuser, bound).await.unwrap();
        execute(&mut superuser, "ALTER SYSTEM SET max_wal_size = '32MB'").await.unwrap();
        execute(&mut superuser, "ALTER SYSTEM SET min_wal_size = '32MB'").await.unwrap();
        execute(&mut superuser, "SELECT pg_reload_conf()").await.unwrap();
        let mut session = tenant.connect().await;
        execute(&mut session, "CREATE TABLE filler (text text)").await.unwrap();
        // A slot that nobody reads from does not fill the disk.
        eventually("the slot is given up", || async {
            let fill = "INSERT INTO filler SELECT repeat(md5(i::text), 30) FROM generate_series(1, 20000) i";
            let mut session = tenant.connect().await;
            execute(&mut session, fill).await.unwrap();
            let mut superuser = followed.place.superuser(&followed.spec, "postgres").await;
            execute(&mut superuser, "CHECKPOINT").await.unwrap();
            let lost = "SELECT count(*) FROM pg_replication_slots WHERE wal_status = 'lost'";
            count(&mut superuser, lost).await == 1
        })
        .await;

        let archive = followed.archive.archive();
        let told = followed.engine.follow_log(&followed.spec, &archive).await;
        assert!(told.to_string().contains("has a gap") && told.to_string().contains("new backup"), "{told}");
        // As it is in earnest: more than the segment that a backup closes.
        execute(&mut superuser, "ALTER SYSTEM RESET ALL").await.unwrap();
        execute(&mut superuser, "SELECT pg_reload_conf()").await.unwrap();
        let follower = follow(&followed.engine, &followed.spec, &followed.archive);
        let second = followed.back_up().await;
        execute(&mut session, "CREATE TABLE after_it ()").await.unwrap();
        let written = Timestamp::now();
        eventually("the log is kept again", || async { followed.latest(&second).await >= written }).await;
        let window = followed.engine.window(&first, &archive).await.unwrap();
        assert!(window.gap.is_some_and(|gap| gap.contains("gap from")) && window.latest < second.began_at);
        let error = followed.restore(&tenant, &first, Until::Time(written)).await.unwrap_err().to_string();
        assert!(error.contains("gap from") && error.contains(&window.latest.to_string()), "{error}");
        followed.restore(&tenant, &second, Until::Time(written)).await.unwrap();
        assert_eq!(count(&mut tenant.connect().await, "SELECT count(*) FROM after_it").await, 0);

        // What no backup from the second one on needs is removed, and what it needs is not.
        followed
            .engine
            .trim_log(std::slice::from_ref(&second), followed.spec.identity.as_deref(), &archive)
            .await
            .unwrap();
        assert_eq!(followed.engine.window(&second, &archive).await.unwrap().gap, None);
        followed.restore(&tenant, &second, Until::Backup).await.unwrap();
        assert!(followed.restore(&tenant, &first, Until::Backup).await.is_err());
        follower.abort();
        let _ = PgConnection::close(session).await;
        followed.engine.remove(&followed.spec).await.unwrap();
    });
}

#[test]
fn after_a_disaster_a_cluster_comes_back_to_before_the_damage_of_its_log() {
    run(async {
        let followed = Followed::new().await;
        let tenant = Tenant::new(&followed.engine, &followed.spec).await;
        let mut session = tenant.connect().await;
        execute(&mut session, "CREATE TABLE kept (at int)").await.unwrap();
        let backup = followed.back_up().await;
        let mut superuser = followed.place.superuser(&followed.spec, "postgres").await;
        let archive = followed.archive.archive();
        // A segment for each row, so that there is something before the damage and after it.
        let mut moments = Vec::new();
        for row in 1..=4 {
            execute(&mut session, &format!("INSERT INTO kept VALUES ({row})")).await.unwrap();
            moments.push(Timestamp::now());
            execute(&mut superuser, "SELECT pg_switch_wal()").await.unwrap();
            eventually("the log is kept", || async { followed.latest(&backup).await >= moments[row - 1] }).await;
        }
        let wholes = || async {
            let pieces = archive.log.pieces().await.unwrap();
            pieces.into_iter().filter(|(name, _)| !name.contains('.')).collect::<Vec<_>>()
        };
        // The last one is not: nothing was written after it.
        let is_whole = || async { wholes().await.iter().any(|(_, piece)| piece.until >= moments[1]) };
        eventually("segments are whole", is_whole).await;
        let wholes = wholes().await;
        let (name, damaged) = wholes.iter().find(|(_, piece)| piece.until >= moments[1]).unwrap();
        followed.archive.flip_bit(&damaged.address);
        let _ = PgConnection::close(session).await;
        let _ = PgConnection::close(superuser).await;
        followed.engine.stop(&followed.spec).await.unwrap();
        followed.follower.await.unwrap();
        fs::remove_dir_all(followed.place.clusters.join(followed.spec.name.as_str())).unwrap();

        let restored = followed.engine.restore_cluster(&followed.spec, &backup, Until::Latest, &archive).await;
        let refused = restored.unwrap_err().to_string();
        let piece = name.split_once('-').unwrap().1;
        assert!(refused.contains(piece), "who asks for the newest gets that or none: {refused}");
        for at in [None, Some(moments[3]), Some(Timestamp::now())] {
            let salvaged = followed.engine.salvage_cluster(&followed.spec, &backup, at, &archive).await.unwrap();
            let (newest, lost) = (salvaged.restored.newest, salvaged.lost.unwrap());
            assert!(lost.contains(piece) && lost.contains(&newest.to_string()), "{lost}");
            let mut session = tenant.connect().await;
            // What of the damaged piece came before its damage may have come too, and nothing behind it.
            let rows = count(&mut session, "SELECT count(*) FROM kept").await;
            assert!((1..4).contains(&rows), "{at:?}: {rows}");
            assert!(newest < moments[3] && newest > backup.ended_at, "{newest} {moments:?}");
            execute(&mut session, "CREATE TABLE IF NOT EXISTS goes_on ()").await.unwrap();
            let _ = PgConnection::close(session).await;
            followed.engine.stop(&followed.spec).await.unwrap();
        }
        followed.engine.remove(&followed.spec).await.unwrap();
    });
}

#[test]
fn a_cluster_that_is_made_anew_under_an_old_name_has_a_log_of_its_own() {
    run(async {
        let mut followed = Followed::new().await;
        let archive = followed.archive.archive();
        let first = Tenant::new(&followed.engine, &followed.spec).await;
        execute(&mut first.connect().await, "CREATE TABLE kept AS SELECT 1 AS id").await.unwrap();
        let before = followed.back_up().await;
        // So that segments with the names of those to come are kept.
        for _ in 0..4 {
            execute(&mut first.connect().await, "INSERT INTO kept VALUES (2)").await.unwrap();
            let mut superuser = followed.place.superuser(&followed.spec, "postgres").await;
            execute(&mut superuser, "SELECT pg_switch_wal()").await.unwrap();
        }
        let written = Timestamp::now();
        eventually("the log is kept", || async { followed.latest(&before).await >= written }).await;
        let latest = followed.latest(&before).await;
        followed.follower.abort();
        let old_log = followed.archive.log();
        followed.engine.remove(&followed.spec).await.unwrap();

        let old = followed.spec.clone();
        followed.spec.identity = None;
        followed.spec.identity = Some(followed.engine.start(&followed.spec).await.unwrap().identity);
        assert_ne!(followed.spec.identity, old.identity);
        followed.follower = follow(&followed.engine, &followed.spec, &followed.archive);
        let tenant = Tenant::new(&followed.engine, &followed.spec).await;
        let query = "SELECT count(*) FROM kept";
        execute(&mut tenant.connect().await, "CREATE TABLE kept AS SELECT generate_series(1, 50) AS id").await.unwrap();
        let backup = followed.back_up().await;
        let newest = |archive: &MemoryArchive, before: &[String]| {
            archive.log().into_iter().filter(|name| !before.contains(name)).collect::<Vec<_>>()
        };
        assert!(!newest(&followed.archive, &old_log).is_empty(), "what is new is kept beside what is old");
        execute(&mut tenant.connect().await, "INSERT INTO kept VALUES (51)").await.unwrap();
        let written = Timestamp::now();
        eventually("the new log is kept", || async { followed.latest(&backup).await >= written }).await;
        execute(&mut tenant.connect().await, "DROP TABLE kept").await.unwrap();
        followed.restore(&tenant, &backup, Until::Time(written)).await.unwrap();
        assert_eq!(count(&mut tenant.connect().await, query).await, 51);
        assert_eq!(followed.latest(&before).await, latest, "nothing of the new one is in the old one's window");

        // The old one can be had back until its backup goes, and its log goes with that.
        let serving = followed.spec.identity.clone();
        followed.engine.trim_log(&[before.clone(), backup.clone()], serving.as_deref(), &archive).await.unwrap();
        let instance = &tenant.instance;
        let restored = followed
            .engine
            .restore_instance(&followed.spec, instance, &first.instance.id, &before, Until::Latest, &archive)
            .await;
        restored.unwrap();
        assert_eq!(count(&mut tenant.connect().await, query).await, 5);
        followed.engine.trim_log(std::slice::from_ref(&backup), serving.as_deref(), &archive).await.unwrap();
        assert!(followed.archive.log().iter().all(|name| !old_log.contains(name)));
        followed.restore(&tenant, &backup, Until::Time(written)).await.unwrap();
        // One that has no backup yet may begin its first with what is there.
        let left = followed.archive.log();
        followed.engine.trim_log(&[], serving.as_deref(), &archive).await.unwrap();
        assert_eq!(followed.archive.log(), left);
        followed.engine.trim_log(&[], None, &archive).await.unwrap();
        assert!(followed.archive.log().is_empty());
        followed.follower.abort();
        followed.engine.remove(&followed.spec).await.unwrap();
    });
}

#[test]
fn data_that_was_put_back_by_other_means_is_not_taken_for_what_is_kept() {
    run(async {
        let mut followed = Followed::new().await;
        let tenant = Tenant::new(&followed.engine, &followed.spec).await;
        let mut session = tenant.connect().await;
        execute(&mut session, "CREATE TABLE kept (id int)").await.unwrap();
        let backup = followed.back_up().await;
        let data = followed.place.data(&followed.spec);
        let aside = data.with_extension("aside");
        followed.follower.abort();
        followed.engine.stop(&followed.spec).await.unwrap();
        let copied = Command::new("cp").arg("-a").arg(&data).arg(&aside).status().unwrap();
        assert!(copied.success());
        followed.engine.start(&followed.spec).await.unwrap();
        followed.follower = follow(&followed.engine, &followed.spec, &followed.archive);
        execute(&mut tenant.connect().await, "INSERT INTO kept SELECT generate_series(1, 100)").await.unwrap();
        let written = Timestamp::now();
        eventually("the log is kept", || async { followed.latest(&backup).await >= written }).await;
        followed.follower.abort();
        followed.engine.stop(&followed.spec).await.unwrap();
        let log = followed.archive.log();

        fs::remove_dir_all(&data).unwrap();
        fs::rename(&aside, &data).unwrap();
        followed.engine.start(&followed.spec).await.unwrap();
        let archive = followed.archive.archive();
        for refused in [
            followed.engine.follow_log(&followed.spec, &archive).await,
            followed.engine.back_up(&followed.spec, &[], &archive).await.unwrap_err(),
        ] {
            let said = refused.to_string();
            assert!(said.contains("put back by other means") && said.contains("Recovery:Repository"), "{said}");
        }
        assert_eq!(followed.archive.log(), log);
        followed.restore(&tenant, &backup, Until::Time(written)).await.unwrap();
        assert_eq!(count(&mut tenant.connect().await, "SELECT count(*) FROM kept").await, 100);

        // Another repository has nothing that it could be taken for.
        followed.archive = MemoryArchive::default();
        followed.follower = follow(&followed.engine, &followed.spec, &followed.archive);
        let backup = followed.back_up().await;
        followed.restore(&tenant, &backup, Until::Backup).await.unwrap();
        followed.follower.abort();
        followed.engine.remove(&followed.spec).await.unwrap();
    });
}

#[test]
fn a_disk_that_was_full_of_log_goes_on_once_there_is_room() {
    run(async {
        let followed = Followed::new().await;
        let tenant = Tenant::new(&followed.engine, &followed.spec).await;
        let backup = followed.back_up().await;
        followed.follower.abort();
        // Room for one segment, and not for another beside it: each is received only once the one before is kept.
        let spool = followed.place.clusters.join(followed.spec.name.as_str()).join("wal");
        eventually("the receiver has ended", || async { fs::remove_dir_all(&spool).is_ok() }).await;
        fs::create_dir(&spool).unwrap();
        let user = followed.place.config().user;
        std::os::unix::fs::chown(&spool, Some(user.uid), Some(user.gid)).unwrap();
        let owner = format!("size=20m,mode=0700,uid={},gid={}", user.uid, user.gid);
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &owner, "tmpfs"]).arg(&spool).output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: a small file system can not be mounted here");
            return followed.engine.remove(&followed.spec).await.unwrap();
        }
        let fill = "CREATE TABLE filler AS SELECT repeat(md5(i::text), 30) FROM generate_series(1, 60000) i";
        execute(&mut tenant.connect().await, fill).await.unwrap();
        let written = Timestamp::now();
        // As the control plane does: it is begun again whenever it ends.
        let ends = Arc::new(AtomicUsize::new(0));
        let follower = tokio::spawn({
            let (engine, spec, archive) = (followed.engine.clone(), followed.spec.clone(), followed.archive.archive());
            let ends = ends.clone();
            async move {
                loop {
                    engine.follow_log(&spec, &archive).await;
                    ends.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        eventually("all of it is kept in the end", || async { followed.latest(&backup).await >= written }).await;
        follower.abort();
        assert!(ends.load(Ordering::SeqCst) > 0, "the disk was full");
        followed.restore(&tenant, &backup, Until::Time(written)).await.unwrap();
        assert_eq!(count(&mut tenant.connect().await, "SELECT count(*) FROM filler").await, 60_000);
        let unmounted = Command::new("umount").arg("-l").arg(&spool).status().unwrap();
        assert!(unmounted.success());
        followed.engine.remove(&followed.spec).await.unwrap();
    });
}

#[test]
fn a_log_that_an_older_version_began_is_gone_on_with() {
    run(async {
        let mut followed = Followed::new().await;
        let tenant = Tenant::new(&followed.engine, &followed.spec).await;
        execute(&mut tenant.connect().await, "CREATE TABLE kept (id int)").await.unwrap();
        let backup = followed.back_up().await;
        let mut superuser = followed.place.superuser(&followed.spec, "postgres").await;
        let archive = followed.archive.archive();
        for number in 0..2 {
            execute(&mut tenant.connect().await, &format!("INSERT INTO kept VALUES ({number})")).await.unwrap();
            execute(&mut superuser, "SELECT pg_switch_wal()").await.unwrap();
        }
        let written = Timestamp::now();
        eventually("the log is kept", || async { followed.latest(&backup).await >= written }).await;
        followed.follower.abort();
        // It did not say whose a piece is.
        for (name, piece) in archive.log.pieces().await.unwrap() {
            let (_, older) = name.split_once('-').unwrap();
            archive.log.record(older, &LogPiece { system: None, ..piece }).await.unwrap();
            archive.log.forget(&name).await.unwrap();
        }
        assert!(followed.latest(&backup).await >= written);
        followed.follower = follow(&followed.engine, &followed.spec, &followed.archive);
        execute(&mut tenant.connect().await, "INSERT INTO kept VALUES (2)").await.unwrap();
        let written = Timestamp::now();
        eventually("the log is kept on", || async { followed.latest(&backup).await >= written }).await;
        assert_eq!(followed.engine.window(&backup, &archive).await.unwrap().gap, None);
        followed.restore(&tenant, &backup, Until::Time(written)).await.unwrap();
        assert_eq!(count(&mut tenant.connect().await, "SELECT count(*) FROM kept").await, 3);
        followed.follower.abort();
        followed.engine.remove(&followed.spec).await.unwrap();
    });
}
