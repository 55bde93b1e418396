//! A million lines are a few mails.

use super::delivery::{Office, smtp};
use super::postfix::Postfix;
use crate::site::wait_until;
use std::time::{Duration, Instant};

const LINES: usize = 1_000_000;

/// What matches in ten seconds is told by two mails, or one more where the
/// machine is slow; after a restart none of it is mailed again.
#[test]
fn a_million_lines_in_ten_seconds() {
    let postfix = Postfix::start();
    let (after, every) = (2, 8);
    let fields = format!(
        "matching: \"[0-9]\", digest: (after: \"{after}s\", every: \"{every}s\", show: 5)"
    );
    let mut office = Office::new("flood", &smtp(&postfix), &fields);
    let daemon = office.start();
    let began = Instant::now();
    for part in 1..=50_u32 {
        office.write_lines(LINES / 50);
        let until = began + Duration::from_millis(180) * part;
        wait_until(until.saturating_duration_since(Instant::now()), || false);
    }
    // One whose acceptance was lost in the kill may come again as the same.
    let mails = || postfix.distinct("flood", "ops");
    let counted = || -> u64 { mails().iter().map(|(mail, _)| mail.entries()).sum() };
    let limit = Duration::from_secs(120);
    assert!(wait_until(limit, || counted() >= LINES as u64), "{}", counted());
    let took = began.elapsed();
    let before = mails();
    let most = 1 + (took.as_secs() - after) / every;
    assert!(before.len() as u64 <= most, "{} mails in {took:?}", before.len());
    assert_eq!(counted(), LINES as u64);
    for (mail, _) in &before {
        assert_eq!(mail.body.lines().count(), 5);
        assert!(mail.header("Subject").contains("entries"));
    }
    daemon.kill();
    office.until_idle();
    assert_eq!(counted(), LINES as u64, "nothing again");
    assert_eq!(mails().len(), before.len());
    assert!(mails().iter().map(|(_, times)| times).sum::<usize>() <= before.len() + 1);
}
