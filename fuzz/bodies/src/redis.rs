//! What Redis' scripts answer.

use anyqueue_core::{Kind, NewJob, Payload, QueueName};
use anyqueue_redis::fuzzing;

use crate::parts;

/// The parts are those of a job's record.
pub(crate) fn records(bytes: &[u8]) {
    let mut parts = parts(bytes);
    parts.resize(7, &[]);
    let parts: [&[u8]; 7] = parts.try_into().expect("seven parts");
    if let Ok(record) = fuzzing::record(parts) {
        let _ = record.retry.backoff.delay_after(record.attempt);
    }
}

/// The bytes as each of the other answers.
pub(crate) fn answers(bytes: &[u8]) {
    // A job's bytes are more than its answer's least ones.
    if let Ok(claimed) = fuzzing::claimed(bytes) {
        assert!(claimed <= bytes.len());
    }
    let _ = fuzzing::queues(&parts(bytes));
    let kind = Kind::new("kind").expect("a valid name");
    let payload = Payload::parse("1", 1).expect("JSON");
    let job = NewJob::new(QueueName::default(), kind, payload);
    if let Ok(answers) = fuzzing::enqueued(&[&job, &job, &job], bytes) {
        assert_eq!(answers, 3);
    }
}
