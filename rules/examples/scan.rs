//! How fast lines are looked at: `scan RULES LOG [OUT]`.
//!
//! RULES has a pattern a line, each of which becomes a rule; the lines of LOG in which one
//! is found are written to OUT.

use jiff::Timestamp;
use std::env;
use std::fs::File;
use std::io::{BufWriter, Read as _, Write as _};
use std::sync::Arc;
use std::time::Instant;
use tripline_api::Place;
use tripline_rules::evaluate::{Clock, Lines, Machine, Output};
use tripline_rules::{Known, SourceFile, load};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().collect();
    let [_, rules, log, rest @ ..] = arguments.as_slice() else {
        return Err("usage: scan RULES LOG [OUT]".into());
    };
    let out = rest.first().map_or("/dev/null", String::as_str);
    let mut text = String::from("(rules: [\n");
    for (number, pattern) in std::fs::read_to_string(rules)?.lines().enumerate() {
        text += &format!(
            "(name: \"r{number}\", on: Lines(source: \"log\", whole: true), \
             match: r##\"{pattern}\"##, do: [Forward(to: \"tcp://127.0.0.1:9\")]),\n"
        );
    }
    text += "])";
    let begin = Instant::now();
    let loaded = load(&[SourceFile::new("rules.ron", text)], &Known::default());
    let set = loaded.set.ok_or_else(|| format!("{:?}", loaded.diagnostics.first()))?;
    let now = Timestamp::UNIX_EPOCH;
    let mut machine = Machine::new(Arc::new(set), now);
    let loading = begin.elapsed();
    let mut file = File::open(log)?;
    let mut writer = BufWriter::new(File::create(out)?);
    let (mut buffer, mut kept, mut outputs) = (vec![0; 1 << 20], 0, Vec::new());
    let (mut place, mut written, mut last) = (Place::default(), 0_u64, String::new());
    let begin = Instant::now();
    loop {
        let read = file.read(&mut buffer[kept..])?;
        if read == 0 {
            break;
        }
        let filled = kept + read;
        let whole = buffer[..filled]
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let bytes = &buffer[..whole];
        let lines = Lines { source: "log", start: place, bytes, spans: None, time: None };
        machine.lines(&lines, Clock::Now(now), &mut outputs);
        for output in outputs.drain(..) {
            let Output::Fired(firing) = output else { continue };
            // One line, whichever of the rules wants it.
            let id = firing.id.rsplit_once('/').map_or("", |(id, _)| id);
            if id != last {
                last = id.to_owned();
                written += 1;
                let event = firing.event();
                writeln!(
                    writer,
                    "{}",
                    event["event"]["line"].as_str().unwrap_or_default()
                )?;
            }
        }
        place.offset += whole as u64;
        buffer.copy_within(whole..filled, 0);
        kept = filled - whole;
    }
    writer.flush()?;
    let took = begin.elapsed().as_secs_f64();
    let speed = place.offset as f64 / took / 1e6;
    println!("{written} lines, {speed:.0} MB/s, {took:.2} s; loading {loading:.2?}");
    Ok(())
}
