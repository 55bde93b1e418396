//! Whether a versioned file holds what the rows say, while its bytes pass by.

use super::rcs::{End, Rcs, plain};
use super::wanted::{Form, Revision};
use flate2::write::MultiGzDecoder;
use md5::{Digest as _, Md5};
use std::io::{self, Write};

/// A longer RCS file is not looked into, in bytes.
const RCS_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Takes the bytes of a file, in order.
pub(crate) struct Content {
    state: State,
    bytes: u64,
}

enum State {
    Full(Sums),
    Gzip(Box<MultiGzDecoder<Sums>>),
    /// What does not decompress.
    Damaged(String),
    Rcs(Vec<u8>),
    TooLong,
}

/// What came of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is as the row says.
    Same,
    /// It is not, and how.
    Differs(String),
    /// It is there, and cannot be judged.
    Unchecked,
}

impl Content {
    pub(crate) fn new(form: Form) -> Self {
        let state = match form {
            Form::Full => State::Full(Sums::default()),
            Form::Gzip => State::Gzip(Box::new(MultiGzDecoder::new(Sums::default()))),
            Form::Rcs => State::Rcs(Vec::new()),
        };
        Self { state, bytes: 0 }
    }

    /// Takes the next bytes.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        match &mut self.state {
            State::Full(sums) => sums.take(bytes),
            State::Gzip(decoder) => {
                if let Err(error) = decoder.write_all(bytes) {
                    self.state = State::Damaged(error.to_string());
                }
            }
            State::Rcs(_) if self.bytes > RCS_BYTES_MAX => self.state = State::TooLong,
            State::Rcs(all) => all.extend_from_slice(bytes),
            State::Damaged(_) | State::TooLong => {}
        }
    }

    /// All of it was taken: what is to be said of these revisions, in their order.
    pub(crate) fn judge(self, revisions: &[Revision]) -> Vec<Verdict> {
        let all = |verdict: Verdict| vec![verdict; revisions.len()];
        match self.state {
            State::Full(sums) => revisions.iter().map(|it| sums.judge(it)).collect(),
            State::Gzip(mut decoder) => match decoder.try_finish() {
                Ok(()) => {
                    revisions.iter().map(|it| decoder.get_ref().judge(it)).collect()
                }
                Err(error) => all(Verdict::Differs(format!("it is damaged: {error}"))),
            },
            State::Damaged(why) => all(Verdict::Differs(format!("it is damaged: {why}"))),
            State::TooLong => all(Verdict::Unchecked),
            State::Rcs(bytes) => judge_rcs(&bytes, revisions),
        }
    }
}

/// Whether verdicts on a file say that it is of no use at all.
pub(crate) fn is_broken(form: Form, verdicts: &[Verdict]) -> Option<&str> {
    let mut wrong = verdicts.iter().filter_map(|verdict| match verdict {
        Verdict::Differs(why) => Some(why.as_str()),
        _ => None,
    });
    match form {
        // Its other revisions may be all there is of them.
        Form::Rcs => wrong.find(|why| *why == NO_RCS),
        Form::Full | Form::Gzip => wrong.next(),
    }
}

const NO_RCS: &str = "it is no whole RCS file";

fn judge_rcs(bytes: &[u8], revisions: &[Revision]) -> Vec<Verdict> {
    let Some(rcs) = Rcs::parse(bytes) else {
        return vec![Verdict::Differs(NO_RCS.to_owned()); revisions.len()];
    };
    let mut verdicts: Vec<Option<Verdict>> = vec![None; revisions.len()];
    let mut left = revisions.len();
    let end = rcs.each(|name, lines| {
        let mut sums: Option<Sums> = None;
        for (revision, verdict) in revisions.iter().zip(&mut verdicts) {
            if revision.name != name || verdict.is_some() {
                continue;
            }
            let sums = sums.get_or_insert_with(|| {
                let mut sums = Sums::default();
                lines.iter().for_each(|line| plain(line, |bytes| sums.take(bytes)));
                sums
            });
            *verdict = Some(sums.judge(revision));
            left -= 1;
        }
        left > 0
    });
    let missing = match end {
        End::All => Verdict::Differs("the revision is not in it".to_owned()),
        End::Damaged => {
            Verdict::Differs("its revisions cannot be put together".to_owned())
        }
        End::TooMuch => Verdict::Unchecked,
    };
    verdicts.into_iter().map(|it| it.unwrap_or_else(|| missing.clone())).collect()
}

/// Digest and length of a content, as it is and with the line ends of Unix: a
/// server on Windows keeps text with CR LF and digests it without.
#[derive(Clone, Default)]
struct Sums {
    plain: Md5,
    bytes: u64,
    unix: Md5,
    unix_bytes: u64,
    /// A CR of which it is not known yet whether a LF follows.
    has_cr: bool,
}

impl Sums {
    fn take(&mut self, bytes: &[u8]) {
        self.plain.update(bytes);
        self.bytes += bytes.len() as u64;
        let mut rest = bytes;
        if self.has_cr && !rest.is_empty() {
            self.has_cr = false;
            if rest[0] != b'\n' {
                self.put(b"\r");
            }
        }
        while let Some(at) = memchr::memchr(b'\r', rest) {
            match rest.get(at + 1) {
                Some(b'\n') => self.put(&rest[..at]),
                Some(_) => self.put(&rest[..=at]),
                None => {
                    self.put(&rest[..at]);
                    self.has_cr = true;
                }
            }
            rest = &rest[at + 1..];
        }
        self.put(rest);
    }

    fn put(&mut self, bytes: &[u8]) {
        self.unix.update(bytes);
        self.unix_bytes += bytes.len() as u64;
    }

    fn judge(&self, revision: &Revision) -> Verdict {
        let mut whole = self.clone();
        if whole.has_cr {
            whole.put(b"\r");
        }
        let found = [(whole.bytes, whole.plain), (whole.unix_bytes, whole.unix)]
            .map(|(bytes, md5)| (bytes, <[u8; 16]>::from(md5.finalize())));
        // The digest decides: of forms in the spec depot servers do not count the first
        // line, and digest it.
        let is_it = |(bytes, digest): &(u64, [u8; 16])| match revision.digest {
            Some(wanted) => wanted == *digest,
            None => revision.size.is_none_or(|size| size == *bytes),
        };
        if revision.size.is_none() && revision.digest.is_none() {
            return Verdict::Unchecked;
        }
        if found.iter().any(is_it) {
            return match revision.digest {
                Some(_) => Verdict::Same,
                None => Verdict::Unchecked,
            };
        }
        if revision.has_keywords {
            // What they were written out as is not known.
            return Verdict::Unchecked;
        }
        let [(bytes, _), (unix, _)] = found;
        Verdict::Differs(match revision.size {
            Some(size) if size != bytes && size != unix => {
                format!("it has {bytes} bytes and should have {size}")
            }
            _ => "its content is not what was digested".to_owned(),
        })
    }
}

impl Write for Sums {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.take(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(content: &[u8]) -> Revision {
        Revision {
            name: b"1.1".to_vec(),
            digest: Some(Md5::digest(content).into()),
            size: Some(content.len() as u64),
            has_keywords: false,
        }
    }

    fn judge(form: Form, bytes: &[u8], revision: &Revision) -> Verdict {
        // In every cut: what comes in pieces is the same.
        let cuts = (0..=bytes.len()).map(|cut| {
            let mut content = Content::new(form);
            content.take(&bytes[..cut]);
            content.take(&bytes[cut..]);
            content.judge(std::slice::from_ref(revision)).remove(0)
        });
        let mut verdicts: Vec<_> = cuts.collect();
        verdicts.dedup();
        assert_eq!(verdicts.len(), 1, "{verdicts:?}");
        verdicts.remove(0)
    }

    #[test]
    fn contents_are_judged() {
        let unix = revision(b"one\ntwo\rthree\n\r");
        assert_eq!(judge(Form::Full, b"one\ntwo\rthree\n\r", &unix), Verdict::Same);
        assert_eq!(judge(Form::Full, b"one\r\ntwo\rthree\r\n\r", &unix), Verdict::Same);
        let wrong = judge(Form::Full, b"One\ntwo\rthree\n\r", &unix);
        assert!(matches!(wrong, Verdict::Differs(why) if why.contains("content")));
        let short = judge(Form::Full, b"one\n", &unix);
        assert!(matches!(short, Verdict::Differs(why) if why.contains("has 4 bytes")));
        let unknown = Revision { digest: None, size: None, ..unix.clone() };
        assert_eq!(judge(Form::Full, b"x", &unknown), Verdict::Unchecked);
        let keywords = Revision { has_keywords: true, ..unix };
        assert_eq!(judge(Form::Full, b"$Id$", &keywords), Verdict::Unchecked);
    }

    #[test]
    fn compressed_ones_must_be_whole() {
        let wanted = revision(b"some content");
        let mut encoder =
            flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(b"some content").unwrap();
        let bytes = encoder.finish().unwrap();
        assert_eq!(judge(Form::Gzip, &bytes, &wanted), Verdict::Same);
        for cut in [0, 5, bytes.len() - 1] {
            let verdict = judge(Form::Gzip, &bytes[..cut], &wanted);
            assert!(matches!(verdict, Verdict::Differs(_)), "{cut}: {verdict:?}");
        }
        let mut damaged = bytes;
        damaged[14] ^= 1;
        let mut content = Content::new(Form::Gzip);
        content.take(&damaged);
        let verdict = content.judge(&[wanted]).remove(0);
        assert!(matches!(verdict, Verdict::Differs(_)), "{verdict:?}");
    }

    #[test]
    fn an_rcs_file_has_its_revisions() {
        let file =
            b"head 1.1;\n1.1\ndate 1;\nnext ;\ndesc\n@@\n1.1\nlog\n@@\ntext\n@a\n@\n";
        assert_eq!(judge(Form::Rcs, file, &revision(b"a\n")), Verdict::Same);
        let other = Revision { name: b"1.2".to_vec(), ..revision(b"a\n") };
        let verdict = judge(Form::Rcs, file, &other);
        assert!(is_broken(Form::Rcs, std::slice::from_ref(&verdict)).is_none());
        assert!(matches!(verdict, Verdict::Differs(why) if why.contains("not in it")));
        let verdict = judge(Form::Rcs, b"no", &other);
        assert!(is_broken(Form::Rcs, &[verdict]).is_some());
    }
}
