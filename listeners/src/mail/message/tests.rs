use super::*;
use proptest::prelude::*;

fn message(subject: &str, text: &str) -> Message {
    Message {
        sender: Address::parse("Tripline <tripline@example.com>").unwrap(),
        to: vec![Address::parse("ops@example.com").unwrap()],
        subject: subject.to_owned(),
        text: text.to_owned(),
        attachments: Vec::new(),
        headers: vec![("X-Tripline-Listener", subject.to_owned())],
        id: message_id(&["x"]),
        date: 1_700_000_000,
    }
}

/// The headers and the body: as every mail server splits them.
fn split(sealed: &Sealed) -> (Vec<(String, String)>, String) {
    let (head, body) = sealed.content.split_once("\r\n\r\n").unwrap();
    let unfolded = head.replace("\r\n ", " ").replace("\r\n\t", " ");
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?}"));
        (name.to_owned(), value.to_owned())
    };
    (unfolded.split("\r\n").map(header).collect(), body.to_owned())
}

fn received(sealed: Sealed) -> super::super::receiver::Received {
    let Sealed { from, to, content, .. } = sealed;
    super::super::receiver::Received { from, to, wire: stuffed(&content) }
}

fn stuffed(content: &str) -> Vec<u8> {
    let lines = content.split_inclusive("\r\n");
    let stuff = |line: &str| {
        if line.starts_with('.') { format!(".{line}") } else { line.to_owned() }
    };
    lines.map(stuff).collect::<String>().into_bytes()
}

const NAMES: &[&str] = &[
    "Date",
    "From",
    "To",
    "Subject",
    "Message-ID",
    "Auto-Submitted",
    "X-Tripline-Listener",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];

#[test]
fn a_plain_message_reads_as_it_was_written() {
    let sealed = message("Two entries", "first\nsecond\n.\n").seal().unwrap();
    let wanted = format!(
        "Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n\
         From: \"Tripline\" <tripline@example.com>\r\n\
         To: <ops@example.com>\r\n\
         Subject: Two entries\r\n\
         Message-ID: <{}@example.com>\r\n\
         Auto-Submitted: auto-generated\r\n\
         X-Tripline-Listener: Two entries\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=\"utf-8\"\r\n\
         Content-Transfer-Encoding: 7bit\r\n\
         \r\n\
         first\r\nsecond\r\n.\r\n",
        message_id(&["x"])
    );
    assert_eq!(sealed.content, wanted);
    assert_eq!(
        (sealed.from.as_str(), &*sealed.to),
        ("tripline@example.com", &["ops@example.com".to_owned()][..])
    );
    let again = message("Two entries", "first\nsecond\n.\n").seal().unwrap();
    assert_eq!(again, sealed, "the same message is the same bytes");
    assert_eq!(Sealed::from_made(&sealed.to_made()).unwrap(), sealed);
}

/// Nothing of it may become a header, an address or an end of the mail.
const HOSTILE: &[&str] = &[
    "$(touch /tmp/pwn) `id` ; reboot --flag",
    "\n~! touch /tmp/pwn",
    "x\r\nBcc: victim@example.com",
    "x\nBcc: victim@example.com",
    "x\rBcc: victim@example.com",
    "\r\n.\r\nMAIL FROM:<a@example.com>\r\n",
    "\n.\nMAIL FROM:<a@example.com>\n",
    "\r\n\r\nbody begins\r\n",
    "\x1b]0;title\x07\x1b[2J",
    "right\u{202e}tfel\u{202c}",
    "%s%n%x",
    "{{ template }}{% include 'x' %}",
    "nul \0 nul",
    "=?utf-8?q?=0d=0aBcc:_victim@example.com?=",
    "\u{85}\u{2028}\u{2029}Bcc: x",
    "--=_boundary--",
    "=0D=0ABcc: x",
    "From nobody Mon Jan 1",
    ".",
    "..\n...\n.",
];

#[test]
fn hostile_text_stays_text() {
    let plain = message("x", "x").seal().unwrap();
    let (headers, _) = split(&plain);
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, NAMES);
    for hostile in HOSTILE {
        let mut message = message(hostile, hostile);
        message.to = vec![Address::new(Some(hostile), "ops@example.com").unwrap()];
        message.sender = Address::new(Some(hostile), "tripline@example.com").unwrap();
        let sealed =
            message.seal().unwrap_or_else(|error| panic!("{hostile:?}: {error}"));
        let (headers, body) = split(&sealed);
        let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, NAMES, "{hostile:?}");
        assert!(!body.contains('\x1b') && !body.contains('\0'), "{body:?}");
        for (name, value) in headers {
            assert!(
                !value.contains(|c: char| c.is_control() && c != '\t'),
                "{name}: {value:?}"
            );
        }
        let text = received(sealed).text();
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        let shown = text::lines(hostile, 1000).replace("\r\n", "\n");
        assert_eq!(text, shown, "{hostile:?}");
    }
}

#[test]
fn text_that_is_not_plain_arrives() {
    for text in [
        "caf\u{e9} \u{1f600}\n",
        &"long ".repeat(10_000),
        &"\u{fc}".repeat(5000),
        "trailing blanks   \n\t\nand tabs\t\n",
        "= equals = at the end =\n=\n",
        "",
        "\n\n\n",
    ] {
        let sealed = message("caf\u{e9}", text).seal().unwrap();
        let mut wanted = text.to_owned();
        if !wanted.is_empty() && !wanted.ends_with('\n') {
            wanted.push('\n');
        }
        let received = received(sealed);
        let found = received.text();
        assert_eq!(found.trim_end_matches('\n'), wanted.trim_end_matches('\n'));
        assert_eq!(received.header("Subject").unwrap(), "=?utf-8?B?Y2Fmw6k=?=");
    }
}

#[test]
fn what_is_too_long_is_cut() {
    let sealed =
        message(&"s".repeat(10_000), &"line\n".repeat(1_000_000)).seal().unwrap();
    assert!(sealed.content.len() < Message::TEXT_BYTES_MAX * 3 / 2);
    let (headers, _) = split(&sealed);
    assert!(headers.iter().all(|(_, value)| value.len() < 2000));
    assert!(
        received(sealed)
            .text()
            .ends_with("[the rest is left out: this mail would be too long]\n")
    );
}

#[test]
fn attachments_arrive_byte_by_byte() {
    let every: Vec<u8> = (0..=255).chain(b"\r\n.\r\n".iter().copied()).collect();
    for (kind, mime) in [(Kind::Text, "text/plain"), (Kind::Json, "application/json")] {
        let mut message = message("x", "see the file");
        message.attachments = vec![
            Attachment {
                name: "a\r\nb/../\"c\u{e9}.txt".to_owned(),
                kind,
                bytes: every.clone(),
            },
            Attachment { name: "empty".to_owned(), kind, bytes: Vec::new() },
        ];
        let boundary = format!("--=_{}", message.id);
        let sealed = message.seal().unwrap();
        let (_, body) = split(&sealed);
        let parts: Vec<&str> = body.split(&boundary).collect();
        assert_eq!(parts.len(), 5, "{body}");
        assert!(parts[1].contains("see the file") && parts[4].starts_with("--\r\n"));
        let (head, content) = parts[2].split_once("\r\n\r\n").unwrap();
        assert!(head.contains(mime) && head.contains("base64"), "{head}");
        assert!(
            head.contains("attachment") && !head.contains('/') || !head.contains("../"),
            "{head}"
        );
        let engine = &base64::engine::general_purpose::STANDARD;
        assert_eq!(engine.decode(content.replace("\r\n", "")).unwrap(), every);
    }
    let mut message = message("x", "x");
    message.attachments = vec![Attachment {
        name: String::new(),
        kind: Kind::Json,
        bytes: vec![0; Message::ATTACHED_BYTES_MAX + 1],
    }];
    assert!(message.seal().unwrap_err().contains("attached"));
}

#[test]
fn recipients_are_bounded_and_once() {
    let address =
        |number: usize| Address::parse(&format!("p{number}@example.com")).unwrap();
    let mut many = message("x", "x");
    many.to = (0..Message::RECIPIENTS_MAX).chain(0..10).map(address).collect();
    assert_eq!(many.clone().seal().unwrap().to.len(), Message::RECIPIENTS_MAX);
    many.to.push(address(1000));
    assert!(many.seal().unwrap_err().contains("at most 100"));
    let mut none = message("x", "x");
    none.to.clear();
    assert!(none.seal().is_err());
}

#[test]
fn only_what_is_fit_comes_back() {
    let sealed = message("x", "x").seal().unwrap();
    let bad = [
        Sealed { from: "a@example.com>\r\nDATA".to_owned(), ..sealed.clone() },
        Sealed { to: vec!["-x@example.com".to_owned()], ..sealed.clone() },
        Sealed { content: "bare\n".to_owned(), ..sealed.clone() },
        Sealed { content: "bare\rcr\r\n".to_owned(), ..sealed.clone() },
        Sealed { content: "no end".to_owned(), ..sealed.clone() },
        Sealed { content: "nul\0\r\n".to_owned(), ..sealed.clone() },
        Sealed { content: "caf\u{e9}\r\n".to_owned(), ..sealed.clone() },
        Sealed { content: format!("{}\r\n", "x".repeat(1000)), ..sealed },
    ];
    for bad in bad {
        assert!(Sealed::from_made(&bad.to_made()).is_err(), "{bad:?}");
    }
    assert!(Sealed::from_made(b"{}").is_err());
    assert!(Sealed::from_made(b"\xff").is_err());
}

#[test]
fn ids_differ_when_parts_do() {
    let ids = [message_id(&["ab", "c"]), message_id(&["a", "bc"]), message_id(&["abc"])];
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
    assert!(ids.iter().all(|id| id.len() == 40));
    assert_eq!(message_id(&["ab", "c"]), ids[0]);
}

proptest! {
    #[test]
    fn any_text_makes_a_sound_message(
        subject in any::<String>(),
        name in any::<String>(),
        text in "(\\PC|[\\r\\n.\\x00-\\x1f\\x7f-\\xa0=]){0,400}",
        attached in proptest::collection::vec(any::<u8>(), 0..300),
        attaches in any::<bool>(),
    ) {
        let mut message = message(&subject, &text);
        message.to = vec![Address::new(Some(&name), "ops@example.com").unwrap()];
        if attaches {
            let kind = Kind::Text;
            message.attachments.push(Attachment { name, kind, bytes: attached });
        }
        // It is checked for lines, ASCII and controls when it is sealed.
        let sealed = message.seal().unwrap();
        let (headers, _) = split(&sealed);
        let names = headers.iter().map(|(name, _)| name.as_str());
        let wanted = NAMES.iter().copied().filter(|name| {
            !attaches || *name != "Content-Transfer-Encoding"
        });
        prop_assert!(names.eq(wanted));
        if !attaches {
            let shown = text::lines(&text, 10_000).replace("\r\n", "\n");
            let found = received(sealed).text();
            prop_assert_eq!(found.trim_end_matches('\n'), shown.trim_end_matches('\n'));
        }
    }
}
