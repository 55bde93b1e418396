//! `tripline explain`: what rules make of a line, and why.

mod words;

pub(crate) use words::local;

use crate::cli::ExplainArgs;
use crate::config::{Config, Registry};
use crate::terminal::printable;
use anyhow::{Context as _, bail};
use jiff::Timestamp;
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use tripline_api::{Again, LineTime, Place, Source, Span, Step};
use tripline_diagnose::{shown, words as names};
use tripline_rules::RuleSet;
use tripline_rules::evaluate::{
    Executor, Explained, Gather, Lines, Machine, Outcome, Rehearsal, Start, Transaction,
};

/// Shows the line to the rules and says what they make of it.
///
/// # Errors
///
/// When the configuration is wrong, or has no such source or rule.
pub(crate) fn run(args: &ExplainArgs, registry: &Registry) -> anyhow::Result<ExitCode> {
    let config = Config::load_to_rehearse(&args.config, registry)?;
    let set = rules_of(&config)?;
    let rule = args.rule.as_deref().map(|name| rule_named(set, name)).transpose()?;
    let mut text = text_of(args)?;
    if !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    let is_journal = p4journal::Op::of(&text).is_some();
    let sources = candidates(&config, args, is_journal)?;
    let mut shows = Vec::new();
    for source in &sources {
        let entries = match is_journal {
            true => transactions(&text)?,
            false => Entries::Lines(lines(source, &text)?),
        };
        let show = show(set, source, &entries, args.at);
        shows.push((source, show));
    }
    // Of several sources the first with rules that come furthest.
    let best = shows.iter().map(|(_, show)| show.reach()).max().unwrap_or_default();
    let Some((source, show)) = shows.iter().find(|(_, show)| show.reach() == best) else {
        bail!("there is nothing to explain");
    };
    let how = match (args.source.is_some(), sources.len()) {
        (true, _) => String::new(),
        (false, 1) => {
            format!(" (the only {})", if is_journal { "journal" } else { "log" })
        }
        (false, count) => format!(" (of {count}; say another with --source)"),
    };
    let page = words::page(set, source, &how, show, rule);
    io::stdout().write_all(printable(&page).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The rules of a configuration, which must have some.
pub(crate) fn rules_of(config: &Config) -> anyhow::Result<&Arc<RuleSet>> {
    config.rules.as_ref().with_context(|| {
        format!(
            "{} names no files with rules: add for example rules: [\"rules.d/*.ron\"]",
            shown(&config.path)
        )
    })
}

fn rule_named(set: &RuleSet, name: &str) -> anyhow::Result<usize> {
    let all = || set.rules.iter().map(|rule| &*rule.name);
    all().position(|it| it == name).with_context(|| {
        let meant = names::did_you_mean(name, all());
        let meant = meant.map(|it| format!("; did you mean `{it}`?")).unwrap_or_default();
        format!("there is no rule named `{}`{meant}", printable(name))
    })
}

fn text_of(args: &ExplainArgs) -> anyhow::Result<Vec<u8>> {
    let [only] = args.line.as_slice() else {
        let words: Vec<&[u8]> = args.line.iter().map(|word| word.as_bytes()).collect();
        return Ok(words.join(&b' '));
    };
    if only != "-" {
        return Ok(only.as_bytes().to_vec());
    }
    let mut text = Vec::new();
    io::stdin()
        .lock()
        .take(TEXT_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .context("cannot read standard input")?;
    if text.len() as u64 > TEXT_BYTES_MAX {
        let mib = TEXT_BYTES_MAX >> 20;
        bail!("this is more than {mib} MiB: for a whole file there is `tripline replay`");
    }
    Ok(text)
}

/// The sources that it may come from: at least one.
fn candidates(
    config: &Config,
    args: &ExplainArgs,
    is_journal: bool,
) -> anyhow::Result<Vec<Arc<dyn Source>>> {
    if let Some(name) = &args.source {
        return Ok(vec![source_named(config, name.as_str(), is_journal)?]);
    }
    let fitting = config.sources.iter().filter(|it| it.is_journal() == is_journal);
    let fitting: Vec<_> = fitting.map(Arc::clone).collect();
    if fitting.is_empty() {
        let noun = if is_journal { "journal" } else { "log" };
        bail!("{} has no source that is a {noun}", shown(&config.path));
    }
    Ok(fitting)
}

/// The source of this name, which must be of the kind.
pub(crate) fn source_named(
    config: &Config,
    name: &str,
    is_journal: bool,
) -> anyhow::Result<Arc<dyn Source>> {
    let all = || config.sources.iter().map(|it| it.id().as_str());
    let found = config.sources.iter().find(|it| it.id().as_str() == name);
    let source = found.with_context(|| {
        let known = names::list(all());
        format!("there is no source named `{name}`; there is {known}")
    })?;
    match (source.is_journal(), is_journal) {
        (true, false) => bail!("`{name}` is a journal, and this is no journal"),
        (false, true) => bail!("`{name}` is a log, and this is a journal"),
        _ => Ok(Arc::clone(source)),
    }
}

/// What is shown to the rules.
enum Entries {
    Lines(Vec<Entry>),
    /// Whether the last is without its end.
    Journal(Vec<Transaction>, bool),
}

/// A line, or several that the source joins.
struct Entry {
    place: Place,
    bytes: Vec<u8>,
    span: Span,
}

fn lines(source: &Arc<dyn Source>, text: &[u8]) -> anyhow::Result<Vec<Entry>> {
    let input = Box::new(io::Cursor::new(text.to_vec()));
    let reader = source.read_text(Path::new("line"), input, source.line_time(), 0);
    let mut reader = reader.context("the source has no lines")?;
    let mut entries = Vec::new();
    loop {
        match reader.next()? {
            Step::Batch(batch) => {
                for entry in batch.entries() {
                    let end = entry.bytes.len() as u32;
                    let span = Span { end, lines: entry.lines, incomplete: false };
                    let bytes = entry.bytes.to_vec();
                    entries.push(Entry { place: entry.place, bytes, span });
                }
            }
            Step::Idle(idle) if idle.again != Again::Now => return Ok(entries),
            _ => {}
        }
    }
}

/// The transactions of some records; the last may be without its end.
fn transactions(text: &[u8]) -> anyhow::Result<Entries> {
    let now = Timestamp::now().as_second();
    let mut text = text.to_vec();
    let (mut found, mut gather, mut is_open) = (Vec::new(), Gather::default(), false);
    let mut was_open = false;
    for attempt in 0..2 {
        let mut reader = p4journal::Reader::new(text.as_slice());
        while let Some(entry) = reader.next()? {
            let place = Place { offset: entry.offset, ..Place::default() };
            is_open = p4journal::Op::of(entry.bytes) != Some(p4journal::Op::Ex);
            found.extend(gather.push(entry.bytes, place));
        }
        if attempt == 0 && is_open {
            // As it would be when it ends.
            text.extend_from_slice(format!("@ex@ 0 {now}\n").as_bytes());
            (found, gather, was_open) = (Vec::new(), Gather::default(), true);
        } else {
            break;
        }
    }
    anyhow::ensure!(!found.is_empty(), "this is no whole record of a journal");
    Ok(Entries::Journal(found, was_open))
}

/// What came of showing something to the rules.
struct Show {
    entries: Vec<Shown>,
}

/// What came of one entry.
struct Shown {
    now: Timestamp,
    /// Where the time is from.
    clock: &'static str,
    explained: Explained,
    would: Vec<Start>,
}

impl Show {
    /// How far the rules come.
    fn reach(&self) -> (bool, usize) {
        let rules = || self.entries.iter().flat_map(|it| &it.explained.rules);
        let steps = rules().map(|rule| rule.steps.iter().filter(|it| it.goes_on).count());
        (rules().any(|rule| rule.fires()), steps.max().unwrap_or_default())
    }
}

fn show(
    set: &Arc<RuleSet>,
    source: &Arc<dyn Source>,
    entries: &Entries,
    at: Option<Timestamp>,
) -> Show {
    let mut stage: Option<Rehearsal> = None;
    let mut shown = Vec::new();
    let mut show = |time: Option<i64>, none: &'static str, entry: &mut Explain<'_>| {
        let carried = time.and_then(|time| Timestamp::from_second(time).ok());
        let (now, clock) = match (at, carried) {
            (Some(at), _) => (at, "as you say"),
            (None, Some(time)) => (time, "which it carries"),
            (None, None) => (Timestamp::now(), none),
        };
        let stage = stage.get_or_insert_with(|| {
            Rehearsal::new(Machine::new(Arc::clone(set), now), now)
        });
        let mut would = Would(Vec::new());
        stage.before(now, &mut would);
        would.0.clear();
        let explained = entry(stage, &mut would);
        shown.push(Shown { now: stage.now(), clock, explained, would: would.0 });
    };
    match entries {
        Entries::Journal(transactions, is_open) => {
            for (index, transaction) in transactions.iter().enumerate() {
                let is_made_up = *is_open && index + 1 == transactions.len();
                let time = (!is_made_up).then_some(transaction.marker.time);
                show(
                    time,
                    "now: it is taken as if its transaction ended now",
                    &mut |stage, would| {
                        stage.explain_transaction(
                            source.id().as_str(),
                            transaction,
                            would,
                        )
                    },
                );
            }
        }
        Entries::Lines(entries) => {
            let near = at.unwrap_or_else(Timestamp::now).as_second();
            let reads: Option<&LineTime> = source.line_time();
            let none = match reads {
                Some(_) => "now: it carries none that the source can read",
                None => "now: the source reads none from its lines",
            };
            for entry in entries {
                let time = reads.and_then(|it| it.parse(&entry.bytes, near));
                let lines = Lines {
                    source: source.id().as_str(),
                    start: entry.place,
                    bytes: &entry.bytes,
                    spans: Some(std::slice::from_ref(&entry.span)),
                    time: reads.map(|it| (it, near)),
                };
                show(time, none, &mut |stage, would| stage.explain_line(&lines, would));
            }
        }
    }
    Show { entries: shown }
}

type Explain<'a> = dyn FnMut(&mut Rehearsal, &mut Would) -> Explained + 'a;

/// Takes down what would be done.
struct Would(Vec<Start>);

impl Executor for Would {
    fn execute(&mut self, start: Start) -> Option<Outcome> {
        if self.0.len() < ACTIONS_MAX {
            self.0.push(start);
        }
        Some(Outcome::Done { stdout: String::new(), stderr: String::new() })
    }
}

/// The longest text that is explained, in bytes.
const TEXT_BYTES_MAX: u64 = 16 << 20;
/// The most actions that are shown of one entry.
const ACTIONS_MAX: usize = 100;
