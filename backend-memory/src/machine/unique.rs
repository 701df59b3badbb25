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
        if self.held.get(&scope) == Some(&Holder { id: job.id, until: None }) {
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

    /// The keys that were stored.
    pub(super) fn from_stored(stored: Vec<HeldKey>) -> Self {
        let mut keys = Self::default();
        for held in stored {
            keys.hold((held.queue, held.key), held.holder);
        }
        keys
    }

    fn hold(&mut self, scope: Scope, holder: Holder) {
        if let Some(until) = holder.until {
            self.periods.insert((until, scope.clone()));
        }
        self.held.insert(scope, holder);
    }

    fn free(&mut self, scope: &Scope) {
        if let Some(Holder { until: Some(until), .. }) = self.held.remove(scope) {
            self.periods.remove(&(until, scope.clone()));
        }
    }

    #[cfg(test)]
    pub(super) fn holder(&self, job: &JobRecord) -> Option<JobId> {
        let key = job.unique.as_ref()?.key.clone();
        Some(self.held.get(&(job.queue.clone(), key))?.id)
    }
}
