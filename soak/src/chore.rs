//! [`Chore`]: the jobs of a soak, and their handler.

use std::time::Duration;

use anyqueue::{Job, JobContext, JobError, RetryPolicy};
use serde::{Deserialize, Serialize};

/// The queues that chores go to.
pub(crate) const QUEUES: [&str; 3] = ["errands", "mail", "reports"];

/// A job that works for a while and may fail.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Chore {
    /// How long it takes.
    pub(crate) millis: u64,
    /// How often it reports in that time.
    pub(crate) reports: u32,
    pub(crate) fate: Fate,
}

/// How a chore ends.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Fate {
    Completes,
    /// Fails this often first.
    Retries(u32),
    /// Is put off once.
    Snoozes,
    Fails,
}

impl Job for Chore {
    const KIND: &'static str = "chore";
    type Output = u64;

    fn retry_policy() -> RetryPolicy {
        // Every kill charges an attempt of what was held.
        RetryPolicy::fixed(10_000, Duration::from_millis(100))
    }
}

pub(crate) async fn work(chore: Chore, ctx: JobContext) -> Result<u64, JobError> {
    let part = Duration::from_millis(chore.millis) / (chore.reports + 1);
    for step in 1..=chore.reports {
        tokio::time::sleep(part).await;
        let percent = 100 * step / (chore.reports + 1);
        ctx.progress(u8::try_from(percent).unwrap_or(100))
            .step(step)
            .await?;
    }
    tokio::time::sleep(part).await;
    match chore.fate {
        Fate::Retries(times) if ctx.attempt() <= times => {
            let wait = Duration::from_millis(200 * u64::from(ctx.attempt()));
            Err(JobError::retry_after(wait, "not yet"))
        }
        // By chance: a snooze gives its attempt back, so none tells how many
        // there were.
        Fate::Snoozes if fastrand::bool() => {
            Err(JobError::snooze(Duration::from_millis(300), "later"))
        }
        Fate::Fails => Err(JobError::fatal("never")),
        _ => Ok(chore.millis),
    }
}
