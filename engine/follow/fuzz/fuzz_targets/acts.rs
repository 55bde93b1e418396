//! What a fuzzer's input stands for: a log, and how it is read.

use crate::naive::{Act, Rule, check};
use tripline_follow::log::lines::End;

/// The first byte chooses the longest line and whether the log may have a long
/// stretch without a line feed (that is slow), the second how lines are joined and
/// how much of the log was read before, the third counts the acts; the acts
/// follow, and the rest is the log.
pub fn run(data: &[u8], rules: &[Rule]) {
    let [longest, choice, count, rest @ ..] = data else { return };
    let max = LONGEST[usize::from(*longest) % LONGEST.len()];
    let rule = rules[usize::from(*choice) % rules.len()];
    let count = usize::from(*count % 64).min(rest.len());
    let (acts, text) = rest.split_at(count);
    let acts: Vec<_> = acts.iter().copied().map(act).collect();
    let text = log(text, *longest >= 128);
    let before = usize::from(*choice / 8).min(text.len());
    check(&text[..before], &text[before..], max, rule, &acts);
}

const LONGEST: [usize; 8] = [1, 2, 3, 7, 20, 4096, 5000, 100_000];

fn act(byte: u8) -> Act {
    let (kind, count) = (byte % 8, usize::from(byte / 8));
    match kind {
        0..=2 => Act::Read(1 + count),
        3 => Act::Read(1 + count * 10_000),
        4 => Act::Take(End::Open),
        5 => Act::Take(End::Preview),
        6 => Act::Take(End::GroupOver),
        _ => Act::TakeOne,
    }
}

/// The bytes as they are, but the first 254, if it may, stands with the number
/// behind it for a long stretch without a line feed.
fn log(bytes: &[u8], may_stretch: bool) -> Vec<u8> {
    let stretch = bytes.iter().position(|b| *b == 254 && may_stretch);
    let Some(at) = stretch else { return bytes.to_vec() };
    let len = usize::from(*bytes.get(at + 1).unwrap_or(&0)) * 2048;
    let digit = |i: usize| b'0' + (i.wrapping_mul(0x9e37_79b9) >> 13) as u8 % 64;
    let stretch: Vec<u8> = (0..len).map(digit).collect();
    let behind = bytes.get(at + 2..).unwrap_or_default();
    [&bytes[..at], &stretch, behind].concat()
}
