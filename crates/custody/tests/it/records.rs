//! What a caller sees.

use mainstay_custody::{Below, LONGEST_SECRET, PAGE, RecordError, SECRET_LENGTH};
use secrecy::{ExposeSecret, SecretString};

use crate::{get, in_memory, on_disk, path, put};

#[tokio::test]
async fn a_secret_is_kept_replaced_and_removed() {
    let custody = in_memory().await;
    assert_eq!(get(&custody, "a/b").await, None);
    put(&custody, "a/b", "one").await;
    assert_eq!(get(&custody, "a/b").await.as_deref(), Some("one"));
    put(&custody, "a/b", "zwei ü\n").await;
    assert_eq!(get(&custody, "a/b").await.as_deref(), Some("zwei ü\n"));
    custody.delete(&path("a/b")).await.unwrap();
    custody.delete(&path("a/b")).await.unwrap();
    assert_eq!(get(&custody, "a/b").await, None);
    put(&custody, "a/b", "").await;
    assert_eq!(get(&custody, "a/b").await.as_deref(), Some(""));
}

#[tokio::test]
async fn a_secret_outlives_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let custody = on_disk(directory.path()).await;
    put(&custody, "a", "one").await;
    let generated = custody.generate(&path("b")).await.unwrap();
    custody.close().await;
    let custody = on_disk(directory.path()).await;
    assert_eq!(get(&custody, "a").await.as_deref(), Some("one"));
    assert_eq!(get(&custody, "b").await.as_deref(), Some(generated.expose_secret()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn however_many_generate_at_once_there_is_one_secret() {
    let custody = in_memory().await;
    for round in 0..20 {
        let at = path(&format!("race/{round}"));
        let tasks: Vec<_> = (0..16)
            .map(|_| {
                let (custody, at) = (custody.clone(), at.clone());
                tokio::spawn(async move { custody.generate(&at).await.unwrap().expose_secret().to_owned() })
            })
            .collect();
        let mut secrets = Vec::new();
        for task in tasks {
            secrets.push(task.await.unwrap());
        }
        secrets.dedup();
        assert_eq!(secrets.len(), 1);
        assert_eq!(secrets[0].len(), SECRET_LENGTH);
        assert_eq!(get(&custody, at.as_str()).await.as_deref(), Some(secrets[0].as_str()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_writes_of_one_path_leave_one_of_them() {
    let custody = in_memory().await;
    let tasks: Vec<_> = (0..8)
        .map(|writer| {
            let custody = custody.clone();
            tokio::spawn(async move { put(&custody, "one", &format!("from {writer}")).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(get(&custody, "one").await.unwrap().starts_with("from "));
}

#[tokio::test]
async fn listing_names_what_lies_below_page_by_page() {
    let custody = in_memory().await;
    for at in ["binding/b/2", "binding/a/1", "binding", "binding-x", "cluster/z"] {
        put(&custody, at, "s").await;
    }
    let names = |paths: Vec<mainstay_custody::SecretPath>| {
        paths.iter().map(|path| path.as_str().to_owned()).collect::<Vec<_>>()
    };
    let below = Below::Path(path("binding"));
    assert_eq!(names(custody.list(&below, None).await.unwrap()), ["binding/a/1", "binding/b/2"]);
    let after = path("binding/a/1");
    assert_eq!(names(custody.list(&below, Some(&after)).await.unwrap()), ["binding/b/2"]);
    assert_eq!(custody.list(&Below::Root, None).await.unwrap().len(), 5);

    for number in 0..PAGE {
        put(&custody, &format!("many/{number:04}"), "s").await;
    }
    let first = custody.list(&Below::Root, None).await.unwrap();
    assert_eq!(first.len(), PAGE as usize);
    assert_eq!(custody.list(&Below::Root, first.last()).await.unwrap().len(), 5);
}

#[tokio::test]
async fn a_secret_has_a_longest_length() {
    let custody = in_memory().await;
    put(&custody, "a", &"x".repeat(LONGEST_SECRET)).await;
    let secret = SecretString::from("x".repeat(LONGEST_SECRET + 1));
    let error = custody.put(&path("a"), &secret).await.unwrap_err();
    assert!(matches!(error, RecordError::TooLong { .. }));
    assert!(!error.to_string().contains("xx") && !format!("{error:?}").contains("xx"));
}
