//! Bringing a standby to where it can go on by itself.
//!
//! It gets the newest checkpoint, and the versioned files that it names. The
//! journals behind it are copied by the listener itself, which is told to begin
//! there; unless the standby can go on where it is.

use super::upload::upload;
use super::{APPLIED, APPLIED_BYTES_MAX, Applied, Keeper, Kept, connected};
use crate::checkpoint::{self, Whole};
use crate::hot_backup::archives::TABLES;
use crate::hot_backup::standby::{CURRENT, Found, Standby};
use p4journal::{Case, Reader};
use std::time::{Duration, Instant};
use tripline_api::{ListenError, Place, Seeded, Seeding, Settled, Start, Tell, Told};

/// So long versioned files are brought between two words about it.
const STEP: Duration = Duration::from_millis(500);
const EMPTY: &str = "";

pub(super) fn seed(
    keeper: &Keeper,
    seeding: &Seeding<'_>,
    tell: &mut Tell<'_>,
) -> Result<Seeded, ListenError> {
    let folders = seeding.source.directories();
    let newest = checkpoint::newest(&folders, &mut |why| tell(Told::Said(why)))?;
    let Some(whole) = newest else {
        let folders: Vec<_> = folders.iter().map(|it| it.display().to_string()).collect();
        return Err(ListenError::Stop(format!(
            "there is no whole checkpoint in {}: make one (p4 admin checkpoint), or add \
             the folder that holds them to `rotated` of {}",
            folders.join(" or "),
            seeding.source.id()
        )));
    };
    tell(Told::Said(&in_words(&whole)));
    let mut standby = connected(&keeper.settings)?;
    let found = standby.look()?;
    let (name, was_there) = upload(&mut standby, &whole, tell)?;
    tell(Told::Said(&match was_there {
        true => {
            format!("{name} is on the standby {} already, as it is here", standby.name)
        }
        false => {
            format!("{name} is on the standby {}, read back and synced", standby.name)
        }
    }));
    let mut seeded = Seeded { checkpoint: whole.number, ..Seeded::default() };
    if let Some(kept) = &keeper.archives {
        let word = "archives";
        if goes_on(seeding, seeding.places.get(word).map(|place| place.sequence)) {
            tell(Told::Said("versioned files go on where they are"));
        } else {
            bring_archives(kept, &whole, tell)?;
            seeded.begin.push(word.to_owned());
        }
    }
    let mut seed =
        Seed { seeding, whole: &whole, name: &name, standby: &mut standby, tell };
    seed.journals(&found, &mut seeded)?;
    if keeper.has_replay {
        seed.replay(&mut seeded)?;
    } else {
        seeded.next.push(format!(
            "to use the standby, restore {name} there and replay the journals behind it: \
             p4d -r ROOT -jr {}, then p4d -r ROOT -jr journal.{} and so on",
            seed.standby.path(&name),
            whole.number
        ));
    }
    Ok(seeded)
}

fn in_words(whole: &Whole) -> String {
    let md5 = if whole.has_md5 { ", its MD5 is right" } else { "" };
    let case = match whole.case {
        Some(Case::Insensitive) => "; its server does not tell names apart by case (-C1)",
        Some(Case::Sensitive) => "; its server tells names apart by case (-C0)",
        None => "",
    };
    let (path, number) = (whole.path.display(), whole.number);
    format!("{path} is checkpoint {number} and whole{md5}{case}")
}

/// Whether whoever is in that journal finds it at the source.
fn goes_on(seeding: &Seeding<'_>, journal: Option<u64>) -> bool {
    let has = |number| {
        let wanted = Start::Sequence(number);
        seeding.source.find(&wanted, None, &Settled::new()).is_ok()
    };
    journal.is_some_and(has)
}

struct Seed<'a, 'b> {
    seeding: &'a Seeding<'a>,
    whole: &'a Whole,
    /// Of the checkpoint, on the standby.
    name: &'a str,
    standby: &'a mut Standby,
    tell: &'a mut Tell<'b>,
}

impl Seed<'_, '_> {
    /// Where the copies of the journals go on.
    fn journals(
        &mut self,
        found: &Found,
        seeded: &mut Seeded,
    ) -> Result<(), ListenError> {
        let number = self.whole.number;
        let current = match found.is_unnumbered {
            true => Some(0),
            false => found.holdings.current,
        };
        let next = found.holdings.newest.map(|newest| newest + 1);
        if let Some(at) = current.or(next).filter(|it| goes_on(self.seeding, Some(*it))) {
            self.say(format!("the journals go on where the standby is, at journal {at}"));
            let lowest = found.lowest.or(current).unwrap_or(at);
            if lowest > number.max(1) {
                seeded.next.push(format!(
                    "the standby's journals begin with {lowest}: bring those from \
                     {number} on by hand, or make a newer checkpoint"
                ));
            }
            return Ok(());
        }
        if let Some(current) = current {
            if current >= number {
                return Err(ListenError::Stop(format!(
                    "the standby holds journal {current}, which the source does not \
                     have, and the checkpoint is of {number}: the server was restored, \
                     perhaps. Move the standby's journals aside and seed again"
                )));
            }
            let aside = format!("{CURRENT}.{current}.unfinished");
            self.standby.rename_new(CURRENT, &aside)?;
            self.say(format!(
                "the standby's {CURRENT} is of {current}, whose rest is not to be had: \
                 it is {aside} now"
            ));
        }
        seeded.begin.push(EMPTY.to_owned());
        seeded
            .next
            .push(format!("`tripline run CONFIG` copies the journals from {number} on"));
        Ok(())
    }

    /// Where they are applied from.
    fn replay(&mut self, seeded: &mut Seeded) -> Result<(), ListenError> {
        let text = self.standby.get(APPLIED, APPLIED_BYTES_MAX)?.unwrap_or_default();
        let applied = Applied::read(&text).ok();
        let number = self.whole.number;
        if let Some(applied) = applied {
            let sequence = applied.place().sequence;
            // A number that is higher may be of an earlier life of the server.
            let goes_on = goes_on(self.seeding, Some(sequence));
            match &applied.restore {
                None if goes_on => {
                    self.say(format!(
                        "journals are applied on the standby up to {}: nothing is to be \
                         restored",
                        applied.place()
                    ));
                    return Ok(());
                }
                Some(waits) if goes_on && self.is_there(waits, sequence)? => {
                    // Somebody restores it at this moment, perhaps.
                    self.say(format!(
                        "{waits} is waiting on the standby to be restored, and stays the \
                         one: the source has the journals behind it"
                    ));
                    self.ask_for(waits, sequence, seeded);
                    return Ok(());
                }
                _ => self.say(format!(
                    "what stands in {APPLIED} on the standby, journal {sequence}, is of no \
                     use: the source does not have it, or its checkpoint is gone"
                )),
            }
        }
        let name = self.name.to_owned();
        let mark = Applied::after(name.clone(), Place::start_of(0, number));
        self.standby.put(APPLIED, &mark.text())?;
        self.ask_for(&name, number, seeded);
        Ok(())
    }

    /// Whether the checkpoint that waits is still there.
    fn is_there(&mut self, name: &str, number: u64) -> Result<bool, ListenError> {
        let is_name = checkpoint::number_in(name) == Some(number) && !name.contains('/');
        Ok(is_name && self.standby.exists(name)?)
    }

    /// What a person does before anything is applied.
    fn ask_for(&self, name: &str, number: u64, seeded: &mut Seeded) {
        let steps = [
            format!(
                "on the standby, restore {name} into an empty database: p4d -r ROOT -jr {}",
                self.standby.path(name)
            ),
            format!(
                "then say that it is done: tripline backup seed CONFIG LISTENER \
                 --restored {number}"
            ),
        ];
        seeded.next.splice(0..0, steps);
    }

    fn say(&mut self, words: String) {
        (self.tell)(Told::Said(&words));
    }
}

/// Brings the versioned files that a checkpoint names.
fn bring_archives(
    kept: &Kept,
    whole: &Whole,
    tell: &mut Tell<'_>,
) -> Result<(), ListenError> {
    let mut archives = kept.listener("");
    loop {
        match archives.open_for_command() {
            Err(ListenError::Retry(_)) => {}
            opened => break opened?,
        }
    }
    archives.fold(whole.case.map(|case| case == Case::Insensitive));
    let mut reader = Reader::new(checkpoint::input(&whole.path)?);
    let place = Place::start_of(0, whole.number);
    let mut said = Instant::now();
    loop {
        let entry = reader.next().map_err(|error| {
            ListenError::Retry(format!("cannot read {}: {error}", whole.path.display()))
        })?;
        if let Some(entry) = &entry
            && let Ok(record) = entry.record()
            && record.table().is_some_and(|table| TABLES.contains(&table))
        {
            archives.name(&record, place);
            archives.commit();
        }
        let is_end = entry.is_none();
        while archives.waits() || (is_end && !archives.is_done()) {
            archives.go_on(Instant::now() + STEP)?;
            if said.elapsed() >= STEP {
                said = Instant::now();
                let (done, of) = archives.brought_so_far();
                tell(Told::Said(&format!("{done} of {of} versioned files so far")));
            }
        }
        if is_end {
            break;
        }
    }
    archives.settle()?;
    let (brought, missing) = (archives.brought_so_far().0, archives.missing());
    tell(Told::Said(&match missing {
        0 => format!("{brought} versioned files are on the standby"),
        _ => format!(
            "of {brought} versioned files some are not on the standby: {missing} \
             revisions, see its file archives.missing"
        ),
    }));
    Ok(())
}
