//! Who is trusted, and who trusts us.

use super::*;
use crate::ssh::testing::{Access, keygen};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

fn fingerprint(public_key: &Path) -> String {
    let output =
        Command::new("ssh-keygen").arg("-lf").arg(public_key).output().unwrap().stdout;
    let text = String::from_utf8(output).unwrap();
    text.split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn a_host_that_is_not_known_stops_with_the_line_to_type() {
    let ground = Ground::new(Access::Files);
    let known = ground.directory().join("known_hosts");
    for way in WAYS {
        for content in [None, Some("# nobody\nother ssh-ed25519 AAAA\n@x\n")] {
            fs::remove_file(&known).ok();
            if let Some(text) = content {
                fs::write(&known, text).unwrap();
            }
            let failure = fails(&ground.settings(*way, "x").unwrap());
            assert_eq!(failure.kind(), Kind::HostKey, "{failure}");
            assert!(failure.kind().stops());
            let text = failure.to_string();
            let shown = fingerprint(&ground.directory().join("host.pub"));
            assert!(text.contains(&shown), "{shown} is not in {text}");
            let line = text.rsplit("then type: ").next().unwrap();
            let port = ground.address().port();
            let expected = format!(
                "ssh-keyscan -p {port} -t ed25519 127.0.0.1 >> {}",
                known.display()
            );
            assert_eq!(line, expected);
            assert_eq!(fs::read_to_string(&known).ok().as_deref(), content);
        }
        // The line does what it says.
        let shell = Command::new("sh").args(["-c", &typed(&ground, *way)]).output();
        assert!(shell.unwrap().status.success());
        open(&ground.settings(*way, "x").unwrap());
    }
}

/// What a person is told to type.
fn typed(ground: &Ground, way: Way) -> String {
    let text = fails(&ground.settings(way, "x").unwrap()).to_string();
    text.rsplit("type: ").next().unwrap().to_owned()
}

#[test]
fn a_host_with_another_key_stops_with_the_lines_to_type() {
    let ground = Ground::new(Access::Files);
    keygen(&ground.directory().join("other")).unwrap();
    for way in WAYS {
        ground.know(&ground.directory().join("other.pub")).unwrap();
        let failure = fails(&ground.settings(*way, "x").unwrap());
        assert_eq!(failure.kind(), Kind::HostKey, "{failure}");
        let text = failure.to_string();
        assert!(text.contains("not the one it was"), "{text}");
        let shown = fingerprint(&ground.directory().join("host.pub"));
        assert!(text.contains(&shown), "{shown} is not in {text}");
        let shell = Command::new("sh").args(["-c", &typed(&ground, *way)]).output();
        assert!(shell.unwrap().status.success());
        open(&ground.settings(*way, "x").unwrap());
    }
}

#[test]
fn a_revoked_key_stops_though_it_is_known() {
    let ground = Ground::new(Access::Files);
    let known = ground.directory().join("known_hosts");
    let line = fs::read_to_string(&known).unwrap();
    fs::write(&known, format!("{line}@revoked {line}")).unwrap();
    for way in WAYS {
        let failure = fails(&ground.settings(*way, "x").unwrap());
        assert_eq!(failure.kind(), Kind::HostKey, "{failure}");
        assert!(failure.to_string().contains("revoked"), "{failure}");
    }
}

#[test]
fn hidden_names_and_patterns_are_known() {
    let ground = Ground::new(Access::Files);
    let known = ground.directory().join("known_hosts");
    let line = fs::read_to_string(&known).unwrap();
    let run = Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&known).output();
    assert!(run.unwrap().status.success());
    assert!(fs::read_to_string(&known).unwrap().starts_with("|1|"));
    for way in WAYS {
        open(&ground.settings(*way, "x").unwrap());
    }
    let key = line.split_once(' ').unwrap().1;
    fs::write(&known, format!("[127.0.0.?]:{} {key}", ground.address().port())).unwrap();
    for way in WAYS {
        open(&ground.settings(*way, "x").unwrap());
    }
}

#[test]
fn a_refused_login_stops() {
    let ground = Ground::new(Access::Files);
    keygen(&ground.directory().join("stranger")).unwrap();
    for way in WAYS {
        let mut settings = ground.settings(*way, "x").unwrap();
        settings.key = Some(ground.directory().join("stranger"));
        let failure = fails(&settings);
        assert_eq!(failure.kind(), Kind::Login, "{failure}");
        assert!(failure.kind().stops());
        let text = failure.to_string();
        assert!(text.contains("stranger") && text.contains("authorized_keys"), "{text}");
    }
}

#[test]
fn a_key_that_others_may_read_stops() {
    let ground = Ground::new(Access::Files);
    let key = ground.directory().join("user");
    let set = |mode| fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
    for way in WAYS {
        for mode in [0o640, 0o604, 0o644] {
            set(mode);
            let failure = fails(&ground.settings(*way, "x").unwrap());
            assert_eq!(failure.kind(), Kind::Setup, "{failure}");
            assert!(failure.to_string().contains("chmod 600"), "{failure}");
        }
        set(0o400);
        open(&ground.settings(*way, "x").unwrap());
        for name in ["missing", "", "sshd_config"] {
            let mut settings = ground.settings(*way, "x").unwrap();
            settings.key = Some(ground.directory().join(name));
            let failure = fails(&settings);
            assert!(failure.kind().stops(), "{failure}");
        }
    }
}

#[test]
fn an_agent_may_have_the_key() {
    let ground = Ground::new(Access::Files);
    let socket = ground.directory().join("agent");
    let mut agent = Command::new("ssh-agent")
        .arg("-D")
        .arg("-a")
        .arg(&socket)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // It says where it is when it is there.
    let mut first = [0];
    std::io::Read::read_exact(agent.stdout.as_mut().unwrap(), &mut first).unwrap();
    let added = Command::new("ssh-add")
        .arg("-q")
        .arg(ground.directory().join("user"))
        .env("SSH_AUTH_SOCK", &socket)
        .output()
        .unwrap();
    assert!(added.status.success(), "{added:?}");
    for way in WAYS {
        let mut settings = ground.settings(*way, "x").unwrap();
        settings.key = None;
        settings.agent = Some(socket.clone());
        open(&settings);
    }
    agent.kill().unwrap();
    agent.wait().unwrap();
    for way in WAYS {
        let mut settings = ground.settings(*way, "x").unwrap();
        settings.key = None;
        settings.agent = Some(socket.clone());
        let failure = fails(&settings);
        assert!(failure.kind().stops(), "{failure}");
    }
}

#[test]
fn a_host_that_says_nothing_is_given_up_in_time() {
    let ground = Ground::new(Access::Files);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for way in WAYS {
        let mut settings =
            ground.settings_at(silent.local_addr().unwrap(), *way, "x").unwrap();
        settings.connect_timeout = Duration::from_secs(1);
        let begun = Instant::now();
        let failure = fails(&settings);
        assert_eq!(failure.kind(), Kind::Unreachable, "{failure}");
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    }
}

#[test]
fn where_nobody_listens_is_said() {
    let ground = Ground::new(Access::Files);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for way in WAYS {
        let failure = fails(&ground.settings_at(free, *way, "x").unwrap());
        assert_eq!(failure.kind(), Kind::Unreachable, "{failure}");
        assert!(failure.to_string().contains("refused"), "{failure}");
    }
}
