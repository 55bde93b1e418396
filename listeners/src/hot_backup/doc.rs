//! What people configure it by.

pub(super) const DOC: &str = "Keeps a standby ready: copies the journals of one source to the directory of \
     `to` on another host, \"ssh://user@host:port/directory\", as they are written. \
     The current one is `journal` there; when the source begins the next one it \
     becomes `journal.N`, with its SHA-256 beside it in `journal.N.sha256` (for \
     `sha256sum -c`). An account that may do nothing but SFTP is enough \
     (`ForceCommand internal-sftp`, in a chroot if you like). Every record is synced \
     to the standby's disk before its place is settled: `tripline where` shows what \
     is persisted.\n\
     \n\
     What the standby holds says where to go on. At each start its current journal \
     is read back once and compared with the source's; where they differ, in what \
     was settled before, the backup stops and says at which byte. Nothing is ever \
     overwritten, and there is never a hole: at a gap it stops (`on_gap: Stop`, the \
     default). Where it goes on behind one, a journal whose end did not come becomes \
     `journal.N.unfinished`, without a checksum. What a loss of power on the standby took away behind the last \
     settled place is written again.\n\
     \n\
     With `replay`, a command on the standby gets the records of whole \
     transactions on its standard input, for example [\"p4d\", \"-r\", \
     \"/p4/1/offline\", \"-f\", \"-jr\", \"-\"]. They lie there in a file before it \
     begins, so it never gets a part of them, whatever breaks; a run goes on when \
     the connection is cut or Tripline stopped, no other begins before it has ended, \
     and it is known later what came of it. (A run that still goes on when its place \
     is set by hand, or other tables are excluded, counts for nothing: what it applied \
     comes again.) When it has ended with 0 and read its input to the end, the place stands in the file `applied` beside the journals, \
     and is settled: `tripline where` shows it as that of `NAME.replay`. When it \
     fails, the same comes again; so a transaction may be handed to it twice, which \
     leaves a Perforce database as once does. What the command says is in \
     `replay.log`. The words reach it as they are, by `sh -c` with one script that \
     is always the same, and needs `flock` and `cmp`: an account that is kept \
     to a command must allow it, and may compare the whole text. The rows of tables \
     named in `exclude_tables` are left out: what depends on them is then wrong on the \
     standby, such as which files clients have (db.have), and so are checksums of \
     tables. A database that handles case otherwise than the server would become \
     another one: `case`, `Sensitive` or `Insensitive`, says how the standby's does, \
     unless `-C0` or `-C1` among the words of `replay` says it; it is compared with \
     the header of each journal before anything of it is applied. Where nothing says \
     it, it cannot be known from journals, and is left to `p4d` to refuse.\n\
     \n\
     With `archives: (root: \"/p4/1/root\")` the versioned files that committed rows \
     of db.rev, db.storage and their like name (and of transactions too long to be \
     held, rows not committed yet) are brought too, below `archives/` \
     there, or to an address of its own, `archives: (root: .., to: \"ssh://..\")`, on \
     a lane of its own, `NAME.archives`. Depots that are not below the root are named \
     in `depots: {\"big\": \"/vol2/big\"}`. Each is read once and compared with size \
     and MD5 of its row: whole files, compressed ones by what is in them, and the \
     revision of an RCS file; not where keywords may have been written out, where the \
     row has no digest, and in RCS files of more than 256 MiB or 5 million lines. A file replaces the \
     one before at once, when all of it is on the disk. What is missing, or is not \
     what its row says, is not brought and holds up nothing: it is in the file \
     `archives.missing` there and, the first hundred, among the dead letters, and is \
     looked for again each minute and at each start; after a hundred thousand, more are only counted there. What \
     is purged or taken away meanwhile is not missing any more. (An RCS file is brought, for its \
     other revisions.) Nothing is ever deleted there. Only what journals name is \
     brought; what a checkpoint names, when the standby is seeded.\n\
     \n\
     `tripline backup seed` brings the newest checkpoint to a standby that is new or \
     too old, and the versioned files it names. `tripline backup verify` compares all \
     that a standby has with what it should have.\n\
     \n\
     Hosts must be known: an unknown or changed key stops the backup, and the \
     message says what to type. The key comes from an agent or from the file \
     `key`, which nobody else may read. `way: Program` uses the system's `ssh`, \
     which knows jump hosts, certificates and hardware keys; `ssh_config` is a file \
     for its `-F`.\n\
     \n\
     Journals hold the hashes of passwords and tickets, and a byte-exact copy keeps \
     them: give the standby the care that the server gets.\n\
     \n\
     Arguments: `from`, one source; `to`; `way`, `Library` (the default) or \
     `Program`; `key`, `known_hosts` and `ssh_config`, files; `connect_timeout` \
     (\"10s\"), `answer_timeout` (\"30s\"); `replay`, a program and its arguments; \
     `exclude_tables`, tables that are not replayed; `case`; `archives`; `on_gap`, `Stop` or `Notify`; \
     `quiet`, a duration (\"5s\").";
