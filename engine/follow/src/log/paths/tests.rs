use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use tempfile::TempDir;

fn patterns(directory: &Path, paths: &[&str], exclude: &[&str]) -> Patterns {
    let owned = |patterns: &[&str]| patterns.iter().map(ToString::to_string).collect();
    let (paths, exclude): (Vec<_>, Vec<_>) = (owned(paths), owned(exclude));
    Patterns::new(directory, &paths, &exclude).unwrap()
}

#[test]
fn links_before_wildcards_lead_elsewhere() {
    let base = tree(&["real/a.log", "real/sub/", "other/b.log"]);
    let at = |name: &str| base.path().canonicalize().unwrap().join(name);
    symlink("real", at("link")).unwrap();
    symlink("other/b.log", at("b.log")).unwrap();
    let all = patterns(base.path(), &["link/x.log", "link/su*/*.log", "b.log"], &["*_*"]);
    for name in ["real/x.log", "real/sub/new.log", "other/b.log"] {
        assert!(!all.matches(&at(name)) && all.lead_to(&at(name)), "{name}");
    }
    for name in ["real/a.log", "real", "other/x.log", "real/sub/_.log", "x.log"] {
        assert!(!all.lead_to(&at(name)), "{name}");
    }
    assert!(patterns(Path::new("/"), &["*/x"], &[]).lead_to(Path::new("/a/x")));
}

/// Makes files, and directories of names that end in a slash.
fn tree(names: &[&str]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for name in names {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if name.ends_with('/') {
            fs::create_dir_all(path).unwrap();
        } else {
            fs::write(path, name).unwrap();
        }
    }
    directory
}

fn listed(patterns: &Patterns) -> Vec<Listed> {
    let mut walk = patterns.walk();
    let listed: Vec<_> = std::iter::from_fn(|| walk.step()).collect();
    let directories: BTreeSet<_> = listed.iter().map(|it| &it.directory).collect();
    assert_eq!(directories.len(), listed.len(), "each directory once");
    listed
}

/// Paths that a walk finds, from `base` on.
fn found(base: &TempDir, patterns: &Patterns) -> Vec<String> {
    let entries = listed(patterns).into_iter().flat_map(|it| it.entries.unwrap());
    entries.map(|entry| relative(base, &entry.path)).collect()
}

fn relative(base: &TempDir, path: &Path) -> String {
    path.strip_prefix(base.path()).unwrap().to_str().unwrap().to_owned()
}

/// The directories below `base` that a walk says to watch.
fn watched(base: &TempDir, patterns: &Patterns) -> Vec<String> {
    let worth = listed(patterns).into_iter().filter(|it| it.is_worth_watching);
    let below = worth.filter(|it| it.directory.starts_with(base.path()));
    below.map(|it| relative(base, &it.directory)).collect()
}

#[test]
fn patterns_match_as_in_a_shell() {
    for (pattern, path, expected) in [
        ("/l/*.log", "/l/app.log", true),
        ("/l/*.log", "/l/.app.log", false),
        ("/l/.*.log", "/l/.app.log", true),
        ("/l/*.log", "/l/a/app.log", false),
        ("/l/*.log", "/l/app.log.1", false),
        ("/l/*.log", "l/app.log", false),
        ("/l/*/app.log", "/l/a/app.log", true),
        ("/l/*/app.log", "/l/.a/app.log", false),
        ("/l/*/app.log", "/l/app.log", false),
        ("/l/?.log", "/l/a.log", true),
        ("/l/?.log", "/l/ab.log", false),
        ("/l/?log", "/l/.log", false),
        ("/l/[a-c].log", "/l/b.log", true),
        ("/l/[!a-c].log", "/l/b.log", false),
        ("/l/[!a-c]log", "/l/.log", false),
        ("/l/{a,b/c}.log", "/l/b/c.log", true),
        ("/l/{a,b/c}.log", "/l/b.log", false),
        ("/l/**/app.log", "/l/app.log", true),
        ("/l/**/app.log", "/l/a/b/c/app.log", true),
        ("/l/**/app.log", "/l/a/.b/c/app.log", false),
        ("/l/**/a/**/b", "/l/a/x/a/y/z/b", true),
        ("/l/**/a/**/b", "/l/x/y/b", false),
        ("/l/**", "/l/a/b", true),
        ("/l/**", "/l/.b", false),
        ("/l/**", "/l", false),
        ("**/b", "/base/c/d/b", true),
        ("**/b", "/b", false),
        ("b", "/base/b", true),
        ("./b//c", "/base/./b/c", true),
        ("../b", "/base/../b", true),
        ("/l/*", "/l/with\nfeed", true),
        ("/l/\\*[*]", "/l/**", true),
        ("/l/\\*[*]", "/l/ab", false),
    ] {
        let patterns = patterns(Path::new("/base"), &[pattern], &[]);
        assert_eq!(patterns.matches(Path::new(path)), expected, "{pattern} {path}");
    }
    let name = Path::new(OsStr::from_bytes(b"/l/\xff\xfe.log"));
    assert!(patterns(Path::new("/"), &["/l/*.log"], &[]).matches(name));
    assert!(!patterns(Path::new("/"), &["/l/*.log"], &["*.log"]).matches(name));
}

#[test]
fn the_first_pattern_counts() {
    let patterns = patterns(
        Path::new("/w"),
        &["/l/b.log", "/l/*.log", "{x,/l/b.log,y}", "x", "z"],
        &["/l/no.log", "z"],
    );
    for (path, order) in [
        ("/l/b.log", 0),
        ("/l/a.log", 1),
        ("/w/x", 2),
        ("/l/no.log", 5),
        ("/w/z", 5),
        ("/", 5),
    ] {
        assert_eq!(patterns.order(Path::new(path)), order, "{path}");
    }
    let literals = ["/l/b.log", "/w/x", "/w/y"].map(PathBuf::from);
    assert_eq!(patterns.literals(), literals);
}

#[test]
fn excluded_are_names_and_whole_paths() {
    let exclude =
        ["*.gz", "debug.log", "/l/old", "/l/{a,b}/tmp*", "rel/x", "**/cache/**"];
    let some = patterns(Path::new("/w"), &["/l/**", "/l/.*", "**"], &exclude);
    for (path, expected) in [
        ("/l/app.log", true),
        ("/l/app.log.gz", false),
        ("/l/.app.log.gz", false),
        ("/l/x/debug.log", false),
        ("/l/debug.log/a", true),
        ("/l/x/y/debug.log.1", true),
        ("/l/old", false),
        ("/l/old/x", false),
        ("/l/older", true),
        ("/l/a/tmp1/x", false),
        ("/l/c/tmp1/x", true),
        ("/w/rel/x", false),
        ("/w/rel/y", true),
        ("/l/rel/x", true),
        ("/l/x/cache/y", false),
        ("/l/cache", true),
    ] {
        assert_eq!(some.matches(Path::new(path)), expected, "{path}");
    }
    assert!(!some.concerns_directory(Path::new("/l/old")));
    assert!(!some.concerns_directory(Path::new("/l/old/x")));
    for all in ["*", "**", "/**", "**/*"] {
        let nothing = patterns(Path::new("/w"), &["/l/**", "/l/.a"], &[all]);
        assert!(!nothing.matches(Path::new("/l/a/b")), "{all}");
        assert!(nothing.literals().is_empty(), "{all}");
    }
}

#[test]
fn directories_in_which_a_match_can_come() {
    let patterns = patterns(Path::new("/w"), &["/l/*/app/a.log", "/t/**/x"], &[]);
    for (directory, expected) in [
        ("/", true),
        ("/l", true),
        ("/l/a", true),
        ("/l/.a", false),
        ("/l/a/app", true),
        ("/l/a/lib", false),
        ("/l/a/app/a.log", false),
        ("/t/a/b/c", true),
        ("/t/a/.b/c", false),
        ("/w", false),
        ("l", false),
    ] {
        let concerns = patterns.concerns_directory(Path::new(directory));
        assert_eq!(concerns, expected, "{directory}");
    }
    let deep = |depth| PathBuf::from(format!("/t{}", "/d".repeat(depth - 1)));
    assert!(patterns.concerns_directory(&deep(DEPTH_MAX)));
    assert!(patterns.matches(&deep(DEPTH_MAX).join("x")));
    assert!(!patterns.concerns_directory(&deep(DEPTH_MAX + 1)));
    assert!(!patterns.matches(&deep(DEPTH_MAX + 1).join("x")));
}

#[test]
fn a_wrong_pattern_is_named() {
    let new = |paths: &[&str], exclude: &[&str]| {
        let owned =
            |patterns: &[&str]| patterns.iter().map(ToString::to_string).collect();
        let (paths, exclude): (Vec<_>, Vec<_>) = (owned(paths), owned(exclude));
        Patterns::new(Path::new("/w"), &paths, &exclude).unwrap_err().to_string()
    };
    assert_eq!(
        new(&["/l/a", "/l/[a"], &[]),
        "the path pattern \"/l/[a\" cannot be used: a `[` without its `]`; write `\\[` \
         for the character itself"
    );
    assert!(new(&["/l/[z-a]"], &[]).contains("\"/l/[z-a]\""));
    assert!(new(&["/l/[z-a]"], &[]).contains("range"));
    assert!(new(&["/l/a"], &["/l/"]).contains("\"/l/\""));
    assert!(new(&["/l/a"], &["{"]).contains("\"{\""));
}

#[test]
fn a_walk_finds_what_is_there() {
    let base = tree(&[
        "a/app.log",
        "a/app.log.1",
        "a/.hid.log",
        "b/app.log",
        "b/c/app.log",
        "b/c/d/app.log",
        ".h/app.log",
        "top.log",
        "dir.log/inner.log",
        "we[i]rd {name}*.log",
        "z/",
    ]);
    for (paths, exclude, expected) in [
        (&["*.log"][..], &[][..], &["top.log", "we[i]rd {name}*.log"][..]),
        (&["top.log"], &[], &["top.log"]),
        (&["dir.log"], &[], &["dir.log"]),
        (&["*/app.log"], &[], &["a/app.log", "b/app.log"]),
        (
            &["**/app.log"],
            &[],
            &["a/app.log", "b/app.log", "b/c/app.log", "b/c/d/app.log"],
        ),
        (&["b/**"], &[], &["b/app.log", "b/c/app.log", "b/c/d/app.log"]),
        (&["b/**"], &["b/c"], &["b/app.log"]),
        (&["a/*", "a/app*", "a/app.log"], &["*.1"], &["a/app.log"]),
        (&["a/.*"], &[], &["a/.hid.log"]),
        (&["{a,b,none}/app.log", "none"], &[], &["a/app.log", "b/app.log"]),
        (&[r"we\[i\]rd \{name\}\*.log"], &[], &["we[i]rd {name}*.log"]),
        (&["we[[]i[]]rd [{]name[}][*].log"], &[], &["we[i]rd {name}*.log"]),
        (&["*/inner.log", "dir.log/inner.log"], &[], &["dir.log/inner.log"]),
        (&["a/../b/app.log"], &[], &["a/../b/app.log"]),
        (&["top.log/app.log", "top.log/*"], &[], &[]),
        (&[], &[], &[]),
    ] {
        let patterns = patterns(base.path(), paths, exclude);
        assert_eq!(found(&base, &patterns), expected, "{paths:?} {exclude:?}");
    }
}

#[test]
fn entries_say_what_the_directory_knows() {
    let base = tree(&["a.log"]);
    symlink("nowhere", base.path().join("b.log")).unwrap();
    let entry = |name: &str, is_symlink| {
        let path = base.path().join(name);
        let inode = fs::symlink_metadata(&path).unwrap().ino();
        Found { path, is_symlink, inode }
    };
    let expected = [entry("a.log", false), entry("b.log", true)];
    for paths in [&["*.log"][..], &["b.log", "a.log"]] {
        let listed = listed(&patterns(base.path(), paths, &[])).into_iter();
        let found: Vec<_> = listed.flat_map(|it| it.entries.unwrap()).collect();
        assert_eq!(found, expected, "{paths:?}");
    }
}

#[test]
fn only_directories_that_can_match_are_listed() {
    let base = tree(&["a/x/app.log", "a/y/other", "b/x/app.log", "c.d/deep/er/x"]);
    let patterns =
        patterns(base.path(), &["[ab]/x/app.log", "b/x/*", "none/at/all/*"], &[]);
    let looked_into = listed(&patterns).into_iter().map(|it| it.directory);
    let below = looked_into.filter(|it| it.starts_with(base.path()));
    let below: Vec<_> = below.map(|it| relative(&base, &it)).collect();
    assert_eq!(below, ["", "a", "a/x", "b", "b/x"]);
}

#[test]
fn directories_are_watched_where_a_match_can_come() {
    let base = tree(&["a/b/app.log", "c/"]);
    for (paths, expected) in [
        (&["a/b/app.log"][..], &["a/b"][..]),
        (&["a/b/new.log"], &["a/b"]),
        (&["a/new/app.log"], &["a"]),
        (&["new/app.log"], &[""]),
        (&["a/*/app.log"], &["a", "a/b"]),
        (&["*/b/app.log"], &["", "a/b", "c"]),
        (&["**/app.log"], &["", "a", "a/b", "c"]),
    ] {
        let patterns = patterns(base.path(), paths, &[]);
        assert_eq!(watched(&base, &patterns), expected, "{paths:?}");
    }
    // A link that may soon lead elsewhere.
    symlink("a", base.path().join("current")).unwrap();
    let patterns = patterns(base.path(), &["current/b/app.log"], &[]);
    assert_eq!(watched(&base, &patterns), ["", "current/b"]);
    assert_eq!(found(&base, &patterns), ["current/b/app.log"]);
}

#[test]
fn links_are_followed_where_a_name_stands_for_them() {
    let base = tree(&["real/app.log", "real/sub/app.log"]);
    let link = |to: &str, name: &str| symlink(to, base.path().join(name)).unwrap();
    link("real", "link");
    link("..", "real/up");
    link("self", "self");
    link("app.log", "real/also.log");
    link("sub", "real/sub.log");
    link("gone", "real/gone.log");
    for (paths, expected) in [
        (&["*/app.log"][..], &["link/app.log", "real/app.log"][..]),
        (&["link/app.log"], &["link/app.log"]),
        (&["link/*/app.log"], &["link/sub/app.log", "link/sub.log/app.log"]),
        (&["**/app.log"], &["real/app.log", "real/sub/app.log"]),
        (&["**/link/app.log"], &["link/app.log"]),
        (&["link/**/app.log"], &["link/app.log", "link/sub/app.log"]),
        (&["self/app.log", "self/*"], &[]),
        // A link to a directory is none that can be read, one to nothing may be.
        (&["real/*.log"], &["real/also.log", "real/app.log", "real/gone.log"]),
        (&["real/up/real/up/real/app.log"], &["real/up/real/up/real/app.log"]),
    ] {
        let patterns = patterns(base.path(), paths, &[]);
        assert_eq!(found(&base, &patterns), expected, "{paths:?}");
    }
}

#[test]
fn what_cannot_be_looked_into_is_reported() {
    let base = tree(&["open/app.log", "shut/app.log", "gone/app.log"]);
    let long = format!("{}/app.log", "n".repeat(300));
    let several = patterns(base.path(), &["*/*.log", "shut/app.log", &long], &[]);
    let shut = base.path().join("shut");
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o000)).unwrap();
    // Not for root.
    let is_refused = fs::read_dir(&shut).is_err();

    let mut walk = several.walk();
    let mut seen = Vec::new();
    while let Some(listed) = walk.step() {
        if listed.directory == base.path() {
            fs::remove_dir_all(base.path().join("gone")).unwrap();
        }
        if listed.directory.starts_with(base.path()) {
            let entries = listed.entries.map(|it| it.len()).map_err(|it| it.kind());
            seen.push((relative(&base, &listed.directory), entries));
        }
    }
    let shut = if is_refused { Err(io::ErrorKind::PermissionDenied) } else { Ok(1) };
    assert_eq!(
        seen,
        [
            (String::new(), Ok(0)),
            ("gone".into(), Ok(0)),
            ("open".into(), Ok(1)),
            ("shut".into(), shut),
        ]
    );

    // A name that no file system takes.
    let literal = patterns(base.path(), &[&long], &[]);
    let listed = listed(&literal);
    let failed: Vec<_> = listed.iter().filter(|it| it.entries.is_err()).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].directory, base.path());
    let shut = base.path().join("shut");
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_tree_too_deep_is_reported() {
    let base = tree(&[]);
    let depth = names(base.path()).count();
    let deep = |depth| base.path().join("d/".repeat(depth));
    fs::create_dir_all(deep(DEPTH_MAX + 1)).unwrap();
    fs::write(deep(DEPTH_MAX - depth).join("app.log"), "").unwrap();
    let patterns = patterns(base.path(), &["**/app.log"], &[]);
    let listed = listed(&patterns);
    let (last, before) = listed.split_last().unwrap();
    assert_eq!(
        last.entries.as_ref().unwrap_err().to_string(),
        "deeper than 64 directories"
    );
    assert_eq!(before.last().unwrap().entries.as_ref().unwrap().len(), 1);
}

fn part() -> impl Strategy<Value = String> {
    const PARTS: &[&str] = &[
        "a", "b", ".h", "*", "**", "a*", "*.log", ".*", "?", "[ab]", "[!a]", "{a,b}",
        "{a/b,.h}", "a.log",
    ];
    proptest::sample::select(PARTS).prop_map(str::to_owned)
}

fn pattern() -> impl Strategy<Value = String> {
    proptest::collection::vec(part(), 1..5).prop_map(|parts| parts.join("/"))
}

fn path() -> impl Strategy<Value = String> {
    let name =
        proptest::sample::select(&["a", "b", "c", "ab", "a.log", ".h", ".log"][..]);
    proptest::collection::vec(name, 1..5).prop_map(|names| names.join("/"))
}

/// Files at these paths, as far as no other is in the way.
fn plant(base: &Path, paths: &[String]) -> BTreeSet<PathBuf> {
    let planted = |path: &String| {
        let path = base.join(path);
        fs::create_dir_all(path.parent()?).ok()?;
        fs::File::create_new(&path).ok()?;
        Some(path)
    };
    paths.iter().filter_map(planted).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_walk_finds_what_matches(
        files in proptest::collection::vec(path(), 0..16),
        paths in proptest::collection::vec(pattern(), 1..4),
        exclude in proptest::collection::vec(pattern(), 0..2),
    ) {
        let base = tempfile::tempdir().unwrap();
        let planted = plant(base.path(), &files);
        let patterns = Patterns::new(base.path(), &paths, &exclude).unwrap();
        let listed = listed(&patterns);
        let directories: BTreeSet<_> =
            listed.iter().map(|it| it.directory.clone()).collect();
        let mut found = BTreeSet::new();
        for entry in listed.into_iter().flat_map(|it| it.entries.unwrap()) {
            prop_assert!(patterns.matches(&entry.path));
            prop_assert!(patterns.order(&entry.path) < paths.len());
            if !entry.path.is_dir() {
                prop_assert!(found.insert(entry.path), "each file once");
            }
        }
        let matching = planted.iter().filter(|path| patterns.matches(path));
        let matching: BTreeSet<_> = matching.cloned().collect();
        prop_assert_eq!(&found, &matching);
        for directory in matching.iter().flat_map(|path| path.ancestors().skip(1)) {
            prop_assert!(patterns.concerns_directory(directory));
            prop_assert!(directories.contains(directory));
        }
        for directory in &directories {
            prop_assert!(patterns.concerns_directory(directory));
        }
    }

    /// Where no dots are in play, a glob over the whole path means the same.
    #[test]
    fn name_by_name_is_as_the_whole_path(path in path(), pattern in pattern()) {
        prop_assume!(!path.contains("/.") && !path.starts_with('.'));
        let whole = format!("/{pattern}");
        let glob = GlobBuilder::new(&whole).literal_separator(true).build().unwrap();
        let path = format!("/{path}");
        let patterns = Patterns::new(Path::new("/"), &[pattern], &[]).unwrap();
        let matches = glob.compile_matcher().is_match(&path);
        prop_assert_eq!(patterns.matches(Path::new(&path)), matches);
    }
}
