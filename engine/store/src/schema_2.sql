-- Version 2: a source may have many logs, each with a cursor of its own.
--
--   sqlite3 -readonly tripline.db "SELECT source, listener, CAST(log AS TEXT), sequence, offset, state FROM cursor"

CREATE TABLE cursor_2 (
    source          TEXT NOT NULL,
    listener        TEXT NOT NULL,
    -- The path of the log, as bytes. Empty: a journal, or what is true of the
    -- source as a whole, such as the state.
    log             BLOB NOT NULL,
    -- Everything before this place is settled. Empty: nothing ever was.
    era             INTEGER,            -- of a log: a number made from its path
    sequence        INTEGER,            -- of a log: how many files came before
    line            INTEGER,            -- counts from 0
    offset          INTEGER,            -- in bytes of the decompressed file
    next_sequence   INTEGER,            -- set at the end of a finished file
    -- How the file and the offset are recognised. Empty: taken on trust.
    device          INTEGER,
    inode           INTEGER,
    modified        INTEGER,            -- in nanoseconds since 1970; 0: not known
    head_bytes      INTEGER,            -- how many bytes the file's start ...
    head_hash       BLOB CHECK (length(head_hash) = 16),
    tail_bytes      INTEGER,            -- ... and the part before the offset
    tail_hash       BLOB CHECK (length(tail_hash) = 16),
    -- 1 when a person put the cursor there and nothing was settled since.
    set_by_hand     INTEGER NOT NULL CHECK (set_by_hand IN (0, 1)),
    entries_settled INTEGER NOT NULL,   -- handled or not, since the beginning
    last_entry      INTEGER,            -- the time that entry carries
    state           TEXT NOT NULL,      -- following, catching_up, stopped, retrying
    why             TEXT,
    updated         INTEGER NOT NULL,
    PRIMARY KEY (source, listener, log)
) STRICT, WITHOUT ROWID;

INSERT INTO cursor_2 (
    source, listener, log, era, sequence, line, offset, next_sequence,
    device, inode, modified, head_bytes, head_hash, tail_bytes, tail_hash,
    set_by_hand, entries_settled, last_entry, state, why, updated
) SELECT
    source, listener, x'', era, sequence, line, offset, next_sequence,
    device, inode, CASE WHEN device IS NULL THEN NULL ELSE 0 END,
    head_bytes, head_hash, tail_bytes, tail_hash,
    set_by_hand, entries_settled, last_entry, state, why, updated
FROM cursor;

DROP TABLE cursor;
ALTER TABLE cursor_2 RENAME TO cursor;

-- The path of the log it happened in; empty for a journal. There are more kinds:
-- truncated, deleted, damaged.
ALTER TABLE gap ADD COLUMN log BLOB NOT NULL DEFAULT x'';
