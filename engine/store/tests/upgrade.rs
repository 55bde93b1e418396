//! A database that an older program made is brought up to date, and nothing in
//! it is lost.

use rusqlite::Connection;
use tripline_api::{Change, Cursor, Digest, GapKind, Place, Proof, State, Store as _};
use tripline_store::conformance::example;
use tripline_store::{OpenError, SqliteStore};

/// What version 1 made and wrote.
const VERSION_1: &str = include_str!("../src/schema.sql");
const ROWS: &str = "
    INSERT INTO cursor VALUES
        ('p4', 'backup', 2, -1, 40, 3456, 13, 2049, -77, 256,
         x'000102030405060708090a0b0c0d0e0f', 1024,
         x'101112131415161718191a1b1c1d1e1f',
         0, 123, 1700000000, 'following', NULL, 1700000001),
        ('p4', 'mail', 0, 3, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
         1, 9, NULL, 'stopped', 'journal.8 is missing', 1700000002),
        ('p4', 'new', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
         NULL, 0, 0, NULL, 'catching_up', NULL, 1700000003);
    INSERT INTO gap VALUES
        (7, 'p4', 'mail', 'missing', 0, 7, 1, 17, 0, 9, 0, 0, 8, 8, NULL,
         'journal 8 is missing', 'put it back', 1700000004);
    PRAGMA application_id = 0x54726970;
    PRAGMA user_version = 1;";

#[test]
fn version_1_keeps_everything() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("tripline.db");
    let old = Connection::open(&file).unwrap();
    old.execute_batch(VERSION_1).unwrap();
    old.execute_batch(ROWS).unwrap();
    drop(old);
    let refused = SqliteStore::open_to_read(scratch.path()).unwrap_err();
    assert!(matches!(refused, OpenError::Version { found: 1, .. }), "{refused}");
    assert!(refused.to_string().contains("start this program's daemon once"));

    let mut store = SqliteStore::open(scratch.path()).unwrap();
    let check = |store: &mut SqliteStore| {
        let rows = store.progress().unwrap();
        assert_eq!(rows.len(), 3);
        let hash = |first: u8| std::array::from_fn(|index| first + index as u8);
        let proof = Proof {
            inode: (2049, 77_u64.wrapping_neg()),
            modified: 0,
            head: Digest { len: 256, hash: hash(0) },
            tail: Digest { len: 1024, hash: hash(0x10) },
        };
        let place = Place { era: 2, sequence: u64::MAX, line: 40, offset: 3456 };
        let cursor = Cursor { place, proof: Some(proof), next: Some(13) };
        assert_eq!(rows[0].key, example::key("p4", "backup"));
        assert_eq!(rows[0].cursor, Some(cursor));
        assert_eq!(
            (rows[0].entries_settled, rows[0].last_entry),
            (123, Some(1_700_000_000))
        );
        assert_eq!((rows[0].state, rows[0].set_by_hand), (State::Following, false));
        let cursor = Cursor::unproved(Place::start_of(0, 3));
        assert_eq!(rows[1].cursor, Some(cursor));
        assert_eq!((rows[1].state, rows[1].set_by_hand), (State::Stopped, true));
        assert_eq!(rows[1].why.as_deref(), Some("journal.8 is missing"));
        assert_eq!(rows[2].cursor, None);
        let gaps = store.gaps().unwrap();
        assert_eq!(gaps.len(), 1);
        let (key, gap) = &gaps[0];
        assert_eq!((key, &gap.log), (&example::key("p4", "mail"), &None));
        assert_eq!((gap.kind, gap.missing), (GapKind::Missing, Some((8, 8))));
        assert_eq!((gap.from.offset, gap.to.sequence), (17, 9));
    };
    check(&mut store);
    drop(store);
    let mut store = SqliteStore::open(scratch.path()).unwrap();
    check(&mut store);
    // And it takes what version 1 could not.
    let key = example::log("auth", "mail", "/var/log/auth.log");
    let settled = Change::Settled {
        key: key.clone(),
        cursor: example::cursor(1),
        entries: 1,
        last_entry: None,
    };
    store.commit(&[settled]).unwrap();
    assert_eq!(store.progress().unwrap()[0].key, key);
}
