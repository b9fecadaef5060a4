//! Shares: initialise, unseal, rekey, prove, and what happens to requests that are under way.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mainstay_custody::{
    BarrierError, CommitError, Custody, KeyringError, MasterKey, OpenError, OperatorError, Proof, RecordError, Rekeyed,
    SealKind, Share, Split, UnsealError,
};
use mainstay_storage::Location;

use crate::{get, key, path, put, put_entry};

fn split(shares: u8, threshold: u8) -> Split {
    Split::new(shares, threshold).unwrap()
}

fn at(directory: &Path) -> Location {
    Location::Directory(directory.into())
}

async fn new_store(directory: &Path, split: Split) -> (Custody, Vec<Share>) {
    let custody = Custody::open_sealed(&at(directory)).await.unwrap();
    assert!(custody.is_sealed() && custody.seal_status().await.unwrap().seal.is_none());
    let shares = custody.initialize(split).await.unwrap();
    assert_eq!(shares.len(), usize::from(split.shares()));
    (custody, shares)
}

#[tokio::test]
async fn any_threshold_of_shares_unseals_and_fewer_do_not() {
    for (count, threshold) in [(1, 1), (2, 2), (3, 2), (5, 3)] {
        let directory = tempfile::tempdir().unwrap();
        let (custody, shares) = new_store(directory.path(), split(count, threshold)).await;
        let length = if threshold == 1 { 32 } else { 33 };
        assert!(shares.iter().all(|share| share.as_bytes().len() == length));
        put(&custody, "a", "one").await;
        for choice in (1u32..1 << count).filter(|choice| choice.count_ones() == u32::from(threshold)) {
            custody.seal().await;
            assert!(matches!(custody.get(&path("a")).await, Err(RecordError::Sealed { .. })));
            let mut chosen: Vec<Share> = (0..usize::from(count))
                .filter(|share| choice >> share & 1 == 1)
                .map(|share| shares[share].clone())
                .collect();
            if choice % 2 == 0 {
                chosen.reverse();
            }
            for (brought, share) in (1..).zip(chosen) {
                let status = custody.unseal(share.clone()).await.unwrap();
                let open = brought == threshold;
                assert_eq!(status.sealed, !open);
                assert_eq!(status.attempt.progress, if open { 0 } else { brought });
                assert_eq!(status.attempt.required, threshold);
                assert_eq!(status.attempt.nonce.is_some(), !open);
                // Brought twice it is counted once.
                assert_eq!(custody.unseal(share).await.unwrap(), custody.seal_status().await.unwrap());
            }
            assert_eq!(get(&custody, "a").await.as_deref(), Some("one"));
        }
    }
}

#[tokio::test]
async fn wrong_shares_are_found_at_the_end_and_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let (custody, shares) = new_store(directory.path(), split(5, 3)).await;
    custody.close().await;
    let custody = Custody::open_sealed(&at(directory.path())).await.unwrap();
    let other = tempfile::tempdir().unwrap();
    let (_, wrong) = new_store(other.path(), split(5, 3)).await;
    for chosen in
        [[&shares[0], &shares[1], &wrong[2]], [&wrong[0], &wrong[1], &wrong[2]], [&shares[0], &wrong[0], &shares[1]]]
    {
        custody.unseal(chosen[0].clone()).await.unwrap();
        assert_eq!(custody.unseal(chosen[1].clone()).await.unwrap().attempt.progress, 2);
        assert!(matches!(custody.unseal(chosen[2].clone()).await, Err(UnsealError::WrongShares)));
        let status = custody.seal_status().await.unwrap();
        assert!(status.sealed && status.attempt.progress == 0 && status.attempt.nonce.is_none());
    }
    let short = Share::parse(&"00".repeat(32)).unwrap();
    assert!(matches!(custody.unseal(short).await, Err(UnsealError::InvalidShare(_))));
    custody.unseal(shares[0].clone()).await.unwrap();
    custody.reset_unseal();
    assert_eq!(custody.seal_status().await.unwrap().attempt.progress, 0);
    for share in &shares[2..] {
        custody.unseal(share.clone()).await.unwrap();
    }
    assert!(!custody.is_sealed());
}

#[tokio::test]
async fn a_store_is_opened_with_the_kind_of_seal_that_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let (custody, _) = new_store(directory.path(), split(5, 3)).await;
    assert!(matches!(custody.initialize(split(1, 1)).await, Err(UnsealError::Initialized)));
    assert!(matches!(custody.rewrap(key(1)).await, Err(KeyringError::OtherSeal { .. })));
    custody.close().await;
    let error = Custody::open(&at(directory.path()), key(1)).await.err().unwrap();
    assert!(matches!(error, OpenError::Unseal(UnsealError::OtherSeal { .. })));
    assert!(error.to_string().contains("sealed with 5 key shares, of which 3 unseal, and not with keyfile"), "{error}");

    let directory = tempfile::tempdir().unwrap();
    let custody = Custody::open(&at(directory.path()), key(1)).await.unwrap();
    assert!(matches!(custody.begin_rekey(split(5, 3)).await, Err(OperatorError::NoShares)));
    assert!(matches!(custody.begin_proof().await, Err(OperatorError::NoShares)));
    custody.close().await;
    let error = Custody::open_sealed(&at(directory.path())).await.err().unwrap();
    assert!(error.to_string().contains("sealed with a key file"), "{error}");
}

#[tokio::test]
async fn a_key_file_seals_and_unseals_at_run_time_too() {
    let directory = tempfile::tempdir().unwrap();
    let custody = Custody::open(&at(directory.path()), key(1)).await.unwrap();
    put(&custody, "a", "one").await;
    custody.seal().await;
    assert_eq!(custody.position(), 0);
    assert!(matches!(custody.rotate_data_key().await, Err(KeyringError::Sealed)));
    assert!(matches!(custody.unseal_with(&MasterKey::from_bytes([9; 32])).await, Err(UnsealError::WrongKey { .. })));
    custody.unseal_with(&key(1)).await.unwrap();
    custody.unseal_with(&key(1)).await.unwrap();
    assert_eq!(get(&custody, "a").await.as_deref(), Some("one"));
}

#[tokio::test]
async fn rekeying_makes_new_shares_and_ends_the_old_ones() {
    let directory = tempfile::tempdir().unwrap();
    let (custody, old) = new_store(directory.path(), split(3, 2)).await;
    put(&custody, "a", "one").await;
    assert!(custody.rekey_status().is_none());
    assert!(matches!(custody.rekey("", old[0].clone()).await, Err(OperatorError::NoneUnderWay { .. })));
    let begun = custody.begin_rekey(split(5, 3)).await.unwrap();
    assert!(matches!(custody.begin_rekey(split(5, 3)).await, Err(OperatorError::UnderWay { .. })));
    custody.cancel_rekey();
    let again = custody.begin_rekey(split(5, 3)).await.unwrap();
    assert_ne!(begun.attempt.nonce, again.attempt.nonce);
    let nonce = again.attempt.nonce.unwrap().to_string();
    let stale = begun.attempt.nonce.unwrap().to_string();
    assert!(matches!(custody.rekey(&stale, old[0].clone()).await, Err(OperatorError::WrongNonce { .. })));
    let Rekeyed::More(status) = custody.rekey(&nonce, old[2].clone()).await.unwrap() else {
        panic!("one is not enough")
    };
    assert_eq!((status.attempt.progress, status.attempt.required, status.split), (1, 2, split(5, 3)));
    assert_eq!(custody.rekey_status(), Some(status));
    let Rekeyed::Done(new) = custody.rekey(&nonce, old[0].clone()).await.unwrap() else { panic!("two are enough") };
    assert_eq!(new.len(), 5);
    // Online: nothing is asked of whoever reads and writes.
    put(&custody, "b", "two").await;
    custody.rotate_data_key().await.unwrap();
    custody.close().await;

    let custody = Custody::open_sealed(&at(directory.path())).await.unwrap();
    assert_eq!(custody.seal_status().await.unwrap().seal, Some(SealKind::Shamir(split(5, 3))));
    custody.unseal(old[0].clone()).await.unwrap();
    custody.unseal(old[1].clone()).await.unwrap();
    assert!(matches!(custody.unseal(old[2].clone()).await, Err(UnsealError::WrongShares)));
    for share in &new[1..4] {
        custody.unseal(share.clone()).await.unwrap();
    }
    assert_eq!(get(&custody, "a").await.as_deref(), Some("one"));
    assert_eq!(get(&custody, "b").await.as_deref(), Some("two"));
    // Wrong shares end a rekeying and change nothing.
    let nonce = custody.begin_rekey(split(1, 1)).await.unwrap().attempt.nonce.unwrap().to_string();
    for share in &old[..2] {
        custody.rekey(&nonce, share.clone()).await.unwrap();
    }
    let error = custody.rekey(&nonce, old[2].clone()).await.unwrap_err();
    assert!(matches!(error, OperatorError::Unseal(UnsealError::WrongShares)));
    assert!(custody.rekey_status().is_none());
}

#[tokio::test]
async fn shares_prove_that_their_holders_are_enough() {
    let directory = tempfile::tempdir().unwrap();
    let (custody, shares) = new_store(directory.path(), split(3, 2)).await;
    let nonce = custody.begin_proof().await.unwrap().nonce.unwrap().to_string();
    assert!(matches!(custody.prove("other", shares[0].clone()).await, Err(OperatorError::WrongNonce { .. })));
    assert!(matches!(custody.prove(&nonce, shares[0].clone()).await.unwrap(), Proof::More(_)));
    assert!(matches!(custody.prove(&nonce, shares[0].clone()).await.unwrap(), Proof::More(_)));
    assert_eq!(custody.proof_status().unwrap().progress, 1);
    assert!(matches!(custody.prove(&nonce, shares[1].clone()).await.unwrap(), Proof::Proven(_)));
    assert!(custody.proof_status().is_none());

    let nonce = custody.begin_proof().await.unwrap().nonce.unwrap().to_string();
    custody.prove(&nonce, shares[0].clone()).await.unwrap();
    let wrong = Share::parse(&"17".repeat(33)).unwrap();
    assert!(matches!(custody.prove(&nonce, wrong).await, Err(OperatorError::Unseal(UnsealError::WrongShares))));
    assert!(custody.proof_status().is_none());
    custody.begin_proof().await.unwrap();
    custody.cancel_proof();
    custody.begin_proof().await.unwrap();
    custody.seal().await;
    assert!(custody.proof_status().is_none());
    assert!(matches!(custody.begin_proof().await, Err(OperatorError::Keyring(KeyringError::Sealed))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sealed_at_run_time_nobody_reads_and_nothing_acknowledged_is_lost() {
    let custody = Custody::open(&Location::InMemory, key(1)).await.unwrap();
    let barrier = custody.barrier();
    for number in 0..50 {
        put_entry(&barrier, &format!("read/{number}"), b"value").await;
    }
    let (answered, acknowledged) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut tasks = Vec::new();
    for reader in 0..4u64 {
        let (barrier, answered) = (barrier.clone(), answered.clone());
        tasks.push(tokio::spawn(async move {
            loop {
                match barrier.get(&format!("read/{}", reader * 7 % 50)).await {
                    Ok(entry) => assert_eq!(entry.unwrap().value.as_slice(), b"value"),
                    Err(BarrierError::Sealed) => return,
                    Err(error) => panic!("{error}"),
                }
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    let (writer, written) = (barrier.clone(), acknowledged.clone());
    tasks.push(tokio::spawn(async move {
        for number in 1.. {
            let change = crate::entry(&format!("written/{number}"), b"value");
            match writer.commit(vec![change]).await {
                Ok(()) => written.store(number, Ordering::Relaxed),
                Err(CommitError::Barrier(BarrierError::Sealed)) => return,
                Err(error) => panic!("{error}"),
            }
        }
    }));
    let deadline = Instant::now() + Duration::from_secs(30);
    while answered.load(Ordering::Relaxed) < 1000 || acknowledged.load(Ordering::Relaxed) < 20 {
        assert!(Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    custody.seal().await;
    assert!(matches!(barrier.get("read/1").await, Err(BarrierError::Sealed)));
    assert!(matches!(barrier.get("nothing").await, Err(BarrierError::Sealed)));
    assert!(matches!(barrier.paths("", None, 10).await, Err(BarrierError::Sealed)));
    assert!(matches!(barrier.children("", None, 10).await, Err(BarrierError::Sealed)));
    for task in tasks {
        task.await.unwrap();
    }
    custody.unseal_with(&key(1)).await.unwrap();
    let acknowledged = acknowledged.load(Ordering::Relaxed);
    for number in 1..=acknowledged {
        assert!(barrier.get(&format!("written/{number}")).await.unwrap().is_some(), "{number} of {acknowledged}");
    }
}
