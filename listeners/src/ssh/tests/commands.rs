//! Commands, over both ways.

use super::*;
use crate::ssh::testing::Access;
use std::time::Instant;

const BOUNDS: Bounds = Bounds {
    input_bytes_max: 256 * 1024,
    output_bytes_max: 4 << 20,
    time: Some(PATIENCE),
    stall: Duration::from_secs(20),
};

fn begin(ground: &Ground, way: Way, argv: &[&str], bounds: Bounds) -> Exec {
    let settings = ground.settings(way, "x").unwrap();
    let argv: Vec<String> = argv.iter().map(|&word| word.to_owned()).collect();
    let mut transport = settings.transport().unwrap();
    Exec::begin(&mut *transport, &argv, &settings, bounds).unwrap()
}

fn end(exec: &mut Exec) -> Result<Exit, Failure> {
    Ok(exec.turn(later())?.expect("an end in time"))
}

#[test]
fn input_and_output_pass_as_they_are() {
    let ground = Ground::new(Access::Commands);
    for way in WAYS {
        let mut exec = begin(&ground, *way, &["cat"], BOUNDS);
        let bytes = pattern(3 << 20);
        assert_eq!(exec.push(&bytes, later()).unwrap(), bytes.len());
        exec.end_input();
        assert_eq!(end(&mut exec).unwrap(), Exit::Status(0));
        assert!(exec.output().bytes() == bytes, "{way:?}: other bytes");
        assert_eq!(exec.output().dropped(), 0);
    }
}

#[test]
fn words_reach_the_program_as_they_are() {
    let ground = Ground::new(Access::Commands);
    let words = ["printf", "%s|", "a b", "$HOME", "'", "\\", "`id`", "", "*", "!!", "-x"];
    for way in WAYS {
        let mut exec = begin(&ground, *way, &words, BOUNDS);
        exec.end_input();
        assert_eq!(end(&mut exec).unwrap(), Exit::Status(0));
        let output = String::from_utf8_lossy(exec.output().bytes()).into_owned();
        assert_eq!(output, "a b|$HOME|'|\\|`id`||*|!!|-x|");
    }
}

#[test]
fn the_end_and_the_last_words_are_told() {
    let ground = Ground::new(Access::Commands);
    for way in WAYS {
        let script = "echo no room >&2; head -c 10000000 /dev/zero; echo end; exit 3";
        let mut exec = begin(&ground, *way, &["sh", "-c", script], BOUNDS);
        assert_eq!(end(&mut exec).unwrap(), Exit::Status(3));
        assert_eq!(exec.errors().bytes(), b"no room\n");
        let output = exec.output();
        assert_eq!(output.bytes().len(), BOUNDS.output_bytes_max);
        assert!(output.bytes().ends_with(b"\0end\n"));
        assert_eq!(output.dropped() + output.bytes().len() as u64, 10_000_004);
        // It stays so.
        assert_eq!(end(&mut exec).unwrap(), Exit::Status(3));
        assert_eq!(exec.push(b"more", later()).unwrap(), 4);
    }
}

#[test]
fn a_signal_is_told_where_it_can_be() {
    let ground = Ground::new(Access::Commands);
    for way in WAYS {
        let mut exec = begin(&ground, *way, &["sh", "-c", "kill -9 $$"], BOUNDS);
        let exit = end(&mut exec).unwrap();
        let expected = match way {
            Way::Library => Exit::Signal("KILL".into()),
            Way::Program => Exit::Unknown,
        };
        assert_eq!(exit, expected);
        let mut exec = begin(&ground, *way, &["sh", "-c", "exit 255"], BOUNDS);
        let exit = end(&mut exec).unwrap();
        assert!(matches!(exit, Exit::Status(255) | Exit::Unknown), "{exit:?}");
    }
}

#[test]
fn a_command_that_takes_nothing_is_given_up() {
    let ground = Ground::new(Access::Commands);
    for way in WAYS {
        let bounds = Bounds { stall: Duration::from_millis(500), ..BOUNDS };
        let mut exec = begin(&ground, *way, &["sleep", "1000"], bounds);
        let bytes = pattern(1 << 20);
        let failure = loop {
            let begun = Instant::now();
            match exec.push(&bytes, soon()) {
                Ok(_) => {}
                Err(failure) => break failure,
            }
            assert!(begun.elapsed() < Duration::from_secs(2));
            assert!(exec.waiting() <= bounds.input_bytes_max);
        };
        assert_eq!(failure.kind(), Kind::Stalled, "{failure}");
        drop(exec);
        let bounds = Bounds { time: Some(Duration::from_secs(1)), ..BOUNDS };
        let mut exec = begin(&ground, *way, &["sleep", "1000"], bounds);
        let failure = end(&mut exec).unwrap_err();
        assert!(failure.to_string().contains("has not ended"), "{failure}");
        drop(exec);
        ground.kill();
    }
}

#[test]
fn a_connection_that_ends_is_no_end_of_the_command() {
    let ground = Ground::new(Access::Commands);
    for way in WAYS {
        let mut exec = begin(&ground, *way, &["sh", "-c", "echo here; cat"], BOUNDS);
        while exec.output().bytes() != b"here\n" {
            assert_eq!(exec.turn(soon()).unwrap(), None);
        }
        ground.kill();
        let failure = end(&mut exec).unwrap_err();
        assert_eq!(failure.kind(), Kind::Broken, "{failure}");
    }
}

#[test]
fn an_account_for_files_runs_no_command() {
    let ground = Ground::new(Access::Files);
    for way in WAYS {
        let mut exec = begin(&ground, *way, &["cat"], BOUNDS);
        exec.end_input();
        assert_eq!(end(&mut exec).unwrap(), Exit::Status(1));
        let output = String::from_utf8_lossy(exec.output().bytes()).into_owned();
        assert!(output.contains("sftp connections only"), "{output}");
    }
}

#[test]
fn a_program_that_is_not_there_is_told() {
    let ground = Ground::new(Access::Commands);
    for way in WAYS {
        let mut exec = begin(&ground, *way, &["no-such-program"], BOUNDS);
        assert_eq!(end(&mut exec).unwrap(), Exit::Status(127));
        let errors = String::from_utf8_lossy(exec.errors().bytes()).into_owned();
        assert!(errors.contains("not found"), "{errors}");
    }
}
