-- What listeners remember besides their cursors, in the same transaction as these:
-- of `rules` its counts and the actions that are not done, for example.
CREATE TABLE kept (
    listener        TEXT NOT NULL,
    name            TEXT NOT NULL,      -- the listener's own
    value           BLOB NOT NULL,      -- of `rules`: JSON
    PRIMARY KEY (listener, name)
) STRICT, WITHOUT ROWID;
