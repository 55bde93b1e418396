-- The store of Tripline, version 1; `schema_2.sql` adds to it. To look into it,
-- also while the daemon runs:
--
--   sqlite3 -readonly tripline.db 'SELECT source, listener, sequence, offset, state FROM cursor'
--
-- To change a cursor, use `tripline where --set`: it checks the place against
-- the files.
--
-- Times are seconds since 1970: datetime(updated, 'unixepoch', 'localtime').
-- Numbers of 64 bits without a sign are kept as they are in memory, so one of
-- 2^63 or more, as some file systems use for an inode, shows as negative:
-- format('%u', inode) shows the number that `stat` shows.

-- How far each listener has come in each source it follows.
CREATE TABLE cursor (
    source          TEXT NOT NULL,
    listener        TEXT NOT NULL,
    -- Everything before this place is settled. Empty: nothing ever was.
    era             INTEGER,
    sequence        INTEGER,
    line            INTEGER,            -- counts from 0
    offset          INTEGER,            -- in bytes of the decompressed file
    next_sequence   INTEGER,            -- set at the end of a finished file
    -- How the file and the offset are recognised. Empty: taken on trust.
    device          INTEGER,
    inode           INTEGER,
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
    PRIMARY KEY (source, listener)
) STRICT, WITHOUT ROWID;

-- The gaps announced to each listener: the newest 1000, a larger id is newer.
CREATE TABLE gap (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    source          TEXT NOT NULL,
    listener        TEXT NOT NULL,
    kind            TEXT NOT NULL,      -- missing, replaced, restored, unterminated
    from_era        INTEGER NOT NULL,   -- everything before this place was handed out
    from_sequence   INTEGER NOT NULL,
    from_line       INTEGER NOT NULL,
    from_offset     INTEGER NOT NULL,
    to_era          INTEGER NOT NULL,   -- it went on at this place
    to_sequence     INTEGER NOT NULL,
    to_line         INTEGER NOT NULL,
    to_offset       INTEGER NOT NULL,
    missing_first   INTEGER,            -- sequence numbers nothing was found of
    missing_last    INTEGER,
    bytes_lost      INTEGER,            -- where that is known
    why             TEXT NOT NULL,
    repair          TEXT NOT NULL,
    announced       INTEGER NOT NULL
) STRICT;

CREATE INDEX gap_by_listener ON gap (source, listener, id);
