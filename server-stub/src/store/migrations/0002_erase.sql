-- Room for rows that settle nothing and stand for no device's work, and what is kept of erasures.
CREATE TABLE log_anew (
    position       INTEGER PRIMARY KEY CHECK (position > 0),  -- gapless, given inside the transaction
    scope          TEXT NOT NULL,                             -- audience of the row
    grant_position INTEGER NOT NULL,                          -- grants in force when it was written
    kind           INTEGER NOT NULL CHECK (kind >= 0),        -- 0 accepted, 1 rejected, 2 device, 3 erased, 4 epoch
    device         BLOB NOT NULL CHECK (length(device) = 8),  -- whose change set, which device, or zeros for the server's own
    change_set     BLOB CHECK (length(change_set) = 16),      -- whose verdict it is; absent on all other rows
    body           BLOB NOT NULL,                             -- CBOR log row with every change in full that was not erased
    chain          BLOB NOT NULL CHECK (length(chain) = 32),  -- SHA-256 of the previous chain and the body as it was appended
    CHECK ((kind IN (0, 1)) = (change_set IS NOT NULL))
) STRICT;
INSERT INTO log_anew SELECT * FROM log ORDER BY position;
DROP TABLE log;
ALTER TABLE log_anew RENAME TO log;
CREATE INDEX log_by_refusal ON log (change_set, device) WHERE kind = 1;

-- The receipt of a device: it holds nothing of what was erased up to this position.
ALTER TABLE device ADD COLUMN erased_position INTEGER NOT NULL DEFAULT 0 CHECK (erased_position >= 0);

-- What was erased, without naming it. Never deleted: whoever comes back with it is refused.
CREATE TABLE erasure (
    id          BLOB PRIMARY KEY CHECK (length(id) = 16),     -- its name in the ledger outside the database
    record_hash BLOB NOT NULL CHECK (length(record_hash) = 32), -- stands for the record
    fields      TEXT CHECK (fields IS NULL OR json_valid(fields)), -- fields erased, JSON; NULL: the whole record
    position    INTEGER NOT NULL                              -- row of the log that tells devices
) STRICT, WITHOUT ROWID;
CREATE INDEX erasure_by_record ON erasure (record_hash);

-- Epochs that compaction ended: their last document, for the history. Erasing a record empties it of that record.
CREATE TABLE archive (
    record   BLOB NOT NULL CHECK (length(record) = 16),
    epoch    INTEGER NOT NULL CHECK (epoch >= 0),
    document BLOB NOT NULL,                                   -- saved document, uncompressed
    PRIMARY KEY (record, epoch)
) STRICT;
