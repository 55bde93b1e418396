//! Black-box tests of the program: one binary, a module for each subject.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod backup; // a standby that is seeded, compared, and has the versioned files
mod check; // `tripline check`: every message, against files under tests/golden
mod cli; // the command line itself: help, exit codes, pages, init, fields
mod crashes; // dies, or loses power, at every operation on its files
mod daemon; // signals, the state directory, `tripline where`
mod dead; // what was set aside, and a person who looks after it
mod examples; // the programs under examples, run on the journals of the quickstart
mod exec; // programs that entries are handed to, behaved and not
mod fail2ban; // its filters as rules, beside `fail2ban-regex`, line by line
mod fault; // kills, failing calls and power loss at any operation on the file system
mod following; // what a journal can go through: each once lost, repeated or hid something
mod forwarding; // real receivers of what is forwarded, and networks that fail
mod gaps; // what cannot be proved is said, and can be repaired
mod hot_backup; // a standby over SSH: killed, full, changed, diverged, applied
mod journal_cmd; // `tripline journal`: count, cat, apply, verify, diff
mod log_archives; // compressed by every tool, whole, in parts, unfinished, damaged, hostile
mod log_durability; // what is remembered of logs outlives kills, power cuts and full disks
mod logs; // log files under fire: writers, rotations, people, a system at its limits
mod mail; // by a real mail server: each line once, through kills, floods and hostile lines
mod plays; // a real server's journals, played live, in every way they can be rotated
mod readme; // what the documents show, run
mod relay; // two Triplines: each line once, whoever is killed whenever
mod replays; // what is applied on a standby: once, in order, whatever is cut off or killed
mod review; // reviewers are told of changes, once each, whenever the program is killed
mod rule_files; // the rules that people copy, and those in the guide
mod rule_tools; // `tripline explain`, `new` and `replay`
mod rules; // rules in the daemon: what fires is done, once, whoever is killed whenever
mod site; // a journal, a configuration and the program, and what must be delivered
mod standby; // another host with a real sshd, and a backup that is kept there
mod tidy; // the house rules that no compiler enforces
mod util; // a directory, a command, and output one can read when it fails
