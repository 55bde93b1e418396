//! What every store must do with what listeners remember.

use super::{commit, example, progress};
use tripline_api::{Change, Kept, ListenerId, Store};

pub(super) fn it_is_each_listeners_own(store: &mut dyn Store) {
    commit(
        store,
        &[keep("mail", &[("b", Some("1")), ("a", Some("")), ("b", Some("2"))])],
    );
    commit(store, &[keep("backup", &[("b", Some("3")), ("\u{0}é", Some("4"))])]);
    assert_eq!(of(store, "mail"), [kept("a", Some("")), kept("b", Some("2"))]);
    assert_eq!(of(store, "ci"), []);
    assert_eq!(progress(store), [], "it is no progress");
    let gone = [keep("mail", &[("b", None), ("c", None)]), keep("mail", &[])];
    commit(store, &gone);
    assert_eq!(of(store, "mail"), [kept("a", Some(""))]);
    let others = [kept("\u{0}é", Some("4")), kept("b", Some("3"))];
    assert_eq!(of(store, "backup"), others);
}

pub(super) fn it_is_found_by_its_prefix(store: &mut dyn Store) {
    let names = ["task", "task/1", "task/10", "task/2", "task/\u{10ffff}", "task0", "t%"];
    let all: Vec<_> = names.iter().map(|name| (*name, Some("x"))).collect();
    commit(store, &[keep("mail", &all), keep("ci", &[("task/3", Some("y"))])]);
    let mut under = |prefix: &str| {
        let kept =
            store.kept_under(&id("mail"), &[prefix]).expect("the store can be read");
        kept.into_iter().map(|it| it.name).collect::<Vec<_>>()
    };
    assert_eq!(under("task/"), ["task/1", "task/10", "task/2", "task/\u{10ffff}"]);
    assert_eq!(under("task/1"), ["task/1", "task/10"]);
    for prefix in ["run/", "t_", "task/3", "task/\u{10ffff}\u{10ffff}"] {
        assert!(under(prefix).is_empty(), "{prefix}");
    }
    assert_eq!(under("t%"), ["t%"], "no letter means another");
    assert_eq!(under("").len(), names.len());
}

pub(super) fn it_comes_with_what_is_settled(store: &mut dyn Store) {
    let key = example::key("p4", "mail");
    let cursor = example::cursor(1);
    let settled =
        Change::Settled { key: key.clone(), cursor, entries: 1, last_entry: None };
    let wrong = Change::Gap { gap: example::gap(&example::key("log", "mail"), 1), key };
    let keep = keep("mail", &[("a", Some("1"))]);
    let refused = store.commit(&[keep.clone(), settled.clone(), wrong]);
    assert!(
        refused.is_err() && of(store, "mail").is_empty() && progress(store).is_empty()
    );
    commit(store, &[settled, keep]);
    assert_eq!((of(store, "mail").len(), progress(store).len()), (1, 1));
}

fn kept(name: &str, value: Option<&str>) -> Kept {
    Kept { name: name.to_owned(), value: value.map(|it| it.as_bytes().to_vec()) }
}

fn keep(listener: &str, all: &[(&str, Option<&str>)]) -> Change {
    let kept = all.iter().map(|(name, value)| kept(name, *value)).collect();
    Change::Keep { listener: id(listener), kept }
}

fn id(listener: &str) -> ListenerId {
    ListenerId::new(listener).expect("a valid name")
}

/// What a listener remembers.
pub(super) fn of(store: &mut dyn Store, listener: &str) -> Vec<Kept> {
    store.kept(&id(listener)).expect("the store can be read")
}
