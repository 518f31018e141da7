CREATE TABLE meta (
    -- Name of the fact about this store.
    key TEXT PRIMARY KEY,
    -- Its bytes.
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
