-- What a device is told to leave as it is, and what it keeps no longer. A released migration is never edited.

-- Records that are restricted: no edit of them is taken until that is lifted.
CREATE TABLE restricted (
    record BLOB PRIMARY KEY NOT NULL CHECK (length(record) = 16), -- record id
    position INTEGER NOT NULL CHECK (position > 0)                -- log position that said so
) STRICT, WITHOUT ROWID;

-- Records of collections that are kept for so many days. What is known of one that was let go is passed over; an edit after it
-- brings the record back.
CREATE TABLE keeping (
    record BLOB PRIMARY KEY NOT NULL CHECK (length(record) = 16), -- record id
    edited_ms INTEGER NOT NULL,                                   -- last edit by the server's clock, Unix milliseconds
    position INTEGER NOT NULL CHECK (position >= 0),              -- log position up to which its edits are known
    is_let_go INTEGER NOT NULL CHECK (is_let_go IN (0, 1))        -- no longer here
) STRICT, WITHOUT ROWID;
