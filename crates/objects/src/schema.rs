//! The tables of the index. A released migration never changes; `tests/it/samples` holds an index of every version.

use mainstay_storage::Migration;

/// `objects` holds what a listing shows, in its order: the newest version of each key, where that is no delete marker.
/// `versions` holds all else: older versions, and delete markers; their `place` is the sequence number negated, so that
/// the newest comes first. A key is never in `objects` while a newer version of it is in `versions`.
///
/// `contents` counts how often versions and parts refer to each content. `unused_since` is set where nothing does.
///
/// PostgreSQL calls SQLite's `instr` by another name; with a function of that name both run the same text.
pub(crate) const SCHEMA: &[Migration] = &[Migration {
    version: 1,
    name: "accounts, buckets, objects, uploads, contents, outbox and access keys",
    sqlite: "
        CREATE TABLE head (id INTEGER NOT NULL PRIMARY KEY, sequence INTEGER NOT NULL) STRICT;
        INSERT INTO head (id, sequence) VALUES (1, 0);
        CREATE TABLE accounts (id TEXT NOT NULL PRIMARY KEY, record BLOB NOT NULL) STRICT;
        CREATE TABLE buckets (
            id INTEGER NOT NULL PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            account TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            settings BLOB NOT NULL,
            bytes INTEGER NOT NULL,
            objects INTEGER NOT NULL,
            markers INTEGER NOT NULL,
            uploading_bytes INTEGER NOT NULL,
            uploads INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE objects (
            bucket INTEGER NOT NULL, key TEXT NOT NULL, record BLOB NOT NULL, PRIMARY KEY (bucket, key)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE versions (
            bucket INTEGER NOT NULL, key TEXT NOT NULL, place INTEGER NOT NULL, is_null INTEGER NOT NULL,
            record BLOB NOT NULL, PRIMARY KEY (bucket, key, place)
        ) STRICT, WITHOUT ROWID;
        CREATE UNIQUE INDEX null_versions ON versions (bucket, key) WHERE is_null = 1;
        CREATE TABLE manifests (id INTEGER NOT NULL PRIMARY KEY, record BLOB NOT NULL) STRICT;
        CREATE TABLE uploads (
            id INTEGER NOT NULL PRIMARY KEY, bucket INTEGER NOT NULL, key TEXT NOT NULL, record BLOB NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX uploads_in_order ON uploads (bucket, key, id);
        CREATE TABLE upload_parts (
            upload INTEGER NOT NULL, number INTEGER NOT NULL, record BLOB NOT NULL, PRIMARY KEY (upload, number)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE contents (
            address BLOB NOT NULL PRIMARY KEY, refs INTEGER NOT NULL, size INTEGER NOT NULL, claim INTEGER NOT NULL,
            unused_since INTEGER
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX unused_contents ON contents (unused_since) WHERE unused_since IS NOT NULL;
        CREATE TABLE outbox (
            sequence INTEGER NOT NULL, number INTEGER NOT NULL, event BLOB NOT NULL, PRIMARY KEY (sequence, number)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE access_keys (id TEXT NOT NULL PRIMARY KEY, record BLOB NOT NULL) STRICT;
    ",
    postgres: r#"
        CREATE TABLE head (id bigint NOT NULL PRIMARY KEY, sequence bigint NOT NULL);
        INSERT INTO head (id, sequence) VALUES (1, 0);
        CREATE TABLE accounts (id text COLLATE "C" NOT NULL PRIMARY KEY, record bytea NOT NULL);
        CREATE TABLE buckets (
            id bigint NOT NULL PRIMARY KEY,
            name text COLLATE "C" NOT NULL UNIQUE,
            account text COLLATE "C" NOT NULL,
            created_at bigint NOT NULL,
            settings bytea NOT NULL,
            bytes bigint NOT NULL,
            objects bigint NOT NULL,
            markers bigint NOT NULL,
            uploading_bytes bigint NOT NULL,
            uploads bigint NOT NULL
        );
        CREATE TABLE objects (
            bucket bigint NOT NULL, key text COLLATE "C" NOT NULL, record bytea NOT NULL, PRIMARY KEY (bucket, key)
        );
        CREATE TABLE versions (
            bucket bigint NOT NULL, key text COLLATE "C" NOT NULL, place bigint NOT NULL, is_null bigint NOT NULL,
            record bytea NOT NULL, PRIMARY KEY (bucket, key, place)
        );
        CREATE UNIQUE INDEX null_versions ON versions (bucket, key) WHERE is_null = 1;
        CREATE TABLE manifests (id bigint NOT NULL PRIMARY KEY, record bytea NOT NULL);
        CREATE TABLE uploads (
            id bigint NOT NULL PRIMARY KEY, bucket bigint NOT NULL, key text COLLATE "C" NOT NULL, record bytea NOT NULL
        );
        CREATE UNIQUE INDEX uploads_in_order ON uploads (bucket, key, id);
        CREATE TABLE upload_parts (
            upload bigint NOT NULL, number bigint NOT NULL, record bytea NOT NULL, PRIMARY KEY (upload, number)
        );
        CREATE TABLE contents (
            address bytea NOT NULL PRIMARY KEY, refs bigint NOT NULL, size bigint NOT NULL, claim bigint NOT NULL,
            unused_since bigint
        );
        CREATE INDEX unused_contents ON contents (unused_since) WHERE unused_since IS NOT NULL;
        CREATE TABLE outbox (
            sequence bigint NOT NULL, number bigint NOT NULL, event bytea NOT NULL, PRIMARY KEY (sequence, number)
        );
        CREATE TABLE access_keys (id text COLLATE "C" NOT NULL PRIMARY KEY, record bytea NOT NULL);
        CREATE FUNCTION instr(text, text) RETURNS integer
            LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN strpos($1, $2);
    "#,
}];
