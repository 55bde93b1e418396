//! What every store must do with the logs of a source.

use super::{commit, example, gaps, only, progress};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use tripline_api::{Change, Cursor, Key, Place, Proof, State, Store};

fn settled(key: &Key, sequence: u64) -> Change {
    Change::Settled {
        key: key.clone(),
        cursor: example::cursor(sequence),
        entries: sequence,
        last_entry: None,
    }
}

pub(super) fn each_log_has_a_row(store: &mut dyn Store) {
    let source = example::key("log", "mail");
    let (a, b) = (example::log("log", "mail", "/a"), example::log("log", "mail", "/b"));
    let state = Change::State { key: source.clone(), state: State::Following, why: None };
    commit(store, &[settled(&b, 2), settled(&a, 1), state]);
    commit(store, &[settled(&a, 3)]);
    let rows = progress(store);
    let found: Vec<_> = rows
        .iter()
        .map(|row| (&row.key, row.cursor.as_ref().map(|c| c.place.sequence)))
        .collect();
    assert_eq!(found, [(&source, None), (&a, Some(3)), (&b, Some(2))]);
    assert_eq!(rows[1].entries_settled, 4);
    assert_eq!((rows[0].state, rows[1].state), (State::Following, State::CatchingUp));
}

pub(super) fn a_log_is_forgotten_alone(store: &mut dyn Store) {
    let source = example::key("log", "mail");
    let (a, b) = (example::log("log", "mail", "/a"), example::log("log", "mail", "/b"));
    let gap = Change::Gap { key: a.clone(), gap: example::gap(&a, 1) };
    commit(store, &[settled(&source, 1), settled(&a, 2), settled(&b, 3), gap]);
    let never_known = example::log("log", "mail", "/c");
    commit(
        store,
        &[Change::Forget { key: a.clone() }, Change::Forget { key: never_known }],
    );
    let keys: Vec<_> = progress(store).into_iter().map(|row| row.key).collect();
    assert_eq!(keys, [source, b]);
    assert_eq!(gaps(store).len(), 1, "what was announced was announced");
    commit(store, &[settled(&a, 7)]);
    let back = progress(store).into_iter().find(|row| row.key == a);
    assert_eq!(back.map(|row| row.entries_settled), Some(7), "it begins anew");
}

pub(super) fn a_path_keeps_all_its_bytes(store: &mut dyn Store) {
    let every: Vec<u8> = (1..=255).collect();
    for path in [
        b"/var/log/\xff\xfe not utf-8".as_slice(),
        b"relative",
        b"/it's \"quoted\"; DROP TABLE cursor; --\n\x1b[31m",
        &every,
        &[b'x'; 4096],
    ] {
        let key = example::log("log", "mail", OsStr::from_bytes(path));
        let gap = example::gap(&key, 1);
        commit(store, &[Change::Gap { key: key.clone(), gap: gap.clone() }]);
        commit(store, &[settled(&key, 1)]);
        assert_eq!(only(store).key, key, "{}", path.escape_ascii());
        assert_eq!(gaps(store).pop(), Some((key.clone(), gap)));
        commit(store, &[Change::Forget { key }]);
    }
}

pub(super) fn a_gap_of_a_log_moves_its_cursor(store: &mut dyn Store) {
    let (a, b) = (example::log("log", "mail", "/a"), example::log("log", "mail", "/b"));
    let mut gap = example::gap(&a, 5);
    gap.proof = Some(Proof::new((1, 2), b"head", b"tail"));
    commit(store, &[settled(&b, 2), Change::Gap { key: a, gap: gap.clone() }]);
    let rows = progress(store);
    let cursor = Cursor { place: gap.to, proof: gap.proof.clone(), next: None };
    assert_eq!(rows[0].cursor, Some(cursor), "with its proof");
    assert_eq!(rows[1].cursor, Some(example::cursor(2)));
    let of_another = Change::Gap { key: b, gap };
    store.commit(&[of_another]).expect_err("the gap is of another log");
}

pub(super) fn ten_thousand_logs_are_one_commit(store: &mut dyn Store) {
    const LOGS: u64 = 10_000;
    let changes: Vec<_> = (0..LOGS)
        .map(|number| {
            let path = format!("/var/log/containers/pod-{number:05}/current.log");
            let key = example::log("log", "mail", path);
            let place = Place { era: (1 << 48) - 1 - number, ..Place::default() };
            let cursor = Cursor { place, ..example::cursor(number) };
            Change::Settled { key, cursor, entries: 1, last_entry: Some(1) }
        })
        .collect();
    for _ in 0..3 {
        commit(store, &changes);
    }
    let rows = progress(store);
    assert_eq!(rows.len() as u64, LOGS);
    for (row, change) in rows.iter().zip(&changes) {
        let Change::Settled { key, cursor, .. } = change else { continue };
        assert_eq!((&row.key, row.cursor.as_ref()), (key, Some(cursor)));
        assert_eq!(row.entries_settled, 3);
    }
}
