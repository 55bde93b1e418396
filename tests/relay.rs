//! Two Triplines: what one forwards, the other has in files, once and byte for byte.

mod crashes; // the receiver dies, or loses power, at every operation on its files
mod identity; // keys, certificates, strangers
mod kills; // both are killed again and again, at full speed
mod pair; // a sender, a receiver, and the network between them
mod rollback; // brought back from a snapshot
mod rotation; // what is received is rotated by logrotate
mod trouble; // full disks, stopped receivers, cursors moved by hand
