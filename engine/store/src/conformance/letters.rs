//! What every store must do with dead letters.

use super::{commit, example, progress};
use tripline_api::{Change, Content, Filed, Key, Letter, LetterCounts, Store};

pub(super) fn letters_are_kept_until_they_are_unfiled(store: &mut dyn Store) {
    let (auth, p4) = (example::log("log", "mail", "/a\n.log"), example::key("p4", "x"));
    let wanted: Vec<_> = [(&p4, 3), (&auth, 1), (&p4, 2), (&p4, u64::MAX)]
        .map(|(key, number)| example::letter(key, number))
        .into();
    commit(store, &wanted.iter().cloned().map(Change::SetAside).collect::<Vec<_>>());
    assert_eq!(letters(store), wanted, "oldest first, every field");
    assert_eq!(progress(store), [], "they are no progress");
    let count = |counts: &LetterCounts, key: &Key| {
        counts.get(&(key.source.clone(), key.listener.clone())).copied()
    };
    let counted = counts(store);
    assert_eq!((count(&counted, &p4), count(&counted, &auth)), (Some(3), Some(1)));
    let all = filed(store);
    assert!(all.windows(2).all(|pair| pair[0].number < pair[1].number));
    let unfile = |filed: &Filed, key| Change::Unfile { key, number: filed.number };
    commit(store, &[unfile(&all[1], p4.clone())]);
    assert_eq!(filed(store).len(), 4, "the key says whose letter it is");
    commit(store, &[unfile(&all[1], auth), unfile(&all[3], p4.clone())]);
    assert_eq!(letters(store), [wanted[0].clone(), wanted[2].clone()]);
    commit(store, &[Change::SetAside(example::letter(&p4, 9))]);
    let newest = filed(store).pop().expect("it was just set aside").number;
    assert!(newest > all[3].number, "no number is given twice");
}

pub(super) fn what_is_set_aside_again_is_one_letter(store: &mut dyn Store) {
    let key = example::key("p4", "mail");
    let first =
        Letter { content: Content::Entry(b"one\n".into()), ..example::letter(&key, 1) };
    let again = Letter { why: "550 no".into(), attempts: 3, ..first.clone() };
    let made = Letter { content: Content::Made(b"one".into()), ..first.clone() };
    for letter in [&first, &made, &again] {
        commit(store, &[Change::SetAside(letter.clone())]);
    }
    let both = Letter { attempts: first.attempts + 3, ..again };
    assert_eq!(letters(store), [both, made]);
}

pub(super) fn filed(store: &mut dyn Store) -> Vec<Filed> {
    store.letters().expect("a sound store can be read")
}

pub(super) fn counts(store: &mut dyn Store) -> LetterCounts {
    store.letter_counts().expect("a sound store can be read")
}

/// Without number and time, which no two stores have in common.
pub(super) fn letters(store: &mut dyn Store) -> Vec<Letter> {
    filed(store).into_iter().map(|filed| filed.letter).collect()
}
