//! One suite over both ways to a host, against a real sshd.

mod commands;
mod cuts;
mod ground;
mod operations;
mod proxy;
mod rekey;
mod speed;
mod trouble;
mod trust;

use super::*;
use ground::*;
