//! A machine and a time to move, for the tests beside each question.

use std::time::Duration;

use anyqueue_core::{
    Cancelled, ClaimRequest, ClaimedJob, Enqueued, ErrorText, Holding, JobId, JobRecord, Kind,
    MaintainLimits, Maintained, NewJob, Outcome, Payload, QueueName, Retention, Retried,
    RetryPolicy, Schedule, Settled, Settlement, Timestamp, Token, Unique, UniqueKey, UniquePolicy,
    WorkerId,
};

use super::{Answer, Command, Machine};

/// Long enough to look at, on a clock that nobody waits for.
pub(super) const LEASE: Duration = secs(15);

pub(super) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(super) fn queue() -> QueueName {
    QueueName::default()
}

pub(super) fn job() -> NewJob {
    let kind = Kind::new("kind").unwrap();
    NewJob::new(queue(), kind, Payload::parse("{}", 2).unwrap())
}

pub(super) fn job_after(delay: Duration) -> NewJob {
    NewJob { schedule: Schedule::After(delay), ..job() }
}

pub(super) fn job_with_attempts(max: u32) -> NewJob {
    NewJob { retry: RetryPolicy::attempts(max), ..job() }
}

pub(super) fn job_with_key(policy: UniquePolicy) -> NewJob {
    NewJob { unique: Some(Unique { key: UniqueKey::new("key").unwrap(), policy }), ..job() }
}

pub(super) fn complete() -> Outcome {
    Outcome::Complete { result: Payload::parse("1", 1).unwrap() }
}

pub(super) fn fail() -> Outcome {
    Outcome::Fail { error: ErrorText::new("fail") }
}

pub(super) fn retry(delay: Duration) -> Outcome {
    Outcome::Retry { delay, error: ErrorText::new("retry") }
}

pub(super) fn snooze(delay: Duration) -> Outcome {
    Outcome::Snooze { delay, reason: Some(ErrorText::new("not yet")) }
}

/// All five outcomes; those with a delay come back at once.
pub(super) fn outcomes() -> [Outcome; 5] {
    [complete(), retry(secs(0)), fail(), snooze(secs(0)), Outcome::Release]
}

#[derive(Default)]
pub(super) struct Fixture {
    pub(super) machine: Machine,
    pub(super) now: Timestamp,
}

macro_rules! answer {
    ($self:ident, $command:expr, $variant:ident) => {
        match $self.apply($command) {
            Answer::$variant(answer) => answer,
            other => panic!("{other:?} is no answer to this command"),
        }
    };
}

impl Fixture {
    /// A store that holds one job.
    pub(super) fn with(job: NewJob) -> (Self, JobId) {
        let mut store = Self::default();
        let id = store.enqueue(job).id();
        (store, id)
    }

    /// A store that holds one job, which is claimed.
    pub(super) fn with_claimed(job: NewJob) -> (Self, Token) {
        let (mut store, _) = Self::with(job);
        let token = store.claim_one().token;
        (store, token)
    }

    pub(super) fn apply(&mut self, command: Command) -> Answer {
        self.machine.apply(command, self.now)
    }

    pub(super) fn advance(&mut self, span: Duration) {
        self.now = self.now.after(span);
    }

    pub(super) fn enqueue(&mut self, job: NewJob) -> Enqueued {
        answer!(self, Command::Enqueue(vec![job]), Enqueued)[0]
    }

    pub(super) fn claim(&mut self, limit: u32) -> Vec<ClaimedJob> {
        self.claim_from(vec![queue()], limit)
    }

    pub(super) fn claim_from(&mut self, queues: Vec<QueueName>, limit: u32) -> Vec<ClaimedJob> {
        let worker = WorkerId::new("worker").unwrap();
        answer!(self, Command::Claim(ClaimRequest { queues, limit, lease: LEASE, worker }), Claimed)
    }

    pub(super) fn claim_one(&mut self) -> ClaimedJob {
        self.claim(1).pop().expect("a job to claim")
    }

    pub(super) fn claim_ids(&mut self, limit: u32) -> Vec<JobId> {
        self.claim(limit).iter().map(|job| job.token.id).collect()
    }

    pub(super) fn heartbeat(&mut self, token: Token) -> Holding {
        answer!(self, Command::Heartbeat { tokens: vec![token], lease: LEASE }, Holding)[0]
    }

    pub(super) fn settle(&mut self, token: Token, outcome: Outcome) -> Settled {
        answer!(self, Command::Settle(vec![Settlement { token, outcome }]), Settled)[0]
    }

    pub(super) fn cancel(&mut self, id: JobId) -> Cancelled {
        answer!(self, Command::Cancel(vec![id]), Cancelled)[0]
    }

    pub(super) fn retry(&mut self, id: JobId) -> Retried {
        answer!(self, Command::Retry(vec![id]), Retried)[0]
    }

    pub(super) fn maintain(&mut self, jobs: u32, retention: Retention) -> Maintained {
        answer!(self, Command::Maintain(MaintainLimits { jobs, retention }), Maintained)
    }

    pub(super) fn record(&self, id: JobId) -> JobRecord {
        self.machine.get(&[id]).pop().flatten().expect("the job is stored")
    }

    /// The texts of a job's errors.
    pub(super) fn errors(&self, id: JobId) -> Vec<String> {
        let errors = self.record(id).errors.into_iter();
        errors.map(|error| format!("{}: {}", error.attempt, error.message)).collect()
    }
}
