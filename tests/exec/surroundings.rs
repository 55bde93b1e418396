//! What a program finds around it.

use super::place::{Mode, PATIENCE, Place};
use crate::site::wait_until;

#[test]
fn a_program_finds_what_was_said_and_nothing_else() {
    let place = Place::new();
    place.program(
        "feed",
        "pwd > seen; umask >> seen; printf '%s\\n' \"$@\" >> seen; env >> env",
    );
    let listener = "\"feed me\": Exec(from: [\"logs\"], run: [\"./feed\", \"--x\", \"$(id)\"], \
                    cwd: \".\", env: {\"REGION\": \"eu west\"}),";
    place.configure_with(&listener.replace("feed me", "feed-me"));
    place.write("one\n");
    let mut command = place.command(&["run", "--until-idle"]);
    command.env("PATH", "/usr/bin:/bin").env("LANG", "C.UTF-8").env("CANARY", "hush");
    assert!(command.status().unwrap().success(), "{}", place.said());
    let seen = place.read("seen");
    let root = place.path("");
    let root = root.to_str().unwrap().trim_end_matches('/');
    assert_eq!(seen, format!("{root}\n0077\n--x\n$(id)\n"));
    let env = place.read("env");
    let mut names: Vec<&str> =
        env.lines().filter_map(|it| it.split('=').next()).collect();
    names.sort_unstable();
    // The shell, which is the program here, adds PWD.
    let wanted = ["LANG", "PATH", "PWD", "REGION", "TRIPLINE_LISTENER", "TRIPLINE_RUN"];
    assert_eq!(names, wanted);
    for line in [
        "LANG=C.UTF-8",
        "PATH=/usr/bin:/bin",
        "REGION=eu west",
        "TRIPLINE_LISTENER=feed-me",
    ] {
        assert!(env.lines().any(|it| it == line), "{env}");
    }
}

/// Hashes of passwords do not leave unless that is asked for.
#[test]
fn secrets_stay_here() {
    for (secrets, is_there) in [("", false), ("secrets: Keep,", true)] {
        let site = crate::site::Site::new();
        let path = site.root().join("got");
        site.configure(&format!(
            "\"feed\": Exec(from: [\"p4\"], {secrets} run: [\"/usr/bin/tee\", \"-a\", {path:?}]),"
        ));
        let user =
            "@rv@ 4 @db.user@ @ann@ @ann@@b@ @@ 1 2 @Ann@ @0123CAFE@ 0 @@ 0 0 0 \n";
        let bytes = format!("@vv@ 1 @db.counters@ @journal@ @1@ \n{user}@ex@ 1 100\n");
        let journal = crate::site::Journal { number: 1, bytes: bytes.into_bytes() };
        site.lay_out(&[journal]);
        site.catch_up();
        let got = std::fs::read_to_string(path).unwrap();
        assert_eq!(got.lines().count(), 3, "{got}");
        assert_eq!(got.contains("0123CAFE"), is_there, "{got}");
    }
}

/// It is shown to be at work, and not as one that fails.
#[test]
fn one_that_takes_its_time_is_at_work() {
    let place = Place::new();
    let script = "cat > part; until [ -e go ]; do sleep 0.05; done; cat part >> got";
    place.program("feed", script);
    place.configure(Mode::Batch, "");
    place.write("one\ntwo\n");
    let daemon = place.start();
    let is_at_work = || {
        place.places().iter().any(|it| {
            let why = it["why"].as_str().unwrap_or_default();
            it["state"] == "catching_up" && why.contains("is still at work on 2 entries")
        })
    };
    assert!(wait_until(PATIENCE, is_at_work), "{:?}", place.places());
    std::fs::write(place.path("go"), "").unwrap();
    place.wait_until_settled();
    let is_idle = || place.places().iter().all(|it| it["why"].is_null());
    assert!(wait_until(PATIENCE, is_idle), "{:?}", place.places());
    daemon.stop();
    assert_eq!((place.count(), place.said()), (2, String::new()));
}

#[test]
fn a_run_until_idle_waits_for_the_program() {
    for mode in [Mode::Batch, Mode::Acknowledged] {
        let place = Place::new();
        let script = match mode {
            Mode::Batch => "cat > part; sleep 0.2; cat part >> got",
            Mode::Acknowledged => {
                "while IFS= read -r line; do sleep 0.01; \
                 printf '%s\\n' \"$line\" >> got; echo OK; done"
            }
        };
        place.program("feed", script);
        place.configure(mode, "");
        place.write((0..50).map(|n| format!("line {n}\n")).collect::<String>());
        let status = place.command(&["run", "--until-idle"]).status().unwrap();
        assert!(status.success(), "{}", place.said());
        assert_eq!(place.got().len(), 50, "{mode:?}");
        assert_eq!(place.count(), 50, "{mode:?}: each came once");
    }
}
