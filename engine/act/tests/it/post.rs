//! Requests, to a server that answers as it is told.

use crate::site::{
    HOSTILE, LONG, act, hands, in_words, said, start, try_rules, wait_until, why,
};
use crate::web::Web;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tripline_act::Stop;
use tripline_rules::evaluate::{Job, Outcome, Start};

fn post(url: &str, body: &str, timeout: Duration) -> Start {
    let job = Job::Post {
        url: url.to_owned(),
        headers: Vec::new(),
        body: body.to_owned(),
        is_json: true,
        token: None,
    };
    start(1, job, timeout)
}

fn run(start: &Start) -> Outcome {
    act(&hands("/".as_ref()), start)
}

#[test]
fn a_body_arrives_with_its_key_and_the_answer_comes_back() {
    let answer = "HTTP/1.1 201 Made\r\nContent-Length: 7\r\n\r\nid: 42\n";
    let web = Web::start(None, move |_| Some(answer.to_owned()));
    let mut first = post(&web.url("/in?x=y"), r#"{"a": 1}"#, LONG);
    assert_eq!(said(run(&first)), ("id: 42\n".to_owned(), String::new()));
    said(run(&first));
    first.firing += "2";
    let Job::Post { is_json, .. } = &mut first.job else { panic!() };
    *is_json = false;
    said(run(&first));
    let got = web.got();
    assert_eq!(got[0].line, "POST /in?x=y HTTP/1.1");
    assert_eq!(got[0].body, br#"{"a": 1}"#);
    assert_eq!(got[0].header("content-type"), Some("application/json"));
    assert_eq!(got[2].header("content-type"), Some("text/plain; charset=utf-8"));
    let key = |index: usize| got[index].header("idempotency-key").unwrap();
    assert_eq!(key(0), key(1), "it came again");
    assert_ne!(key(0), key(2), "another firing");
    assert!(key(0).len() == 32 && key(0).bytes().all(|it| it.is_ascii_hexdigit()));
}

/// Of what a header becomes a rule makes one line; here it is handed over as it is.
#[test]
fn hostile_values_stay_in_their_place() {
    let web = Web::answering(&["200 OK"]);
    for value in HOSTILE {
        let mut start = post(&web.url("/in"), value, LONG);
        let Job::Post { headers, .. } = &mut start.job else { panic!() };
        headers.push(("X-Value".to_owned(), (*value).to_owned()));
        let before = web.got().len();
        let outcome = run(&start);
        let got = web.got();
        if value.contains(char::is_control) {
            assert!(why(outcome).1.contains("cannot be a header's value"), "{value:?}");
            assert_eq!(got.len(), before, "{value:?}");
            continue;
        }
        said(outcome);
        let last = got.last().unwrap();
        assert_eq!(last.body, value.as_bytes());
        assert_eq!(last.header("x-value").unwrap_or_default(), value.trim());
        assert_eq!(last.header("bcc"), None);
    }
    for name in
        ["Host", "Content-Length", "Authorization", "Idempotency-Key", "a\r\nb", ""]
    {
        let mut start = post(&web.url("/in"), "", LONG);
        let Job::Post { headers, .. } = &mut start.job else { panic!() };
        headers.push((name.to_owned(), "x".to_owned()));
        let reason = why(run(&start)).1;
        assert!(reason.starts_with("`headers` has"), "{reason}");
    }
}

#[test]
fn an_answer_that_is_none_tells_why() {
    for (status, exit, wanted) in [
        ("302 Found", 302, "which is not followed"),
        ("400 Bad", 400, "it will not take this"),
        ("401 No", 401, "does not let us in"),
        ("404 No", 404, "nothing is posted there"),
        ("408 Slow", 408, "answered 408"),
        ("425 Early", 425, "answered 425"),
        ("429 Busy\r\nRetry-After: 120", 429, "asked again in 120 s"),
        ("500 Oops", 500, "answered 500"),
        ("503 Later\r\nRetry-After: 0", 503, "asked again at once"),
    ] {
        let web = Web::start(None, move |_| {
            let body = "no \u{1b}[2J field\nsecond";
            let length = body.len();
            Some(format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}"))
        });
        let outcome = run(&post(&web.url("/in?secret=1"), "x", LONG));
        let Outcome::Failed { exit: got, reason, stderr } = outcome else { panic!() };
        assert_eq!(got, exit);
        assert!(reason.contains(wanted), "{reason}");
        assert!(reason.contains(r"`no \u{1b}[2J field`"), "{reason}");
        assert!(!reason.contains("secret"), "{reason}");
        assert!(stderr.ends_with("second"), "{stderr}");
    }
}

#[test]
fn a_long_answer_is_cut() {
    let web = Web::start(None, |_| {
        let body = "x".repeat(10_000_000);
        Some(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    });
    let (stdout, _) = said(run(&post(&web.url("/"), "x", LONG)));
    assert_eq!(stdout.len(), tripline_act::SAID_BYTES_MAX);
}

#[test]
fn one_who_does_not_answer_is_not_waited_for() {
    let web = Web::start(None, |_| None);
    let since = Instant::now();
    let outcome = run(&post(&web.url("/"), "x", Duration::from_millis(300)));
    assert!(matches!(outcome, Outcome::TimedOut { .. }), "{outcome:?}");
    assert!(since.elapsed() < Duration::from_secs(10));

    let (hands, stop) = (hands("/".as_ref()), Stop::new());
    // The request itself is not broken off.
    let start = post(&web.url("/"), "x", Duration::from_secs(8));
    std::thread::scope(|scope| {
        let acts = scope.spawn(|| hands.act(&start, &stop));
        // The first call is gone: its connection ended.
        assert!(wait_until(LONG, || web.got().len() == 2));
        let since = Instant::now();
        stop.stop();
        assert_eq!(acts.join().unwrap(), None);
        assert!(since.elapsed() < Duration::from_secs(5));
    });
}

#[test]
fn nobody_there_is_a_failure() {
    let address = Web::answering(&["200 OK"]).address;
    let (exit, reason) = why(run(&post(&format!("http://{address}/"), "x", LONG)));
    assert!(exit == -1 && reason.contains("refused"), "{reason}");
    for (url, wanted) in [
        ("http://192.0.2.1/", "everybody on the way"),
        ("tcp://127.0.0.1:1", "nothing is posted"),
        ("https://a@b/", "seen by everybody"),
        ("https://", "is no address"),
    ] {
        let (_, reason) = why(run(&post(url, "x", LONG)));
        assert!(reason.contains(wanted), "{url}: {reason}");
    }
}

#[test]
fn a_token_comes_from_a_file_that_is_its_owners() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    fs::write(&path, "s3cret\n").unwrap();
    let web = Web::answering(&["200 OK"]);
    let mut start = post(&web.url("/"), "x", LONG);
    let Job::Post { token, .. } = &mut start.job else { panic!() };
    *token = Some("token".into());
    let run = || act(&hands(directory.path()), &start);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let (_, reason) = why(run());
    assert!(reason.contains("token") && !reason.contains("s3cret"), "{reason}");
    assert!(web.got().is_empty());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    said(run());
    assert_eq!(web.got()[0].header("authorization"), Some("Bearer s3cret"));
}

/// A server with a certificate for `localhost`; the authority's is written here.
fn encrypted(directory: &Path) -> Web {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap();
    fs::write(directory.join("ca.pem"), authority.pem()).unwrap();
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&own, &issuer).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    Web::start(Some(Arc::new(config)), |_| {
        Some("HTTP/1.1 204 No Content\r\n\r\n".to_owned())
    })
}

const AUTHORITY: &str = "SSL_CERT_FILE";

/// Whom the system believes is said in the environment: so a process of its own asks.
#[test]
fn https_wants_a_certificate_that_the_system_believes() {
    const NAME: &str = "post::https_wants_a_certificate_that_the_system_believes";
    if std::env::var_os("ACT_URL").is_some() {
        let url = std::env::var("ACT_URL").unwrap();
        return said(run(&post(&url, "hello", LONG))).0.clear();
    }
    let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let web = encrypted(directory.path());
    drop(encrypted(other.path()));
    let port = web.address.port();
    for (authority, host, wanted) in [
        (directory.path(), "localhost", None),
        (directory.path(), "127.0.0.1", Some("certificate")),
        (other.path(), "localhost", Some("certificate")),
    ] {
        let before = web.got().len();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", NAME])
            .env("ACT_URL", format!("https://{host}:{port}/in"))
            .env(AUTHORITY, authority.join("ca.pem"))
            .env_remove("SSL_CERT_DIR");
        let output = command.output().unwrap();
        let words = in_words(&output);
        match wanted {
            None => assert!(output.status.success(), "{words}"),
            Some(wanted) => {
                assert!(!output.status.success() && words.contains(wanted), "{words}");
            }
        }
        let bodies = web.got().len() - before;
        assert_eq!(bodies, usize::from(wanted.is_none()), "{words}");
    }
}

#[test]
fn a_rule_cannot_let_an_event_choose_the_host() {
    let rules = |url: &str| {
        format!(
            r#"(rules: [(name: "r", on: Lines(), match: r"(?P<x>\S+)", do: [Post(url: "{url}")])])"#
        )
    };
    assert!(try_rules(&rules("https://{{ x }}/in")).is_err());
    assert!(try_rules(&rules("http://example.com/{{ x }}")).is_err());
    assert!(try_rules(&rules("https://example.com/{{ x }}")).is_ok());
}
