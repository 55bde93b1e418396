//! `Mail`: by the mailer of the listener.

use crate::{
    ActContext, Hands, Outcome, Problem, Stop, Waited, actions, done, failed, name,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tripline_listeners::single::{CancelMail, Mail, MailAnswer, Mails};
use tripline_rules::RuleSet;
use tripline_rules::compiled::ActionKind;
use tripline_rules::evaluate::{Job, Start};

/// The code of a mail that nobody will ever take (`EX_DATAERR`): it is not tried again.
const REFUSED: i64 = 65;
/// Of so many mails that are to be tried again it is known who has them.
const PARTED_MAX: usize = 1000;

/// The ways out, by `via` as it is written.
type Ways = BTreeMap<Option<String>, Mails>;

/// The ways out, and who has the mails that not all have yet.
#[derive(Default)]
pub(crate) struct Mailbag {
    ways: Mutex<Ways>,
    parted: Mutex<Parted>,
}

/// Mails that some have, or will never take, and others may take later.
#[derive(Default)]
struct Parted {
    mails: BTreeMap<String, Settled>,
    /// Their names, oldest first.
    order: VecDeque<String>,
}

/// Mailboxes that do not get it again, those that refused it with why.
#[derive(Clone, Debug, Default)]
struct Settled {
    delivered: BTreeSet<String>,
    refused: BTreeMap<String, String>,
}

/// The ways out that the rules need.
pub(crate) fn plan(
    set: &RuleSet,
    context: &ActContext,
    wrong: &mut Vec<Problem>,
) -> Ways {
    let mut ways = Ways::new();
    for rule in &set.rules {
        for action in actions(rule) {
            let ActionKind::Mail { via, .. } = &action.kind else { continue };
            if ways.contains_key(via) {
                continue;
            }
            match Mails::new(via.as_deref(), &context.build()) {
                Ok(way) => _ = ways.insert(via.clone(), way),
                Err(error) => {
                    wrong.push(Problem::error(set, rule, action, &error.to_string()));
                }
            }
        }
    }
    ways
}

impl Mailbag {
    pub(crate) fn take_over(&self, ways: Ways) {
        *lock(&self.ways) = ways;
    }

    /// One of the rules of before may not be among those that were planned.
    fn way(&self, via: Option<&String>, context: &ActContext) -> Result<Mails, String> {
        if let Some(way) = lock(&self.ways).get(&via.cloned()) {
            return Ok(way.clone());
        }
        Mails::new(via.map(String::as_str), &context.build())
            .map_err(|error| format!("`via`: {error}"))
    }

    fn settled(&self, name: &str) -> Settled {
        lock(&self.parted).mails.get(name).cloned().unwrap_or_default()
    }

    fn keep(&self, name: String, settled: Settled) {
        let mut parted = lock(&self.parted);
        if parted.mails.insert(name.clone(), settled).is_none() {
            parted.order.push_back(name);
        }
        if parted.order.len() > PARTED_MAX
            && let Some(oldest) = parted.order.pop_front()
        {
            parted.mails.remove(&oldest);
        }
    }

    fn forget(&self, name: &str) {
        let mut parted = lock(&self.parted);
        if parted.mails.remove(name).is_some() {
            parted.order.retain(|it| it != name);
        }
    }
}

impl Hands {
    pub(crate) fn mail(
        &self,
        start: &Start,
        until: Instant,
        stop: &Stop,
    ) -> Option<Outcome> {
        let Job::Mail { via, .. } = &start.job else { return None };
        let way = match self.mailbag.way(via.as_ref(), &self.context) {
            Ok(way) => way,
            Err(why) => return Some(failed(why)),
        };
        let name = name(start);
        let settled = self.mailbag.settled(&name);
        let cancel = CancelMail::default();
        let work = {
            let (start, settled, cancel) =
                (start.clone(), settled.clone(), cancel.clone());
            move || send(&way, &start, &settled, &cancel)
        };
        let answer = match self.aside.run("mail", until, stop, work, || cancel.cancel()) {
            Waited::Said(Ok(answer)) => answer,
            Waited::Said(Err(why)) => return Some(refused(why)),
            waited => return waited.outcome(),
        };
        Some(match answer {
            MailAnswer::Later(why) => failed(why),
            MailAnswer::Wrong(why) => {
                failed(format!("{why}. Put it right, there or in the rule's `via`"))
            }
            MailAnswer::Answered { delivered, put_off, refused } => {
                let mut settled = settled;
                settled.delivered.extend(delivered);
                settled.refused.extend(refused);
                self.answered(name, settled, &put_off)
            }
        })
    }

    /// What the answers mean, of this attempt and of those before.
    fn answered(
        &self,
        name: String,
        settled: Settled,
        put_off: &[(String, String)],
    ) -> Outcome {
        let never = listed(settled.refused.iter());
        let has = settled.delivered.len();
        if !put_off.is_empty() {
            let later = listed(put_off.iter().map(|(mailbox, why)| (mailbox, why)));
            self.mailbag.keep(name, settled);
            let others = match has {
                0 => String::new(),
                has => format!(" (delivered to {has})"),
            };
            return failed(format!("the mail was put off for {later}{others}"));
        }
        self.mailbag.forget(&name);
        match (has, never.is_empty()) {
            (_, true) => done(String::new(), String::new()),
            (0, _) => refused(format!("the mail was refused for good for {never}")),
            (has, _) => {
                let stderr = format!(
                    "[tripline: the mail was delivered to {has}, and refused for good for \
                     {never}]\n"
                );
                done(String::new(), stderr)
            }
        }
    }
}

fn send(
    way: &Mails,
    start: &Start,
    settled: &Settled,
    cancel: &CancelMail,
) -> Result<MailAnswer, String> {
    let Job::Mail { to, subject, body, sender, .. } = &start.job else {
        return Err("this is no mail".to_owned());
    };
    let but = settled.delivered.iter().chain(settled.refused.keys()).cloned().collect();
    let mail = Mail {
        id: &["rules", &start.firing, &start.action],
        sender: sender.as_deref(),
        to,
        but: &but,
        subject,
        text: body,
        headers: &[("X-Tripline-Rule", &start.rule), ("X-Tripline-Event", &start.firing)],
    };
    way.send(&mail, cancel)
}

/// No attempt makes it better.
fn refused(why: String) -> Outcome {
    let reason = format!("{why}. It is not tried again: that would change nothing");
    Outcome::Failed { exit: REFUSED, reason, stderr: String::new() }
}

fn listed<'a>(mailboxes: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    let shown = mailboxes.map(|(mailbox, why)| format!("{mailbox} ({why})"));
    shown.collect::<Vec<_>>().join(", ")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
