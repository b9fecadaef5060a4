//! What every driver must do, as tests that are run against each.

use std::future::Future;

use crate::{Driver, Location, Migration, OpenError, Row, Service, Statement, Store, Value, WriteError};

const SCHEMA: [Migration; 1] = [Migration {
    version: 1,
    name: "tables of the conformance suite",
    sqlite: "CREATE TABLE items (id INTEGER PRIMARY KEY, label TEXT, body BLOB, amount INTEGER) STRICT;
             CREATE TABLE labels (label TEXT PRIMARY KEY) STRICT;",
    postgres: "CREATE TABLE items (id bigint PRIMARY KEY, label text COLLATE \"C\", body bytea, amount bigint);
               CREATE TABLE labels (label text COLLATE \"C\" PRIMARY KEY);",
}];

const COLUMNS: &[&str] = &["id", "label", "body", "amount"];

/// Runs the whole suite. The closure gives a place where no store has been yet, another one each time.
pub async fn run<F, Fut>(new_place: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Location>,
{
    values_come_back_as_they_were(&open(&new_place().await).await).await;
    parameters_go_by_their_number(&open(&new_place().await).await).await;
    a_transaction_is_stored_whole_or_not_at_all(&open(&new_place().await).await).await;
    an_expectation_that_is_not_met_undoes_everything(&open(&new_place().await).await).await;
    what_the_databases_treat_differently_is_refused(&open(&new_place().await).await).await;
    text_and_blobs_sort_bytewise(&open(&new_place().await).await).await;
    many_rows_are_inserted_at_once(&open(&new_place().await).await).await;
    an_insert_says_what_becomes_of_what_is_there(&open(&new_place().await).await).await;
    large_blobs_are_kept(&open(&new_place().await).await).await;
    concurrent_writers_lose_nothing(&open(&new_place().await).await).await;
    a_question_changes_nothing(&open(&new_place().await).await).await;
    a_closed_store_says_so(&open(&new_place().await).await).await;
    a_failed_migration_is_undone(&new_place().await).await;
    a_schema_that_is_not_portable_is_refused(new_place().await, new_place().await).await;
    let place = new_place().await;
    if place.driver() != Driver::InMemory {
        what_was_written_is_there_after_reopening(&place).await;
        two_handles_see_each_other(&new_place().await).await;
        a_newer_or_foreign_schema_is_refused(&new_place().await).await;
    }
}

async fn open(place: &Location) -> Store {
    Store::open(place, Service::Journal, &SCHEMA).await.expect("a new place can be opened")
}

async fn values_come_back_as_they_were(store: &Store) {
    let texts = ["", "a", "Grüße 🦀 \u{10ffff}", "line\nbreak\ttab\r\u{1}\u{7f}", "'; DROP TABLE items; --", "$1 ?1"];
    let blobs: [&[u8]; 4] = [b"", b"\0", &[0xff, 0x00, 0x80], b"text"];
    let mut rows = Vec::new();
    for (id, text) in (0i64..).zip(texts) {
        rows.push(vec![id.into(), text.into(), Value::Null, Value::Null]);
    }
    for (id, blob) in (100i64..).zip(blobs) {
        rows.push(vec![id.into(), Value::Null, blob.into(), Value::Null]);
    }
    for (id, number) in (200i64..).zip([0, -1, i64::MIN, i64::MAX]) {
        rows.push(vec![id.into(), Value::Null, Value::Null, number.into()]);
    }
    let insert = "INSERT INTO items (id, label, body, amount) VALUES ($1, $2, $3, $4)";
    let statements = rows.iter().map(|row| Statement::new(insert, row.clone()).expect(1)).collect();
    store.write(statements).await.expect("plain values are stored");
    assert_eq!(all(store).await, rows);
    let found = store
        .read(Statement::new("SELECT id FROM items WHERE body = $1", [Value::from(&b"\0"[..])]))
        .await
        .expect("a blob can be compared");
    assert_eq!(found[0].integer(0).expect("an id is an integer"), 101);
}

async fn parameters_go_by_their_number(store: &Store) {
    let statement = Statement::new(
        "INSERT INTO items (amount, label, id) VALUES ($3, $1, $2), ($3, $1, $2 + 1)",
        ["one".into(), 1i64.into(), 7i64.into()],
    );
    store.write(vec![statement.expect(2)]).await.expect("a parameter may stand twice");
    let expected = |id: i64| vec![id.into(), "one".into(), Value::Null, 7i64.into()];
    assert_eq!(all(store).await, [expected(1), expected(2)]);
    for parameters in [vec![], vec![Value::from(1i64), Value::from(2i64)]] {
        let asked = store.read(Statement::new("SELECT id FROM items WHERE id = $1", parameters)).await;
        assert!(asked.is_err(), "parameters and places must match in number");
    }
}

async fn a_transaction_is_stored_whole_or_not_at_all(store: &Store) {
    let error = store.write(vec![put(1, "a"), put(2, "b"), put(1, "c"), put(3, "d")]).await;
    assert!(matches!(error, Err(WriteError::Constraint { statement: 2, .. })), "{error:?}");
    assert!(all(store).await.is_empty());
    let error = store.write(vec![put(1, "a"), Statement::new("UPDATE nothing SET x = 1", [])]).await;
    assert!(matches!(error, Err(WriteError::Other { statement: 1, .. })), "{error:?}");
    assert!(all(store).await.is_empty());
    store.write(vec![put(1, "a"), put(2, "b")]).await.expect("the store goes on after a refusal");
    assert_eq!(all(store).await.len(), 2);
    store.write(Vec::new()).await.expect("nothing is quickly done");
}

async fn an_expectation_that_is_not_met_undoes_everything(store: &Store) {
    store.write(vec![put(1, "a"), put(2, "b")]).await.expect("rows are stored");
    let rename = |from: &str| {
        Statement::new("UPDATE items SET label = $1 WHERE label = $2", ["z".into(), from.into()]).expect(1)
    };
    let error = store.write(vec![put(3, "c"), rename("a"), rename("a")]).await;
    let expected = matches!(error, Err(WriteError::ExpectationNotMet { statement: 2, expected: 1, found: 0 }));
    assert!(expected, "{error:?}");
    assert_eq!(labels(store).await, ["a", "b"]);
    store.write(vec![rename("a")]).await.expect("an expectation that is met changes nothing");
    assert_eq!(labels(store).await, ["z", "b"]);
    let delete = Statement::new("DELETE FROM items WHERE id > $1", [0i64.into()]).expect(1);
    let error = store.write(vec![delete]).await;
    assert!(matches!(error, Err(WriteError::ExpectationNotMet { expected: 1, found: 2, .. })), "{error:?}");
    assert_eq!(labels(store).await, ["z", "b"]);
}

async fn what_the_databases_treat_differently_is_refused(store: &Store) {
    assert!(store.write(vec![put(1, "nul\0nul")]).await.is_err(), "text with NUL is refused");
    let wrong_type = Statement::new("INSERT INTO items (id, amount) VALUES ($1, $2)", [1i64.into(), "many".into()]);
    assert!(store.write(vec![wrong_type]).await.is_err(), "a column takes its own type only");
    let bad_row = Statement::insert("items", COLUMNS, vec![vec![1i64.into()]]);
    assert!(store.write(vec![bad_row]).await.is_err(), "a row has a value for each column");
    assert!(all(store).await.is_empty());
}

async fn text_and_blobs_sort_bytewise(store: &Store) {
    let texts = ["", "-", "10", "9", "A", "Z", "_", "a", "a b", "aB", "ab", "z", "ß", "é", "\u{ffff}", "🦀"];
    let mut rows = Vec::new();
    for (id, text) in (0i64..).zip(texts.iter().rev()) {
        rows.push(vec![id.into(), (*text).into(), text.as_bytes().into(), Value::Null]);
    }
    store.write(vec![Statement::insert("items", COLUMNS, rows)]).await.expect("rows are stored");
    for sql in ["SELECT label FROM items ORDER BY label", "SELECT label FROM items ORDER BY body"] {
        let rows = store.read(Statement::new(sql, [])).await.expect("rows can be sorted");
        let sorted: Vec<_> = rows.iter().map(|row| row.text(0).expect("a label is text")).collect();
        assert_eq!(sorted, texts, "{sql}");
    }
    let between = Statement::new("SELECT label FROM items WHERE label > $1 AND label < $2", ["Z".into(), "ab".into()]);
    let found = store.read(between).await.expect("text can be compared");
    assert_eq!(found.len(), 4, "_, a, 'a b' and aB lie between Z and ab");
}

async fn many_rows_are_inserted_at_once(store: &Store) {
    const ROWS: i64 = 2500;
    let row = |id: i64| -> Vec<Value> {
        let label = (id % 3 != 0).then(|| format!("label {id}"));
        vec![id.into(), label.into(), id.to_be_bytes().as_slice().into(), Value::Null]
    };
    let rows: Vec<_> = (0..ROWS).map(row).collect();
    let insert = Statement::insert("items", COLUMNS, rows.clone()).expect(ROWS as u64);
    store.write(vec![insert]).await.expect("many rows are stored");
    assert_eq!(all(store).await, rows);
    let again = Statement::insert("items", COLUMNS, vec![row(ROWS), row(0)]);
    let error = store.write(vec![again]).await;
    assert!(matches!(error, Err(WriteError::Constraint { statement: 0, .. })), "{error:?}");
    assert_eq!(all(store).await.len(), rows.len());
    let none = Statement::insert("items", COLUMNS, Vec::new()).expect(0);
    store.write(vec![none]).await.expect("no rows are quickly stored");
}

async fn an_insert_says_what_becomes_of_what_is_there(store: &Store) {
    const ADD: &str = "ON CONFLICT (id) DO UPDATE SET amount = items.amount + excluded.amount, \
                       label = CASE WHEN items.amount + excluded.amount = 0 THEN excluded.label END";
    let row = |id: i64, amount: i64| -> Vec<Value> { vec![id.into(), "zero".into(), Value::Null, amount.into()] };
    let add = |rows| Statement::insert_or("items", COLUMNS, rows, ADD);
    store.write(vec![add(vec![row(1, 5), row(2, 1)]).expect(2)]).await.expect("new rows are stored");
    store.write(vec![add(vec![row(2, -1), row(3, 1), row(1, -2)]).expect(3)]).await.expect("and added to");
    let amounts: Vec<_> = all(store).await.into_iter().map(|row| (row[3].clone(), row[1].clone())).collect();
    let expected = [(3i64.into(), Value::Null), (0i64.into(), "zero".into()), (1i64.into(), "zero".into())];
    assert_eq!(amounts, expected);
}

async fn large_blobs_are_kept(store: &Store) {
    let blob: Vec<u8> = (0..16_u32 << 20).map(|place| (place.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let insert = Statement::new("INSERT INTO items (id, body) VALUES ($1, $2)", [1i64.into(), blob.clone().into()]);
    store.write(vec![insert]).await.expect("a large blob is stored");
    let rows = store.read(Statement::new("SELECT body FROM items", [])).await.expect("a large blob is read");
    assert!(rows[0].blob(0).expect("a body is a blob") == blob);
}

async fn concurrent_writers_lose_nothing(store: &Store) {
    const WRITERS: usize = 16;
    const ROUNDS: usize = 5;
    let start = Statement::new("INSERT INTO items (id, amount) VALUES (1, 0)", []);
    store.write(vec![start]).await.expect("a row is stored");
    let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(count(store.clone(), writer, ROUNDS))).collect();
    for writer in writers {
        writer.await.expect("no writer panics");
    }
    let rows = all(store).await;
    assert_eq!(rows[0][3], Value::Integer((WRITERS * ROUNDS) as i64));
    assert_eq!(rows.len(), 1 + WRITERS * ROUNDS, "each increment came with its own row");
}

/// Increments the counter if it still has the value that was read, again and again.
async fn count(store: Store, writer: usize, rounds: usize) {
    for round in 0..rounds {
        loop {
            let question = Statement::new("SELECT amount FROM items WHERE id = 1", []);
            let rows = store.read(question).await.expect("the counter is read");
            let seen = rows[0].integer(0).expect("the counter is an integer");
            let update = Statement::new(
                "UPDATE items SET amount = $1 WHERE id = 1 AND amount = $2",
                [(seen + 1).into(), seen.into()],
            );
            let evidence = put((1000 * (writer + 1) + round) as i64, "counted");
            match store.write(vec![update.expect(1), evidence]).await {
                Ok(()) => break,
                Err(WriteError::ExpectationNotMet { statement: 0, .. }) => {}
                Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
            }
        }
    }
}

async fn a_question_changes_nothing(store: &Store) {
    assert!(store.read(Statement::new("INSERT INTO items (id) VALUES (1)", [])).await.is_err());
    assert!(store.read(Statement::insert("items", COLUMNS, Vec::new())).await.is_err());
    assert!(all(store).await.is_empty());
    store.health().await.expect("the store answers");
}

async fn a_closed_store_says_so(store: &Store) {
    store.write(vec![put(1, "a")]).await.expect("a row is stored");
    let other = store.clone();
    store.close().await;
    let error = other.write(vec![put(2, "b")]).await;
    assert!(matches!(error, Err(WriteError::Unavailable { .. })), "{error:?}");
    assert!(other.health().await.is_err());
    other.close().await;
}

async fn what_was_written_is_there_after_reopening(place: &Location) {
    let store = open(place).await;
    store.write(vec![put(1, "a")]).await.expect("a row is stored");
    store.close().await;
    let store = open(place).await;
    store.write(vec![put(2, "b")]).await.expect("a row is stored");
    drop(store);
    assert_eq!(labels(&open(place).await).await, ["a", "b"]);
}

async fn two_handles_see_each_other(place: &Location) {
    let (one, two) = tokio::join!(open(place), open(place));
    one.write(vec![put(1, "a")]).await.expect("a row is stored");
    two.write(vec![put(2, "b")]).await.expect("a row is stored");
    assert_eq!(labels(&one).await, ["a", "b"]);
    assert_eq!(labels(&two).await, ["a", "b"]);
    let custody = Store::open(place, Service::Custody, &SCHEMA).await.expect("another service has its own store");
    assert!(all(&custody).await.is_empty());
}

const ADDS_A_COLUMN: Migration = Migration {
    version: 2,
    name: "add a column",
    sqlite: "ALTER TABLE items ADD COLUMN added INTEGER",
    postgres: "ALTER TABLE items ADD COLUMN added bigint",
};

async fn a_newer_or_foreign_schema_is_refused(place: &Location) {
    const NEWER: [Migration; 2] = [SCHEMA[0], ADDS_A_COLUMN];
    const FOREIGN: [Migration; 1] = [Migration {
        sqlite: "CREATE TABLE items (id INTEGER) STRICT",
        postgres: "CREATE TABLE items (id bigint)",
        ..SCHEMA[0]
    }];
    let store = open(place).await;
    store.write(vec![put(1, "a")]).await.expect("a row is stored");
    store.close().await;
    let foreign = Store::open(place, Service::Journal, &FOREIGN).await;
    assert!(matches!(foreign, Err(OpenError::ForeignMigration { version: 1, .. })));
    let store = Store::open(place, Service::Journal, &NEWER).await.expect("a newer schema is migrated to");
    let question = Statement::new("SELECT label, added FROM items", []);
    let rows = store.read(question).await.expect("the new column is there");
    assert!(rows[0].text(0).is_ok_and(|label| label == "a") && rows[0].is_null(1));
    store.close().await;
    let older = Store::open(place, Service::Journal, &SCHEMA).await;
    assert!(matches!(older, Err(OpenError::Newer { found: 2, known: 1, .. })));
}

async fn a_failed_migration_is_undone(place: &Location) {
    const BROKEN: [Migration; 2] = [
        SCHEMA[0],
        Migration {
            version: 2,
            name: "break",
            sqlite: "ALTER TABLE items ADD COLUMN added INTEGER; ALTER TABLE nothing ADD COLUMN x INTEGER",
            postgres: "ALTER TABLE items ADD COLUMN added bigint; ALTER TABLE nothing ADD COLUMN x bigint",
        },
    ];
    const REPAIRED: [Migration; 2] = [SCHEMA[0], ADDS_A_COLUMN];
    let broken = Store::open(place, Service::Journal, &BROKEN).await;
    assert!(matches!(broken, Err(OpenError::Migration { version: 2, name: "break", .. })));
    Store::open(place, Service::Journal, &REPAIRED).await.expect("nothing of the broken migration stayed");
}

async fn a_schema_that_is_not_portable_is_refused(one: Location, two: Location) {
    const WRONG_TYPE: [Migration; 1] = [Migration {
        version: 1,
        name: "floating point",
        sqlite: "CREATE TABLE items (id INTEGER PRIMARY KEY, amount REAL) STRICT",
        postgres: "CREATE TABLE items (id bigint PRIMARY KEY, amount double precision)",
    }];
    const WRONG_RULES: [Migration; 1] = [Migration {
        version: 1,
        name: "rules of their own",
        sqlite: "CREATE TABLE items (label TEXT)",
        postgres: "CREATE TABLE items (label text)",
    }];
    for (place, schema) in [(one, &WRONG_TYPE), (two, &WRONG_RULES)] {
        let refused = Store::open(&place, Service::Journal, schema).await;
        assert!(matches!(refused, Err(OpenError::NotPortable { .. })));
    }
}

fn put(id: i64, label: &str) -> Statement {
    Statement::new("INSERT INTO items (id, label) VALUES ($1, $2)", [id.into(), label.into()])
}

async fn all(store: &Store) -> Vec<Vec<Value>> {
    let question = Statement::new("SELECT id, label, body, amount FROM items ORDER BY id", []);
    store.read(question).await.expect("items can be read").into_iter().map(Row::into_values).collect()
}

async fn labels(store: &Store) -> Vec<String> {
    let rows = store.read(Statement::new("SELECT label FROM items ORDER BY id", [])).await.expect("labels can be read");
    rows.iter().map(|row| row.text(0).expect("a label is text").to_owned()).collect()
}
