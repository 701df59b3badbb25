//! How a machine is stored and loaded: what cannot be told from anything else
//! is stored, the indexes are built anew.

use anyqueue_core::{Flow, QueueName, Timestamp};
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
        let mut index = Index {
            keys: Keys::from_stored(keys),
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
