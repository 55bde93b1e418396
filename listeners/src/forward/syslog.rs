//! Syslog messages: RFC 5424, and RFC 3164 as far as that is a format.
//!
//! Nothing that a line holds gets into a header, and no message holds a line
//! feed: `<133>1 2026-11-20T20:00:00Z host auth - - [entry@32473 id="auth/0/9"
//! source="auth" path="/var/log/auth.log" line="1"] text`.

mod names;

use super::escape::{push_text, push_value};
use super::own_header::{OwnHeader, OwnHeaders};
use jiff::Timestamp;
use jiff::tz::TimeZone;
pub(super) use names::{Facility, Severity, SyslogHeader};
use names::{check_name, this_host};
use std::borrow::Cow;
use std::io::Write as _;
use tripline_api::{Entry, Gap, Secrets, write_entry};

/// What `enterprise` is unless configured: the number that RFC 5612 sets aside
/// for examples.
pub(super) const ENTERPRISE: u32 = 32473;
/// The longest names, in bytes: those of RFC 5424.
const HOST_MAX: usize = 255;
const APP_MAX: usize = 48;
const PROCID_MAX: usize = 128;
const MSGID_MAX: usize = 32;
/// No header is longer without a path: so a text always has some room.
pub(super) const MESSAGE_MIN: usize = 1024;
/// What a note behind the text of RFC 3164 takes at most.
const NOTES_BYTES: usize = 64;
/// What the parameter `cut` takes at most.
const CUT_BYTES: usize = 28;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// Options that both styles have, as they are written.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    pub(super) facility: Option<Facility>,
    pub(super) severity: Option<Severity>,
    pub(super) hostname: Option<String>,
    pub(super) app_name: Option<String>,
    pub(super) procid: Option<String>,
    pub(super) header: Option<SyslogHeader>,
}

#[derive(Clone, Debug)]
pub(super) enum Style {
    Rfc5424 { msgid: String, enterprise: u32, has_bom: bool },
    Rfc3164,
}

impl Style {
    pub(super) fn new_rfc5424(
        msgid: Option<String>,
        enterprise: Option<u32>,
        bom: Option<bool>,
    ) -> Result<Self, String> {
        let msgid = msgid.unwrap_or_else(|| "-".to_owned());
        check_name("msgid", &msgid, MSGID_MAX)?;
        Ok(Self::Rfc5424 {
            msgid,
            enterprise: enterprise.unwrap_or(ENTERPRISE),
            has_bom: bom.unwrap_or(true),
        })
    }
}

/// Writes syslog messages.
#[derive(Debug)]
pub(super) struct Syslog {
    style: Style,
    facility: Facility,
    severity: Severity,
    hostname: String,
    /// Without one it is the source's name.
    app_name: Option<String>,
    procid: Option<String>,
    /// When headers are taken from lines that have one.
    own: Option<OwnHeaders>,
    message_max: usize,
    secrets: Secrets,
    zone: TimeZone,
}

impl Syslog {
    pub(super) fn new(
        style: Style,
        written: Written,
        message_max: usize,
        secrets: Secrets,
    ) -> Result<Self, String> {
        let named = [
            ("hostname", &written.hostname, HOST_MAX),
            ("app_name", &written.app_name, APP_MAX),
            ("procid", &written.procid, PROCID_MAX),
        ];
        for (option, name, max) in named {
            name.as_deref().map_or(Ok(()), |name| check_name(option, name, max))?;
        }
        let own = match written.header {
            Some(SyslogHeader::FromLine) => {
                Some(OwnHeaders::new(None).map_err(|error| error.to_string())?)
            }
            Some(SyslogHeader::Ours) | None => None,
        };
        Ok(Self {
            style,
            facility: written.facility.unwrap_or(Facility::Local0),
            severity: written.severity.unwrap_or(Severity::Notice),
            hostname: written.hostname.unwrap_or_else(this_host),
            app_name: written.app_name,
            procid: written.procid,
            own,
            message_max,
            secrets,
            zone: TimeZone::system(),
        })
    }

    /// Appends the message of an entry: at most `message_max` bytes.
    pub(super) fn push(&self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let now = Timestamp::now();
        let seconds = entry.time();
        let near = entry.log.and_then(|log| log.time).map(|(_, near)| near);
        let near = near.unwrap_or_else(|| now.as_second());
        let text = self.text(entry);
        let own = self.own.as_ref().filter(|_| entry.log.is_some());
        let own = own.and_then(|own| own.read(&text, near));
        let (own, text) = match own {
            Some((header, text)) => (Some(header), text),
            None => (None, &*text),
        };
        let seconds = seconds.or_else(|| own.map(|header| header.seconds));
        let head = Head { severity: self.severity, seconds, now, own };
        let source = entry.source.as_str();
        match &self.style {
            Style::Rfc5424 { has_bom, .. } => {
                self.push_rfc5424(entry, &head, text, *has_bom, out);
            }
            Style::Rfc3164 => {
                let notes = notes(entry);
                self.push_rfc3164(source, &head, text, &notes, length(entry), out);
            }
        }
    }

    /// Appends a message about a gap.
    pub(super) fn push_gap(&self, gap: &Gap, out: &mut Vec<u8>) {
        let severity = self.severity.at_least_warning();
        let head = Head { severity, seconds: None, now: Timestamp::now(), own: None };
        let text = format!("gap: {}. To repair it, {}", gap.why, gap.repair);
        let source = gap.source.as_str();
        match &self.style {
            Style::Rfc5424 { enterprise, .. } => {
                let from = out.len();
                self.push_head(source, &head, out);
                _ = write!(out, " [gap@{enterprise}");
                push_parameter("id", gap.id().as_bytes(), out);
                push_parameter("source", source.as_bytes(), out);
                push_parameter("kind", gap.kind.name().as_bytes(), out);
                out.extend_from_slice(b"] ");
                let room = self.message_max.saturating_sub(out.len() - from);
                push_text(out, text.as_bytes(), room);
            }
            Style::Rfc3164 => {
                let length = text.len() as u64;
                self.push_rfc3164(source, &head, text.as_bytes(), "", length, out);
            }
        }
    }

    fn push_rfc5424(
        &self,
        entry: &Entry<'_>,
        head: &Head<'_>,
        text: &[u8],
        has_bom: bool,
        out: &mut Vec<u8>,
    ) {
        let from = out.len();
        self.push_head(entry.source.as_str(), head, out);
        self.push_data(entry, from, out);
        let marked = text.strip_prefix(BOM).filter(|_| has_bom).unwrap_or(text);
        let is_marked =
            has_bom && !marked.is_ascii() && std::str::from_utf8(marked).is_ok();
        let behind_data = out.len();
        if !marked.is_empty() {
            out.push(b' ');
        }
        if is_marked {
            out.extend_from_slice(BOM);
        }
        let room = self.message_max.saturating_sub(out.len() - from + CUT_BYTES);
        let fits = push_text(out, marked, room);
        let is_cut = !fits || entry.log.is_some_and(|log| log.cut.is_some());
        if is_cut {
            let cut = format!(" cut=\"{}\"", length(entry));
            let at = behind_data - 1;
            out.splice(at..at, cut.into_bytes());
        }
    }

    /// The structured data: what a receiver knows an entry by.
    fn push_data(&self, entry: &Entry<'_>, from: usize, out: &mut Vec<u8>) {
        let Style::Rfc5424 { enterprise, .. } = &self.style else { return };
        _ = write!(out, " [entry@{enterprise} id=\"{}\"", entry.id());
        if entry.incomplete {
            out.extend_from_slice(b" incomplete=\"true\"");
        }
        let is_preview = entry.log.is_some_and(|log| log.is_preview);
        if is_preview {
            out.extend_from_slice(b" partial=\"true\"");
        }
        let before = out.len();
        push_parameter("source", entry.source.as_str().as_bytes(), out);
        if let Some(log) = &entry.log {
            push_parameter("path", log.path.as_os_str().as_encoded_bytes(), out);
        }
        _ = write!(out, " line=\"{}\"", entry.place.line + 1);
        // The text goes before what only helps to find it.
        if out.len() - from > self.message_max / 2 {
            out.truncate(before);
        }
        out.push(b']');
    }

    /// Everything of RFC 5424 before the structured data.
    fn push_head(&self, source: &str, head: &Head<'_>, out: &mut Vec<u8>) {
        let Style::Rfc5424 { msgid, .. } = &self.style else { return };
        _ = write!(out, "<{}>1 ", self.facility.with(head.severity));
        match head.own.and_then(|own| own.exact) {
            Some(exact) => out.extend_from_slice(exact.as_bytes()),
            None => match head.of_entry() {
                Some(time) => _ = write!(out, "{time}"),
                None => _ = write!(out, "{:.6}", head.now),
            },
        }
        let (host, app, procid) = self.names(source, head, APP_MAX);
        _ = write!(out, " {host} {app} {} {msgid}", procid.unwrap_or("-"));
    }

    fn push_rfc3164(
        &self,
        source: &str,
        head: &Head<'_>,
        text: &[u8],
        notes: &str,
        length: u64,
        out: &mut Vec<u8>,
    ) {
        let from = out.len();
        let time = head.of_entry().unwrap_or(head.now).to_zoned(self.zone.clone());
        let time = time.strftime("%b %e %H:%M:%S");
        let (host, app, procid) = self.names(source, head, APP_MAX);
        _ = write!(out, "<{}>{time} {host} {app}", self.facility.with(head.severity));
        if let Some(procid) = procid {
            _ = write!(out, "[{procid}]");
        }
        out.extend_from_slice(b": ");
        let room = self.message_max.saturating_sub(out.len() - from + NOTES_BYTES);
        let fits = push_text(out, text, room);
        if !fits && !notes.starts_with(" [cut") {
            _ = write!(out, " [cut: {length} bytes in all]");
        }
        out.extend_from_slice(notes.as_bytes());
    }

    fn names<'a>(
        &'a self,
        source: &'a str,
        head: &Head<'a>,
        app_max: usize,
    ) -> (&'a str, &'a str, Option<&'a str>) {
        let own = head.own;
        let host = own.map_or(self.hostname.as_str(), |own| own.host);
        match own.and_then(|own| own.program.map(|program| (program, own.process))) {
            Some((program, process)) => (host, program, process),
            None => {
                // Names of sources are ASCII.
                let source = &source[..source.len().min(app_max)];
                let app = self.app_name.as_deref().unwrap_or(source);
                (host, app, self.procid.as_deref())
            }
        }
    }

    /// A line as it is; a record of a journal as JSON, in which secrets are
    /// covered.
    fn text<'a>(&self, entry: &Entry<'a>) -> Cow<'a, [u8]> {
        if entry.log.is_some() {
            return Cow::Borrowed(entry.text());
        }
        let mut object = Vec::new();
        write_entry(&mut object, entry, self.secrets);
        object.pop();
        Cow::Owned(object)
    }
}

/// What stands before the text besides what is configured.
struct Head<'a> {
    severity: Severity,
    seconds: Option<i64>,
    now: Timestamp,
    own: Option<OwnHeader<'a>>,
}

impl Head<'_> {
    /// The entry's time.
    fn of_entry(&self) -> Option<Timestamp> {
        let seconds = self.seconds.filter(|seconds| YEARS.contains(seconds))?;
        Timestamp::from_second(seconds).ok()
    }
}

/// The years 1970 to 9999, in seconds since 1970: those with four digits.
const YEARS: std::ops::RangeInclusive<i64> = 0..=253_402_207_200;

/// How many bytes the whole entry has in the file.
fn length(entry: &Entry<'_>) -> u64 {
    entry.log.and_then(|log| log.cut).unwrap_or(entry.bytes.len() as u64)
}

/// What RFC 3164 has no place for but the text.
fn notes(entry: &Entry<'_>) -> String {
    let Some(log) = entry.log else { return String::new() };
    match log.cut {
        Some(length) => format!(" [cut: {length} bytes in all]"),
        None if log.is_preview => " [not finished]".to_owned(),
        None => String::new(),
    }
}

fn push_parameter(name: &str, value: &[u8], out: &mut Vec<u8>) {
    _ = write!(out, " {name}=\"");
    push_value(out, value);
    out.push(b'"');
}

#[cfg(test)]
mod tests;
