//! AppRole: many at once, and time going by.

use futures::future::join_all;
use mainstay_auth_methods::ApproleKind;
use mainstay_secrets_engine::Operation;
use serde_json::json;

use crate::{Scene, invalid, is_not_found};

async fn scene_with_role() -> Scene {
    let scene = Scene::new(&ApproleKind).await;
    scene.write("role/web", json!({"role_id": "web"})).await;
    scene
}

/// Logins that run on all of the runtime's threads. Answers how many succeeded, and what the others were told.
async fn logins(scene: &Scene, secret_id: &str, number: usize) -> (usize, Vec<String>) {
    let logins = (0..number).map(|_| {
        let (scene, credentials) = (scene.clone(), json!({"role_id": "web", "secret_id": secret_id}));
        tokio::spawn(async move { scene.login("login", credentials).await })
    });
    let results: Vec<_> = join_all(logins).await.into_iter().map(Result::unwrap).collect();
    let won = results.iter().filter(|result| result.is_ok()).count();
    (won, results.into_iter().filter(Result::is_err).map(invalid).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_secret_id_is_used_as_often_as_it_may_be() {
    let scene = scene_with_role().await;
    for uses in [1, 7] {
        let secret_id = format!("secret-{uses}");
        scene.write("role/web/custom-secret-id", json!({"secret_id": secret_id, "num_uses": uses})).await;
        let (won, refused) = logins(&scene, &secret_id, 50).await;
        assert_eq!(won, uses);
        assert!(refused.iter().all(|message| message == "invalid role or secret ID"), "{refused:?}");
        assert!(is_not_found(&scene.list("role/web/secret-id").await), "what is used up is gone");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn logins_and_the_role_s_end_exclude_each_other() {
    let scene = scene_with_role().await;
    let makers = (0..20).map(|_| {
        let scene = scene.clone();
        tokio::spawn(async move { scene.try_write("role/web/secret-id", json!({})).await.is_ok() })
    });
    let makers: Vec<_> = makers.collect();
    scene.delete("role/web").await.unwrap();
    join_all(makers).await;
    let left = scene.stored().await;
    assert!(left.keys().eq(["hash-key"]), "{:?}", left.keys());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_takes_a_custom_secret_id_and_a_role_id() {
    let scene = scene_with_role().await;
    let takers = (0..20).map(|number| {
        let scene = scene.clone();
        tokio::spawn(async move {
            let secret = scene.try_write("role/web/custom-secret-id", json!({"secret_id": "wanted"})).await.is_ok();
            let role = scene.try_write(&format!("role/r{number}"), json!({"role_id": "wanted"})).await.is_ok();
            (secret, role)
        })
    });
    let results: Vec<_> = join_all(takers).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(results.iter().filter(|(secret, _)| *secret).count(), 1);
    assert_eq!(results.iter().filter(|(_, role)| *role).count(), 1);
}

#[tokio::test]
async fn what_has_expired_is_tidied_away_and_nothing_else() {
    let scene = scene_with_role().await;
    let forever = scene.write("role/web/secret-id", json!({})).await["secret_id_accessor"].clone();
    let long = scene.write("role/web/secret-id", json!({"ttl": 1000})).await["secret_id_accessor"].clone();
    // More than go into one transaction.
    for _ in 0..130 {
        scene.write("role/web/secret-id", json!({"ttl": 60})).await;
    }
    scene.write("role/web/custom-secret-id", json!({"secret_id": "again", "ttl": 60})).await;
    scene.backend.tend(scene.later(59).now).await.unwrap();
    assert_eq!(scene.list("role/web/secret-id").await.unwrap().as_array().unwrap().len(), 133);

    let later = scene.later(60);
    assert_eq!(
        later.list("role/web/secret-id").await.unwrap().as_array().unwrap().len(),
        2,
        "expired is as good as gone"
    );
    // Its time is over, so that the same secret id may be given once more; tidying up leaves the new one alone.
    later.write("role/web/custom-secret-id", json!({"secret_id": "again", "ttl": 60})).await;
    later.backend.tend(later.now).await.unwrap();
    let left = later.list("role/web/secret-id").await.unwrap();
    assert_eq!(left.as_array().unwrap().len(), 3);
    assert!(left.as_array().unwrap().contains(&forever) && left.as_array().unwrap().contains(&long));
    assert!(later.login("login", json!({"role_id": "web", "secret_id": "again"})).await.is_ok());

    let tidied = scene.later(2000).call(Operation::Update, "tidy/secret-id", json!({})).await.unwrap();
    assert_eq!((tidied.status, tidied.warnings.len()), (Some(202), 1));
    assert_eq!(scene.later(2000).list("role/web/secret-id").await.unwrap(), json!([forever]));
    let stored = scene.stored().await;
    assert_eq!(stored.keys().filter(|key| key.starts_with("expiry/") || key.starts_with("accessor/")).count(), 1);
}
