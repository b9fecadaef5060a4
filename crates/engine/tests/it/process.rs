//! Supervision of real processes.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mainstay_engine::supervise::{
    ClusterDirectory, EngineLog, EngineUser, Launch, Process, Signal, StopStep, end_stragglers,
};

struct Place {
    _temporary: tempfile::TempDir,
    directory: ClusterDirectory,
    user: EngineUser,
}

impl Place {
    fn new() -> Self {
        Self::of("test-cluster")
    }

    fn of(cluster: &str) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let user = EngineUser::resolve(None).unwrap();
        let directory = ClusterDirectory::new(temporary.path(), &cluster.parse().unwrap());
        directory.prepare(&user).unwrap();
        directory.make_empty("data", &user).unwrap();
        Self { _temporary: temporary, directory, user }
    }

    fn shell(&self, script: &str) -> Launch {
        Launch {
            program: PathBuf::from("/bin/sh"),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            environment: vec![("NAMED", "value".to_owned())],
            user: self.user.clone(),
        }
    }

    /// Waits until a process has a child of this name.
    async fn child_of(&self, parent: i32, name: &str) {
        let named =
            |child: &str| fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|comm| comm.trim() == name);
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
            if children.split_whitespace().any(named) {
                return;
            }
            assert!(Instant::now() < deadline, "{parent} should have a child {name}, and has {children:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn logged(&self, text: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let log = fs::read_to_string(self.directory.log()).unwrap_or_default();
            if log.contains(text) {
                return log;
            }
            assert!(Instant::now() < deadline, "{text:?} should be logged, and this is: {log:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_process_is_confined() {
    let place = Place::new();
    let script = "id -u; id -g; id -G; pwd; umask; env; grep NoNewPrivs /proc/self/status; ulimit -c; \
                  readlink /proc/self/fd/0; cut -d' ' -f1,6 /proc/$$/stat; echo end";
    let process = Process::start(&place.shell(script), &place.directory).unwrap();
    assert_eq!(process.ended().await, "its process exited with code 0");
    let log = place.logged("end\n").await;
    let lines: Vec<&str> = log.lines().collect();
    let (uid, gid) = (place.user.uid.to_string(), place.user.gid.to_string());
    assert_eq!(lines[..2], [uid.as_str(), &gid]);
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        assert_eq!(lines[2], gid, "no supplementary groups");
    }
    assert_eq!(lines[3], place.directory.data().canonicalize().unwrap().to_str().unwrap());
    for expected in ["0077", "NAMED=value", "NoNewPrivs:\t1", "0", "/dev/null"] {
        assert!(lines.contains(&expected), "{expected} is not in {log}");
    }
    assert!(!log.contains("CARGO") && !log.contains("HOME="), "{log}");
    let session = lines[lines.len() - 2].split(' ').collect::<Vec<_>>();
    assert_eq!(session[0], session[1], "it leads a session of its own: {log}");
    assert_eq!(fs::metadata(place.directory.log()).unwrap().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_scratch_cluster_stands_back() {
    for (cluster, stands_back) in [("scratch-test-0", true), ("scratches-0", false)] {
        let place = Place::of(cluster);
        let process = Process::start(&place.shell("exec sleep 60"), &place.directory).unwrap();
        let pid = process.pid();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        // After the name in parentheses the niceness is the seventeenth field (proc_pid_stat(5)).
        let niceness = stat.rsplit_once(") ").unwrap().1.split(' ').nth(16).unwrap();
        assert_eq!(niceness == "10", stands_back, "{stat}");
        let score = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
        assert_eq!(score.trim() == "500", stands_back, "{score}");
        process.signal(Signal::KILL);
        process.ended().await;
    }
}

#[tokio::test]
async fn the_cause_of_an_end_is_told_and_nothing_stays_a_zombie() {
    for (script, cause) in
        [("exit 3", "its process exited with code 3"), ("kill -9 $$", "its process was ended by signal 9")]
    {
        let place = Place::new();
        let process = Process::start(&place.shell(script), &place.directory).unwrap();
        assert_eq!(process.ended().await, cause);
        assert_eq!(process.cause_of_end().as_deref(), Some(cause));
        assert!(!Path::new(&format!("/proc/{}", process.pid())).exists(), "it was reaped");
    }
}

#[tokio::test]
async fn a_failed_start_is_explained_by_the_log() {
    let place = Place::new();
    let log = EngineLog::new(&place.directory);
    let process = Process::start(&place.shell("echo one; echo two >&2; exit 1"), &place.directory).unwrap();
    process.ended().await;
    assert_eq!(log.last_lines(5, 0), "one | two");
    let mut missing = place.shell("");
    missing.program = PathBuf::from("/nonexistent/program");
    let error = Process::start(&missing, &place.directory).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/program"), "{error}");
}

#[tokio::test]
async fn a_process_is_adopted_by_its_record_or_without_it() {
    let place = Place::new();
    let launch = place.shell("echo up; sleep 1000; exit 0");
    assert!(Process::adopt(&launch, &place.directory).unwrap().is_none());
    let first = Process::start(&launch, &place.directory).unwrap();
    place.logged("up").await;
    let pid = first.pid();
    drop(first);

    let second = Process::adopt(&launch, &place.directory).unwrap().expect("found by its record");
    assert_eq!(second.pid(), pid);
    drop(second);

    let record = place.directory.root().join("process.json");
    fs::remove_file(&record).unwrap();
    let third = Process::adopt(&launch, &place.directory).unwrap().expect("found by its directory");
    assert_eq!(third.pid(), pid);
    assert!(record.exists(), "it is on record again");

    // The same pid with another start time is another process.
    let text = fs::read_to_string(&record).unwrap();
    let forged = text.lines().map(|line| if line.contains("started") { "  \"started\": 1," } else { line });
    fs::write(&record, forged.collect::<Vec<_>>().join("\n")).unwrap();
    let other = place.shell("exit 7");
    assert!(Process::adopt(&other, &place.directory).unwrap().is_none());

    // A child that the shell has made and that is not `sleep` yet would be taken for the shell itself.
    place.child_of(pid, "sleep").await;
    third.signal(Signal::KILL);
    third.ended().await;
    assert!(Process::adopt(&launch, &place.directory).unwrap().is_none());
    assert_eq!(end_stragglers(&place.directory.data(), &place.user, Duration::ZERO).await, Ok(1), "its sleep");
}

#[tokio::test]
async fn stopping_escalates() {
    let place = Place::new();
    let script = "trap '' TERM; echo ready; while :; do sleep 0.01; done";
    let process = Process::start(&place.shell(script), &place.directory).unwrap();
    place.logged("ready").await;
    let step = |signal, millis| StopStep { signal, patience: Duration::from_millis(millis) };
    let error = process.stop(&[step(Signal::TERM, 20)]).await.unwrap_err();
    assert!(error.to_string().contains("did not end"), "{error}");
    let cause = process.stop(&[step(Signal::TERM, 20), step(Signal::KILL, 10_000)]).await.unwrap();
    assert_eq!(cause, "its process was ended by signal 9");
    end_stragglers(&place.directory.data(), &place.user, Duration::from_secs(10)).await.unwrap();
}
