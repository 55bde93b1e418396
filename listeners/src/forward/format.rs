//! What entries look like on their way.

use super::syslog::{Facility, Severity, Style, Syslog, SyslogHeader, Written};
use serde::Deserialize;
use tripline_api::{Entry, Gap, Secrets, View, write_entry, write_gap};

/// A format, as it is written in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) enum Format {
    /// Each entry's bytes as they are in the file, ended by one line feed.
    Lines,
    /// An object a line, as `Print` writes it.
    Json,
    /// Syslog as it is.
    Rfc5424 {
        facility: Option<Facility>,
        severity: Option<Severity>,
        hostname: Option<String>,
        app_name: Option<String>,
        procid: Option<String>,
        msgid: Option<String>,
        enterprise: Option<u32>,
        header: Option<SyslogHeader>,
        bom: Option<bool>,
    },
    /// Syslog as it was.
    Rfc3164 {
        facility: Option<Facility>,
        severity: Option<Severity>,
        hostname: Option<String>,
        app_name: Option<String>,
        procid: Option<String>,
        header: Option<SyslogHeader>,
    },
}

/// How a receiver knows where a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum Framing {
    /// A line feed behind it.
    Lf,
    /// Its length before it, in decimal digits, and a space.
    Octets,
}

/// What a target asks of the format besides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) framing: Framing,
    /// The longest message, in bytes, where messages have a bound.
    pub(super) message_max: usize,
    /// That goes for every format: a message is one datagram.
    pub(super) is_datagram: bool,
    pub(super) secrets: Secrets,
}

impl Format {
    /// Whether messages have a header and a bound of their own.
    pub(super) const fn is_syslog(&self) -> bool {
        matches!(self, Self::Rfc5424 { .. } | Self::Rfc3164 { .. })
    }

    /// Makes what writes it.
    ///
    /// # Errors
    ///
    /// In words, when an option is not possible.
    pub(super) fn encoder(self, wanted: Wanted) -> Result<Encoder, String> {
        let Wanted { message_max, secrets, .. } = wanted;
        let kind = match self {
            Self::Lines => Kind::Lines,
            Self::Json => Kind::Json,
            Self::Rfc5424 {
                facility,
                severity,
                hostname,
                app_name,
                procid,
                msgid,
                enterprise,
                header,
                bom,
            } => {
                let style = Style::new_rfc5424(msgid, enterprise, bom)?;
                let written =
                    Written { facility, severity, hostname, app_name, procid, header };
                Kind::Syslog(Box::new(Syslog::new(style, written, message_max, secrets)?))
            }
            Self::Rfc3164 { facility, severity, hostname, app_name, procid, header } => {
                let written =
                    Written { facility, severity, hostname, app_name, procid, header };
                let style = Style::Rfc3164;
                Kind::Syslog(Box::new(Syslog::new(style, written, message_max, secrets)?))
            }
        };
        Ok(Encoder { kind, wanted })
    }
}

/// Writes entries in a format.
#[derive(Debug)]
pub(super) struct Encoder {
    kind: Kind,
    wanted: Wanted,
}

#[derive(Debug)]
enum Kind {
    Lines,
    Json,
    Syslog(Box<Syslog>),
}

/// So much is built at once: entries may become hundreds of times longer.
const CHUNK_BYTES: usize = 1024 * 1024;

impl Encoder {
    /// All entries, where the batch has them already as they are sent.
    pub(super) fn as_they_are<'a>(&self, entries: &View<'a>) -> Option<&'a [u8]> {
        let batch = entries.batch();
        let is_line = |end: u32| {
            let last =
                (end as usize).checked_sub(1).and_then(|last| batch.bytes.get(last));
            last == Some(&b'\n')
        };
        let is_all = entries.len() == batch.len();
        let is_it = matches!(self.kind, Kind::Lines)
            && is_all
            && batch.spans.iter().all(|span| is_line(span.end));
        is_it.then_some(batch.bytes)
    }

    /// Builds the next entries in the buffer, about [`CHUNK_BYTES`], or one
    /// entry when that is longer; returns how many it took: none when there is
    /// none left.
    pub(super) fn fill<'a>(
        &self,
        entries: &mut impl Iterator<Item = Entry<'a>>,
        buffer: &mut Vec<u8>,
    ) -> usize {
        buffer.clear();
        let mut count = 0;
        while buffer.len() < CHUNK_BYTES {
            let Some(entry) = entries.next() else { break };
            self.push(&entry, buffer);
            count += 1;
        }
        count
    }

    /// Builds entries as long as they fit into so many bytes, and at least one;
    /// returns how many. The one that does not fit is taken back.
    pub(super) fn fill_up_to<'a>(
        &self,
        entries: &mut impl Iterator<Item = Entry<'a>>,
        buffer: &mut Vec<u8>,
        bytes_max: usize,
    ) -> usize {
        buffer.clear();
        let mut count = 0;
        for entry in entries {
            let before = buffer.len();
            self.push(&entry, buffer);
            if count > 0 && buffer.len() > bytes_max {
                buffer.truncate(before);
                break;
            }
            count += 1;
        }
        count
    }

    /// Appends one entry, framed.
    pub(super) fn push(&self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let from = out.len();
        match &self.kind {
            Kind::Lines if self.wanted.is_datagram => self.push_bounded(entry, out),
            Kind::Lines => push_line(entry.bytes, out),
            Kind::Json => write_entry(out, entry, self.wanted.secrets),
            Kind::Syslog(syslog) => {
                syslog.push(entry, out);
                self.frame(from, out);
            }
        }
    }

    /// Builds the message that tells of a gap; `false` when the format has no
    /// place for it.
    pub(super) fn gap(&self, gap: &Gap, out: &mut Vec<u8>) -> bool {
        out.clear();
        match &self.kind {
            Kind::Lines => return false,
            Kind::Json => write_gap(out, gap),
            Kind::Syslog(syslog) => {
                syslog.push_gap(gap, out);
                self.frame(0, out);
            }
        }
        true
    }

    fn frame(&self, from: usize, out: &mut Vec<u8>) {
        match self.wanted.framing {
            // A datagram is a frame.
            _ if self.wanted.is_datagram => {}
            Framing::Lf => out.push(b'\n'),
            Framing::Octets => {
                let length = format!("{} ", out.len() - from);
                out.splice(from..from, length.into_bytes());
            }
        }
    }

    /// A line as it is, unless it does not fit.
    fn push_bounded(&self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        let cut = entry.log.and_then(|log| log.cut);
        let end = usize::from(!entry.bytes.ends_with(b"\n"));
        let is_whole =
            cut.is_none() && entry.bytes.len() + end <= self.wanted.message_max;
        if is_whole {
            return push_line(entry.bytes, out);
        }
        let length = cut.unwrap_or(entry.bytes.len() as u64);
        let note = format!(" [cut: {length} bytes in all]\n");
        let room = self.wanted.message_max.saturating_sub(note.len());
        let text = entry.text();
        out.extend_from_slice(&text[..text.len().min(room)]);
        out.extend_from_slice(note.as_bytes());
    }
}

fn push_line(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(bytes);
    // A file's last line may have no end, and the start of one that was cut, or
    // is not finished, never has.
    if !bytes.ends_with(b"\n") {
        out.push(b'\n');
    }
}
