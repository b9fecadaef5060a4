//! The same store on PostgreSQL.

use mainstay_custody::Custody;
use mainstay_storage::Location;
use mainstay_storage::scratch::ScratchPostgres;
use secrecy::ExposeSecret;

use crate::{get, key, path, put};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_share_one_store() {
    let server = ScratchPostgres::start();
    let location = Location::Postgres(server.new_database());
    let (here, there) = tokio::join!(Custody::open(&location, key(1)), Custody::open(&location, key(1)));
    let (here, there) = (here.unwrap(), there.unwrap());
    put(&here, "a/b", "one").await;
    assert_eq!(get(&there, "a/b").await.as_deref(), Some("one"));

    let at = path("race");
    let (one, other) = tokio::join!(here.generate(&at), there.generate(&at));
    assert_eq!(one.unwrap().expose_secret(), other.unwrap().expose_secret());

    there.rotate_data_key().await.unwrap();
    put(&there, "a/b", "two").await;
    // A process notices at its next write that another has written.
    put(&here, "c", "three").await;
    assert_eq!(get(&here, "a/b").await.as_deref(), Some("two"));
    here.rewrap(key(2)).await.unwrap();
    assert!(Custody::open(&location, key(1)).await.is_err());
    let again = Custody::open(&location, key(2)).await.unwrap();
    assert_eq!(get(&again, "a/b").await.as_deref(), Some("two"));
    assert_eq!(again.list(&mainstay_custody::Below::Root, None).await.unwrap(), [path("a/b"), path("c"), path("race")]);
}
