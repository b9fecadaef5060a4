//! What of a secret is left in memory, and whether memory can leave the process.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::process::Command;

use mainstay_custody::{Custody, MasterKey, protect_process};
use mainstay_storage::Location;
use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};
use secrecy::SecretString;

use crate::path;

/// Says to a test that it runs in a process of its own.
const ALONE: &str = "MAINSTAY_TEST_CUSTODY_ALONE";

fn run_alone(test: &str) {
    let ran = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
}

/// Letters that nobody else has in memory, written down only with every bit turned.
struct Canary(Vec<u8>);

impl Canary {
    fn draw() -> Self {
        let mut bytes = vec![0; 32];
        File::open("/dev/urandom").unwrap().read_exact_at(&mut bytes, 0).unwrap();
        Self(bytes.iter().map(|byte| !(b'a' + byte % 26)).collect())
    }

    fn reveal(&self) -> Vec<u8> {
        self.0.iter().map(|byte| !byte).collect()
    }

    /// In which of the process's mappings it stands.
    fn places(&self) -> Vec<String> {
        let memory = File::open("/proc/self/mem").unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let mut chunk = vec![0u8; 1 << 20];
        let mut places = Vec::new();
        for line in
            maps.lines().filter(|line| line.split_whitespace().nth(1).is_some_and(|mode| mode.starts_with("rw")))
        {
            let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
            let (mut from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
            while from < to {
                let length = chunk.len().min((to - from) as usize);
                let Ok(read) = memory.read_at(&mut chunk[..length], from) else { break };
                // Compared byte by byte with what is turned, so that the search leaves no plain copy of its own.
                let found =
                    chunk[..read].windows(self.0.len()).any(|window| window.iter().zip(&self.0).all(|(a, b)| *a == !b));
                if found {
                    places.push(line.to_owned());
                }
                chunk.fill(0);
                from += length as u64;
            }
        }
        places
    }
}

#[test]
fn no_plaintext_is_left_in_memory_when_sealed() {
    if std::env::var_os(ALONE).is_none() {
        return run_alone("memory::no_plaintext_is_left_in_memory_when_sealed");
    }
    let canary = Canary::draw();
    let master = Canary::draw();
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let file = directory.path().join("master.key");
        let revealed = master.reveal();
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file).unwrap().write_all(&revealed).unwrap();
        drop(revealed);
        let key = MasterKey::read(&file).unwrap();
        let location = Location::Directory(directory.path().into());
        let custody = Custody::open(&location, key).await.unwrap();
        let secret = SecretString::from(String::from_utf8(canary.reveal()).unwrap());
        custody.put(&path("a"), &secret).await.unwrap();
        drop(custody.get(&path("a")).await.unwrap());
        assert!(!canary.places().is_empty(), "the search finds what is there");
        drop(secret);
        custody.seal().await;
        assert_eq!(canary.places(), [""; 0]);
        assert_eq!(master.places(), [""; 0]);
    });
}

#[test]
fn memory_stays_in_the_process() {
    if std::env::var_os(ALONE).is_none() {
        return run_alone("memory::memory_stays_in_the_process");
    }
    let refused = protect_process();
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    let cores = getrlimit(Resource::Core);
    assert_eq!((cores.current, cores.maximum), (Some(0), Some(0)));
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap().trim();
    // Where locking is not permitted that is said, with the remedy.
    assert_eq!(locked != "0 kB", refused.is_empty(), "{locked}: {refused:?}");
    assert!(refused.iter().all(|reason| reason.contains("LimitMEMLOCK")));
}
