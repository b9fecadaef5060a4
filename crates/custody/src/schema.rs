//! The tables of the store. A released migration never changes; `tests/it/samples` holds a store of every version.

use mainstay_storage::Migration;

/// An entry's row is keyed by its revision, which rises with every change: the rows lie in the order in which they were
/// written, a change moves its row to the end, and whoever has read up to a revision finds what changed since behind it.
/// What is read of every entry at the start stands before the ciphertext, whose pages need not be read for it.
///
/// `staged` takes the entries of a snapshot until all of them are there, and then changes names with `entries`.
pub(crate) const SCHEMA: &[Migration] = &[Migration {
    version: 1,
    name: "seal, data keys, head and entries",
    sqlite: "
        CREATE TABLE seal (
            id INTEGER NOT NULL PRIMARY KEY,
            kind TEXT NOT NULL,
            shares INTEGER NOT NULL,
            threshold INTEGER NOT NULL,
            key_id TEXT NOT NULL,
            root_key BLOB NOT NULL
        ) STRICT;
        CREATE TABLE data_keys (
            version INTEGER NOT NULL PRIMARY KEY,
            installed_at INTEGER NOT NULL,
            sealed BLOB NOT NULL
        ) STRICT;
        CREATE TABLE head (
            id INTEGER NOT NULL PRIMARY KEY,
            counter INTEGER NOT NULL,
            sealed BLOB NOT NULL
        ) STRICT;
        CREATE TABLE entries (
            revision INTEGER NOT NULL PRIMARY KEY,
            path TEXT NOT NULL UNIQUE,
            key_version INTEGER NOT NULL,
            mark BLOB NOT NULL,
            ciphertext BLOB NOT NULL
        ) STRICT;
        CREATE TABLE staged (
            revision INTEGER NOT NULL PRIMARY KEY,
            path TEXT NOT NULL UNIQUE,
            key_version INTEGER NOT NULL,
            mark BLOB NOT NULL,
            ciphertext BLOB NOT NULL
        ) STRICT;
    ",
    postgres: r#"
        CREATE TABLE seal (
            id bigint NOT NULL PRIMARY KEY,
            kind text COLLATE "C" NOT NULL,
            shares bigint NOT NULL,
            threshold bigint NOT NULL,
            key_id text COLLATE "C" NOT NULL,
            root_key bytea NOT NULL
        );
        CREATE TABLE data_keys (
            version bigint NOT NULL PRIMARY KEY,
            installed_at bigint NOT NULL,
            sealed bytea NOT NULL
        );
        CREATE TABLE head (
            id bigint NOT NULL PRIMARY KEY,
            counter bigint NOT NULL,
            sealed bytea NOT NULL
        );
        CREATE TABLE entries (
            revision bigint NOT NULL PRIMARY KEY,
            path text COLLATE "C" NOT NULL UNIQUE,
            key_version bigint NOT NULL,
            mark bytea NOT NULL,
            ciphertext bytea NOT NULL
        );
        CREATE TABLE staged (
            revision bigint NOT NULL PRIMARY KEY,
            path text COLLATE "C" NOT NULL UNIQUE,
            key_version bigint NOT NULL,
            mark bytea NOT NULL,
            ciphertext bytea NOT NULL
        );
    "#,
}];
