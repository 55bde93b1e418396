//! What every store must do.
//!
//! A store is tested with two calls: [`conforms`], with a function that makes
//! an empty store each time, and, when its content outlives the value,
//! [`persists`], with a function that opens the same one each time.

pub mod example;
mod kept;
mod letters;
mod logs;

use crate::MemoryStore;
use tripline_api::{Change, Cursor, Gap, Key, Place, Progress, State, Store};

/// Runs every case, each with a new and empty store.
///
/// # Panics
///
/// When the store does not do what it must; the message names the case.
pub fn conforms(mut make: impl FnMut() -> Box<dyn Store>) {
    for (name, case) in CASES {
        println!("case: {name}");
        case(&mut *make());
    }
}

/// Commits, closes and opens again, and compares.
///
/// `open` opens one and the same store each time, which is empty at first. A
/// store is dropped before the next is opened.
///
/// # Panics
///
/// When something was lost, invented or changed.
pub fn persists(mut open: impl FnMut() -> Box<dyn Store>) {
    let mut model = MemoryStore::new();
    for (step, changes) in example::walk(40).enumerate() {
        let mut store = open();
        assert_same(&mut *store, &mut model, &format!("opened before step {step}"));
        commit(&mut *store, &changes);
        commit(&mut model, &changes);
    }
    assert_same(&mut *open(), &mut model, "opened at the end");
}

type Case = (&'static str, fn(&mut dyn Store));

const CASES: &[Case] = &[
    ("an empty store has nothing", an_empty_store_has_nothing),
    ("every field comes back", every_field_comes_back),
    ("settling adds up", settling_adds_up),
    ("a state leaves the cursor alone", a_state_leaves_the_cursor_alone),
    ("a hand sets and settling clears", a_hand_sets_and_settling_clears),
    ("a gap moves the cursor", a_gap_moves_the_cursor),
    ("numbers keep all their bits", numbers_keep_all_their_bits),
    ("text keeps all its characters", text_keeps_all_its_characters),
    ("changes apply in order", changes_apply_in_order),
    ("a commit is all or nothing", a_commit_is_all_or_nothing),
    ("progress is ordered", progress_is_ordered),
    ("the newest gaps are kept", the_newest_gaps_are_kept),
    ("each log has a row", logs::each_log_has_a_row),
    ("a log is forgotten alone", logs::a_log_is_forgotten_alone),
    ("a path keeps all its bytes", logs::a_path_keeps_all_its_bytes),
    ("a gap of a log moves its cursor", logs::a_gap_of_a_log_moves_its_cursor),
    ("ten thousand logs are one commit", logs::ten_thousand_logs_are_one_commit),
    (
        "letters are kept until they are unfiled",
        letters::letters_are_kept_until_they_are_unfiled,
    ),
    (
        "what is set aside again is one letter",
        letters::what_is_set_aside_again_is_one_letter,
    ),
    ("what is kept is each listener's own", kept::it_is_each_listeners_own),
    ("what is kept is found by how its name begins", kept::it_is_found_by_its_prefix),
    ("what is kept comes with what is settled", kept::it_comes_with_what_is_settled),
    ("a long walk agrees with the model", a_long_walk_agrees_with_the_model),
];

fn an_empty_store_has_nothing(store: &mut dyn Store) {
    commit(store, &[]);
    assert_eq!(progress(store), []);
    assert_eq!(gaps(store), []);
}

fn every_field_comes_back(store: &mut dyn Store) {
    let key = example::key("p4", "backup");
    let cursor = example::cursor(7);
    commit(
        store,
        &[
            Change::Settled {
                key: key.clone(),
                cursor: cursor.clone(),
                entries: 5,
                last_entry: Some(1_700_000_000),
            },
            Change::State {
                key: key.clone(),
                state: State::Stopped,
                why: Some("journal.8 is missing".into()),
            },
        ],
    );
    assert_eq!(
        progress(store),
        [Progress {
            key,
            cursor: Some(cursor),
            set_by_hand: false,
            entries_settled: 5,
            last_entry: Some(1_700_000_000),
            state: State::Stopped,
            why: Some("journal.8 is missing".into()),
        }]
    );
}

fn settling_adds_up(store: &mut dyn Store) {
    let key = example::key("p4", "backup");
    let settled = |sequence, entries, last_entry| Change::Settled {
        key: key.clone(),
        cursor: example::cursor(sequence),
        entries,
        last_entry,
    };
    commit(store, &[settled(1, 2, Some(10))]);
    commit(store, &[settled(2, 3, None)]);
    let now = only(store);
    assert_eq!(now.cursor, Some(example::cursor(2)));
    assert_eq!(now.entries_settled, 5);
    assert_eq!(now.last_entry, Some(10), "what carries no time changes no time");
    commit(store, &[settled(3, 0, Some(-5))]);
    assert_eq!(only(store).last_entry, Some(-5), "the last, not the greatest");
    commit(store, &[settled(4, u64::MAX, None)]);
    assert_eq!(only(store).entries_settled, u64::MAX, "it stays at the bound");
}

fn a_state_leaves_the_cursor_alone(store: &mut dyn Store) {
    let key = example::key("p4", "backup");
    let state = |state, why: Option<&str>| Change::State {
        key: key.clone(),
        state,
        why: why.map(Into::into),
    };
    commit(store, &[state(State::Retrying, Some("no route to host"))]);
    let now = only(store);
    assert_eq!((now.cursor, now.entries_settled, now.last_entry), (None, 0, None));
    assert_eq!(now.why.as_deref(), Some("no route to host"));
    let cursor = example::cursor(1);
    let settled = Change::Settled {
        key: key.clone(),
        cursor: cursor.clone(),
        entries: 1,
        last_entry: None,
    };
    commit(store, &[settled]);
    assert_eq!(only(store).state, State::Retrying, "settling changes no state");
    for next in [State::CatchingUp, State::Following, State::Stopped] {
        commit(store, &[state(next, None)]);
        let now = only(store);
        assert_eq!((now.state, now.why), (next, None));
        assert_eq!(now.cursor.as_ref(), Some(&cursor));
    }
}

fn a_hand_sets_and_settling_clears(store: &mut dyn Store) {
    let key = example::key("p4", "backup");
    let stopped =
        Change::State { key: key.clone(), state: State::Stopped, why: Some("x".into()) };
    let cursor = Cursor::unproved(Place::start_of(0, 3));
    let set = Change::SetByHand { key: key.clone(), cursor: cursor.clone() };
    commit(store, &[stopped, set]);
    let now = only(store);
    assert!(now.set_by_hand);
    assert_eq!((now.state, now.why), (State::CatchingUp, None));
    assert_eq!(now.cursor, Some(cursor));
    let cursor = example::cursor(3);
    commit(store, &[Change::Settled { key, cursor, entries: 1, last_entry: None }]);
    assert!(!only(store).set_by_hand);
}

fn a_gap_moves_the_cursor(store: &mut dyn Store) {
    let key = example::key("p4", "backup");
    let set = Change::SetByHand { key: key.clone(), cursor: example::cursor(3) };
    let gap = example::gap(&key, 8);
    commit(store, &[set, Change::Gap { key: key.clone(), gap: gap.clone() }]);
    let now = only(store);
    assert_eq!(now.cursor, Some(Cursor::unproved(gap.to)));
    assert!(now.set_by_hand, "nothing was settled since");
    assert_eq!(gaps(store), [(key, gap)]);
}

fn numbers_keep_all_their_bits(store: &mut dyn Store) {
    let key = example::key("p4", "backup");
    for number in [0, 1, i64::MAX as u64, 1 << 63, u64::MAX] {
        let place = Place { era: number, sequence: number, offset: number, line: number };
        let mut cursor = example::cursor(number);
        cursor.place = place;
        cursor.next = Some(number);
        cursor.proof = cursor.proof.map(|mut proof| {
            proof.inode = (number, number);
            proof.modified = number.cast_signed();
            proof.head.len = u32::MAX;
            proof
        });
        let settled = Change::Settled {
            key: key.clone(),
            cursor: cursor.clone(),
            entries: 0,
            last_entry: Some(i64::MIN),
        };
        let gap = Gap {
            from: place,
            to: place,
            proof: None,
            missing: Some((number, number)),
            bytes: Some(number),
            ..example::gap(&key, 1)
        };
        commit(store, &[Change::Gap { key: key.clone(), gap: gap.clone() }, settled]);
        let now = only(store);
        assert_eq!(now.cursor, Some(cursor));
        assert_eq!(now.last_entry, Some(i64::MIN));
        assert_eq!(gaps(store).pop(), Some((key.clone(), gap)));
    }
}

fn text_keeps_all_its_characters(store: &mut dyn Store) {
    let key = example::key("p4-main_1.old", &"x".repeat(100));
    for text in
        ["", "\0", "it's \"quoted\"; DROP TABLE cursor; --", "größer\r\n\u{1b}[31m"]
    {
        let state = Change::State {
            key: key.clone(),
            state: State::Stopped,
            why: Some(text.into()),
        };
        let mut gap = example::gap(&key, 1);
        gap.why = text.into();
        gap.repair = text.into();
        commit(store, &[state, Change::Gap { key: key.clone(), gap: gap.clone() }]);
        assert_eq!(only(store).why.as_deref(), Some(text));
        assert_eq!(gaps(store).pop(), Some((key.clone(), gap)));
    }
}

fn changes_apply_in_order(store: &mut dyn Store) {
    let key = example::key("p4", "backup");
    let settled = |sequence| Change::Settled {
        key: key.clone(),
        cursor: example::cursor(sequence),
        entries: 1,
        last_entry: None,
    };
    let gap = Change::Gap { key: key.clone(), gap: example::gap(&key, 5) };
    commit(store, &[settled(1), gap.clone(), settled(2)]);
    assert_eq!(only(store).cursor, Some(example::cursor(2)));
    assert_eq!(only(store).entries_settled, 2);
    commit(store, &[settled(3), gap]);
    assert_eq!(only(store).cursor, Some(Cursor::unproved(example::gap(&key, 5).to)));
}

fn a_commit_is_all_or_nothing(store: &mut dyn Store) {
    let changes = example::changes();
    commit(store, &changes);
    let before = (progress(store), gaps(store));
    // A gap of another source than the one it is recorded for.
    let key = example::key("p4", "backup");
    let impossible =
        Change::Gap { key, gap: example::gap(&example::key("another", "backup"), 9) };
    let mut with_impossible = changes.clone();
    with_impossible.push(impossible);
    with_impossible.extend(changes.clone());
    let error = store.commit(&with_impossible).expect_err("the gap is of another source");
    assert!(error.to_string().contains("another"), "{error}");
    assert_eq!((progress(store), gaps(store)), before);
    commit(store, &changes);
    assert_eq!(gaps(store).len(), before.1.len() * 2, "it goes on after an error");
}

fn progress_is_ordered(store: &mut dyn Store) {
    let names = [("p4", "b"), ("log", "z"), ("p4", "B"), ("p4-2", "a"), ("p4", "a.b")];
    for (source, listener) in names {
        let key = example::key(source, listener);
        commit(store, &[Change::State { key, state: State::Following, why: None }]);
    }
    let keys: Vec<Key> = progress(store).into_iter().map(|one| one.key).collect();
    let mut sorted = keys.clone();
    sorted.sort();
    assert_eq!(keys, sorted);
    assert_eq!(keys.len(), names.len());
}

fn the_newest_gaps_are_kept(store: &mut dyn Store) {
    let bound = <dyn Store>::GAPS_MAX as u64;
    let (busy, calm) = (example::key("p4", "backup"), example::key("p4", "mail"));
    let gap = |key: &Key, number| Change::Gap {
        key: key.clone(),
        gap: example::gap(key, number),
    };
    commit(store, &[gap(&calm, 1)]);
    let many: Vec<Change> = (1..=bound + 2).map(|number| gap(&busy, number)).collect();
    commit(store, &many);
    commit(store, &[gap(&calm, 2)]);
    let of = |key: &Key, all: &[(Key, Gap)]| -> Vec<u64> {
        all.iter().filter(|(of, _)| of == key).map(|(_, gap)| gap.to.sequence).collect()
    };
    let all = gaps(store);
    assert_eq!(of(&busy, &all), (3..=bound + 2).collect::<Vec<_>>());
    assert_eq!(of(&calm, &all), [1, 2]);
    assert_eq!(all[0].0, calm, "oldest first, over all listeners");
}

fn a_long_walk_agrees_with_the_model(store: &mut dyn Store) {
    let mut model = MemoryStore::new();
    for (step, changes) in example::walk(200).enumerate() {
        commit(store, &changes);
        commit(&mut model, &changes);
        assert_same(store, &mut model, &format!("after step {step}"));
    }
}

fn commit(store: &mut dyn Store, changes: &[Change]) {
    store.commit(changes).expect("a sound store commits");
}

fn progress(store: &mut dyn Store) -> Vec<Progress> {
    store.progress().expect("a sound store can be read")
}

fn gaps(store: &mut dyn Store) -> Vec<(Key, Gap)> {
    store.gaps().expect("a sound store can be read")
}

/// The progress of the only listener there is.
fn only(store: &mut dyn Store) -> Progress {
    let mut all = progress(store);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn assert_same(store: &mut dyn Store, model: &mut dyn Store, when: &str) {
    assert_eq!(progress(store), progress(model), "{when}");
    assert_eq!(gaps(store), gaps(model), "{when}");
    assert_eq!(letters::letters(store), letters::letters(model), "{when}");
    assert_eq!(letters::counts(store), letters::counts(model), "{when}");
    for listener in example::LISTENERS {
        assert_eq!(kept::of(store, listener), kept::of(model, listener), "{when}");
    }
}
