//! Versioned files that are still to be brought to the standby.

use super::content::Verdict;
use super::wanted::{Form, Revision, Wanted};
use std::collections::{HashMap, VecDeque};
use tripline_api::Place;

/// Of one file, so many revisions are looked at together; of more, the last are
/// not judged.
const REVISIONS_MAX: usize = 1000;

/// A file to be brought.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) path: Vec<u8>,
    pub(super) form: Form,
    /// What rows say of it.
    pub(super) revisions: Vec<Revision>,
    /// In the order of the revisions, once it was read.
    pub(super) verdicts: Vec<Verdict>,
    /// Names of those that were purged since: they need not be there.
    pub(super) purged: Vec<Vec<u8>>,
    /// Where the first of those rows is.
    pub(super) place: Place,
}

/// Files in the order in which they were named, each once.
#[derive(Debug, Default)]
pub(super) struct Queue {
    order: VecDeque<Vec<u8>>,
    jobs: HashMap<Vec<u8>, Job>,
    /// How many were put in since the beginning.
    pub(super) put: u64,
    /// How many of them were taken out and are done with.
    pub(super) done: u64,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn put(&mut self, wanted: Wanted, place: Place) {
        let Wanted { path, form, revision } = wanted;
        if let Some(job) = self.jobs.get_mut(&path) {
            job.purged.retain(|name| *name != revision.name);
            let is_known = job.revisions.iter().any(|it| it.name == revision.name);
            if !is_known && job.revisions.len() < REVISIONS_MAX {
                job.revisions.push(revision);
            }
            return;
        }
        let job = Job {
            path: path.clone(),
            form,
            revisions: vec![revision],
            verdicts: Vec::new(),
            purged: Vec::new(),
            place,
        };
        self.order.push_back(path.clone());
        self.jobs.insert(path, job);
        self.put += 1;
    }

    /// The next one; whoever takes it counts it as done.
    pub(super) fn take(&mut self) -> Option<Job> {
        let path = self.order.pop_front()?;
        self.jobs.remove(&path)
    }

    /// Its content was purged: it is brought where it is there, for others may name
    /// it, too, and not missing where it is not.
    pub(super) fn purged(&mut self, path: &[u8], revision: &[u8]) {
        if let Some(job) = self.jobs.get_mut(path)
            && job.revisions.iter().any(|it| it.name == revision)
            && !job.purged.iter().any(|name| name == revision)
        {
            job.purged.push(revision.to_vec());
        }
    }

    /// An archive was deleted: nobody wants it any more.
    pub(super) fn forget(&mut self, path: &[u8], revision: &[u8]) {
        if let Some(job) = self.jobs.get_mut(path) {
            job.revisions.retain(|it| it.name != revision);
        }
    }
}
