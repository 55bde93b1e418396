-- What the places of a stream belong to: `file` is a file of its sender, `number` what
-- was drawn there last, as far as it is known here.
CREATE TABLE tie (
    peer   TEXT    NOT NULL,
    stream TEXT    NOT NULL,
    file   INTEGER NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (peer, stream)
) STRICT, WITHOUT ROWID;

-- Who we are, for senders that come to several receivers.
CREATE TABLE receiver (number INTEGER NOT NULL) STRICT;
INSERT INTO receiver VALUES (random());
