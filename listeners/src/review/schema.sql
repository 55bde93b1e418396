-- What a Review remembers. Rows of the server's tables are kept as records of a
-- journal, with nothing in them but the columns that matter.
CREATE TABLE row (
    name TEXT NOT NULL,             -- the server's table, such as db.user
    key BLOB NOT NULL,              -- its key as fields of a record, case folded
    record BLOB NOT NULL,
    PRIMARY KEY (name, key)
) STRICT, WITHOUT ROWID;

-- Changes that were submitted, as ranges.
CREATE TABLE submitted (
    first INTEGER PRIMARY KEY,
    last INTEGER NOT NULL
) STRICT;

-- One row: how far the journal was read, and what was open there.
CREATE TABLE reached (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    head TEXT NOT NULL,             -- JSON
    open BLOB NOT NULL              -- records
) STRICT;

-- Changes of which somebody is still to hear.
CREATE TABLE notice (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    entry TEXT NOT NULL,            -- what submitted it: source/sequence/offset
    change INTEGER NOT NULL,
    content TEXT NOT NULL,          -- JSON
    UNIQUE (entry, change)
) STRICT;

-- Who is still to hear of them. Who was refused stays until that is known to be
-- among the dead letters.
CREATE TABLE recipient (
    notice INTEGER NOT NULL REFERENCES notice (number),
    number INTEGER NOT NULL,
    content TEXT NOT NULL,          -- JSON
    attempts INTEGER NOT NULL DEFAULT 0,
    put_off INTEGER,                -- since when, in milliseconds since 1970
    refused TEXT,                   -- why
    PRIMARY KEY (notice, number)
) STRICT, WITHOUT ROWID;
