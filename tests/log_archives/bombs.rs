//! Archives made to do harm: little that decompresses to gigabytes.

use super::tools::TOOLS;
use crate::logs::ground::{Disk, Ground, PATIENCE, Running, Watch, on_these};
use crate::logs::lines::Writer;
use crate::site::wait_until;
use std::fs;
use std::time::{Duration, Instant};

/// The daemon may have this much memory, in KiB: 256 MiB.
const MEMORY_MAX: u64 = 256 << 10;

/// How long each of some lines takes from being written to being printed, the
/// shortest first; and the most memory seen meanwhile, in KiB.
fn latencies(
    ground: &Ground,
    running: &Running<'_>,
    writer: &mut Writer,
    mut is_over: impl FnMut(usize) -> bool,
) -> (Vec<Duration>, u64) {
    let (mut all, mut memory) = (Vec::new(), 0);
    while !is_over(all.len()) {
        let began = Instant::now();
        writer.write(1);
        ground.wait_for(&[&*writer]);
        all.push(began.elapsed());
        memory = memory.max(running.memory());
    }
    all.sort();
    (all, memory)
}

/// Bombs of all formats, 10 GiB of zeros each, one line that never ends. They
/// cost what the configuration allows and no more; each is a gap that names the
/// limit; and a log beside them is read as fast as before.
#[test]
fn bombs() {
    on_these(&[(Disk::Memory, Watch::Poll), (Disk::Real, Watch::Events)], |ground| {
        let source = r#"paths: ["logs/*.log"], archive_bytes_max: 67108864"#;
        ground.configure(source, None);
        let mut writer = Writer::new(1, &ground.log("beside.log"));
        writer.write(1);
        let running = ground.start();
        ground.wait_for(&[&writer]);
        let (calm, _) = latencies(ground, &running, &mut writer, |count| count == 60);
        for tool in TOOLS {
            let part = tool.compressed(&vec![0; 64 << 20]);
            let bomb = part.repeat(160);
            assert!(bomb.len() < 64 << 20, "{}: {}", tool.name, bomb.len());
            let name = format!("{}.log", tool.name);
            fs::write(ground.log(&format!("{name}.1.{}", tool.suffix)), bomb).unwrap();
            fs::write(ground.log(&name), "behind the bomb\n").unwrap();
        }
        let words = "decompresses to more than 67108864 bytes, the limit";
        let is_over = |count: usize| {
            count >= 60 && ground.said().matches(words).count() >= TOOLS.len()
        };
        let began = Instant::now();
        let (busy, memory) = latencies(ground, &running, &mut writer, |count| {
            assert!(began.elapsed() < PATIENCE, "{ground}: {}", ground.said());
            is_over(count)
        });
        assert!(memory < MEMORY_MAX, "{ground}: {memory} KiB");
        // On a busy machine single lines are late whatever is read.
        let most = |all: &[Duration]| all[all.len() * 9 / 10];
        let (calm, busy) = (most(&calm), most(&busy));
        let spare = Duration::from_millis(100);
        assert!(busy < 2 * calm + spare, "{ground}: {busy:?} instead of {calm:?}");
        let is_behind = || {
            let texts = ground.printed();
            let is_it = |text: &String| text == "behind the bomb";
            texts.iter().filter_map(|it| it.utf8()).filter(is_it).count() == TOOLS.len()
        };
        assert!(wait_until(PATIENCE, is_behind), "{ground}: the logs go on");
        let damaged = ground.gaps().iter().filter(|gap| gap.kind() == "damaged").count();
        assert_eq!(damaged, TOOLS.len(), "{ground}");
        running.stop();
    });
}

/// What decompresses to more than a thousand times its size is given up after
/// the first gibibyte, without any configuration.
#[test]
fn a_bomb_is_told_by_its_ratio() {
    on_these(&[(Disk::Memory, Watch::Events)], |ground| {
        ground.configure(r#"paths: ["logs/*.log"]"#, None);
        let zstd = TOOLS[1];
        let bomb = zstd.compressed(&vec![0; 64 << 20]).repeat(160);
        fs::write(ground.log("app.log.1.zst"), bomb).unwrap();
        let mut writer = Writer::new(1, &ground.log("app.log"));
        writer.write(10);
        let mut beside = Writer::new(2, &ground.log("beside.log"));
        beside.write(10);
        let running = ground.start();
        ground.wait_for(&[&beside]);
        let (_, memory) = latencies(ground, &running, &mut beside, |_| {
            ground.said().contains("more than 1000 times its size")
        });
        assert!(memory < MEMORY_MAX, "{memory} KiB");
        ground.wait_for(&[&writer]);
        running.stop();
    });
}
