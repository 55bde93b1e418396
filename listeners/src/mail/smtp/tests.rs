use super::super::address::Address;
use super::super::message::Message;
use super::super::receiver::{Answer, MailReceiver, Rule, Script};
use super::super::transport::{StartTls, Transport, Via};
use super::*;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Instant;
use tripline_api::{BuildContext, FriendlyDuration};

const THREE: [&str; 3] = ["a@example.com", "b@example.com", "c@example.com"];

fn mail(text: &str) -> Sealed {
    let message = Message {
        sender: Address::parse("tripline@example.com").unwrap(),
        to: THREE.iter().map(|to| Address::parse(to).unwrap()).collect(),
        subject: "x".to_owned(),
        text: text.to_owned(),
        attachments: Vec::new(),
        headers: Vec::new(),
        id: "id".to_owned(),
        date: 0,
    };
    message.seal().unwrap()
}

fn rule(at: &'static str, answer: Answer) -> Rule {
    Rule { at, answer, times: 1 }
}

fn says(at: &'static str, answer: &'static str) -> Rule {
    rule(at, Answer::Say(answer))
}

/// What is configured, as far as it is not the usual.
#[derive(Default)]
struct Setup<'a> {
    implicit: bool,
    starttls: Option<StartTls>,
    password_file: Option<&'a Path>,
    ca_file: Option<&'a Path>,
    host: Option<&'a str>,
    server_name: Option<&'a str>,
    timeout: Option<Duration>,
}

impl Setup<'_> {
    fn transport(&self, receiver: &MailReceiver) -> Result<Transport, String> {
        let scheme = if self.implicit { "smtps" } else { "smtp" };
        let host = self.host.unwrap_or("127.0.0.1");
        let server = format!("{scheme}://{host}:{}", receiver.address().port());
        let via = Via::Smtp {
            server: server.try_into()?,
            starttls: self.starttls,
            user: self.password_file.map(|_| "ann".to_owned()),
            password_file: self.password_file.map(Path::to_owned),
            ca_file: self.ca_file.map(Path::to_owned),
            server_name: self.server_name.map(str::to_owned),
            hello: Some("tripline.example.com".to_owned()),
            timeout: self.timeout.map(FriendlyDuration),
        };
        let context = BuildContext {
            name: "mail",
            directory: Path::new("/"),
            state: Path::new("/nowhere"),
        };
        via.transport(&context).map_err(|error| error.message)
    }

    fn send(&self, receiver: &MailReceiver) -> Report {
        self.transport(receiver).unwrap().send(&mail("text\n"), &Cancel::default()).0
    }
}

fn scripted(rules: Vec<Rule>) -> MailReceiver {
    MailReceiver::with(Script { rules, ..Script::default() }).unwrap()
}

/// What becomes of the three recipients: `+` taken, `?` later, `-` refused.
fn signs(report: &Report) -> String {
    let Report::Answered(answers) = report else { return format!("{report:?}") };
    assert!(answers.iter().map(|(to, _)| to.as_str()).eq(THREE));
    let sign = |(_, outcome): &(String, Outcome)| match outcome {
        Outcome::Delivered => '+',
        Outcome::Later(_) => '?',
        Outcome::Refused(_) => '-',
    };
    answers.iter().map(sign).collect()
}

#[test]
fn a_mail_goes_over_the_wire_as_it_should() {
    let receiver = MailReceiver::start().unwrap();
    let hostile = "one\n.\n..two\n.MAIL FROM:<x@example.com>\n\r\n.\r\nDATA\ncaf\u{e9}";
    let mail = mail(hostile);
    let transport = Setup::default().transport(&receiver).unwrap();
    assert_eq!(signs(&transport.send(&mail, &Cancel::default()).0), "+++");
    let mails = receiver.take_mails().unwrap();
    assert_eq!(mails.len(), 1);
    assert_eq!(
        (mails[0].from.as_str(), &*mails[0].to),
        ("tripline@example.com", &*mail.to)
    );
    assert_eq!(mails[0].content(), mail.content);
    assert_eq!(mails[0].text(), format!("{}\n", hostile.replace("\r\n", "\n")));
    let heard = receiver.heard();
    assert_eq!(heard.len(), 1, "one connection");
    let heard = String::from_utf8(heard[0].clone()).unwrap();
    assert!(!heard.replace("\r\n", "").contains(['\r', '\n']), "{heard:?}");
    let commands = "EHLO tripline.example.com\r\nMAIL FROM:<tripline@example.com>\r\n\
        RCPT TO:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nRCPT TO:<c@example.com>\r\n\
        DATA\r\n";
    assert!(heard.starts_with(commands), "{heard}");
    assert!(heard.ends_with("\r\n.\r\nQUIT\r\n"), "{heard}");
    assert_eq!(heard.matches("\r\n.\r\n").count(), 1, "one end: {heard}");
}

#[test]
fn each_recipient_has_an_answer_of_its_own() {
    for (at, answer, wanted, taken) in [
        ("RCPT TO:<b@", "550 5.1.1 no such user", "+-+", 2),
        ("RCPT TO:<b@", "450 busy", "+?+", 2),
        ("RCPT TO:<b@", "451 error", "+?+", 2),
        ("RCPT TO:<b@", "452 too many", "+?+", 2),
        ("RCPT TO:<b@", "552 too many", "+?+", 2),
        ("RCPT TO:<b@", "554 no", "+-+", 2),
        ("RCPT TO:<a@", "550-not\r\n550 you", "-++", 2),
        ("DATA", "451 busy", "???", 0),
        ("DATA", "554 no valid recipients", "---", 0),
        (".", "451 greylisted", "???", 0),
        (".", "452 no room", "???", 0),
        (".", "550 spam", "---", 0),
        (".", "554 transaction failed", "---", 0),
        ("MAIL", "552 too large", "---", 0),
        ("EHLO", "502 what is that", "+++", 3),
        ("QUIT", "500 no", "+++", 3),
    ] {
        let receiver = scripted(vec![says(at, answer)]);
        let report = Setup::default().send(&receiver);
        assert_eq!(signs(&report), wanted, "{at}: {answer}: {report:?}");
        let mails = receiver.take_mails().unwrap();
        let to: usize = mails.iter().map(|mail| mail.to.len()).sum();
        assert_eq!(to, taken, "{at}: {answer}");
    }
    let receiver = scripted(vec![
        says("RCPT", "550 no"),
        says("RCPT", "550 no"),
        says("RCPT", "450 no"),
    ]);
    assert_eq!(signs(&Setup::default().send(&receiver)), "--?");
    assert!(!String::from_utf8_lossy(&receiver.heard()[0]).contains("DATA"));
}

#[test]
fn what_concerns_all_is_told_from_what_concerns_one() {
    for (at, answer, wanted) in [
        ("GREETING", "421 too busy", "Failed"),
        ("GREETING", "554 go away", "Failed"),
        ("EHLO", "421 too busy", "Failed"),
        ("MAIL", "421 too busy", "Failed"),
        ("MAIL", "451 later", "Failed"),
        ("RCPT", "421 too busy", "Failed"),
        ("DATA", "421 too busy", "Failed"),
        ("MAIL", "550 sender refused", "Stop"),
        ("MAIL", "530 log in first", "Stop"),
        ("RCPT", "530 log in first", "Stop"),
    ] {
        let receiver = scripted(vec![says(at, answer)]);
        let report = Setup::default().send(&receiver);
        let shown = format!("{report:?}");
        assert!(shown.starts_with(wanted) && shown.contains(answer), "{at}: {shown}");
        assert!(receiver.take_mails().unwrap().is_empty());
    }
}

#[test]
fn what_is_no_mail_server_is_no_mail_server() {
    for answer in [
        "SSH-2.0-OpenSSH_9",
        "\u{1b}[2J",
        "220",
        "220x",
        "999 what",
        "199 no",
        "220-one\r\n250 two",
    ] {
        let receiver = scripted(vec![says("GREETING", answer)]);
        let report = Setup::default().send(&receiver);
        let is_fine = answer == "220";
        assert_eq!(
            matches!(report, Report::Answered(_)),
            is_fine,
            "{answer}: {report:?}"
        );
        assert!(!format!("{report:?}").contains('\u{1b}'));
    }
    let long: &'static str = Box::leak("x".repeat(5000).into_boxed_str());
    let many: &'static str = Box::leak("220-x\r\n".repeat(5000).into_boxed_str());
    for endless in [long, many] {
        let receiver = scripted(vec![says("GREETING", endless)]);
        let report = format!("{:?}", Setup::default().send(&receiver));
        assert!(report.contains("does not end"), "{report}");
    }
}

#[test]
fn a_connection_that_ends_or_stalls_is_tried_again() {
    let timeout = Some(Duration::from_millis(200));
    for at in ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "."] {
        for answer in [Answer::Close, Answer::Stall] {
            let receiver = scripted(vec![rule(at, answer.clone())]);
            let began = Instant::now();
            let report = Setup { timeout, ..Setup::default() }.send(&receiver);
            assert!(matches!(report, Report::Failed(_)), "{at} {answer:?}: {report:?}");
            assert!(began.elapsed() < Duration::from_secs(20), "{at} {answer:?}");
        }
    }
    let nobody = MailReceiver::start().unwrap();
    let transport = Setup::default().transport(&nobody).unwrap();
    drop(nobody);
    let report = transport.send(&mail("x"), &Cancel::default()).0;
    assert!(format!("{report:?}").contains("cannot connect"), "{report:?}");
}

/// A mail that was taken just before the connection broke is in doubt, and what
/// is sent again is the same.
#[test]
fn a_lost_answer_leaves_the_mail_in_doubt() {
    let receiver = scripted(vec![rule(".", Answer::TakeAndClose)]);
    let report = Setup::default().send(&receiver);
    assert!(format!("{report:?}").contains("with the same Message-ID"), "{report:?}");
    assert_eq!(signs(&Setup::default().send(&receiver)), "+++");
    let mails = receiver.take_mails().unwrap();
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0], mails[1]);
}

#[test]
fn a_stalled_mail_can_be_broken_off() {
    let receiver = scripted(vec![rule("EHLO", Answer::Stall)]);
    let transport = Setup::default().transport(&receiver).unwrap();
    let cancel = Cancel::default();
    let stalled = cancel.clone();
    let send = move || transport.send(&mail("x"), &stalled).0;
    let thread = std::thread::Builder::new().name("mail".into()).spawn(send).unwrap();
    while receiver.heard().first().is_none_or(Vec::is_empty) {
        std::thread::yield_now();
    }
    cancel.cancel();
    assert!(matches!(thread.join().unwrap(), Report::Failed(_)));
}

fn password(directory: &Path) -> std::path::PathBuf {
    let file = directory.join("password");
    std::fs::write(&file, "s3cret\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file
}

#[test]
fn logging_in() {
    let directory = tempfile::tempdir().unwrap();
    let file = password(directory.path());
    let setup = Setup { password_file: Some(&file), ..Setup::default() };
    for (feature, said) in [
        ("AUTH PLAIN LOGIN", "AUTH PLAIN AGFubgBzM2NyZXQ=\r\n"),
        ("AUTH=LOGIN PLAIN", "AUTH PLAIN AGFubgBzM2NyZXQ=\r\n"),
        ("auth Login", "AUTH LOGIN\r\nYW5u\r\nczNjcmV0\r\n"),
    ] {
        let is_login = said.starts_with("AUTH LOGIN");
        let rules = vec![
            says("AUTH LOGIN", "334 VXNlcm5hbWU6"),
            says("YW5u", "334 UGFzc3dvcmQ6"),
            says("czNjcmV0", "235 welcome"),
        ];
        let rules = if is_login { rules } else { Vec::new() };
        let features = vec!["SIZE 1000000", feature];
        let receiver = MailReceiver::with(Script { features, rules, tls: None }).unwrap();
        assert_eq!(signs(&setup.send(&receiver)), "+++", "{feature}");
        let heard = String::from_utf8(receiver.heard()[0].clone()).unwrap();
        assert!(heard.contains(said), "{heard}");
    }
    for (features, answer, wanted) in [
        (vec!["AUTH PLAIN"], "535 5.7.8 wrong", "Stop"),
        (vec!["AUTH PLAIN"], "454 try later", "Failed"),
        (vec!["AUTH GSSAPI"], "", "Stop"),
        (vec![], "", "Stop"),
    ] {
        let rules = vec![says("AUTH", answer)];
        let receiver = MailReceiver::with(Script { features, rules, tls: None }).unwrap();
        let report = format!("{:?}", setup.send(&receiver));
        assert!(report.starts_with(wanted) && report.contains(answer), "{report}");
        assert!(!report.contains("s3cret") && !report.contains("AGFubg"), "{report}");
        let heard = String::from_utf8(receiver.heard()[0].clone()).unwrap();
        assert!(!heard.contains("MAIL"), "{heard}");
    }
    std::fs::remove_file(&file).unwrap();
    let receiver = MailReceiver::start().unwrap();
    assert!(matches!(setup.send(&receiver), Report::Stop(_)), "no password, no mail");
    assert!(receiver.heard().is_empty(), "not even a connection");
}

/// An authority and a certificate of it for `localhost`, made by openssl.
struct Certificates {
    directory: tempfile::TempDir,
}

impl Certificates {
    fn make(days: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let openssl = |arguments: &str| {
            let ran = std::process::Command::new("openssl")
                .args(arguments.split(' '))
                .current_dir(directory.path())
                .output()
                .expect("openssl is needed: install the package openssl");
            assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        };
        // Two of the same name would be taken for each other.
        let authority = directory.path().file_name().unwrap().display();
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        openssl(&format!(
            "req -x509 {key} -keyout ca.key -out ca.pem -subj /CN={authority} -days 9"
        ));
        openssl(&format!(
            "req {key} -keyout key.pem -out request.pem -subj /CN=localhost"
        ));
        std::fs::write(directory.path().join("names"), "subjectAltName=DNS:localhost\n")
            .unwrap();
        openssl(&format!(
            "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -out cert.pem -days {days} \
             -extfile names"
        ));
        Self { directory }
    }

    fn ca(&self) -> std::path::PathBuf {
        self.directory.path().join("ca.pem")
    }

    fn server(&self) -> Arc<ServerConfig> {
        let read = |name| std::fs::read(self.directory.path().join(name)).unwrap();
        let certificate = CertificateDer::from_pem_slice(&read("cert.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_slice(&read("key.pem")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        Arc::new(config)
    }
}

#[test]
fn tls_from_the_start_and_later() {
    let certificates = Certificates::make("9");
    let directory = tempfile::tempdir().unwrap();
    let (file, ca) = (password(directory.path()), certificates.ca());
    for implicit in [true, false] {
        let setup = Setup {
            implicit,
            starttls: (!implicit).then_some(StartTls::Required),
            password_file: Some(&file),
            ca_file: Some(&ca),
            host: Some("localhost"),
            ..Setup::default()
        };
        let features = vec!["STARTTLS", "AUTH PLAIN"];
        let tls = Some((certificates.server(), implicit));
        let receiver =
            MailReceiver::with(Script { features, rules: Vec::new(), tls }).unwrap();
        let report = setup.send(&receiver);
        assert_eq!(signs(&report), "+++", "{report:?}");
        let heard = String::from_utf8(receiver.heard()[0].clone()).unwrap();
        let hello = "EHLO tripline.example.com\r\n";
        let begin = if implicit { String::new() } else { format!("{hello}STARTTLS\r\n") };
        assert!(heard.starts_with(&format!("{begin}{hello}AUTH PLAIN ")), "{heard}");
    }
}

#[test]
fn nothing_is_said_to_whom_we_do_not_trust() {
    let (certificates, others) = (Certificates::make("9"), Certificates::make("9"));
    let expired = Certificates::make("-1");
    let directory = tempfile::tempdir().unwrap();
    let file = password(directory.path());
    let (ca, other, old) = (certificates.ca(), others.ca(), expired.ca());
    for (served, ca, host, name, words) in [
        (&certificates, &other, "localhost", None, "signed by nobody we trust"),
        (&certificates, &ca, "127.0.0.1", None, "is not for 127.0.0.1"),
        (
            &certificates,
            &ca,
            "localhost",
            Some("mail.example.com"),
            "not for mail.example",
        ),
        (&expired, &old, "localhost", None, "expired"),
    ] {
        for implicit in [true, false] {
            let setup = Setup {
                implicit,
                starttls: (!implicit).then_some(StartTls::Required),
                password_file: Some(&file),
                ca_file: Some(ca),
                host: Some(host),
                server_name: name,
                ..Setup::default()
            };
            let features = vec!["STARTTLS", "AUTH PLAIN"];
            let tls = Some((served.server(), implicit));
            let receiver =
                MailReceiver::with(Script { features, rules: Vec::new(), tls }).unwrap();
            let report = format!("{:?}", setup.send(&receiver));
            assert!(
                report.starts_with("Failed") && report.contains(words),
                "{words}: {report}"
            );
            let heard = String::from_utf8_lossy(&receiver.heard()[0]).into_owned();
            assert!(!heard.contains("AUTH") && !heard.contains("MAIL"), "{heard}");
        }
    }
}

#[test]
fn a_missing_starttls_stops_before_anything_is_said() {
    let certificates = Certificates::make("9");
    let directory = tempfile::tempdir().unwrap();
    let (file, ca) = (password(directory.path()), certificates.ca());
    let setup = Setup {
        starttls: Some(StartTls::Required),
        password_file: Some(&file),
        ca_file: Some(&ca),
        host: Some("localhost"),
        ..Setup::default()
    };
    let injected = "220 go on\r\n250-receiver\r\n250 AUTH PLAIN";
    for (features, rules, wanted, words) in [
        (vec!["AUTH PLAIN"], vec![], "Stop", "offers no STARTTLS"),
        (vec!["XXXXXXXX", "AUTH PLAIN"], vec![], "Stop", "offers no STARTTLS"),
        (
            vec!["STARTTLS", "AUTH PLAIN"],
            vec![says("STARTTLS", "454 not now")],
            "Failed",
            "454",
        ),
        (vec!["STARTTLS", "AUTH PLAIN"], vec![says("STARTTLS", "502 no")], "Stop", "502"),
        (
            vec!["STARTTLS", "AUTH PLAIN"],
            vec![says("STARTTLS", injected)],
            "Failed",
            "in clear",
        ),
    ] {
        let tls = Some((certificates.server(), false));
        let receiver = MailReceiver::with(Script { features, rules, tls }).unwrap();
        let report = format!("{:?}", setup.send(&receiver));
        assert!(report.starts_with(wanted) && report.contains(words), "{report}");
        let heard = String::from_utf8_lossy(&receiver.heard()[0]).into_owned();
        assert!(!heard.contains("AUTH") && !heard.contains("MAIL"), "{heard}");
        assert!(receiver.take_mails().unwrap().is_empty());
    }
}

#[test]
fn servers_are_read_from_their_addresses() {
    for (written, implicit, host, port) in [
        ("smtp://mail.example.com", false, "mail.example.com", 25),
        ("smtp://mail.example.com:587", false, "mail.example.com", 587),
        ("smtps://mail.example.com", true, "mail.example.com", 465),
        ("smtp://127.0.0.1:2525", false, "127.0.0.1", 2525),
        ("smtp://[::1]", false, "::1", 25),
        ("smtps://[::1]:465", true, "::1", 465),
    ] {
        let server = Server::try_from(written.to_owned()).unwrap();
        let found = (server.is_implicit, server.host.as_str(), server.port);
        assert_eq!(found, (implicit, host, port));
        assert_eq!(server.to_string(), written);
    }
    for bad in [
        "mail.example.com",
        "http://mail.example.com",
        "smtp://",
        "smtp://:25",
        "smtp://user:secret@mail.example.com",
        "smtp://mail.example.com:0",
        "smtp://mail.example.com:x",
        "smtp://mail.example.com/",
        "smtp://mail example",
        "smtp://[::1",
        "smtp://[mail]:25",
        "smtp://mail\r\nexample.com",
    ] {
        assert!(Server::try_from(bad.to_owned()).is_err(), "{bad}");
    }
}

#[test]
fn a_password_does_not_leave_the_machine_in_clear() {
    let context = BuildContext {
        name: "mail",
        directory: Path::new("/etc"),
        state: Path::new("/nowhere"),
    };
    let tls = |server: &str, starttls, user: bool| {
        let via = Via::Smtp {
            server: server.to_owned().try_into().unwrap(),
            starttls,
            user: user.then(|| "ann".to_owned()),
            password_file: user.then(|| "mail.password".into()),
            ca_file: None,
            server_name: None,
            hello: None,
            timeout: None,
        };
        match via.transport(&context) {
            Ok(Transport::Smtp(smtp)) => {
                if let Some(login) = smtp.login {
                    assert_eq!(login.password_file, Path::new("/etc/mail.password"));
                }
                Ok(smtp.tls)
            }
            Ok(Transport::Sendmail(_)) => panic!("another transport"),
            Err(error) => Err(error.message),
        }
    };
    let never = Some(StartTls::Never);
    assert_eq!(tls("smtp://mail.example.com", None, true), Ok(Tls::Later));
    assert_eq!(tls("smtp://mail.example.com", never, false), Ok(Tls::Never));
    assert_eq!(tls("smtp://localhost", None, true), Ok(Tls::Never));
    assert_eq!(
        tls("smtp://127.0.0.1:25", Some(StartTls::Required), true),
        Ok(Tls::Later)
    );
    assert_eq!(tls("smtps://mail.example.com", None, true), Ok(Tls::Implicit));
    let error = tls("smtp://mail.example.com", never, true).unwrap_err();
    assert!(error.contains("in clear to another machine"), "{error}");
    assert!(tls("smtps://mail.example.com", never, false).is_err());
}
