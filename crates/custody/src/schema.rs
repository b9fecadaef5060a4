//! The tables of the store. A released migration never changes; `tests/it/samples` holds a store of every version.

use mainstay_storage::Migration;

pub(crate) const SCHEMA: &[Migration] = &[Migration {
    version: 1,
    name: "data keys and records",
    sqlite: "
        CREATE TABLE data_keys (
            version INTEGER NOT NULL PRIMARY KEY,
            master_key TEXT NOT NULL,
            sealed BLOB NOT NULL
        ) STRICT;
        CREATE TABLE records (
            path TEXT NOT NULL PRIMARY KEY,
            version INTEGER NOT NULL,
            key_version INTEGER NOT NULL,
            sealed BLOB NOT NULL
        ) STRICT;
    ",
    postgres: r#"
        CREATE TABLE data_keys (
            version bigint NOT NULL PRIMARY KEY,
            master_key text COLLATE "C" NOT NULL,
            sealed bytea NOT NULL
        );
        CREATE TABLE records (
            path text COLLATE "C" NOT NULL PRIMARY KEY,
            version bigint NOT NULL,
            key_version bigint NOT NULL,
            sealed bytea NOT NULL
        );
    "#,
}];
