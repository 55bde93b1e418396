//! What people configure a `Forward` by.

use super::arguments::{
    ACKNOWLEDGE_TIMEOUT, BODY_BYTES, BODY_MAX, BODY_MIN, CONNECT_TIMEOUT, MESSAGE_MAX,
    PER_SECOND, PER_SECOND_MAX, PER_SECOND_MIN, REQUEST_TIMEOUT, TIMEOUT_MAX,
    TIMEOUT_MIN,
};
use super::syslog::{ENTERPRISE, MESSAGE_MIN};
use tripline_api::{Argument, Form, Wants};

pub(super) const DOC: &str = "\
Sends entries to a receiver: over plain TCP, over TLS, as datagrams, as requests over HTTP \
or HTTPS, or to another Tripline, which has each line once. Only TLS, https and tripline \
with a key or certificate are encrypted. Journals may be forwarded as well as logs.\n\
\n\
**Syslog** (`format: Rfc5424()` or `Rfc3164()`). The time of a message is the entry's own \
where its source reads it, else the time of sending. With `Rfc5424` each message says which \
entry it is: `id`, with which a receiver can tell what came twice, `source`, `path`, `line`, \
and where it is so `partial` (not finished, comes again with the same id), `incomplete` and \
`cut` (the length of the whole entry). Control characters become `\\x1b`, those of Unicode and \
what turns the direction of text `\\u{202e}`: no line makes two messages. What is not UTF-8 \
stays, without a byte order mark. What is longer than `message_max` is cut and says so: \
`cut=\"...\"`, or `[cut: ... bytes in all]` with `Rfc3164`. The text of a journal's record is \
its JSON object.\n\
\n\
**TCP**. The cursor passes what the receiver's system has acknowledged. What was not \
acknowledged when the connection broke comes again, and so does what was when the receiver \
reset the connection: at most what was sent since the last settled place, which follows \
about a second behind a receiver that keeps up. A receiver that closes the connection in an \
orderly way, having read what it got, loses nothing. An entry torn by the end of a \
connection comes again whole on the next one: a receiver drops what has no end when a \
connection does. A line that was shown before it was finished is sent again when it is. \
What the receiver says is thrown away. A receiver that acknowledges nothing for \
`acknowledge_timeout` is given up, and called again. Attempts \
become rarer, up to a minute apart, as long as nothing gets through. All addresses of a name are \
tried, `connect_timeout` for each.\n\
\n\
**TLS** (1.2 or later) is TCP with a receiver that is the one that was meant: before its \
certificate was verified, not one byte of an entry is sent. It must be signed by one that \
the system believes, or by one in the file `ca`, for the host in `to`, or for \
`server_name`. With `fingerprint` it must be that very certificate; without `ca` that is \
then enough, whoever signed it, for whom and until when. All files are read again for each \
connection, so that new ones need no restart. There is less than one handshake a second; a \
receiver that speaks TLS 1.3 has a second after it to refuse our certificate.\n\
\n\
**UDP**. Each entry is one datagram, also with `Lines`: what is cut says `[cut: ... bytes in \
all]`. `Json` is not for UDP. They are sent in bursts of a hundredth of a second, so that a \
receiver can keep up when much is behind. Where no program listens and the receiver's \
system says so (ICMP), what was sent since the last settled place counts as not sent and is \
sent again, to the next address if the name has several. Half a second without such an \
answer settles what was sent.\n\
\n\
**HTTP**. Entries are posted, `Json` (application/x-ndjson) or `Lines` (text/plain), many \
in a request. An answer of 200 to 299 settles them: what the receiver has then is as safe as \
it says. Until it comes nothing else is posted. After 408, 425, 429, 500 to 599, a time-out \
or a broken connection the same entries are posted again, after a growing pause or, up to \
ten minutes, when `Retry-After` says; with the same header `Idempotency-Key`, by which a \
receiver can tell. It is made of the first and the last id and what is posted; after a \
restart of the daemon entries may be put together in another way and have another key, but \
each still has its id in `Json`. Other answers from 400 to 499 say that some entry will \
never be taken: it is found by halves and set aside (`tripline dead`). After 413 less is \
posted at a time. But 401, 403, 404, 405 and 407, and redirections, which are not followed, \
are no entry's fault: they wait for a person. https takes the arguments of TLS. No proxy is \
used.\n\
\n\
**tripline**. The receiver is a `tripline receive`. It appends the bytes of each log, as \
they are, to a file of its own, `PEER/SOURCE/...`, and those of each journal to `journal.N` \
there; gaps go to `gaps.jsonl` beside them. What is on its disk, synced and committed, is \
settled, and nothing before. It knows the place of each log and drops what comes again: so \
each line is in its file once, whatever was cut, killed or lost its power whenever, on \
either side. What has no line feed has none there either, but where more follows in the \
same file: behind the last line of a rotated file, and behind one that was cut at its bound, \
one is written, and noted in `gaps.jsonl`. A line that is shown before it is finished is not \
sent. At most 32 MiB and a batch are under way. When a person moves the cursor back, or when \
our own state is lost, what comes again is wanted again and appended again. Two listeners of \
one peer have folders of their own. What the receiver cannot keep (a full disk) it says, and \
it is tried again. Without a key or a certificate it goes to this machine only.\n\
\n\
**Gaps**. A gap is sent as `Print` writes it with `Json`, and with syslog as a warning, with \
`[gap@32473 id=...]`. `Lines` have no place for it: it is in the store and in the daemon's \
messages.";

pub(super) const LIMITS: &[&str] = &[
    "It is **best effort** but for another Tripline, and for HTTP, where the answer says what \
     arrived. Entries may come twice, with the same id where the format has one \
     (`Rfc5424()`, `Json`); `Lines` have none, and no gaps either.",
    "With TCP and TLS, what the receiver's system has acknowledged counts as delivered: what \
     its program had not read when it or its machine died is lost, and nobody can tell.",
    "With UDP nobody says what arrived: what the network or a busy receiver drops is lost, \
     and entries may arrive in another order.",
    "What `tripline receive` writes is once in its files as long as both keep their state. \
     Of a sender that is killed before it noted its first delivery, that may come twice. \
     When the sender's state is lost, everything that it still has comes again.",
    "A sender that is **rolled back** (a snapshot, a cloned image), or whose receiver is, is \
     found out: nothing is sent, and a sentence says which file to remove. But what a sender \
     sends within a second after the snapshot, or for as long as nothing is confirmed to it \
     then, is not told apart: new lines in these places are dropped.",
];

pub(super) const ARGUMENTS: &[Argument] = &[
    Argument::FROM,
    Argument::needed(
        "to",
        Wants::Text,
        r#""tls://loghost.example.com:6514""#,
        "The receiver: \"tcp://host:port\", \"tls://host:port\", \"udp://host:port\", an \
         address that begins with \"http://\" or \"https://\", or \"tripline://host:port\".",
    ),
    Argument::optional(
        "format",
        Wants::OneOf(&[
            Form::word(
                "Lines",
                "each entry's bytes as they are in the file, ended by one line feed; a record \
                 of a journal that has line feeds inside is several lines for a receiver",
            ),
            Form::word("Json", "one object a line, as `Print` writes it"),
            Form::with("Rfc5424", RFC5424, "Syslog as it is: see above."),
            Form::with("Rfc3164", RFC3164, "Syslog as it was."),
        ]),
        "Lines",
        "What entries look like there. Needed, but not for tripline, which keeps the bytes \
         as they are.",
    ),
    Argument::optional(
        "framing",
        Wants::OneOf(&[
            Form::word("Lf", "a line feed behind each"),
            Form::word("Octets", "its length before it (RFC 6587, 5425)"),
        ]),
        "Octets",
        "Syslog over TCP and TLS: how the end of a message is found; `Octets` over TLS, \
         else `Lf`, unless given.",
    ),
    Argument::optional(
        "message_max",
        Wants::Bytes(MESSAGE_MIN as u64, MESSAGE_MAX as u64),
        "16384",
        "Syslog and UDP: the longest message; 8192 unless given. Of a datagram 2048 unless \
         given, as every receiver should take that, and at most 65000.",
    ),
    Argument::SECRETS,
    Argument::optional(
        "per_second",
        Wants::Number(PER_SECOND_MIN as u64, PER_SECOND_MAX as u64),
        "1000",
        "UDP: so many datagrams a second at most.",
    )
    .or_number(PER_SECOND as u64),
    Argument::optional(
        "ca",
        Wants::Path,
        r#""ca.pem""#,
        "TLS, https, tripline: who may have signed the receiver's certificate (PEM); those \
         that the system believes unless given.",
    ),
    Argument::optional(
        "certificate",
        Wants::Path,
        r#""sender.pem""#,
        "TLS, https, tripline: ours (PEM), shown to a receiver that asks who calls. For \
         tripline `peer` is among its DNS names.",
    ),
    Argument::optional(
        "key",
        Wants::Path,
        r#""sender.key""#,
        "The key of `certificate` (PEM), readable by nobody but its owner.",
    ),
    Argument::optional(
        "server_name",
        Wants::Text,
        r#""loghost.example.com""#,
        "TLS, https, tripline: for whom the receiver's certificate is; the host in `to` \
         unless given.",
    ),
    Argument::optional(
        "fingerprint",
        Wants::Text,
        "\"SHA256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"",
        "TLS, https, tripline: the SHA-256 of the receiver's certificate, as `openssl x509 \
         -fingerprint -sha256` shows it.",
    ),
    Argument::optional(
        "headers",
        Wants::Named,
        r#"{"X-Site": "zurich"}"#,
        "HTTP: sent with each request, at most 32.",
    ),
    Argument::optional(
        "token",
        Wants::Path,
        r#""loki.token""#,
        "HTTP: a file, readable by nobody but its owner, with a bearer token. Read anew for \
         each request, and only for https or this machine itself.",
    ),
    Argument::optional(
        "request_timeout",
        TIMEOUT,
        r#""1m""#,
        "HTTP: a request must be answered within this.",
    )
    .or_duration(REQUEST_TIMEOUT),
    Argument::optional(
        "body_max",
        Wants::Bytes(BODY_MIN as u64, BODY_MAX as u64),
        "262144",
        "HTTP: so much is posted at once, but one entry at least.",
    )
    .or_number(BODY_BYTES as u64),
    Argument::optional(
        "peer",
        Wants::Text,
        r#""web1""#,
        "tripline: who we are there; this machine's name unless given.",
    ),
    Argument::optional(
        "shared_key",
        Wants::Path,
        r#""web1.key""#,
        "tripline: a file of mode 0600 with 64 hexadecimal digits (`openssl rand -hex 32`), \
         the same on both sides, from which both make the keys of TLS 1.3. Either this, or \
         `certificate` and `key`.",
    ),
    Argument::optional(
        "compress",
        Wants::OneOf(&[Form::word("None", ""), Form::word("Deflate", "for slow networks")]),
        "Deflate",
        "tripline: how it is compressed on the way.",
    )
    .or("None"),
    Argument::optional(
        "connect_timeout",
        TIMEOUT,
        r#""5s""#,
        "All but UDP: the connection must stand within this, and so must the handshake of TLS.",
    )
    .or_duration(CONNECT_TIMEOUT),
    Argument::optional(
        "acknowledge_timeout",
        TIMEOUT,
        r#""1m""#,
        "TCP, TLS, tripline: a receiver that acknowledges nothing for so long is given up.",
    )
    .or_duration(ACKNOWLEDGE_TIMEOUT),
    Argument::ON_GAP.or("Notify"),
    Argument::QUIET,
];

const TIMEOUT: Wants = Wants::Duration(TIMEOUT_MIN, TIMEOUT_MAX);

const RFC5424: &[Argument] = &[
    FACILITY,
    SEVERITY,
    HOSTNAME,
    APP_NAME,
    PROCID,
    Argument::optional("msgid", Wants::Text, r#""login""#, "The kind of message.")
        .or(r#""-""#),
    Argument::optional(
        "enterprise",
        Wants::Number(0, u32::MAX as u64),
        "32473",
        "The number in `[entry@32473 id=...]`. This one is for examples: get one of your own.",
    )
    .or_number(ENTERPRISE as u64),
    HEADER,
    Argument::optional(
        "bom",
        Wants::Flag,
        "false",
        "`false` for receivers that show a byte order mark instead of reading it.",
    )
    .or("true"),
];

const RFC3164: &[Argument] = &[FACILITY, SEVERITY, HOSTNAME, APP_NAME, PROCID, HEADER];

const FACILITY: Argument = Argument::optional(
    "facility",
    Wants::OneOf(&[
        Form::word("Kern", ""),
        Form::word("User", ""),
        Form::word("Mail", ""),
        Form::word("Daemon", ""),
        Form::word("Auth", ""),
        Form::word("Syslog", ""),
        Form::word("Lpr", ""),
        Form::word("News", ""),
        Form::word("Uucp", ""),
        Form::word("Cron", ""),
        Form::word("Authpriv", ""),
        Form::word("Ftp", ""),
        Form::word("Ntp", ""),
        Form::word("Audit", ""),
        Form::word("Alert", ""),
        Form::word("Clock", ""),
        Form::word("Local0", ""),
        Form::word("Local1", ""),
        Form::word("Local2", ""),
        Form::word("Local3", ""),
        Form::word("Local4", ""),
        Form::word("Local5", ""),
        Form::word("Local6", ""),
        Form::word("Local7", ""),
    ]),
    "Authpriv",
    "The kind of program.",
)
.or("Local0");

const SEVERITY: Argument = Argument::optional(
    "severity",
    Wants::OneOf(&[
        Form::word("Emergency", ""),
        Form::word("Alert", ""),
        Form::word("Critical", ""),
        Form::word("Error", ""),
        Form::word("Warning", ""),
        Form::word("Notice", ""),
        Form::word("Info", ""),
        Form::word("Debug", ""),
    ]),
    "Info",
    "How bad it is.",
)
.or("Notice");

const HOSTNAME: Argument = Argument::optional(
    "hostname",
    Wants::Text,
    r#""www1""#,
    "The host; this machine unless given.",
);
const APP_NAME: Argument = Argument::optional(
    "app_name",
    Wants::Text,
    r#""sshd""#,
    "The program; the source's name unless given.",
);
const PROCID: Argument =
    Argument::optional("procid", Wants::Text, r#""7""#, "The number of the process.");

const HEADER: Argument = Argument::optional(
    "header",
    Wants::OneOf(&[
        Form::word("Ours", "a line is text from its first byte"),
        Form::word(
            "FromLine",
            "from a line that begins like `Nov 20 21:00:00 web sshd[7]: ` or with a time \
             like 2026-11-20T21:00:00.5+01:00; only what stands behind is its text",
        ),
    ]),
    "FromLine",
    "Where time, host, program and process number of a message come from. `FromLine` is for \
     files that a syslog daemon alone writes: whoever writes the start of a line chooses the \
     host then.",
)
.or("Ours");
