-- The store, as of its first format. Ids are raw bytes, structured values are CBOR, rows are JSON so that they can be
-- indexed. A released migration is never edited.

-- Single facts about the store.
CREATE TABLE meta (
    key TEXT PRIMARY KEY NOT NULL, -- name of the fact
    value BLOB NOT NULL            -- the fact, CBOR unless its reader says otherwise
) STRICT, WITHOUT ROWID;

-- Rows: what apps read, filter and sort. Always rebuildable from documents and outbox.
CREATE TABLE record (
    number INTEGER PRIMARY KEY NOT NULL,                                -- what indexes of words know it by
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),                    -- record id
    collection TEXT NOT NULL,                                           -- collection it is in
    server_id TEXT,                                                     -- server id, once assigned; unique by id_map
    is_deleted INTEGER NOT NULL CHECK (is_deleted IN (0, 1)),           -- shown as deleted, restorable
    has_conflict INTEGER NOT NULL CHECK (has_conflict IN (0, 1)),       -- some field has concurrent values
    is_edited INTEGER NOT NULL CHECK (is_edited IN (0, 1)),             -- a live edit was laid over it since it was made
    row TEXT NOT NULL CHECK (json_valid(row))                           -- fields, marks, conflicts
) STRICT;
CREATE INDEX record_by_collection ON record (collection, is_deleted, id);
CREATE INDEX record_in_conflict ON record (id) WHERE has_conflict = 1;

-- Confirmed documents: what the server accepted and nothing else. Apart from the rows, which are listed.
CREATE TABLE document (
    record BLOB PRIMARY KEY NOT NULL CHECK (length(record) = 16), -- record id
    collection TEXT NOT NULL,                                     -- collection, known or not to the schema of today
    epoch INTEGER NOT NULL CHECK (epoch >= 0),                    -- generation of the record's history
    heads BLOB NOT NULL CHECK (length(heads) % 32 = 0),           -- its heads, 32 bytes each; read without the bytes
    bytes BLOB NOT NULL                                           -- saved Automerge document
) STRICT;

-- The device's own line of changes in a record. Outlives entries, and exists for records without a document.
CREATE TABLE lane (
    record BLOB PRIMARY KEY NOT NULL CHECK (length(record) = 16),                 -- record id
    generation INTEGER NOT NULL CHECK (generation BETWEEN 0 AND 4294967295),      -- actor generation, only ever raised
    accepted_tip BLOB CHECK (accepted_tip IS NULL OR length(accepted_tip) = 32)   -- own last accepted change
) STRICT, WITHOUT ROWID;

-- Change sets without a final verdict, and rejected ones until their user is done with them.
CREATE TABLE outbox (
    entry_order INTEGER PRIMARY KEY AUTOINCREMENT,                               -- place in the outbox, never reused
    change_set_id BLOB NOT NULL UNIQUE CHECK (length(change_set_id) = 16),       -- idempotency key
    priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 255),                -- greater ones overtake
    state TEXT NOT NULL                                                          -- where it stands
        CHECK (state IN ('pending', 'frozen', 'rejected', 'parked')),
    body BLOB NOT NULL,                                                          -- the change set, CBOR
    base BLOB NOT NULL,                                                          -- what its author had seen, CBOR
    rejection TEXT                                                               -- why it was set aside, JSON
        CHECK ((rejection IS NOT NULL) = (state IN ('rejected', 'parked'))),
    attempts INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),                   -- requests without a verdict
    holds INTEGER NOT NULL DEFAULT 0 CHECK (holds >= 0),                         -- answers that held its bytes
    last_error TEXT,                                                             -- code or transport word of the last one
    next_try INTEGER                                                             -- earliest next try, Unix milliseconds
) STRICT;
CREATE INDEX outbox_by_turn ON outbox (state, priority DESC, entry_order);

-- The end of the outbox as it was written: pending entries under later orders than any in the outbox, without indexes,
-- for each page of an index costs as much as the edit itself. They are filed together, see table/tail.rs.
CREATE TABLE outbox_tail (
    entry_order INTEGER PRIMARY KEY NOT NULL,                                -- place in the outbox, without gaps
    change_set_id BLOB NOT NULL CHECK (length(change_set_id) = 16),          -- idempotency key, greater than the one before
    priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 255),            -- greater ones overtake
    body BLOB NOT NULL,                                                      -- the change set, CBOR
    base BLOB NOT NULL                                                       -- what its author had seen, CBOR
) STRICT;

-- Records an entry touches.
CREATE TABLE outbox_record (
    record BLOB NOT NULL CHECK (length(record) = 16),        -- record touched
    entry_order INTEGER NOT NULL,                            -- the entry
    creates INTEGER NOT NULL CHECK (creates IN (0, 1)),      -- the entry creates it
    PRIMARY KEY (record, entry_order)
) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_record_by_entry ON outbox_record (entry_order);

-- Records an entry refers to by their record id.
CREATE TABLE outbox_reference (
    target BLOB NOT NULL CHECK (length(target) = 16), -- record referred to
    entry_order INTEGER NOT NULL,                     -- the entry
    PRIMARY KEY (target, entry_order)
) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_reference_by_entry ON outbox_reference (entry_order);

-- Change sets an entry must not outlive.
CREATE TABLE outbox_after (
    change_set_id BLOB NOT NULL CHECK (length(change_set_id) = 16), -- the one to come first
    entry_order INTEGER NOT NULL,                                   -- the entry
    PRIMARY KEY (change_set_id, entry_order)
) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_after_by_entry ON outbox_after (entry_order);

-- Parts of frozen entries as they were or will be sent; a retry sends the same bytes.
CREATE TABLE frozen_part (
    entry_order INTEGER NOT NULL,                                       -- the entry
    position INTEGER NOT NULL CHECK (position >= 0),                    -- place among its parts
    record BLOB NOT NULL CHECK (length(record) = 16),                   -- record of the part
    epoch INTEGER NOT NULL CHECK (epoch >= 0),                          -- epoch it was authored in
    hash BLOB CHECK (hash IS NULL OR length(hash) = 32),                -- hash of the change; none for an empty part
    change BLOB NOT NULL CHECK ((hash IS NULL) = (length(change) = 0)), -- raw change
    deps BLOB NOT NULL CHECK (length(deps) % 32 = 0),                   -- what an empty part stands on, 32 bytes each
    PRIMARY KEY (entry_order, position)
) STRICT;
CREATE INDEX frozen_part_by_record ON frozen_part (record, entry_order);
CREATE INDEX frozen_part_by_hash ON frozen_part (hash);

-- Record ids and server ids: injective, immutable.
CREATE TABLE id_map (
    record BLOB PRIMARY KEY NOT NULL CHECK (length(record) = 16), -- record id
    server_id TEXT NOT NULL UNIQUE                                -- its server id, for ever
) STRICT, WITHOUT ROWID;

-- References by record id that rows show; what an assignment has to rewrite.
CREATE TABLE reference (
    target BLOB NOT NULL CHECK (length(target) = 16), -- record referred to
    record BLOB NOT NULL CHECK (length(record) = 16), -- record whose row shows it
    field TEXT NOT NULL,                              -- field that holds it
    PRIMARY KEY (target, record, field)
) STRICT, WITHOUT ROWID;
CREATE INDEX reference_by_record ON reference (record);

-- Who made a change and when, for display.
CREATE TABLE change_envelope (
    hash BLOB PRIMARY KEY NOT NULL CHECK (length(hash) = 32), -- the change
    device BLOB NOT NULL CHECK (length(device) = 8),          -- device that sent it
    at_ms INTEGER NOT NULL,                                   -- device time of the edit, Unix milliseconds
    skew_ms INTEGER NOT NULL,                                 -- server clock minus device clock
    position INTEGER NOT NULL                                 -- log position
) STRICT, WITHOUT ROWID;

-- Devices of the tenant.
CREATE TABLE device (
    id BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 8), -- the device
    principal TEXT NOT NULL                              -- whose it is
) STRICT, WITHOUT ROWID;

-- Changes from the server that a record refused; kept as evidence and for a later version that can read them.
CREATE TABLE quarantine (
    record BLOB NOT NULL CHECK (length(record) = 16), -- the record
    position INTEGER NOT NULL,                        -- log position
    bytes BLOB NOT NULL,                              -- the change as it came
    PRIMARY KEY (record, position, bytes)
) STRICT, WITHOUT ROWID;

-- What changed or threatens user data without the user's doing. Ids and counts, never values.
CREATE TABLE notice (
    id INTEGER PRIMARY KEY AUTOINCREMENT,                                        -- order of arrival
    kind TEXT NOT NULL                                                           -- what happened
        CHECK (kind IN ('rejected', 'parked', 'shadowed', 'quarantined')),
    record BLOB CHECK (record IS NULL OR length(record) = 16),                   -- record concerned
    change_set BLOB CHECK (change_set IS NULL OR length(change_set) = 16),       -- change set it began with
    cause TEXT,                                                                  -- code of the refusal
    entries INTEGER NOT NULL CHECK (entries >= 1),                               -- change sets or changes concerned
    at_position INTEGER,                                                         -- log position; none for a local cause
    acknowledged INTEGER NOT NULL DEFAULT 0 CHECK (acknowledged IN (0, 1))       -- seen by the user
) STRICT;
CREATE INDEX notice_by_cause ON notice (kind, change_set);
