//! `Review`: mail to those who review the files of a submitted change.
//!
//! The server is not asked anything: who reviews what, and where they get
//! mail, stands in the tables that its journal writes.
//!
//! | module         | is                                                        |
//! |----------------|-----------------------------------------------------------|
//! | `rows`         | the rows that matter, and what matters of them            |
//! | `tables`       | the tables as the journal left them; `kept` their bounds  |
//! | `reviewers`    | the lines of `db.review`, and whose match a file          |
//! | `open`         | transactions that are not ended                           |
//! | `state`        | record by record: which changes are submitted             |
//! | `notice`       | who is to hear of a change, and what                      |
//! | `mail`, `text` | that as text, from bytes that are hostile                 |
//! | `seed`         | the tables from a checkpoint                              |
//! | `store`        | what survives a restart, and why it is an SQLite database |
//! | `queue`        | the mails that wait, and what became of them              |
//! | `post`         | who takes them: the mailer of `crate::mail`               |
//! | `run`          | the listener                                              |
//!
//! # A submit
//!
//! is a transaction that puts a row of `db.change` with the bit for *committed*
//! and rows of `db.revcx`, the files, for a change that was not submitted
//! before. Shelves, descriptions that are edited, rows that are played again,
//! revisions that are obliterated are none. What is in a transaction counts at
//! its `@ex@`; who reviews a file is looked up when its row comes.
//!
//! # Known limits
//!
//! - Protections are not asked: who subscribes to files that they may not see
//!   hears of them all the same, as they do from the server's `p4 reviews`.
//! - Servers before 2006.2 write no `@ex@`, so nothing is ever submitted.
//! - A checkpoint that is a directory of files (`p4d -jcp`) is not read.
//! - Without a checkpoint, users and reviewers are known from when the journal
//!   first says something of them.

mod address;
mod doc;
mod kept;
mod link;
mod mail;
mod notice;
mod open;
mod post;
mod queue;
mod reviewers;
mod rows;
mod run;
mod seed;
mod state;
mod store;
mod tables;
mod text;

use crate::arguments;
use crate::mail::address::Address;
use crate::mail::transport::{self, Via};
use jiff::tz::TimeZone;
use link::Link;
use mail::Style;
use notice::Choice;
use post::ByMailer;
use run::{Review, Settings};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tripline_api::{
    Args, ArgsError, Argument, BuildContext, Built, FriendlyDuration, ListenerFactory,
    ListenerId, OnGap,
};

/// Makes [`Review`]s.
pub(crate) struct Factory;

impl ListenerFactory for Factory {
    fn name(&self) -> &'static str {
        "Review"
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
        r#"Review(from: ["p4"], sender: "Perforce <p4@example.com>", via: Sendmail(),
    own_changes: false, link: "https://swarm.example.com/changes/{change}")"#
    }

    fn build(
        &self,
        args: &Args<'_>,
        context: &BuildContext<'_>,
    ) -> Result<Built, ArgsError> {
        let arguments: Arguments = args.parse()?;
        arguments::check_sources(&arguments.from)?;
        if arguments.from.len() > 1 {
            return Err(ArgsError::new(format!(
                "a Review has one source, and `from` names {}: changes are numbered by \
                 their server, so write a Review for each",
                arguments.from.len()
            )));
        }
        let id = ListenerId::new(context.name)
            .ok_or_else(|| ArgsError::new("this cannot be a listener's name"))?;
        let transport = arguments.via.transport(context)?;
        let secrets = transport.secrets();
        let settings = Settings {
            id,
            directory: context.state.to_owned(),
            checkpoint: arguments.checkpoint.as_deref().map(|path| context.path(path)),
            style: Style {
                zone: zone(arguments.zone.as_deref())?,
                link: arguments
                    .link
                    .as_deref()
                    .map(Link::new)
                    .transpose()
                    .map_err(ArgsError::new)?,
            },
            waiting_max: Settings::WAITING_MAX,
            give_up: transport::give_up(arguments.give_up)?,
            choice: choice(arguments.own_changes, arguments.users, arguments.exclude)?,
        };
        let post = ByMailer::new(settings.id.clone(), arguments.sender, transport);
        let listener = Box::new(Review::new(settings, Box::new(post)));
        let quiet = arguments::quiet(arguments.quiet)?;
        Ok(Built {
            only_journals: true,
            on_gap: arguments.on_gap.unwrap_or(OnGap::Notify),
            secrets,
            ..Built::new(listener, arguments.from, quiet)
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    from: Vec<String>,
    sender: Address,
    via: Via,
    give_up: Option<FriendlyDuration>,
    checkpoint: Option<PathBuf>,
    own_changes: Option<bool>,
    users: Option<BTreeMap<String, String>>,
    exclude: Option<Vec<String>>,
    link: Option<String>,
    zone: Option<String>,
    on_gap: Option<OnGap>,
    quiet: Option<FriendlyDuration>,
}

fn choice(
    own_changes: Option<bool>,
    users: Option<BTreeMap<String, String>>,
    exclude: Option<Vec<String>>,
) -> Result<Choice, ArgsError> {
    let users = users.unwrap_or_default();
    for (user, address) in &users {
        if !address::is_written(address) {
            return Err(ArgsError::new(format!(
                "`users` has {address:?} for {user:?}, which is no address: write one \
                 like \"ann@example.com\""
            )));
        }
    }
    let exclude = exclude.unwrap_or_default();
    if let Some(user) = exclude.iter().find(|user| users.contains_key(*user)) {
        return Err(ArgsError::new(format!(
            "{user:?} is in `users` and in `exclude`: leave one of them out"
        )));
    }
    Ok(Choice { own_changes: own_changes.unwrap_or(true), users, exclude })
}

fn zone(written: Option<&str>) -> Result<TimeZone, ArgsError> {
    let Some(name) = written else { return Ok(TimeZone::system()) };
    TimeZone::get(name).map_err(|_| {
        ArgsError::new(format!(
            "`zone` has {name:?}, which is no time zone here: write it like \"UTC\" or \
             \"Europe/Berlin\""
        ))
    })
}

#[cfg(test)]
mod tests;
