//! The journal's tables.

use mainstay_storage::Migration;

/// The schema to open the journal's store with.
pub const SCHEMA: &[Migration] = &[Migration {
    version: 1,
    name: "events, their head and snapshots",
    sqlite: "
        CREATE TABLE events (sequence INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
        -- The last acknowledged event and its digest: one row.
        CREATE TABLE head (
            one INTEGER PRIMARY KEY CHECK (one = 1), sequence INTEGER NOT NULL, digest BLOB NOT NULL
        ) STRICT;
        INSERT INTO head (one, sequence, digest) VALUES (1, 0, zeroblob(32));
        -- The view after an event, so that a start need not read from the first one. Each can be thrown away.
        CREATE TABLE snapshots (
            sequence INTEGER PRIMARY KEY, format INTEGER NOT NULL, head BLOB NOT NULL, digest BLOB NOT NULL,
            body BLOB NOT NULL
        ) STRICT;
    ",
    postgres: "
        CREATE TABLE events (sequence bigint PRIMARY KEY, body bytea NOT NULL);
        -- The last acknowledged event and its digest: one row.
        CREATE TABLE head (
            one bigint PRIMARY KEY CHECK (one = 1), sequence bigint NOT NULL, digest bytea NOT NULL
        );
        INSERT INTO head (one, sequence, digest) VALUES (1, 0, decode(repeat('00', 32), 'hex'));
        -- The view after an event, so that a start need not read from the first one. Each can be thrown away.
        CREATE TABLE snapshots (
            sequence bigint PRIMARY KEY, format bigint NOT NULL, head bytea NOT NULL, digest bytea NOT NULL,
            body bytea NOT NULL
        );
    ",
}];
