//! The source as the configuration builds it.

use super::doc;
use super::join::Join;
use super::lines::LineRules;
use super::links::Targets;
use super::names;
use super::old::OldText;
use super::paths::Patterns;
use super::places;
use super::reader::LogReader;
use super::settings::{OnDeleted, Settings};
use crate::archive::Limits;
use crate::clock::Clock;
use rustix::process::{Resource, getrlimit};
use serde::Deserialize;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tripline_api::{
    Args, ArgsError, Argument, Behind, BuildContext, FriendlyDuration, LineTime, Reader,
    Settled, Source, SourceError, SourceFactory, SourceId, Start, TimeFormat, resolved,
};

/// Makes `Log` sources.
pub static FACTORY: LogFactory = LogFactory;

/// Makes `Log` sources.
#[derive(Debug)]
pub struct LogFactory;

/// How long an entry of several lines waits for more, unless configured.
pub(super) const JOIN_WAIT: Duration = Duration::from_secs(1);
/// The longest line, unless configured: 1 MiB.
pub(super) const LINE_BYTES: usize = 1 << 20;
/// How much of a deleted file is read to its end, unless configured: 1 GiB.
pub(super) const HELD_BYTES_MAX: u64 = 1 << 30;
/// How many files a reader keeps open at most: what is at rest is opened again
/// when something is written to it.
const OPENED_MAX: u64 = 512;
/// How many readers share the limit of open files.
const READERS: u64 = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogArgs {
    paths: Vec<String>,
    #[serde(default)]
    exclude: Vec<String>,
    #[serde(default)]
    rotated: Vec<PathBuf>,
    #[serde(default)]
    start: StartArg,
    line_bytes_max: Option<usize>,
    join: Option<JoinArg>,
    join_wait: Option<FriendlyDuration>,
    partial_after: Option<FriendlyDuration>,
    time: Option<TimeFormat>,
    zone: Option<String>,
    #[serde(default)]
    on_deleted: OnDeleted,
    held_bytes_max: Option<u64>,
    archive_bytes_max: Option<u64>,
    archive_ratio_max: Option<u64>,
}

#[derive(Clone, Copy, Default, Deserialize)]
enum StartArg {
    #[default]
    Oldest,
    Now,
}

#[derive(Deserialize)]
enum JoinArg {
    Start(String),
    Indent,
}

impl SourceFactory for LogFactory {
    fn name(&self) -> &'static str {
        "Log"
    }

    fn doc(&self) -> &'static str {
        doc::DOC
    }

    fn arguments(&self) -> &'static [Argument] {
        doc::ARGUMENTS
    }

    fn limits(&self) -> &'static [&'static str] {
        doc::LIMITS
    }

    fn example(&self) -> &'static str {
        r#"Log(paths: ["/var/log/auth.log", "/var/log/app/*.log"])"#
    }

    fn build(
        &self,
        args: &Args<'_>,
        context: &BuildContext<'_>,
    ) -> Result<Arc<dyn Source>, ArgsError> {
        self.build_with(Clock::system(), args, context)
    }
}

impl LogFactory {
    /// Builds a source whose waits go by this clock.
    ///
    /// # Errors
    ///
    /// When an argument is not understood or not possible.
    pub fn build_with(
        &self,
        clock: Clock,
        args: &Args<'_>,
        context: &BuildContext<'_>,
    ) -> Result<Arc<dyn Source>, ArgsError> {
        let args: LogArgs = args.parse()?;
        let id = SourceId::new(context.name).ok_or_else(|| {
            ArgsError::new("a source's name has letters, digits, _ - .")
        })?;
        if args.paths.is_empty() {
            return Err(ArgsError::new("`paths` is empty: name at least one file"));
        }
        let patterns = Patterns::new(context.directory, &args.paths, &args.exclude)
            .map_err(|error| ArgsError::new(error.to_string()))?;
        let rotated = args.rotated.iter().map(|path| context.path(path)).collect();
        let settings = settings(id, args)?;
        Ok(Arc::new(LogSource::new(settings, patterns, rotated, clock)))
    }
}

fn settings(id: SourceId, args: LogArgs) -> Result<Settings, ArgsError> {
    let line_bytes_max = args.line_bytes_max.unwrap_or(LINE_BYTES);
    if !(1..=LineRules::LINE_BYTES_MAX).contains(&line_bytes_max) {
        let most = LineRules::LINE_BYTES_MAX;
        return Err(ArgsError::new(format!(
            "`line_bytes_max` must lie between 1 and {most}"
        )));
    }
    let join = match args.join {
        None => None,
        Some(JoinArg::Indent) => Some(Join::Indent),
        Some(JoinArg::Start(pattern)) => {
            let join = Join::start(&pattern);
            Some(join.map_err(|error| ArgsError::new(error.to_string()))?)
        }
    };
    if args.zone.is_some() && args.time.is_none() {
        return Err(ArgsError::new(
            "`zone` says in which time zone lines are, but no `time` is read from them: \
             add `time: Syslog` or `time: Iso`",
        ));
    }
    let time = args.time.map(|format| LineTime::new(format, args.zone.as_deref()));
    let time = time.transpose().map_err(|error| ArgsError::new(error.to_string()))?;
    let mut limits = Limits::default();
    limits.bytes_max = args.archive_bytes_max.unwrap_or(limits.bytes_max);
    limits.ratio_max = args.archive_ratio_max.unwrap_or(limits.ratio_max);
    Ok(Settings {
        id,
        start: match args.start {
            StartArg::Oldest => Start::Oldest,
            StartArg::Now => Start::Now,
        },
        lines: Arc::new(LineRules { line_bytes_max, join }),
        join_wait: args.join_wait.map_or(JOIN_WAIT, |wait| wait.0),
        partial_after: args.partial_after.map(|wait| wait.0),
        time,
        on_deleted: args.on_deleted,
        held_bytes_max: args.held_bytes_max.unwrap_or(HELD_BYTES_MAX),
        limits,
    })
}

/// Followed logs.
pub(super) struct LogSource {
    pub(super) settings: Arc<Settings>,
    pub(super) patterns: Patterns,
    pub(super) rotated: Vec<PathBuf>,
    clock: Clock,
    targets: Targets,
}

impl LogSource {
    pub(super) fn new(
        settings: Settings,
        patterns: Patterns,
        rotated: Vec<PathBuf>,
        clock: Clock,
    ) -> Self {
        Self {
            settings: Arc::new(settings),
            patterns,
            rotated,
            clock,
            targets: Targets::default(),
        }
    }
}

impl Source for LogSource {
    fn id(&self) -> &SourceId {
        &self.settings.id
    }

    fn is_journal(&self) -> bool {
        false
    }

    fn open(&self, settled: &Settled) -> Box<dyn Reader> {
        Box::new(LogReader::new(
            Arc::clone(&self.settings),
            self.patterns.clone(),
            self.rotated.clone(),
            self.clock.clone(),
            opened_max(),
            self.targets.clone(),
            settled,
        ))
    }

    fn directories(&self) -> Vec<PathBuf> {
        let literals = self.patterns.literals().iter();
        let folders = literals.filter_map(|path| path.parent());
        let mut all: Vec<_> =
            folders.map(Path::to_owned).chain(self.rotated.iter().cloned()).collect();
        all.sort();
        all.dedup();
        all
    }

    fn is_at(&self, path: &Path) -> bool {
        self.patterns.matches(path) || self.patterns.lead_to(&resolved(path))
    }

    fn concerns(&self, path: &Path) -> bool {
        if self.patterns.matches(path)
            || self.patterns.concerns_directory(path)
            || self.targets.concern(path)
        {
            return true;
        }
        let Some((folder, name)) = path.parent().zip(path.file_name()) else {
            return false;
        };
        let is_elsewhere = self.rotated.iter().any(|it| it == folder || it == path);
        is_elsewhere
            || names::bases_of(name.as_bytes())
                .iter()
                .any(|base| self.patterns.matches(&folder.join(OsStr::from_bytes(base))))
    }

    fn line_time(&self) -> Option<&LineTime> {
        self.settings.time.as_ref()
    }

    fn read_text(
        &self,
        path: &Path,
        text: Box<dyn Read + Send>,
        time: Option<&LineTime>,
        near: i64,
    ) -> Option<Box<dyn Reader>> {
        let settings = &self.settings;
        let (lines, time) = (Arc::clone(&settings.lines), time.cloned());
        let id = settings.id.clone();
        Some(Box::new(OldText::new(id, path, text, lines, time, near)))
    }

    fn behind(&self, settled: &Settled) -> Result<Behind, SourceError> {
        places::behind(self, settled)
    }

    fn find(
        &self,
        wanted: &Start,
        log: Option<&Path>,
        before: &Settled,
    ) -> Result<Settled, SourceError> {
        places::find(self, wanted, log, before)
    }
}

/// A part of what the system lets the process have open.
fn opened_max() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(OPENED_MAX * READERS);
    (limit / READERS).clamp(4, OPENED_MAX) as usize
}
