//! How a machine is stored and loaded: what cannot be told from anything else
//! is stored, the indexes are built anew. What no machine stores is refused:
//! the machine relies on ids, places and keys being there once, and on numbers
//! that can rise.

use std::collections::HashSet;

use anyqueue_core::{Flow, QueueName, Timestamp};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Machine;
use super::index::Index;
use super::job::Job;
use super::unique::{HeldKey, Keys};

/// `J` is `&Job` to store and `Job` to load. Lists and no maps, so that any
/// format will do.
#[derive(Serialize, Deserialize)]
struct Snapshot<J> {
    now: Timestamp,
    enqueued: u64,
    jobs: Vec<J>,
    keys: Vec<HeldKey>,
    paused: Vec<QueueName>,
}

/// More than any job is claimed or store is given; what is counted stays far
/// below, so that one more always fits.
const MOST: u64 = 1 << 62;

/// Why a machine cannot go on from these jobs.
fn problem(jobs: &[Job], enqueued: u64) -> Option<&'static str> {
    let (mut ids, mut places) = (HashSet::new(), HashSet::new());
    if enqueued > MOST {
        return Some("the count of jobs is too large");
    }
    for job in jobs {
        let record = &job.record;
        if !ids.insert(record.id) {
            return Some("a job is there twice");
        }
        if job.seq >= enqueued || !places.insert(job.seq) {
            return Some("a place in the order of enqueues is not a job's own");
        }
        if record.counter.max(record.progress.sequence) > MOST || record.attempt > i32::MAX as u32 {
            return Some("a job's counters are too large");
        }
    }
    None
}

impl Serialize for Machine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let queues = self.index.queues.iter();
        let paused = queues.filter(|(_, queue)| queue.flow == Flow::Paused);
        let snapshot = Snapshot {
            now: self.now,
            enqueued: self.enqueued,
            jobs: self.jobs.values().map(AsRef::<Job>::as_ref).collect(),
            keys: self.index.keys.to_stored(),
            paused: paused.map(|(name, _)| name.clone()).collect(),
        };
        snapshot.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Machine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Snapshot {
            now,
            enqueued,
            jobs,
            keys,
            paused,
        } = Snapshot::<Job>::deserialize(deserializer)?;
        if let Some(problem) = problem(&jobs, enqueued) {
            return Err(D::Error::custom(problem));
        }
        let keys = Keys::from_stored(keys);
        let mut index = Index {
            keys: keys.ok_or_else(|| D::Error::custom("a unique key is held twice"))?,
            ..Index::default()
        };
        for name in paused {
            index.set_flow(&name, Flow::Paused);
        }
        for job in &jobs {
            index.insert(job);
        }
        index.changes.clear();
        let jobs = jobs
            .into_iter()
            .map(|job| (job.record.id, Box::new(job)))
            .collect();
        Ok(Self {
            now,
            enqueued,
            jobs,
            index,
        })
    }
}
