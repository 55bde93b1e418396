//! New keys are agreed on again and again while bytes go both ways.
//!
//! A few MiB unless told otherwise: `TRIPLINE_SSH_MIB=1024 cargo test --release
//! -p tripline-listeners ssh::tests::rekey -- --nocapture`.

use super::*;
use crate::ssh::testing::{Access, Plan};
use std::fs;
use std::time::Instant;

#[test]
fn nothing_is_lost_while_keys_are_renewed() {
    let mib = std::env::var("TRIPLINE_SSH_MIB").ok();
    let mib: usize = mib.map_or(12, |text| text.parse().unwrap());
    let mut plan = Plan::new(Access::Files);
    plan.config = "RekeyLimit 1M\nLogLevel DEBUG1\n".to_owned();
    let block = pattern(1 << 20);
    for way in WAYS {
        let ground = Ground::with(&plan);
        let begun = Instant::now();
        let mut sftp = ground.sftp(*way);
        let ticket = sftp.open(ground.remote("to"), Open::NEW);
        let file = wait(&mut sftp, &ticket).unwrap();
        for number in 0..mib as u64 {
            let at = number * block.len() as u64;
            assert_eq!(sftp.push(file, at, &block, later()).unwrap(), block.len());
        }
        let ticket = sftp.sync(file);
        wait(&mut sftp, &ticket).unwrap();
        assert_eq!(sftp.synced(file), (mib << 20) as u64);
        let written = begun.elapsed();
        // And back.
        let some = mib.min(12) as u64;
        let back = read(&mut sftp, file, 0..some << 20).unwrap();
        assert!(back.chunks(block.len()).all(|it| it == block), "{way:?}: read");
        drop(sftp);
        let held = fs::read(ground.local("to")).unwrap();
        assert!(held.chunks(block.len()).all(|it| it == block), "{way:?}: written");
        let keys = ground.log().matches("SSH2_MSG_NEWKEYS received").count();
        println!("{way:?}: {mib} MiB in {written:.1?}, new keys {keys} times");
        assert!(keys > mib / 2, "{way:?}: new keys {keys} times");
    }
}
