//! The files that a pattern names now, for who does not follow them.

use super::{PatternError, Patterns};
use std::io;
use std::path::{Path, PathBuf};

/// The files that patterns of paths name now.
#[derive(Debug, Default)]
pub struct FoundFiles {
    /// Their absolute paths, as the pattern leads to them, in order and each once. What a
    /// pattern without wildcards names may be no regular file.
    pub files: Vec<PathBuf>,
    /// Directories that cannot be looked into, and why.
    pub troubles: Vec<(PathBuf, io::Error)>,
    /// There are more files, or more directories to look into, than was asked for.
    pub is_cut: bool,
}

/// The files that a pattern of paths names now: as in the `paths` of a `Log`, with `*`,
/// `?`, `[a-z]`, `{a,b}` and `**`; a relative one starts at `directory`. Looks for at
/// most `files_max` files.
///
/// # Errors
///
/// When the pattern cannot be read: a sentence that says how to write it.
pub fn find_files(
    directory: &Path,
    pattern: &str,
    files_max: usize,
) -> Result<FoundFiles, String> {
    let patterns = Patterns::new(directory, &[pattern.to_owned()], &[])
        .map_err(|error: PatternError| error.problem)?;
    let mut found = FoundFiles::default();
    let mut walk = patterns.walk();
    for looked in 0.. {
        let Some(listed) = walk.step() else { break };
        match listed.entries {
            Ok(entries) => found.files.extend(entries.into_iter().map(|it| it.path)),
            Err(error) => found.troubles.push((listed.directory, error)),
        }
        if found.files.len() > files_max || looked >= LOOKED_MAX {
            found.files.truncate(files_max);
            found.is_cut = true;
            break;
        }
    }
    found.files.sort();
    found.files.dedup();
    Ok(found)
}

/// The most directories that are looked into.
const LOOKED_MAX: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_in_order_and_up_to_a_bound() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["b.ron", "a.ron", "c.txt", ".hidden.ron"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        std::fs::create_dir(directory.path().join("d.ron")).unwrap();
        let names = |pattern: &str, most| {
            let found = find_files(directory.path(), pattern, most).unwrap();
            let name =
                |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
            (found.files.iter().map(name).collect::<Vec<_>>(), found.is_cut)
        };
        assert_eq!(names("*.ron", 10), (vec!["a.ron".into(), "b.ron".into()], false));
        assert_eq!(names("{b,a,a}.ron", 10).0, ["a.ron", "b.ron"]);
        assert_eq!(names("*", 1), (vec!["a.ron".into()], true));
        assert_eq!(names("nosuch/*.ron", 1), (vec![], false));
        assert!(
            find_files(directory.path(), "a[", 1).unwrap_err().contains("without its")
        );
    }
}
