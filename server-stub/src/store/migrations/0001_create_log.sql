-- The log of one tenant and what is derived from it. A released migration is frozen.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,  -- tenant, log_epoch, cursor_key
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE log (
    position       INTEGER PRIMARY KEY CHECK (position > 0),  -- gapless, given inside the push transaction
    scope          TEXT NOT NULL,                             -- audience of the row
    grant_position INTEGER NOT NULL,                          -- grants in force when it was written
    kind           INTEGER NOT NULL CHECK (kind IN (0, 1, 2)),-- 0 accepted, 1 rejected, 2 device
    device         BLOB NOT NULL CHECK (length(device) = 8),  -- whose change set, or which device
    change_set     BLOB CHECK (length(change_set) = 16),      -- absent on device rows
    body           BLOB NOT NULL,                             -- CBOR log row with every change in full
    chain          BLOB NOT NULL CHECK (length(chain) = 32),  -- SHA-256 of the previous chain and the body
    CHECK ((kind = 2) = (change_set IS NULL))
) STRICT;

CREATE INDEX log_by_refusal ON log (change_set, device) WHERE kind = 1;

CREATE TABLE record (
    id               BLOB PRIMARY KEY CHECK (length(id) = 16),
    collection       TEXT NOT NULL,
    server_id        TEXT NOT NULL UNIQUE,                    -- for ever
    epoch            INTEGER NOT NULL CHECK (epoch >= 0),
    document         BLOB NOT NULL,                           -- saved document, uncompressed
    row              TEXT NOT NULL,                           -- projection as JSON, always rebuildable
    updated_position INTEGER NOT NULL                         -- log position of the last change
) STRICT;

CREATE TABLE verdict (
    change_set  BLOB PRIMARY KEY CHECK (length(change_set) = 16),
    position    INTEGER NOT NULL UNIQUE,                      -- its row in the log
    device      BLOB NOT NULL CHECK (length(device) = 8),     -- who pushed it first
    is_accepted INTEGER NOT NULL CHECK (is_accepted IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE TABLE device (
    id                  BLOB PRIMARY KEY CHECK (length(id) = 8),
    installation        BLOB NOT NULL CHECK (length(installation) = 16),
    principal           TEXT NOT NULL,
    push_ordinal        INTEGER NOT NULL,                     -- greatest seen
    registered_position INTEGER NOT NULL,
    UNIQUE (installation, principal)
) STRICT;

CREATE TABLE counter (
    prefix TEXT PRIMARY KEY,                                  -- what server ids begin with
    next   INTEGER NOT NULL CHECK (next > 0)
) STRICT, WITHOUT ROWID;
