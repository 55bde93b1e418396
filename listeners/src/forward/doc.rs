//! What people configure a `Forward` by.

/// Every argument is named in it.
pub(super) const DOC: &str = "\
Sends entries to the receiver `to`: \"tcp://host:port\", plain TCP, \
\"udp://host:port\", datagrams, \"tls://host:port\", requests to an address that begins with \"http://\" or \
\"https://\", or \"tripline://host:port\", another Tripline, which has each line once. Only \
TLS, https and tripline with a key or certificate are encrypted. Journals may be forwarded \
as well as logs.\n\
\n\
`format` is what entries look like there (not for tripline). `Lines`: each entry's bytes as they are in \
the file, ended by one line feed. A line that has none (the last of a file, the start \
of one that was cut or is not finished) gets one, and CR LF stays; ids are not sent; a \
record of a journal that has line feeds inside is several lines for a receiver. `Json`: \
one object a line, as `Print` writes it. `Rfc5424()` and `Rfc3164()`: syslog messages. \
`framing` says how their ends are found: `Lf`, a line feed behind each, or `Octets`, its \
length before it (RFC 6587, 5425). Over TLS it is `Octets` unless given, else `Lf`. With \
`Json` and syslog, hashes of passwords and tickets are replaced unless `secrets: Keep`.\n\
\n\
Syslog: in the parentheses may stand `facility` (`Local0` unless given; all names of \
syslog), `severity` (`Notice`; `Emergency` to `Debug`), `hostname` (this machine's), \
`app_name` (the source's name), `procid`, and with `Rfc5424` also `msgid`, `enterprise` \
(the number in [entry@32473 id=...]; 32473 is the one for examples, get one of your own) \
and `bom: false` for receivers that show a byte order mark instead of reading it. \
The time is the entry's own where its source reads it, else the time of sending. With \
`Rfc5424` each message says which entry it is: `id`, with which a receiver can tell \
what came twice, `source`, `path`, `line`, and where it is so `partial` (not finished, \
comes again with the same id), `incomplete` and `cut` (the length of the whole entry). \
Control characters become \\x1b, those of Unicode and what turns the direction of text \
\\u{202e}: no line makes two messages. What is not UTF-8 stays, without a byte order \
mark. A message has at most `message_max` bytes (8192 unless given, at least 1024); \
what is cut says so: `cut=\"...\"`, or [cut: ... bytes in all] with `Rfc3164`. The text \
of a journal's record is its JSON object.\n\
\n\
Lines of files that a syslog daemon writes have a header of their own: with \
`header: FromLine` time, host, program and process number of a message are those of \
a line that begins like `Nov 20 21:00:00 web sshd[7]: ` or with a time like \
2026-11-20T21:00:00.5+01:00, and only what stands behind is its text. Use it where such \
a daemon alone writes the file, as whoever writes the start of a line chooses the host \
then. Without it (`header: Ours`) a line is text from its first byte.\n\
\n\
TCP is best effort. The cursor passes what the receiver's system has \
acknowledged, which its program may not have read: what the program had not read when \
it or its machine died is lost, and nobody can tell. What was not acknowledged when the \
connection broke comes again, and so does what was when the receiver reset the \
connection: at most what was sent since the last settled place, which follows about a \
second behind a receiver that keeps up. So entries may come twice. A receiver that \
closes the connection in an orderly way, having read what it got, loses nothing. An \
entry torn by the end of a connection comes again whole on the next one: a receiver \
drops what has no end when a connection does. A line that was shown before it was \
finished is sent again when it is. What the receiver says is thrown away.\n\
\n\
A receiver that acknowledges nothing for `acknowledge_timeout` is given up, and called \
again. Attempts are at least half a second apart, and up to a minute as long as nothing \
gets through. All addresses of a name are tried, `connect_timeout` for each.\n\
\n\
TLS (1.2 or later) is TCP with a receiver that is the one that was meant: before its \
certificate was verified, not one byte of an entry is sent. It must be signed by one that \
the system believes, or by one in the file `ca` (PEM), for the host in `to`, or for \
`server_name`. With `fingerprint`, \"SHA256:\" and hexadecimal digits, it must be that very \
certificate; without `ca` that is then enough, whoever signed it, for whom and until \
when. `certificate` and `key` (PEM, the key readable by nobody but its owner) are shown \
to a receiver that asks who calls. All of these files are read again for each \
connection, so that new ones need no restart. The handshake has `connect_timeout`, and \
there is less than one a second; a receiver that speaks TLS 1.3 then has another second \
to refuse our certificate. What is settled is what the receiver's system acknowledged, \
as with plain TCP.\n\
\n\
UDP is less: nobody says what arrived. Each entry is one datagram, of at most \
`message_max` bytes (2048 unless given, as every receiver should take that; up to 65000), \
also with `Lines`: what is cut says [cut: ... bytes in all]. `Json` is not for UDP. What \
the network or a busy receiver drops is lost, and nobody can tell; entries may arrive in \
another order. `per_second` (10000 unless given) bounds how many are sent, in bursts of a \
hundredth of a second, so that a receiver can keep up when much is behind. Where no \
program listens and the receiver's system says so (ICMP), what was sent since the last \
settled place counts as not sent and is sent again, to the next address if the name has \
several. Half a second without such an answer settles what was sent.\n\
\n\
HTTP: entries are posted, `Json` (application/x-ndjson) or `Lines` (text/plain), many \
in a request, up to `body_max` bytes (1 MiB unless given). An answer of 200 to 299 \
settles them: what the receiver has then is as safe as it says. Until it comes nothing \
else is posted; the whole request has `request_timeout` (\"30s\"). After 408, 425, 429, \
500 to 599, a time-out or a broken connection the same entries are posted again, after a \
growing pause or, up to ten minutes, when `Retry-After` says; with the same header \
`Idempotency-Key`, by which a receiver can tell. It is made of the first and the last id \
and what is posted; after a restart of the daemon entries may be put together in another \
way and have another key, but each still has its id in `Json`. Other answers from 400 to \
499 say that some entry will never be taken: it is found by halves and set aside \
(`tripline dead`). After 413 less is posted at a time. But 401, 403, 404, 405 and 407, \
and redirections, which are not followed, are no entry's fault: they wait for a person. \
`headers` are sent with each request, {\"X-Name\": \"value\"}; `token` is a file, \
readable by nobody but its owner, with a bearer token, read anew for each request, and \
only for https or this machine itself. https takes the arguments of TLS. No proxy is \
used.\n\
\n\
tripline: the receiver is a `tripline receive`. It appends the bytes of each log, as they \
are, to a file of its own, \"PEER/SOURCE/...\", and those of each journal to \"journal.N\" \
there; gaps go to \"gaps.jsonl\" beside them. What is on its disk, synced and committed, is \
settled, and nothing before. It knows the place of each log and drops what comes again: so \
each line is in its file once, whatever was cut, killed or lost its power whenever, on \
either side. What has no line feed has none there either, but where more follows in the \
same file: behind the last line of a rotated file, and behind one that was cut at its \
bound, one is written, and noted in \"gaps.jsonl\". A line that is shown before it is \
finished is not sent. At most 32 MiB and a batch are under way. When a person moves the \
cursor back, or when our own state is lost, what comes again is wanted again and appended \
again. A sender that was brought back from a snapshot, or is a copy of another, sends nothing \
and says which file to remove: new lines in old places would be dropped. Two listeners of \
one peer have folders of their own. A receiver that says nothing \
for `acknowledge_timeout` is given up and called again; what it cannot keep (a full disk) \
it says, and it is tried again. `peer` is who we are there, this machine's name unless \
given. `shared_key` is a file of mode 0600 with 64 hexadecimal digits (`openssl rand -hex \
32`), the same on both sides, from which both make the keys of TLS 1.3; or `certificate` \
and `key`, with `peer` among the certificate's DNS names, are shown to each other, with \
`ca`, `server_name` and `fingerprint` as above. Without either it goes to this machine \
only. `compress: Deflate` makes less of it, on slow networks.\n\
\n\
A gap is sent as `Print` writes it with `Json`, and with syslog as a warning, with \
[gap@32473 id=...]. `Lines` have no place for it: it is in the store and in the daemon's \
messages.\n\
\n\
Arguments: `from`, sources; `to`, an address; `format`, as above; `framing`, `Lf` or \
`Octets`; `message_max`, bytes; `secrets`, `Redact` (the default) or `Keep`; with TLS and \
https `ca`, `certificate`, `key`, `server_name`, `fingerprint`; with HTTP `headers`, \
`token`, `request_timeout`, `body_max`; with tripline `peer`, a name, `shared_key`, a file, \
`compress`, `None` (the default) or `Deflate`; with UDP `per_second`, with all others \
`connect_timeout`, \"10s\" unless given; with TCP, TLS and tripline `acknowledge_timeout`, \"30s\" \
unless given; `on_gap`, `Notify` (the default) or `Stop`; `quiet`, a duration (\"5s\").";
