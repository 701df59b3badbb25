//! [`Index`]: how a job is found other than by its id.
//!
//! A change of a stored job goes through [`Index::change`] or
//! [`Index::refile`], so that the indexes cannot forget one; only what no
//! index knows, progress and the flag of a cancellation, is changed in place.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use anyqueue_core::{Flow, JobId, Priority, QueueName, State, StateCounts, Timestamp};

use super::command::Changes;
use super::job::Job;
use super::unique::Keys;

/// Queues, finished jobs by age, unique keys, and what changed.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) queues: BTreeMap<QueueName, Queue>,
    /// By outcome, and by the moment of the end: what purge walks along.
    pub(super) finished: BTreeMap<State, BTreeSet<(Timestamp, JobId)>>,
    pub(super) keys: Keys,
    pub(super) changes: Changes,
}

/// One queue. Scheduled and running jobs are kept here and not for all queues
/// together, so that a claim does the chores of its own queues only, and a
/// wait knows the next moment of its own.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Queue {
    pub(super) flow: Flow,
    pub(super) counts: StateCounts,
    pub(super) ready: BTreeMap<Place, JobId>,
    /// By due time, then enqueue order.
    pub(super) scheduled: BTreeMap<(Timestamp, u64), JobId>,
    /// By the end of the lease.
    pub(super) running: BTreeSet<(Timestamp, JobId)>,
}

/// A ready job's place: by priority, then due time, then enqueue order.
pub(super) type Place = (Reverse<Priority>, Timestamp, u64);

impl Index {
    /// Adds a new job.
    pub(super) fn insert(&mut self, job: &Job) {
        let queue = self.queues.entry(job.record.queue.clone()).or_default();
        file(queue, &mut self.finished, job);
        self.changes.job(&job.record);
    }

    /// Removes a job for ever; its queue too, where nothing is left of it.
    pub(super) fn remove(&mut self, job: &Job) {
        let name = &job.record.queue;
        if let Some(queue) = self.queues.get_mut(name) {
            unfile(queue, &mut self.finished, job);
            self.changes.jobs.push(job.record.id);
        }
        self.forget_if_idle(name);
    }

    /// Changes a job, and frees its unique key where that ended it.
    pub(super) fn change(&mut self, job: &mut Job, change: impl FnOnce(&mut Job)) {
        let was_finished = job.record.state.is_finished();
        self.refile(job, change);
        if !was_finished && job.record.state.is_finished() {
            self.keys.ended(&job.record);
        }
        self.changes.job(&job.record);
    }

    /// Changes a job in a way that nobody waits for.
    pub(super) fn refile(&mut self, job: &mut Job, change: impl FnOnce(&mut Job)) {
        let queue = self.queues.entry(job.record.queue.clone()).or_default();
        unfile(queue, &mut self.finished, job);
        change(job);
        file(queue, &mut self.finished, job);
    }

    /// Opens or pauses a queue.
    pub(super) fn set_flow(&mut self, name: &QueueName, flow: Flow) {
        self.changes.queue(name);
        self.queues.entry(name.clone()).or_default().flow = flow;
        self.forget_if_idle(name);
    }

    fn forget_if_idle(&mut self, name: &QueueName) {
        let queue = self.queues.get(name);
        if queue.is_some_and(|queue| queue.flow == Flow::Open && queue.counts.total() == 0) {
            self.queues.remove(name);
        }
    }
}

impl Queue {
    /// The first job in the order of claims.
    pub(super) fn first_ready(&self) -> Option<JobId> {
        self.ready.first_key_value().map(|(_, id)| *id)
    }

    /// The scheduled job that has been due longest.
    pub(super) fn first_due(&self, now: Timestamp) -> Option<JobId> {
        let ((due, _), id) = self.scheduled.first_key_value()?;
        (*due <= now).then_some(*id)
    }

    /// The running job whose lease ran out first.
    pub(super) fn first_expired(&self, now: Timestamp) -> Option<JobId> {
        let (until, id) = self.running.first()?;
        (*until <= now).then_some(*id)
    }
}

fn file(
    queue: &mut Queue,
    finished: &mut BTreeMap<State, BTreeSet<(Timestamp, JobId)>>,
    job: &Job,
) {
    let id = job.record.id;
    *queue.counts.get_mut(job.record.state) += 1;
    match job.record.state {
        State::Scheduled => {
            queue.scheduled.insert(by_due(job), id);
        }
        State::Ready => {
            queue.ready.insert(place(job), id);
        }
        State::Running => {
            queue.running.insert(by_lease(job));
        }
        state @ (State::Completed | State::Failed | State::Cancelled) => {
            finished.entry(state).or_default().insert(by_end(job));
        }
    }
}

fn unfile(
    queue: &mut Queue,
    finished: &mut BTreeMap<State, BTreeSet<(Timestamp, JobId)>>,
    job: &Job,
) {
    *queue.counts.get_mut(job.record.state) -= 1;
    match job.record.state {
        State::Scheduled => {
            queue.scheduled.remove(&by_due(job));
        }
        State::Ready => {
            queue.ready.remove(&place(job));
        }
        State::Running => {
            queue.running.remove(&by_lease(job));
        }
        state @ (State::Completed | State::Failed | State::Cancelled) => {
            finished.entry(state).or_default().remove(&by_end(job));
        }
    }
}

fn place(job: &Job) -> Place {
    (Reverse(job.record.priority), job.record.due_at, job.seq)
}

fn by_due(job: &Job) -> (Timestamp, u64) {
    (job.record.due_at, job.seq)
}

// A running job has a lease and a finished one an end; a stored state that
// lacks them reads as long past, and the chores put it right.

fn by_lease(job: &Job) -> (Timestamp, JobId) {
    (job.record.lease_until.unwrap_or_default(), job.record.id)
}

fn by_end(job: &Job) -> (Timestamp, JobId) {
    (job.record.finished_at.unwrap_or_default(), job.record.id)
}
