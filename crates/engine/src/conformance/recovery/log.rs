//! Moments between backups.

use mainstay_types::Timestamp;

use super::super::eventually;
use super::{Scene, Until};
use crate::EngineError;
use crate::recovery::{Backup, Window};

/// What was acknowledged before a moment comes back, and nothing that was begun after it.
pub(super) async fn brings_back_any_moment(scene: &Scene<'_>) {
    let tenant = scene.tenant().await;
    scene.put(&tenant, "first").await;
    let backup = scene.back_up(&[&tenant]).await;
    let mut moments = Vec::new();
    for key in ["second", "third"] {
        scene.put(&tenant, key).await;
        moments.push((Timestamp::now(), scene.contents(&tenant).await));
    }
    scene.put(&tenant, "fourth").await;
    let latest = scene.contents(&tenant).await;
    let written = Timestamp::now();
    eventually("the log is kept", || async { window(scene, &backup).await.latest >= written }).await;
    let window = window(scene, &backup).await;
    assert_eq!((window.earliest, window.gap), (backup.ended_at, None));

    for (moment, wanted) in moments {
        scene.restore(&tenant, &tenant, &backup, Until::Time(moment)).await.unwrap();
        assert_eq!(scene.contents(&tenant).await, wanted, "what was there at {moment}");
    }
    scene.fixture.wipe(&tenant.delivery).await;
    scene.restore(&tenant, &tenant, &backup, Until::Time(written)).await.unwrap();
    assert_eq!(scene.contents(&tenant).await, latest);
    scene.remove(tenant).await;
}

/// What can not be reached is an error that says what can.
pub(super) async fn does_not_reach_everywhere(scene: &Scene<'_>) {
    let tenant = scene.tenant().await;
    scene.put(&tenant, "kept").await;
    let wanted = scene.contents(&tenant).await;
    let backup = scene.back_up(&[&tenant]).await;
    let window = window(scene, &backup).await;
    let before = Timestamp::from_micros(backup.began_at.as_micros() - 1_000_000);
    for moment in [before, Timestamp::now().plus_seconds(3_600)] {
        let error = scene.restore(&tenant, &tenant, &backup, Until::Time(moment)).await.unwrap_err();
        assert!(matches!(error, EngineError::Permanent { .. }), "{error}");
        assert!(error.to_string().contains(&window.earliest.to_string()), "{error} does not tell the window");
    }
    assert_eq!(scene.contents(&tenant).await, wanted, "it holds what it held");
    scene.remove(tenant).await;
}

async fn window(scene: &Scene<'_>, backup: &Backup) -> Window {
    scene.recovery().window(backup, &scene.archive.archive()).await.unwrap()
}
