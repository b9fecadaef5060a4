//! The machine is lost with everything on it, and what consumers had is there again.

use std::time::Duration;

use super::{arguments, backed_up, key_file, lose, protected};
use crate::harness::{kill_process, until, uri_of};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_database_comes_back_with_its_last_commits_and_its_passwords() {
    let mut layer = protected();
    layer.create("shop");
    let uri = uri_of(&layer.bind("shop", "web"));
    layer.psql(&uri, "CREATE TABLE kept AS SELECT 1 AS number");
    layer.cli(&["backup", "shop"]).succeed();
    let key = key_file(&layer);
    backed_up(&layer);
    // Not in the backup, and in the log.
    layer.psql(&uri, "INSERT INTO kept VALUES (2)");
    let committed =
        layer.psql(&uri, r#"SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"#);
    until("the log is in the repository", PATIENCE, || {
        let recovery = layer.api().get("/api/v1/instances/shop/recovery").expect(200);
        (recovery["window"]["latest"].as_str()? >= committed.as_str()).then_some(())
    });
    let postmaster = layer.postmaster("postgresql-shared");
    layer.kill();
    kill_process(postmaster);
    lose(&layer);

    let recovered = layer.cli(&arguments(&layer.repository(), &layer.data_dir(), &key));
    assert_eq!(recovered.code, 0, "{recovered:?}");
    assert!(recovered.stdout.contains("shop"), "{recovered:?}");
    layer.restart();
    let rows = until("the database serves its old credentials", PATIENCE, || {
        layer.try_psql(&uri, "SELECT string_agg(number::text, ',' ORDER BY number) FROM kept").ok()
    });
    assert_eq!(rows, "1,2");
}
