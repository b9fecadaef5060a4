//! What is damaged or interrupted does no harm.

use super::{Contents, Scene, Tenant, Until};
use crate::EngineError;

/// One flipped bit in any part is found, by name, before anything is changed.
pub(super) async fn is_named_and_changes_nothing(scene: &Scene<'_>) {
    let tenant = scene.tenant().await;
    scene.put(&tenant, "kept").await;
    let backup = scene.back_up(&[&tenant]).await;
    scene.put(&tenant, "later").await;
    let wanted = scene.contents(&tenant).await;
    for part in &backup.parts {
        scene.archive.flip_bit(&part.address);
        let error = scene.restore(&tenant, &tenant, &backup, Until::Backup).await.unwrap_err();
        assert!(matches!(error, EngineError::Permanent { .. }), "a later attempt meets the same: {error}");
        assert!(error.to_string().contains(&part.name), "part {} is not named: {error}", part.name);
        match scene.rehearse(&tenant, &backup, &[]).await {
            Err(error) => {
                assert!(matches!(error, EngineError::Permanent { .. }), "{error}");
                assert!(error.to_string().contains(&part.name), "part {} is not named: {error}", part.name);
            }
            Ok(rehearsal) => {
                let failures: Vec<_> = rehearsal.checks.iter().filter_map(|check| check.failure.as_deref()).collect();
                assert!(failures.iter().any(|failure| failure.contains(&part.name)), "{rehearsal:?}");
            }
        }
        scene.archive.flip_bit(&part.address);
    }
    assert_eq!(scene.contents(&tenant).await, wanted, "it holds what it held");
    scene.is_as_wanted(&[&tenant]).await;
    assert_eq!(scene.fixture.scratch_processes(), Vec::<String>::new());
    assert_eq!(scene.fixture.scratch_remains(), Vec::<String>::new());
    scene.remove(tenant).await;
}

/// Operations are dropped at each of their stages, as a control plane that ends drops them.
pub(super) async fn of_operations_that_are_dropped_is_none(scene: &Scene<'_>) {
    let tenant = scene.tenant().await;
    scene.put(&tenant, "kept").await;
    let old = scene.contents(&tenant).await;
    let backup = scene.back_up(&[&tenant]).await;
    let tenants = [&tenant];
    for stage in 1..=scene.archive.stages().len() {
        tokio::select! {
            biased;
            () = reached(scene, stage) => {}
            backup = scene.back_up(&tenants) => drop(backup),
        }
        nothing_serves(scene).await;
    }

    scene.rehearse(&tenant, &backup, &[]).await.unwrap();
    for stage in 1..=scene.archive.stages().len() {
        tokio::select! {
            biased;
            () = reached(scene, stage) => {}
            rehearsal = scene.rehearse(&tenant, &backup, &[]) => drop(rehearsal.unwrap()),
        }
        nothing_serves(scene).await;
    }

    scene.restore(&tenant, &tenant, &backup, Until::Backup).await.unwrap();
    for stage in 1..=scene.archive.stages().len() {
        scene.put(&tenant, &format!("later{stage}")).await;
        let before = scene.contents(&tenant).await;
        tokio::select! {
            biased;
            () = reached(scene, stage) => {}
            restored = scene.restore(&tenant, &tenant, &backup, Until::Backup) => drop(restored.unwrap()),
        }
        nothing_serves(scene).await;
        holds_one_or_serves_nobody(scene, &tenant, &[&old, &before]).await;
        scene.restore(&tenant, &tenant, &backup, Until::Backup).await.unwrap();
        assert_eq!(scene.contents(&tenant).await, old, "begun again after stage {stage}, it comes to its end");
    }
    scene.is_as_wanted(&[&tenant]).await;
    scene.remove(tenant).await;
}

/// Resolves once the operation that begins now has told so many stages.
async fn reached(scene: &Scene<'_>, stages: usize) {
    scene.archive.forget_progress();
    scene.archive.reached(stages).await;
}

async fn nothing_serves(scene: &Scene<'_>) {
    scene.recovery().clear_scratch().await.unwrap();
    assert_eq!(scene.fixture.scratch_processes(), Vec::<String>::new());
    assert_eq!(scene.fixture.scratch_remains(), Vec::<String>::new());
}

async fn holds_one_or_serves_nobody(scene: &Scene<'_>, tenant: &Tenant, wholes: &[&Contents]) {
    if let Some(found) = scene.fixture.contents_if_served(&tenant.delivery).await {
        assert!(wholes.contains(&&found), "{found:?} is a half of something");
    }
}
