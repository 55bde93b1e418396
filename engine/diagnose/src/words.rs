//! Words for people: lists, and what they may have meant.

/// The candidate that `word` most likely is a misspelling of.
pub fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // Longer words deserve two slips, shorter ones would match anything.
    let allowed = if word.chars().count() > 4 { 2 } else { 1 };
    candidates
        .into_iter()
        .map(|candidate| {
            (distance(&word.to_lowercase(), &candidate.to_lowercase()), candidate)
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `` `a`, `b` and `c` ``.
pub fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    joined(words, "and")
}

/// `` `a`, `b` or `c` ``.
pub fn alternatives<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    joined(words, "or")
}

fn joined<'a>(words: impl IntoIterator<Item = &'a str>, last_by: &str) -> String {
    let mut quoted: Vec<String> =
        words.into_iter().map(|word| format!("`{word}`")).collect();
    match quoted.pop() {
        None => String::new(),
        Some(last) if quoted.is_empty() => last,
        Some(last) => format!("{} {last_by} {last}", quoted.join(", ")),
    }
}

/// How many characters must be changed, added, taken away or swapped with
/// their neighbour to make one word the other.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(WORD_CHARS_MAX).collect();
    let b: Vec<char> = b.chars().take(WORD_CHARS_MAX).collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if swapped {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// Longer words are compared by their beginning: nobody chose them by hand.
const WORD_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_understood() {
        let kinds = ["Journal", "Log"];
        assert_eq!(did_you_mean("Jornal", kinds), Some("Journal"));
        assert_eq!(did_you_mean("Journla", kinds), Some("Journal"));
        assert_eq!(did_you_mean("journal", kinds), Some("Journal"));
        assert_eq!(did_you_mean("Lag", kinds), Some("Log"));
        assert_eq!(did_you_mean("Mail", kinds), None);
        assert_eq!(did_you_mean("", kinds), None);
    }

    #[test]
    fn distances() {
        assert_eq!(distance("abcd", "abdc"), 1, "swapped");
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn lists() {
        assert_eq!(list([]), "");
        assert_eq!(list(["a"]), "`a`");
        assert_eq!(list(["a", "b", "c"]), "`a`, `b` and `c`");
    }
}
