use super::receiver::{Answer, MailReceiver, Received, Rule};
use super::*;
use crate::testing::{Feed, OwnedBatch};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;
use tripline_api::{Content, Place, Settled};

mod rejected;
mod resumed;

/// Two recipients, and a body with the id of each entry.
const ARGUMENTS: &str = r#"(
    from: ["logs"],
    to: ["a@example.com", "b@example.com"],
    sender: "tripline@example.com",
    via: Smtp(server: "smtp://{server}", timeout: "5s"),
    body: "{% for entry in entries %}{{ entry.id }}\n{% endfor %}",
    digest: (after: "0s", every: "0s", show: 1000),
)"#;

/// A listener, its receiver and a place for what it remembers.
struct Site {
    directory: tempfile::TempDir,
    receiver: MailReceiver,
    arguments: String,
}

impl Site {
    fn new() -> Self {
        Self::with(ARGUMENTS)
    }

    fn with(arguments: &str) -> Self {
        let receiver = MailReceiver::start().unwrap();
        let arguments = arguments.replace("{server}", &receiver.address().to_string());
        Self { directory: tempfile::tempdir().unwrap(), receiver, arguments }
    }

    fn change(mut self, from: &str, to: &str) -> Self {
        assert!(self.arguments.contains(from));
        self.arguments = self.arguments.replace(from, to);
        self
    }

    fn build(&self) -> Box<dyn Listener> {
        build(&self.arguments, self.directory.path()).unwrap().listener
    }

    fn lane(&self) -> Lane {
        Lane { listener: self.build(), settled: Settled::new(), letters: Vec::new() }
    }

    /// The mails that differ in their Message-ID, in order.
    fn mails(&self) -> Vec<Received> {
        let mut mails = self.receiver.take_mails().unwrap();
        let mut seen = BTreeSet::new();
        mails.retain(|mail| seen.insert(mail.header("Message-ID")));
        mails
    }
}

fn build(arguments: &str, directory: &Path) -> Result<Built, ArgsError> {
    let state = directory.join("state");
    let context = BuildContext { name: "mail", directory, state: &state };
    Factory.build(&Args::new(arguments), &context)
}

/// What a lane does, as far as it matters here; no pauses.
struct Lane {
    listener: Box<dyn Listener>,
    settled: Settled,
    letters: Vec<Letter>,
}

/// How a stretch of work ended.
#[derive(Debug)]
enum Came {
    /// Everything is settled.
    Through,
    /// Everything was put off so often.
    PutOff(String),
    Stopped(String),
}

impl Lane {
    fn begin(&mut self, feed: &Feed, set_by_hand: bool) {
        let cursor = self.settled.get(&None).cloned();
        let begin = Begin { source: feed.source(), cursor: cursor.as_ref(), set_by_hand };
        self.listener.begin(&begin).unwrap();
    }

    fn listen(&mut self, feed: &Feed) -> Settled {
        let mut pending = Settled::new();
        for batch in feed.unsettled(&self.settled, 50) {
            batch.deliver(&mut *self.listener).unwrap();
            pending.insert(batch.log().cloned(), batch.end().clone());
        }
        pending
    }

    /// Reads all of it and settles it, beginning again as often as so many
    /// times.
    fn run(&mut self, feed: &Feed, tries: usize) -> Came {
        let mut why = String::new();
        for _ in 0..tries {
            self.begin(feed, false);
            match self.once(feed) {
                Ok(()) => return Came::Through,
                Err(ListenError::Retry(said)) => why = said,
                Err(ListenError::Stop(said)) => return Came::Stopped(said),
                Err(other) => panic!("{other:?}"),
            }
        }
        Came::PutOff(why)
    }

    fn once(&mut self, feed: &Feed) -> Result<(), ListenError> {
        let mut pending = self.listen(feed);
        let mut is_flushed = self.listener.flush()? == Flushed::All;
        let since = Instant::now();
        while !is_flushed {
            assert!(since.elapsed() < Duration::from_secs(60), "never flushed");
            std::thread::yield_now();
            is_flushed = self.listener.is_flushed()?;
        }
        self.letters.append(&mut self.listener.letters());
        self.settled.append(&mut pending);
        Ok(())
    }

    fn run_through(&mut self, feed: &Feed) {
        let came = self.run(feed, 100);
        assert!(matches!(came, Came::Through), "{came:?}");
    }
}

fn lines(count: usize) -> Feed {
    let text: String = (0..count).map(|number| format!("line {number}\n")).collect();
    Feed::new("logs").log("/var/log/a.log", text.as_bytes())
}

fn ids(feed: &Feed) -> Vec<String> {
    let batches = feed.unsettled(&Settled::new(), usize::MAX);
    let ids = |batch: &OwnedBatch| -> Vec<String> {
        batch.view().entries().map(|entry| entry.id()).collect()
    };
    batches.iter().flat_map(ids).collect()
}

fn mailed(mails: &[Received]) -> Vec<String> {
    mails
        .iter()
        .flat_map(|mail| mail.text().lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

fn counted(mails: &[Received]) -> u64 {
    let count = |mail: &Received| mail.header("X-Tripline-Entries").unwrap();
    mails.iter().map(|mail| count(mail).parse::<u64>().unwrap()).sum()
}

fn says(at: &'static str, answer: &'static str, times: u32) -> Rule {
    Rule { at, answer: Answer::Say(answer), times }
}

#[test]
fn entries_become_a_mail() {
    let site = Site::new().change(
        r#"body: "{% for entry in entries %}{{ entry.id }}\n{% endfor %}","#,
        "attach: Json,",
    );
    let feed = Feed::new("logs").log("/var/log/a.log", b"one\nt\x1b[2Jwo\r\ncaf\xe9\n");
    site.lane().run_through(&feed);
    let mails = site.mails();
    assert_eq!(mails.len(), 1);
    let mail = &mails[0];
    assert_eq!(mail.to, ["a@example.com", "b@example.com"]);
    assert_eq!(mail.header("X-Tripline-Listener").unwrap(), "mail");
    let content = mail.content();
    for words in [
        "Subject: mail on ",
        ": 3 entries\r\n",
        "one\r\nt\\x1b[2Jwo\r\ncaf\\xe9\r\n",
        "3 entries of logs, from logs/0/0~",
        "application/json",
        "entries.jsonl",
    ] {
        assert!(content.contains(words), "{words}: {content}");
    }
}

#[test]
fn records_have_their_fields_and_no_secrets() {
    let journal =
        b"@rv@ 4 @db.user@ @ann@ @ann@@example@ @@ 1 2 @Ann@ @0123CAFE@ 0 @@ 0 0 0 \n\
        @pv@ 0 @db.desc@ 7 @two\nlines@ \n@ex@ 2 1700000000\n";
    let body = r#"body: "{% for e in entries %}{{ e.op }} {{ e.table or '-' }} {{ e.when }} {{ e.summary }}\n{% endfor %}","#;
    let arguments = ARGUMENTS.replace(
        r#"body: "{% for entry in entries %}{{ entry.id }}\n{% endfor %}","#,
        body,
    );
    let site = Site::with(&arguments.replace("logs", "p4"));
    site.lane().run_through(&Feed::new("p4").journal(1, journal));
    let text = site.mails()[0].text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].starts_with("rv db.user  rv db.user "), "{text}");
    assert!(
        lines[0].contains("user=ann") && lines[0].contains("email=ann@example"),
        "{text}"
    );
    assert!(text.contains("[redacted]") && !text.contains("0123CAFE"), "{text}");
    assert!(
        lines[1].ends_with("description=two lines descKey=7")
            || lines[1].contains("descKey=7"),
        "{text}"
    );
}

#[test]
fn only_what_matches_is_mailed() {
    let site = Site::new().change("sender:", "matching: \"[37]$\", sender:");
    let feed = lines(10);
    site.lane().run_through(&feed);
    let all = ids(&feed);
    assert_eq!(mailed(&site.mails()), [all[3].clone(), all[7].clone()]);
}

/// What comes in a flood is one mail, and the next when its time has come.
#[test]
fn a_flood_is_two_mails_and_their_counts_add_up() {
    let digest = r#"digest: (after: "300ms", every: "1s", show: 5)"#;
    let site =
        Site::new().change(r#"digest: (after: "0s", every: "0s", show: 1000)"#, digest);
    let feed = lines(100_000);
    let mut lane = site.lane();
    lane.begin(&feed, false);
    let batches = feed.unsettled(&Settled::new(), 20_000);
    let (early, late) = batches.split_at(batches.len() / 2);
    let first = Instant::now();
    for batch in early {
        batch.deliver(&mut *lane.listener).unwrap();
    }
    assert_eq!(lane.listener.flush().unwrap(), Flushed::Soon);
    while !lane.listener.is_flushed().unwrap() {
        assert!(first.elapsed() < Duration::from_secs(60));
        std::thread::yield_now();
    }
    assert!(first.elapsed() >= Duration::from_millis(300), "what comes together");
    let second = Instant::now();
    for batch in late {
        batch.deliver(&mut *lane.listener).unwrap();
        lane.listener.is_flushed().unwrap();
    }
    assert_eq!(lane.listener.flush().unwrap(), Flushed::Soon);
    while !lane.listener.is_flushed().unwrap() {
        assert!(second.elapsed() < Duration::from_secs(60));
        std::thread::yield_now();
    }
    assert!(second.elapsed() >= Duration::from_millis(900), "one mail a second");
    let mails = site.mails();
    assert_eq!((mails.len(), counted(&mails)), (2, 100_000));
    let text = mails[1].text();
    assert_eq!(text.lines().count(), 5);
}

#[test]
fn enough_entries_do_not_wait() {
    let digest = r#"digest: (after: "1h", or_entries: 10, every: "0s", show: 1000)"#;
    let site =
        Site::new().change(r#"digest: (after: "0s", every: "0s", show: 1000)"#, digest);
    let mut lane = site.lane();
    lane.begin(&lines(9), false);
    lane.listen(&lines(9));
    assert_eq!(lane.listener.flush().unwrap(), Flushed::Soon);
    assert!(!lane.listener.is_flushed().unwrap());
    assert!(site.mails().is_empty());
    lane.run_through(&lines(10));
    assert_eq!(counted(&site.mails()), 10);
}

#[test]
fn a_gap_is_mailed_with_its_repair() {
    let site = Site::new()
        .change(r#"body: "{% for entry in entries %}{{ entry.id }}\n{% endfor %}","#, "");
    let feed = lines(2);
    let mut lane = site.lane();
    lane.begin(&feed, false);
    lane.listen(&feed);
    let place = Place { era: 7, sequence: 1, offset: 0, line: 0 };
    let gap = feed.gap(Some(Path::new("/var/log/a.log")), place, place);
    lane.listener.gap(&gap).unwrap();
    lane.listener.gap(&gap).unwrap();
    assert!(matches!(lane.once(&Feed::new("logs")), Ok(())));
    let mails = site.mails();
    let content = mails[0].content();
    assert!(content.contains("with a GAP"), "{content}");
    assert!(
        content.contains("GAP: something is gone. To repair it, bring it back"),
        "{content}"
    );
    lane.begin(&feed, false);
    lane.listener.gap(&gap).unwrap();
    assert!(matches!(lane.once(&Feed::new("logs")), Ok(())));
    assert!(site.mails().is_empty(), "it was mailed");
}

#[test]
fn a_template_that_fails_costs_no_mail() {
    let site = Site::new().change("{{ entry.id }}", "{{ entry.fields.none }}");
    site.lane().run_through(&lines(3));
    let text = site.mails()[0].text();
    assert!(text.contains("line 0\nline 1\nline 2\n"), "{text}");
    assert!(
        text.contains("is not worded as it should be: `body` has a mistake"),
        "{text}"
    );
}

#[test]
fn arguments_are_checked() {
    let directory = tempfile::tempdir().unwrap();
    let sound = ARGUMENTS.replace("{server}", "127.0.0.1:25");
    assert!(build(&sound, directory.path()).is_ok());
    for (from, to, words) in [
        (r#"["logs"]"#, "[]", "names no source"),
        (r#"["a@example.com", "b@example.com"]"#, "[]", "at least one address"),
        ("b@example.com", "a@example.com", "twice"),
        ("b@example.com", "b", "is no mail address"),
        ("tripline@example.com", "tripline", "is no mail address"),
        ("smtp://127.0.0.1:25", "mail.example.com", "is no mail server"),
        ("timeout: \"5s\"", "timeout: \"2h\"", "`timeout` must lie"),
        ("timeout: \"5s\"", "user: \"ann\"", "`user` needs a `password_file`"),
        ("timeout: \"5s\"", "hello: \"a b\"", "`hello` must be"),
        ("show: 1000", "show: 0", "`show` in `digest`"),
        ("every: \"0s\"", "every: \"25h\"", "`every` in `digest`"),
        ("show: 1000", "or_entries: 0", "`or_entries`"),
        ("entry.id", "entry.idd", "asks an entry for `idd`"),
        ("{% endfor %}", "", "`body` has a mistake"),
        ("sender:", "subject: \"{{ counts }}\", sender:", "`subject` uses `counts`"),
        ("sender:", "matching: \"(\", sender:", "`matching` is no pattern"),
        ("sender:", "tables: [], sender:", "`tables` is empty"),
        ("sender:", "give_up: \"0s\", sender:", "`give_up` must lie"),
        (
            "Smtp(server: \"smtp://127.0.0.1:25\", timeout: \"5s\")",
            "Sendmail(program: [\"sendmail\"])",
            "whole path",
        ),
    ] {
        assert!(sound.contains(from), "{from}");
        let error = match build(&sound.replacen(from, to, 1), directory.path()) {
            Ok(_) => panic!("{to} is taken"),
            Err(error) => error.message,
        };
        assert!(error.contains(words), "{to}: {error}");
    }
    let sendmail = sound
        .replace("Smtp(server: \"smtp://127.0.0.1:25\", timeout: \"5s\")", "Sendmail()");
    assert!(build(&sendmail, directory.path()).is_ok());
    assert!(
        std::fs::read_dir(directory.path()).unwrap().next().is_none(),
        "nothing made"
    );
}

#[test]
fn memory_does_not_grow_with_entries() {
    let site = Site::new().change("after: \"0s\"", "after: \"1h\"");
    let mut lane = site.lane();
    let long = format!("{}\n", "x".repeat(100_000)).repeat(100);
    let feed = Feed::new("logs").log("/a", long.as_bytes());
    lane.begin(&feed, false);
    let mut digest = Digest::default();
    let showing = Showing { show: 1000, secrets: Secrets::Redact };
    for batch in feed.unsettled(&Settled::new(), 1_000_000) {
        let listener = ListenerId::new("mail").unwrap();
        digest.add(&listener, &View::all(batch.view()), &Covers::default(), showing);
    }
    assert_eq!(digest.count(), 100);
    assert!(digest.json_lines(usize::MAX).len() < 1024 * 1024);
    let context = digest.context(&ListenerId::new("mail").unwrap(), "host");
    assert!(context.to_string().len() < 2 * 1024 * 1024);
}
