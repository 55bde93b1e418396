-- Version 3: dead letters. `tripline dead list` shows them; to count them:
--
--   sqlite3 -readonly tripline.db "SELECT listener, count(*) FROM letter GROUP BY listener"

-- What was set aside because its receiver will never take it.
CREATE TABLE letter (
    number          INTEGER PRIMARY KEY AUTOINCREMENT,
    source          TEXT NOT NULL,
    listener        TEXT NOT NULL,
    log             BLOB NOT NULL,      -- the path of the log; empty for a journal
    -- Where its entry is, or the first of its entries.
    era             INTEGER NOT NULL,
    sequence        INTEGER NOT NULL,
    line            INTEGER NOT NULL,
    offset          INTEGER NOT NULL,
    entries         INTEGER NOT NULL,   -- how many it stands for
    -- 0: the bytes of the entry; 1: what the listener made of the entries.
    made            INTEGER NOT NULL CHECK (made IN (0, 1)),
    content         BLOB NOT NULL,
    why             TEXT NOT NULL,      -- what the receiver said
    attempts        INTEGER NOT NULL,   -- how often it was handed over
    updated         INTEGER NOT NULL,
    UNIQUE (listener, source, log, era, sequence, offset, made)
) STRICT;
