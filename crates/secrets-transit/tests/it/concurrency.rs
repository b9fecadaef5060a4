//! Many requests for the same key at the same time.

use serde_json::json;

use crate::fixture::{Transit, base64, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_rotate_while_they_encrypt() {
    const ROTATIONS: u32 = 40;
    let transit = Transit::open().await;
    transit.write("keys/a", json!({})).await;
    let rotating = (0..4).map(|_| {
        let transit = transit.clone();
        tokio::spawn(async move {
            for _ in 0..ROTATIONS / 4 {
                transit.write("keys/a/rotate", json!({})).await;
            }
        })
    });
    let encrypting = (0..8_u32).map(|task| {
        let transit = transit.clone();
        tokio::spawn(async move {
            let mut newest = 0;
            for number in 0..200_u32 {
                let plaintext = base64(&[task.to_be_bytes(), number.to_be_bytes()].concat());
                let encrypted = transit.write("encrypt/a", json!({ "plaintext": plaintext })).await;
                let decrypted = transit.write("decrypt/a", json!({ "ciphertext": encrypted["ciphertext"] })).await;
                assert_eq!(decrypted["plaintext"], plaintext);
                // Nobody is given an older version after a newer one.
                let version = encrypted["key_version"].as_u64().unwrap();
                assert!(version >= newest, "{version} came after {newest}");
                newest = version;
            }
        })
    });
    for task in rotating.chain(encrypting).collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(transit.read("keys/a").await["latest_version"], ROTATIONS + 1);
    // What is in memory is what is stored.
    let reopened = Transit::open_on(transit.storage.clone()).await;
    assert_eq!(reopened.read("keys/a").await, transit.read("keys/a").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_makes_the_key() {
    let transit = Transit::open().await;
    let making = (0..16).map(|_| {
        let transit = transit.clone();
        tokio::spawn(async move { transit.write("encrypt/a", json!({ "plaintext": "aGVsbG8=" })).await })
    });
    for task in making.collect::<Vec<_>>() {
        let encrypted = task.await.unwrap();
        let decrypted = transit.write("decrypt/a", json!({ "ciphertext": encrypted["ciphertext"] })).await;
        assert_eq!(text(&decrypted, "plaintext"), "aGVsbG8=");
    }
    assert_eq!(transit.read("keys/a").await["latest_version"], 1);
}

/// More keys than the cache holds, and whoever goes away in the middle, change nothing about what is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_cache_forgets_and_is_never_wrong() {
    let transit = Transit::open().await;
    transit.write("cache-config", json!({ "size": 10 })).await;
    let mut ciphertexts = Vec::new();
    for number in 0..100 {
        let encrypted = transit.write(&format!("encrypt/k{number}"), json!({ "plaintext": "aGVsbG8=" })).await;
        ciphertexts.push(encrypted["ciphertext"].clone());
        let leaving = transit.clone();
        let left = tokio::spawn(async move { leaving.write(&format!("keys/k{number}/rotate"), json!({})).await });
        tokio::task::yield_now().await;
        left.abort();
    }
    for (number, ciphertext) in ciphertexts.iter().enumerate() {
        let decrypted = transit.write(&format!("decrypt/k{number}"), json!({ "ciphertext": ciphertext })).await;
        assert_eq!(decrypted["plaintext"], "aGVsbG8=");
        let rotated = transit.write(&format!("keys/k{number}/rotate"), json!({})).await;
        let reopened = Transit::open_on(transit.storage.clone()).await;
        assert_eq!(reopened.read(&format!("keys/k{number}")).await, rotated);
    }
}
