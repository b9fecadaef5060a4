//! Events that are put back are the journal that they were, whatever cut the import off.

use mainstay_journal::{Import, ImportError, Journal};
use mainstay_storage::Location;

use crate::traffic::life;
use crate::{append, bytes, check_whole, directory, in_memory, open, store};

async fn bodies(journal: &Journal) -> Vec<Vec<u8>> {
    journal.read(0, 1000).await.unwrap().iter().map(mainstay_domain::event::Event::encode).collect()
}

async fn import(place: &Location, bodies: &[Vec<u8>]) -> Result<(), ImportError> {
    let storage = store(place).await;
    let mut import = Import::begin(storage.clone()).await.unwrap();
    let taken = match import.take(bodies.to_vec()).await {
        Ok(()) => import.end().await,
        Err(error) => Err(error),
    };
    storage.close().await;
    taken
}

#[tokio::test]
async fn it_goes_on_where_it_was_cut_off_and_ends_in_the_same_journal() {
    let journal = in_memory().await;
    append(&journal, life(0)).await.unwrap();
    append(&journal, life(10)).await.unwrap();
    let (bodies, view) = (bodies(&journal).await, bytes(&journal.view()));
    for cut in [0, 1, 5, bodies.len()] {
        let path = tempfile::tempdir().unwrap();
        let place = directory(path.path());
        import(&place, &bodies[..cut]).await.unwrap();
        import(&place, &bodies).await.unwrap();
        let again = open(&place).await.unwrap();
        assert_eq!(bytes(&again.view()), view);
        check_whole(&again).await;
        // It is used, and the import is begun once more.
        append(&again, life(20)).await.unwrap();
        again.close().await;
        import(&place, &bodies).await.unwrap();
    }
}

#[tokio::test]
async fn another_journal_and_what_is_not_whole_are_refused() {
    let (one, other) = (in_memory().await, in_memory().await);
    append(&one, life(0)).await.unwrap();
    append(&other, life(50)).await.unwrap();
    let (ours, theirs) = (bodies(&one).await, bodies(&other).await);
    let path = tempfile::tempdir().unwrap();
    let place = directory(path.path());
    import(&place, &theirs).await.unwrap();
    for bodies in [&ours[..], &ours[..2], &[]] {
        let error = import(&place, bodies).await.unwrap_err();
        assert!(matches!(error, ImportError::OtherJournal { .. }), "{error}");
    }
    let path = tempfile::tempdir().unwrap();
    let mut damaged = ours.clone();
    damaged[1].pop();
    let error = import(&directory(path.path()), &damaged).await.unwrap_err();
    assert!(matches!(error, ImportError::Misfit(_)), "{error}");
    let skipped = [&ours[..1], &ours[2..]].concat();
    assert!(import(&directory(path.path()), &skipped).await.is_err());
}
