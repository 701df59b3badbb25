//! [`RedisBackend::enqueue_in`]: enqueueing in the application's own
//! transaction.

use anyqueue_core::{Error, NewJob, Operation, QueueName};
use redis::Pipeline;

use crate::backend::RedisBackend;
use crate::enqueue;
use crate::script::ENQUEUE;
use crate::store::{Shard, by_shard};

impl RedisBackend {
    /// Adds to the application's own transaction that these jobs are enqueued:
    /// they are there once it is executed, together with what else is in it,
    /// and never were where it is not.
    ///
    /// The pipeline must be atomic ([`Pipeline::atomic`]: `MULTI`, `EXEC`), and
    /// executed on the server that the store is on, in the same database. On a
    /// Cluster all keys of a transaction are in one slot: the jobs' queues must
    /// share their [`hash_tag`](Self::hash_tag), and the application's keys
    /// carry it. Nothing is added to the pipeline's results. Workers are told
    /// as by any enqueue.
    ///
    /// Redis does not roll back. A job whose unique key is held is left out,
    /// as by any enqueue; and where memory is full, `EXEC` executes nothing
    /// when it refuses the scripts at `MULTI` time, which it does for a memory
    /// that is full by then.
    ///
    /// # Errors
    /// As [`Backend::enqueue`](anyqueue_core::Backend::enqueue); nothing is
    /// added then. What core checks before a client's enqueue (the payload's
    /// limit, the number of tags) is up to the caller; `JobBuilder::build`
    /// does it.
    pub async fn enqueue_in(&self, pipeline: &mut Pipeline, jobs: &[NewJob]) -> Result<(), Error> {
        let failed = |failure: crate::error::Failure| failure.into_error(Operation::Enqueue);
        let mut calls = Vec::new();
        for (shard, jobs) in by_shard(jobs, |job| Shard::of_job(job.id)) {
            // Known before it holds anything; that it may stay empty does no
            // harm.
            self.store.register([shard]).await.map_err(failed)?;
            let jobs: Vec<&NewJob> = jobs.into_iter().map(|(_, job)| job).collect();
            let arguments = enqueue::arguments(&jobs).map_err(failed)?;
            let mut all = vec![&b"registered"[..]];
            all.extend(arguments.iter().map(Vec::as_slice));
            // In full: inside `MULTI` it is too late to learn that the server
            // does not know the SHA-1.
            calls.push(ENQUEUE.in_full(&self.store.named(shard, None), &all));
        }
        for call in calls {
            pipeline.add_command(call).ignore();
        }
        Ok(())
    }

    /// The hash tag of a queue's keys, braces included. On a Cluster, keys of
    /// the application that carry it are on the same node, and can be in one
    /// transaction with [`enqueue_in`](Self::enqueue_in).
    pub fn hash_tag(queue: &QueueName) -> String {
        format!("{{{}}}", Shard::of_queue(queue).0)
    }
}
