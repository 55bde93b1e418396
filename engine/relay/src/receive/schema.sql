-- How far each log came, for each sender. `log` is its path there, and empty for a
-- journal. Of a log or journal only the last incarnation counts.
CREATE TABLE reached (
    peer        TEXT    NOT NULL,
    stream      TEXT    NOT NULL,
    source      TEXT    NOT NULL,
    log         BLOB    NOT NULL,
    incarnation INTEGER NOT NULL,
    era         INTEGER NOT NULL,
    sequence    INTEGER NOT NULL,
    place       INTEGER NOT NULL,
    line_end    INTEGER NOT NULL CHECK (line_end IN (0, 1, 2)),
    gap_noted   INTEGER NOT NULL CHECK (gap_noted IN (0, 1)),
    PRIMARY KEY (peer, stream, source, log)
) STRICT, WITHOUT ROWID;

-- How long each file is: what is behind that was not acknowledged. `path` is that
-- below the receiver's folder.
CREATE TABLE file (
    path   TEXT    NOT NULL PRIMARY KEY,
    device INTEGER NOT NULL,
    inode  INTEGER NOT NULL,
    length INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The folder of a source: no two streams have the same.
CREATE TABLE folder (
    peer   TEXT NOT NULL,
    name   TEXT NOT NULL,
    stream TEXT NOT NULL,
    source TEXT NOT NULL,
    PRIMARY KEY (peer, name)
) STRICT, WITHOUT ROWID;
