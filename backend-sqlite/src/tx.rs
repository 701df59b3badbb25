//! [`Tx`]: what a command works with inside a write transaction.

use std::collections::HashMap;

use anyqueue_core::{JobId, Kind, QueueName, State, Timestamp, WorkerId};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use crate::error::Failure;
use crate::rows;

/// One write transaction, shared by the commands of a group commit.
pub(crate) struct Tx<'c> {
    conn: &'c Connection,
    pub(crate) cache: &'c mut Cache,
    /// Read after the file's lock was taken.
    pub(crate) now: Timestamp,
    pub(crate) changes: Changes,
    counts: Vec<(i64, [i64; 6])>,
    sequence: Sequence,
}

/// The order of enqueues, as far as this transaction has asked for it.
#[derive(Debug, Clone, Copy)]
enum Sequence {
    Unread,
    Read(i64),
    Raised(i64),
}

/// What was read of rows that do not change. Forgotten as a whole where a
/// transaction that read it is rolled back.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    queues: HashMap<QueueName, i64>,
    names: HashMap<i64, QueueName>,
    kinds: HashMap<String, Kind>,
    pub(crate) workers: HashMap<WorkerId, (i64, Timestamp)>,
    /// Where the jobs are that were claimed here.
    pub(crate) held: HashMap<JobId, Held>,
}

/// What a settle needs to know of a job and a claim has read: it saves the
/// look-up by id, which costs more than the rest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) seq: i64,
    pub(crate) queue: i64,
    pub(crate) keyed: i64,
}

/// What a transaction changed, for those who wait. As in the memory backend.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) jobs: Vec<JobId>,
    pub(crate) queues: Vec<QueueName>,
    queue: Option<i64>,
}

/// The most entries of a cache; past it the cache starts anew.
const CACHED: usize = 16_384;

impl Cache {
    /// The kind of this text, checked and allocated once.
    pub(crate) fn kind(&mut self, text: &str) -> Result<Kind, Failure> {
        if let Some(kind) = self.kinds.get(text) {
            return Ok(kind.clone());
        }
        let kind = rows::kind(text)?;
        bounded(&mut self.kinds).insert(text.to_owned(), kind.clone());
        Ok(kind)
    }

    pub(crate) fn know_worker(&mut self, name: &WorkerId, worker: i64, seen: Timestamp) {
        bounded(&mut self.workers).insert(name.clone(), (worker, seen));
    }

    pub(crate) fn hold(&mut self, id: JobId, held: Held) {
        bounded(&mut self.held).insert(id, held);
    }
}

fn bounded<K, V>(map: &mut HashMap<K, V>) -> &mut HashMap<K, V> {
    if map.len() >= CACHED {
        map.clear();
    }
    map
}

impl<'c> Tx<'c> {
    /// Works in the transaction that is open on this connection.
    pub(crate) fn new(conn: &'c Connection, cache: &'c mut Cache, now: Timestamp) -> Self {
        Self {
            conn,
            cache,
            now,
            changes: Changes::default(),
            counts: Vec::new(),
            sequence: Sequence::Unread,
        }
    }

    /// The prepared statement of this text.
    pub(crate) fn sql(&self, text: &str) -> Result<CachedStatement<'c>, Failure> {
        Ok(self.conn.prepare_cached(text)?)
    }

    /// Runs many statements, not kept prepared.
    pub(crate) fn batch(&self, text: &str) -> Result<(), Failure> {
        Ok(self.conn.execute_batch(text)?)
    }

    /// The seq for the next new job.
    pub(crate) fn next_seq(&mut self) -> Result<i64, Failure> {
        let last = match self.sequence {
            Sequence::Read(last) | Sequence::Raised(last) => last,
            Sequence::Unread => {
                let last = self
                    .sql(include_str!("sql/sequence_last.sql"))?
                    .query_row([], |row| row.get(0))?;
                self.sequence = Sequence::Read(last);
                last
            }
        };
        Ok(last + 1)
    }

    /// A job was stored under this seq.
    pub(crate) fn seq_given(&mut self, seq: i64) {
        self.sequence = Sequence::Raised(seq);
    }

    /// The number of a queue, where the store knows it.
    pub(crate) fn find_queue(&mut self, name: &QueueName) -> Result<Option<i64>, Failure> {
        if let Some(queue) = self.cache.queues.get(name) {
            return Ok(Some(*queue));
        }
        let found = self
            .sql(include_str!("sql/queue_find.sql"))?
            .query_row([name.as_str()], |row| row.get(0))
            .optional()?;
        if let Some(queue) = found {
            self.know_queue(queue, name);
        }
        Ok(found)
    }

    /// The number of a queue, which is added where it is new.
    pub(crate) fn queue(&mut self, name: &QueueName) -> Result<i64, Failure> {
        if let Some(queue) = self.find_queue(name)? {
            return Ok(queue);
        }
        self.sql(include_str!("sql/queue_add.sql"))?
            .execute([name.as_str()])?;
        let queue = self.conn.last_insert_rowid();
        self.know_queue(queue, name);
        Ok(queue)
    }

    fn know_queue(&mut self, queue: i64, name: &QueueName) {
        bounded(&mut self.cache.queues).insert(name.clone(), queue);
        bounded(&mut self.cache.names).insert(queue, name.clone());
    }

    /// The name of a queue.
    pub(crate) fn queue_name(&mut self, queue: i64) -> Result<QueueName, Failure> {
        if let Some(name) = self.cache.names.get(&queue) {
            return Ok(name.clone());
        }
        let name: String = self
            .sql(include_str!("sql/queue_name.sql"))?
            .query_row([queue], |row| row.get(0))?;
        let name = rows::queue_name(&name)?;
        self.know_queue(queue, &name);
        Ok(name)
    }

    /// A new job was counted in.
    pub(crate) fn count_in(&mut self, queue: i64, state: State) {
        self.counts_of(queue)[usize::from(state.as_u8())] += 1;
    }

    /// A purged job was counted out.
    pub(crate) fn count_out(&mut self, queue: i64, state: State) {
        self.counts_of(queue)[usize::from(state.as_u8())] -= 1;
    }

    /// A job went from one state to another.
    pub(crate) fn count_move(&mut self, queue: i64, from: State, to: State) {
        let counts = self.counts_of(queue);
        counts[usize::from(from.as_u8())] -= 1;
        counts[usize::from(to.as_u8())] += 1;
    }

    fn counts_of(&mut self, queue: i64) -> &mut [i64; 6] {
        // Batches mostly stay in one queue: the last one is looked at first.
        let at = self.counts.iter().rposition(|(known, _)| *known == queue);
        let at = at.unwrap_or_else(|| {
            self.counts.push((queue, [0; 6]));
            self.counts.len() - 1
        });
        &mut self.counts[at].1
    }

    /// A job looks different now; those who wait for it are told.
    pub(crate) fn changed(&mut self, id: JobId, queue: i64, state: State) -> Result<(), Failure> {
        self.changes.jobs.push(id);
        if matches!(state, State::Ready | State::Scheduled) {
            self.claimable(queue)?;
        }
        Ok(())
    }

    /// A queue may give a job now, or has a new time to give one.
    pub(crate) fn claimable(&mut self, queue: i64) -> Result<(), Failure> {
        if self.changes.queue != Some(queue) {
            self.changes.queue = Some(queue);
            let name = self.queue_name(queue)?;
            self.changes.queues.push(name);
        }
        Ok(())
    }

    /// Writes the counts and the sequence: the last step before the commit.
    pub(crate) fn finish(self) -> Result<Changes, Failure> {
        if let Sequence::Raised(last) = self.sequence {
            self.sql(include_str!("sql/sequence_save.sql"))?
                .execute([last])?;
        }
        if self.counts.is_empty() {
            return Ok(self.changes);
        }
        let mut add = self.sql(include_str!("sql/counts_add.sql"))?;
        for (queue, [a, b, c, d, e, f]) in &self.counts {
            add.execute(params![queue, a, b, c, d, e, f])?;
        }
        Ok(self.changes)
    }
}
