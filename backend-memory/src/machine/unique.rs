//! [`Keys`]: who holds a unique key, and until when.

use std::collections::{BTreeMap, BTreeSet};

use anyqueue_core::{JobId, JobRecord, QueueName, Timestamp, Unique, UniqueKey, UniquePolicy};
use serde::{Deserialize, Serialize};

/// The scope of a key is its queue.
type Scope = (QueueName, UniqueKey);

/// The keys that are held. A key outlives its job where its period does, so
/// that they cannot be told from the jobs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Keys {
    held: BTreeMap<Scope, Holder>,
    /// The keys that are held for a period, by its end.
    periods: BTreeSet<(Timestamp, Scope)>,
}

/// Who holds a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    id: JobId,
    /// When the period is over; `None`: while it is unfinished.
    until: Option<Timestamp>,
}

/// A held key, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HeldKey {
    queue: QueueName,
    key: UniqueKey,
    holder: Holder,
}

impl Keys {
    /// Takes a key for a job, or says which job holds it. A period counts from
    /// `now`.
    pub(super) fn take(
        &mut self,
        queue: &QueueName,
        unique: &Unique,
        id: JobId,
        now: Timestamp,
    ) -> Result<(), JobId> {
        let scope = (queue.clone(), unique.key.clone());
        if let Some(holder) = self.held.get(&scope) {
            match holder.until {
                Some(until) if until <= now => self.free(&scope),
                _ => return Err(holder.id),
            }
        }
        let until = match unique.policy {
            UniquePolicy::WhileUnfinished => None,
            UniquePolicy::ForPeriod(period) => Some(now.after(period)),
        };
        self.hold(scope, Holder { id, until });
        Ok(())
    }

    /// Frees the key of a job that ended, where it was held until then.
    pub(super) fn ended(&mut self, job: &JobRecord) {
        let Some(unique) = &job.unique else { return };
        let scope = (job.queue.clone(), unique.key.clone());
        if self.held.get(&scope)
            == Some(&Holder {
                id: job.id,
                until: None,
            })
        {
            self.free(&scope);
        }
    }

    /// Frees a key whose period is over; false where there is none.
    pub(super) fn free_one_over(&mut self, now: Timestamp) -> bool {
        match self.periods.first() {
            Some((until, scope)) if *until <= now => {
                let scope = scope.clone();
                self.free(&scope);
                true
            }
            _ => false,
        }
    }

    /// All held keys, sorted, to be stored.
    pub(super) fn to_stored(&self) -> Vec<HeldKey> {
        let held = self.held.iter();
        held.map(|((queue, key), holder)| HeldKey {
            queue: queue.clone(),
            key: key.clone(),
            holder: *holder,
        })
        .collect()
    }

    /// The keys that were stored; `None` where one is held twice.
    pub(super) fn from_stored(stored: Vec<HeldKey>) -> Option<Self> {
        let mut keys = Self::default();
        for held in stored {
            let scope = (held.queue, held.key);
            if keys.held.contains_key(&scope) {
                return None;
            }
            keys.hold(scope, held.holder);
        }
        Some(keys)
    }

    fn hold(&mut self, scope: Scope, holder: Holder) {
        if let Some(until) = holder.until {
            self.periods.insert((until, scope.clone()));
        }
        self.held.insert(scope, holder);
    }

    fn free(&mut self, scope: &Scope) {
        if let Some(Holder {
            until: Some(until), ..
        }) = self.held.remove(scope)
        {
            self.periods.remove(&(until, scope.clone()));
        }
    }

    #[cfg(test)]
    pub(super) fn is_holder(&self, id: JobId) -> bool {
        self.held.values().any(|holder| holder.id == id)
    }

    #[cfg(test)]
    pub(super) fn holder(&self, job: &JobRecord) -> Option<JobId> {
        let key = job.unique.as_ref()?.key.clone();
        Some(self.held.get(&(job.queue.clone(), key))?.id)
    }
}

#[cfg(test)]
mod tests {
    use anyqueue_core::{Enqueued, NewJob, Outcome, QueueName, Retention, Retried, UniquePolicy};

    use crate::machine::testing::{
        Fixture, complete, fail, job_with_attempts, job_with_key, outcomes, secs,
    };
    use crate::machine::{Answer, Command};

    const UNFINISHED: UniquePolicy = UniquePolicy::WhileUnfinished;
    const PERIOD: UniquePolicy = UniquePolicy::ForPeriod(secs(60));

    #[test]
    fn a_key_is_held_once_in_its_queue_and_the_first_of_a_batch_wins() {
        let jobs = vec![
            job_with_key(UNFINISHED),
            job_with_key(PERIOD),
            NewJob {
                queue: QueueName::new("other").unwrap(),
                ..job_with_key(UNFINISHED)
            },
        ];
        let [a, b, c] = [0, 1, 2].map(|n: usize| jobs[n].id);
        let mut store = Fixture::default();
        let answer = store.apply(Command::Enqueue(jobs));
        let expected = vec![
            Enqueued::Created(a),
            Enqueued::Existing(a),
            Enqueued::Created(c),
        ];
        assert_eq!(answer, Answer::Enqueued(expected));
        assert_eq!(store.machine.get(&[b]), [None]);
    }

    #[test]
    fn a_key_while_unfinished_is_freed_by_every_end_and_by_nothing_else() {
        for outcome in outcomes() {
            let (mut store, token) = Fixture::with_claimed(job_with_key(UNFINISHED));
            store.settle(token, outcome.clone());
            let ended = store.record(token.id).state.is_finished();
            let next = store.enqueue(job_with_key(UNFINISHED));
            assert_eq!(matches!(next, Enqueued::Created(_)), ended, "{outcome:?}");
        }
        let NewJob { unique, .. } = job_with_key(UNFINISHED);
        let (mut store, id) = Fixture::with(NewJob {
            unique,
            ..job_with_attempts(1)
        });
        store.claim_one();
        store.advance(secs(60));
        assert_eq!(
            store.enqueue(job_with_key(UNFINISHED)),
            Enqueued::Existing(id)
        );
        store.claim(1);
        let next = store.enqueue(job_with_key(UNFINISHED));
        assert!(
            matches!(next, Enqueued::Created(_)),
            "the lease expired, no attempt is left"
        );
    }

    #[test]
    fn a_key_for_a_period_is_held_to_its_end_whatever_becomes_of_the_job() {
        let new = job_with_key(PERIOD);
        let (mut store, token) = Fixture::with_claimed(new.clone());
        store.settle(token, complete());
        store.maintain(9, Retention::all(secs(0)));
        assert_eq!(store.machine.get(&[token.id]), [None], "it is purged");
        store.advance(secs(59));
        assert_eq!(
            store.enqueue(job_with_key(UNFINISHED)),
            Enqueued::Existing(token.id)
        );
        assert_eq!(store.enqueue(new), Enqueued::Created(token.id));
        assert_eq!(
            store.machine.get(&[token.id]),
            [None],
            "it is not run twice"
        );
        store.advance(secs(1));
        let next = job_with_key(UNFINISHED);
        assert_eq!(store.enqueue(next.clone()), Enqueued::Created(next.id));
    }

    #[test]
    fn a_job_that_outlives_its_period_frees_nobody_elses_key() {
        let (mut store, old) = Fixture::with_claimed(job_with_key(PERIOD));
        store.advance(secs(60));
        let new = store.enqueue(job_with_key(UNFINISHED)).id();
        store.settle(old, Outcome::Release);
        store.cancel(old.id);
        assert_eq!(store.enqueue(job_with_key(PERIOD)), Enqueued::Existing(new));
        assert_eq!(
            store.retry(old.id),
            Retried::Ready,
            "its period is over for good"
        );
    }

    #[test]
    fn maintain_forgets_keys_whose_period_is_over() {
        let (mut store, token) = Fixture::with_claimed(job_with_key(PERIOD));
        store.settle(token, fail());
        store.advance(secs(59));
        store.maintain(9, Retention::default());
        assert_eq!(store.machine.index.keys.to_stored().len(), 1);
        store.advance(secs(1));
        store.maintain(9, Retention::default());
        assert_eq!(store.machine.index.keys, super::Keys::default());
    }
}
