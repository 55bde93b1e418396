//! Counts the records of a journal by table.
//!
//! `cargo run --example count_tables -- JOURNAL`

use std::fs::File;

use p4journal::Count;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).ok_or("which journal?")?;
    let count = Count::of_file(&File::open(path)?)?;

    for (table, records) in &count.tables {
        println!("{records:>12}  {table}");
    }
    match count.number {
        Some(number) => println!("journal {number}: {} records", count.records),
        None => println!("{} records", count.records),
    }
    if !count.is_complete() {
        println!(
            "{} bytes behind the last record, {} damaged pieces",
            count.bytes - count.bytes_complete,
            count.damaged
        );
    }
    Ok(())
}
