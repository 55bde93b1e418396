//! Programs that entries are handed to, behaved or not, and what must have been
//! delivered in the end.

mod hostile; // what entries and file names hold arrives as it is, and is not run
mod kills; // the daemon is killed, stopped, or has a faster listener beside this one
mod place; // a log, a configuration, programs, the daemon
mod poison; // an entry that a program will never take
mod surroundings; // arguments, environment, umask, secrets
mod trouble; // programs that hang, fork, flood, fail and vanish
