//! A store whose data is gone, or is another's, is never served as if nothing had happened.

use mainstay_engine::{Engine, EngineError, StartKind};
use mainstay_engine_objects::Service;
use mainstay_types::Health;

use crate::place::{Place, cluster};

#[tokio::test(flavor = "multi_thread")]
async fn lost_data_is_not_served() {
    for lost in ["index", "data"] {
        let place = Place::new();
        let mut spec = cluster();
        spec.identity = Some(place.engine().await.start(&spec).await.unwrap().identity);
        place.close().await;
        let directory = if lost == "index" { place.index() } else { place.data() };
        std::fs::remove_dir_all(directory).unwrap();

        let engine = place.engine().await;
        for _ in 0..2 {
            let error = engine.start(&spec).await.unwrap_err();
            assert!(matches!(error, EngineError::Permanent { .. }), "{lost}: {error}");
            assert!(error.to_string().contains("not initialised anew"), "{lost}: {error}");
        }
        assert!(matches!(&*place.open().service.borrow(), Service::Closed { .. }), "{lost}: nobody is let in");
        let observation = engine.observe(&spec, &[], &[]).await.unwrap();
        assert!(matches!(observation.health, Health::Down { .. }), "{lost}: {observation:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_store_is_not_served() {
    let place = Place::new();
    let mut spec = cluster();
    let engine = place.engine().await;
    engine.start(&spec).await.unwrap();
    engine.stop(&spec).await.unwrap();
    spec.identity = Some("0123456789abcdef0123456789abcdef".to_owned());
    let error = engine.start(&spec).await.unwrap_err();
    assert!(matches!(&error, EngineError::Permanent { reason, .. } if reason.contains("another one")), "{error}");
    assert!(matches!(&*place.open().service.borrow(), Service::Closed { .. }));
}

/// The control plane may end after the store was made, and before it knows of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_nobody_recorded_is_found_again() {
    let place = Place::new();
    let spec = cluster();
    let first = place.engine().await.start(&spec).await.unwrap();
    let second = place.engine().await.start(&spec).await.unwrap();
    assert_eq!((first.how, second.how), (StartKind::Initialised, StartKind::Started));
    assert_eq!(first.identity, second.identity);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_data_plane_may_come_back() {
    let place = Place::new();
    let mut spec = cluster();
    let engine = place.engine().await;
    spec.identity = Some(engine.start(&spec).await.unwrap().identity);
    place.reach(false);
    let cause = engine.ended(&spec).await;
    assert!(cause.contains("its daemon was killed"), "{cause}");
    let error = engine.start(&spec).await.unwrap_err();
    assert!(matches!(error, EngineError::Transient { .. }), "{error}");
    place.reach(true);
    assert_eq!(engine.start(&spec).await.unwrap().how, StartKind::Started);
    assert_eq!(engine.observe(&spec, &[], &[]).await.unwrap().health, Health::Serving);
}
