-- What was erased, and notices of kinds that later versions add. A released migration is never edited.

-- Records that were erased, without naming them: whatever comes of them again is dropped.
CREATE TABLE erased (
    name BLOB PRIMARY KEY NOT NULL CHECK (length(name) = 32), -- stands for the record
    position INTEGER NOT NULL CHECK (position > 0)            -- log position that said so
) STRICT, WITHOUT ROWID;

CREATE TABLE notice_anew (
    id INTEGER PRIMARY KEY AUTOINCREMENT,                                        -- order of arrival
    kind TEXT NOT NULL CHECK (length(kind) > 0),                                 -- what happened
    record BLOB CHECK (record IS NULL OR length(record) = 16),                   -- record concerned
    change_set BLOB CHECK (change_set IS NULL OR length(change_set) = 16),       -- change set it began with
    cause TEXT,                                                                  -- code of the refusal
    entries INTEGER NOT NULL CHECK (entries >= 1),                               -- change sets or changes concerned
    at_position INTEGER,                                                         -- log position; none for a local cause
    acknowledged INTEGER NOT NULL DEFAULT 0 CHECK (acknowledged IN (0, 1))       -- seen by the user
) STRICT;
INSERT INTO notice_anew SELECT * FROM notice ORDER BY id;
DROP TABLE notice;
ALTER TABLE notice_anew RENAME TO notice;
CREATE INDEX notice_by_cause ON notice (kind, change_set);
