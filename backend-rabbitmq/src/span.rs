//! The spans that commands begin: delays, leases, periods of unique keys. They
//! count from the ledger's time where the command is folded.

use std::time::Duration;

use anyqueue_core::{NewJob, Outcome, Schedule, UniquePolicy};
use anyqueue_memory::Command;

/// Whether a command begins any.
pub(crate) fn begins(command: &Command) -> bool {
    match command {
        Command::Enqueue(jobs) => jobs.iter().any(|job| {
            matches!(job.schedule, Schedule::After(_))
                || matches!(&job.unique, Some(unique) if matches!(unique.policy, UniquePolicy::ForPeriod(_)))
        }),
        Command::Settle(settlements) => settlements.iter().any(|one| {
            matches!(
                one.outcome,
                Outcome::Retry { .. } | Outcome::Snooze { .. }
            )
        }),
        Command::Claim(_) | Command::Heartbeat { .. } => true,
        _ => false,
    }
}

/// Makes them longer. None stays none.
pub(crate) fn lengthen(command: &mut Command, by: Duration) {
    let longer = |span: &mut Duration| {
        if !span.is_zero() {
            *span = span.saturating_add(by);
        }
    };
    match command {
        Command::Enqueue(jobs) => {
            for NewJob {
                schedule, unique, ..
            } in jobs
            {
                if let Schedule::After(delay) = schedule {
                    longer(delay);
                }
                if let Some(UniquePolicy::ForPeriod(period)) =
                    unique.as_mut().map(|unique| &mut unique.policy)
                {
                    longer(period);
                }
            }
        }
        Command::Settle(settlements) => {
            for settlement in settlements {
                if let Outcome::Retry { delay, .. } | Outcome::Snooze { delay, .. } =
                    &mut settlement.outcome
                {
                    longer(delay);
                }
            }
        }
        Command::Claim(request) => longer(&mut request.lease),
        Command::Heartbeat { lease, .. } => longer(lease),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use anyqueue_core::{
        ClaimRequest, ErrorText, JobId, Kind, Payload, QueueName, Settlement, Token, Unique,
        UniqueKey, WorkerId,
    };

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn job(change: impl FnOnce(&mut NewJob)) -> NewJob {
        let kind = Kind::new("kind").unwrap();
        let payload = Payload::parse("0", 1).unwrap();
        let mut job = NewJob::new(QueueName::default(), kind, payload);
        change(&mut job);
        job
    }

    fn for_period(period: Duration) -> NewJob {
        job(|job| {
            let key = UniqueKey::new("key").unwrap();
            let policy = UniquePolicy::ForPeriod(period);
            job.unique = Some(Unique { key, policy });
        })
    }

    fn after(delay: Duration) -> NewJob {
        job(|job| job.schedule = Schedule::After(delay))
    }

    fn settlement(outcome: Outcome) -> Settlement {
        let id = JobId::new(&QueueName::default());
        let token = Token { id, counter: 1 };
        Settlement { token, outcome }
    }

    #[test]
    fn all_spans_are_made_longer() {
        let retry = |delay| {
            let error = ErrorText::new("once more");
            settlement(Outcome::Retry { delay, error })
        };
        let snooze = |delay| {
            let reason = None;
            settlement(Outcome::Snooze { delay, reason })
        };
        let lease = SECOND;
        let claim = Command::Claim(ClaimRequest {
            queues: Vec::new(),
            limit: 1,
            lease,
            worker: WorkerId::random(),
        });
        let tokens = Vec::new();
        let heartbeat = Command::Heartbeat { tokens, lease };
        for mut command in [
            Command::Enqueue(vec![after(SECOND)]),
            Command::Enqueue(vec![for_period(SECOND)]),
            Command::Settle(vec![retry(SECOND)]),
            Command::Settle(vec![snooze(SECOND)]),
            claim,
            heartbeat,
        ] {
            assert!(begins(&command));
            lengthen(&mut command, SECOND * 2);
            let spans = match &command {
                Command::Enqueue(jobs) => match (jobs[0].schedule, &jobs[0].unique) {
                    (Schedule::After(delay), None) => delay,
                    (_, Some(unique)) => match unique.policy {
                        UniquePolicy::ForPeriod(period) => period,
                        other => panic!("{other:?}"),
                    },
                    other => panic!("{other:?}"),
                },
                Command::Settle(settlements) => match &settlements[0].outcome {
                    Outcome::Retry { delay, .. } | Outcome::Snooze { delay, .. } => *delay,
                    other => panic!("{other:?}"),
                },
                Command::Claim(request) => request.lease,
                Command::Heartbeat { lease, .. } => *lease,
                other => panic!("{other:?}"),
            };
            assert_eq!(spans, SECOND * 3);
        }
    }

    #[test]
    fn moments_and_no_spans_stay() {
        let at = job(|job| job.schedule = Schedule::At(anyqueue_core::Timestamp::host_now()));
        for jobs in [vec![at], vec![job(|_| {})]] {
            let mut command = Command::Enqueue(jobs.clone());
            assert!(!begins(&command));
            lengthen(&mut command, SECOND);
            assert!(matches!(command, Command::Enqueue(found) if found == jobs));
        }
        assert!(!begins(&Command::Settle(vec![settlement(
            Outcome::Release
        )])));
        let mut command = Command::Enqueue(vec![after(Duration::ZERO)]);
        lengthen(&mut command, SECOND);
        let Command::Enqueue(jobs) = command else {
            panic!("{command:?}")
        };
        assert_eq!(jobs[0].schedule, Schedule::After(Duration::ZERO));
    }
}
