//! Prints the changes that a journal submits: number, user and time.
//!
//! `cargo run --example submitted_changes -- JOURNAL`
//!
//! A submit puts its row of `db.change` with the lowest bit of the status set. The row
//! counts when its transaction ends, so rows wait here for their `@ex@`.

use std::collections::BTreeSet;
use std::fs::File;

use p4journal::Reader;
use p4journal::Record;
use p4journal::Step;
use p4journal::Transactions;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).ok_or("which journal?")?;
    let mut reader = Reader::new(File::open(path)?);
    let mut transactions = Transactions::new();
    let mut waiting = Vec::new();
    let mut printed = BTreeSet::new();
    while let Some(entry) = reader.next()? {
        // Damage is no record; a program that has to know about it asks `entry.piece`.
        let Ok(record) = entry.record() else { continue };
        if record.table() == Some("db.change") && record.op().is_put() {
            waiting.extend(submitted(&record));
        }
        match transactions.see(&record) {
            Step::Ended(_) if transactions.is_settled() => {
                for (change, user, time) in waiting.drain(..) {
                    // A later edit of the change puts its row once more.
                    if printed.insert(change) {
                        println!("change {change} by {user} at {time}");
                    }
                }
            }
            Step::Abandoned { .. } => waiting.clear(),
            _ => {}
        }
    }
    Ok(())
}

/// Number, user and time of the change, if it is a submitted one.
fn submitted(record: &Record<'_>) -> Option<(i64, String, i64)> {
    let column = |wanted| {
        let mut columns = record.columns();
        columns.find(|(name, _)| name.known() == Some(wanted)).map(|(_, value)| value)
    };
    let is_submitted = column("status")?.number()? & 1 == 1;
    let user = String::from_utf8_lossy(&column("user")?.text()).into_owned();
    is_submitted.then_some((column("change")?.number()?, user, column("date")?.number()?))
}
