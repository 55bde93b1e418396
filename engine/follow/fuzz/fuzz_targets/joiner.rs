//! Joined lines come out as the rule has it, however their bytes come in.

#![no_main]

mod acts;
#[path = "../../tests/log_lines/naive.rs"]
#[expect(dead_code, reason = "lines by themselves are for the other target")]
mod naive;

use libfuzzer_sys::fuzz_target;
use naive::Rule;

const RULES: [Rule; 3] = [Rule::Indent, Rule::Digit, Rule::EndsWithB];

fuzz_target!(|data: &[u8]| acts::run(data, &RULES));
