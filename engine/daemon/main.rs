//! The program `tripline` with the listeners that come with it.

use std::process::ExitCode;

fn main() -> ExitCode {
    tripline::main(tripline_listeners::ALL)
}
