//! Many rotations leave nothing behind: no descriptors, no memory, no cursors.

use super::ground::{Ground, PATIENCE, Watch, on_each};
use super::lines::Writer;
use crate::site::wait_until;
use std::fs;

/// Two thousand rotations in total, not ten thousand; the first ones fill what is
/// kept for later.
const FIRST: u64 = 60;
const ALL: u64 = 500;

/// How many rotated files are kept: so many rotations the daemon may be behind.
const KEPT: u64 = 20;

/// A log is rotated by `logrotate` as fast as the daemon keeps up. Descriptors
/// stay the same within two, memory grows by less than a twentieth and the
/// store by nothing to speak of; and no line is missing.
#[test]
fn rotations_leave_nothing_behind() {
    on_each(|ground| {
        ground.configure(r#"paths: ["logs/*.log"]"#, None);
        let mut running = ground.start();
        let mut writer = Writer::new(1, &ground.log("app.log"));
        let rotate = |writer: &mut Writer, count: u64| {
            for rotation in 0..count {
                writer.write(10);
                // By polling it takes a tenth of a second to be seen.
                let stride = if ground.watch == Watch::Poll { KEPT / 2 } else { 3 };
                if rotation % stride == 0 {
                    ground.wait_for(&[writer]);
                }
                let directives =
                    format!("rotate {KEPT}\ncreate\ncompress\ndelaycompress");
                ground.logrotate("app.log", &directives);
                writer.reopen(&ground.log("app.log"));
            }
            writer.write(10);
            ground.wait_for(&[writer]);
            ground.wait_until_settled();
        };
        rotate(&mut writer, FIRST);
        let before = (running.descriptors(), running.memory(), stored(ground));
        rotate(&mut writer, ALL - FIRST);
        let is_back = || running.descriptors().abs_diff(before.0) <= 2;
        assert!(wait_until(PATIENCE, is_back), "{ground}: {}", running.descriptors());
        let memory = running.memory();
        let grown = memory.saturating_sub(before.1);
        assert!(grown * 20 < before.1, "{ground}: {} and then {memory} KiB", before.1);
        running.assert_alive();
        running.stop();
        let stored = stored(ground);
        assert!(stored <= before.2 + 64 * 1024, "{ground}: {} to {stored}", before.2);
        ground.assert_printed(&[&writer]);
        assert_eq!(ground.gaps().len(), 0, "{ground}");
        assert_eq!(ground.places().len(), 1, "{ground}");
        assert_eq!(ground.said(), "", "{ground}");
    });
}

/// How many bytes the state directory has, but for what is about to be written
/// into the store, which comes and goes.
fn stored(ground: &Ground) -> u64 {
    let files = fs::read_dir(ground.out("state")).unwrap().flatten();
    let files = files.filter(|file| !file.file_name().to_string_lossy().contains("-wal"));
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum()
}
