-- Records that are restricted: no edit of them is taken until that is lifted. A released migration is frozen.
CREATE TABLE restriction (
    record   BLOB PRIMARY KEY CHECK (length(record) = 16),
    position INTEGER NOT NULL                                 -- row of the log that tells devices
) STRICT, WITHOUT ROWID;
