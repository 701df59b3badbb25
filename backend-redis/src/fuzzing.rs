//! What is read of a server's answers, for the fuzz targets: nothing in here
//! panics, whatever the bytes.

use anyqueue_core::{Error, JobRecord, Operation, QueueName, Timestamp};
use redis::Value;

use crate::error::Failure;
use crate::{claim, enqueue, read, wire};

fn shown<T>(read: Result<T, Failure>) -> Result<T, Error> {
    read.map_err(|failure| failure.into_error(Operation::Get))
}

/// The record in the parts that `get.lua` answers.
pub fn record(parts: [&[u8]; 7]) -> Result<JobRecord, Error> {
    shown(wire::record(
        anyqueue_core::JobId::from_bytes([7; 16]),
        parts,
    ))
}

/// How many jobs are in what `claim.lua` answers.
pub fn claimed(jobs: &[u8]) -> Result<usize, Error> {
    let mut claimed = Vec::new();
    let queue = QueueName::default();
    shown(claim::read(
        jobs,
        &queue,
        Timestamp::default(),
        &mut claimed,
    ))?;
    Ok(claimed.len())
}

/// Reads what `enqueue.lua` answers to so many jobs.
pub fn enqueued(jobs: &[&anyqueue_core::NewJob], answer: &[u8]) -> Result<usize, Error> {
    shown(enqueue::answers(jobs, answer)).map(|answers| answers.len())
}

/// How many queues are in a shard's hash of them.
pub fn queues(fields: &[&[u8]]) -> Result<usize, Error> {
    let fields = fields.iter().map(|field| Value::BulkString(field.to_vec()));
    shown(read::shard_queues(fields.collect())).map(|queues| queues.len())
}
