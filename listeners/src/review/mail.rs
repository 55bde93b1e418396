//! A notice as a mail.

use super::link::Link;
use super::notice::{Notice, Recipient};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// A mail to one address. Its headers are one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mail {
    /// The same for the same mail whenever it is made, and no other's: for its
    /// `Message-ID`. Hexadecimal digits.
    pub(super) id: String,
    pub(super) to: Recipient,
    pub(super) change: i64,
    pub(super) user: String,
    pub(super) client: String,
    pub(super) subject: String,
    /// Lines that end with line feeds, at most about 500 KB.
    pub(super) text: String,
}

/// How mails look.
#[derive(Clone, Debug)]
pub(super) struct Style {
    pub(super) zone: TimeZone,
    pub(super) link: Option<Link>,
}

const SUBJECT_CHARS_MAX: usize = 120;

impl Mail {
    /// The mail to one of the notice's recipients.
    pub(super) fn new(notice: &Notice, to: &Recipient, style: &Style) -> Self {
        let first_line = notice.description.lines().next().unwrap_or_default();
        let Notice { change, user, client, .. } = notice;
        let subject = format!("change {change} by {user}: {first_line}");
        Self {
            id: id(notice, to),
            to: to.clone(),
            change: *change,
            user: user.clone(),
            client: client.clone(),
            subject: super::text::line(subject.as_bytes(), SUBJECT_CHARS_MAX),
            text: text(notice, style),
        }
    }
}

fn id(notice: &Notice, to: &Recipient) -> String {
    let mut hash = Sha256::new();
    for part in [&notice.entry, &notice.change.to_string(), &to.address] {
        hash.update(part.as_bytes());
        hash.update(b"\n");
    }
    hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(notice: &Notice, style: &Style) -> String {
    let Notice { change, user, client, .. } = notice;
    let mut text = format!("Change {change} by {user}@{client}");
    if !notice.full_name.is_empty() {
        _ = write!(text, " ({})", notice.full_name);
    }
    _ = writeln!(text, "\n{}\n", date(notice.date, &style.zone));
    for line in notice.description.lines() {
        _ = writeln!(text, "{}", format!("    {line}").trim_end());
    }
    if notice.is_short {
        text += "\n(Only the first words of the description are known: it was written \
                 before the journals that are followed, or too many changes ago.)\n";
    }
    if let Some(link) = &style.link {
        _ = writeln!(text, "\n{}", link.to(*change, user, client));
    }
    if !notice.jobs.is_empty() {
        text += "\nJobs fixed:\n\n";
        for (job, title) in &notice.jobs {
            _ = writeln!(text, "{}", format!("    {job}  {title}").trim_end());
        }
    }
    let count = notice.files_count;
    _ = writeln!(text, "\nFiles ({count}):\n");
    for (path, revision, action) in &notice.files {
        _ = writeln!(text, "    {path}#{revision} {action}");
    }
    let more = count.saturating_sub(notice.files.len() as u64);
    if more > 0 {
        _ = writeln!(text, "    and {more} more");
    }
    text
}

/// `2016-03-28 11:49:41 -07:00 (America/Los_Angeles)`.
fn date(seconds: i64, zone: &TimeZone) -> String {
    let Ok(time) = Timestamp::from_second(seconds) else {
        return format!("{seconds} seconds after 1970");
    };
    let zoned = time.to_zoned(zone.clone());
    let mut date = zoned.strftime("%Y-%m-%d %H:%M:%S %:z").to_string();
    if let Some(name) = zone.iana_name() {
        _ = write!(date, " ({name})");
    }
    date
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice() -> Notice {
        Notice {
            entry: "p4/15/1234".into(),
            change: 154,
            user: "ann".into(),
            full_name: "Ann Lee".into(),
            client: "ann-ws".into(),
            date: 1_459_190_981,
            description: "Fix the loader\n\n\tmore".into(),
            is_short: false,
            jobs: vec![
                ("job1".into(), "It breaks".into()),
                ("job2".into(), String::new()),
            ],
            files: vec![("//depot/a b".into(), 3, "edit".into())],
            files_count: 12,
            recipients: vec![
                Recipient { address: "bob@x.org".into(), name: "Bob".into() },
                Recipient { address: "cy@x.org".into(), name: "Cy".into() },
            ],
        }
    }

    #[test]
    fn a_mail_says_it_all() {
        let zone = TimeZone::get("America/Los_Angeles").unwrap();
        let link = Some(Link::new("https://s.example.com/changes/{change}").unwrap());
        let notice = notice();
        let mail = Mail::new(&notice, &notice.recipients[0], &Style { zone, link });
        assert_eq!(mail.subject, "change 154 by ann: Fix the loader");
        assert_eq!(
            mail.text,
            "Change 154 by ann@ann-ws (Ann Lee)\n\
             2016-03-28 11:49:41 -07:00 (America/Los_Angeles)\n\n    \
             Fix the loader\n\n    \tmore\n\nhttps://s.example.com/changes/154\n\n\
             Jobs fixed:\n\n    job1  It breaks\n    job2\n\n\
             Files (12):\n\n    //depot/a b#3 edit\n    and 11 more\n"
        );
    }

    #[test]
    fn ids_are_the_mails_own() {
        let style = Style { zone: TimeZone::UTC, link: None };
        let notice = notice();
        let mails: Vec<Mail> =
            notice.recipients.iter().map(|to| Mail::new(&notice, to, &style)).collect();
        assert_eq!(mails[0].id.len(), 32);
        assert_ne!(mails[0].id, mails[1].id);
        assert_eq!(mails[0], Mail::new(&notice, &notice.recipients[0], &style));
        let other = Notice { entry: "p4/15/1235".into(), ..notice.clone() };
        assert_ne!(Mail::new(&other, &notice.recipients[0], &style).id, mails[0].id);
        assert!(
            mails[0].text.contains("2016-03-28 18:49:41 +00:00"),
            "{}",
            mails[0].text
        );
        let broken = Notice { date: i64::MAX, ..notice };
        let mail = Mail::new(&broken, &broken.recipients[0], &style);
        assert!(mail.text.contains("seconds after 1970"));
    }
}
