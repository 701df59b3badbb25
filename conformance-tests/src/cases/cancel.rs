//! Cancelling: waiting, running and finished jobs.

use std::time::Duration;

use anyqueue_core::{Cancelled, Holding, JobId, Outcome, State};

use crate::asserts::{Failure, Verdict, holds, same};
use crate::case::cases;
use crate::handle::Handle;
use crate::samples::{FAR, LONG, complete, delayed, fail, job, jobs, queue, retry, snooze};
use crate::store::Store;

cases! { "cancel";
    law cancel_waiting "a waiting job ends `cancelled` at once and is never claimed" {
        a_ready_job [Cancel];
        a_scheduled_job [Cancel];
        a_job_between_two_attempts [Cancel];
        is_never_claimed [Cancel];
    }
    law cancel_running "a running job is flagged; a completion or failure still stands, retry, snooze, release and expiry end `cancelled`" {
        is_flagged_and_told [Cancel];
        a_completion_stands [Cancel];
        a_failure_stands [Cancel];
        a_retry_ends_cancelled_with_its_error [Cancel];
        a_snooze_ends_cancelled [Cancel];
        a_release_ends_cancelled [Cancel];
        from_another_handle [Cancel];
    }
    law cancel_repeat "a repeated cancel changes nothing more: it answers `Done` once the job is cancelled, `Requested` while it runs on; a job that ended otherwise answers `Finished`" {
        of_a_waiting_job [Cancel];
        of_a_running_job [Cancel];
        of_a_finished_job_changes_nothing [Cancel];
        of_an_unknown_job [Cancel];
        answers_in_the_order_of_the_ids [Cancel];
    }
}

async fn a_ready_job(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&job("q")).await?;
    is_cancelled(&a, id).await
}

async fn a_scheduled_job(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&delayed("q", FAR)).await?;
    is_cancelled(&a, id).await
}

async fn a_job_between_two_attempts(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.run("q", retry(FAR)).await?.id;
    is_cancelled(&a, id).await?;
    let record = a.record(id).await?;
    same("the errors kept", record.errors.len(), 1)?;
    same("the charged attempts", record.attempt, 1)
}

async fn is_cancelled(a: &Handle, id: JobId) -> Verdict {
    same(
        "the answer to cancel",
        a.cancel_one(id).await?,
        Cancelled::Done,
    )?;
    let record = a.in_state(id, State::Cancelled).await?;
    holds("it has an end time", record.finished_at.is_some())?;
    holds("it was not flagged while it ran", !record.cancel_requested)?;
    a.claims_none("q").await
}

async fn is_never_claimed(store: Store) -> Verdict {
    let a = store.open().await?;
    let ids = a.put_all(&jobs("q", 10)).await?;
    let (gone, kept): (Vec<_>, Vec<_>) = ids
        .iter()
        .enumerate()
        .partition(|(place, _)| place % 2 == 0);
    let only_ids = |some: Vec<(usize, &JobId)>| some.into_iter().map(|(_, id)| *id).collect();
    let (gone, kept): (Vec<JobId>, Vec<JobId>) = (only_ids(gone), only_ids(kept));
    same(
        "the answers",
        a.cancel(&gone).await?,
        vec![Cancelled::Done; 5],
    )?;
    same("the claimed jobs", a.claim_ids("q", 100).await?, kept)
}

async fn is_flagged_and_told(store: Store) -> Verdict {
    let a = store.open().await?;
    let token = a.put_and_take("q").await?.token;
    same(
        "the heartbeat before",
        a.beat(token, LONG).await?,
        Holding::Held,
    )?;
    same(
        "the answer",
        a.cancel_one(token.id).await?,
        Cancelled::Requested,
    )?;
    let record = a.in_state(token.id, State::Running).await?;
    holds("the record shows the flag", record.cancel_requested)?;
    same(
        "the heartbeat after",
        a.beat(token, LONG).await?,
        Holding::CancelRequested,
    )
}

/// The job, flagged while it ran, then settled so.
async fn flagged_then(a: &Handle, outcome: Outcome, state: State) -> Result<JobId, Failure> {
    let token = a.put_and_take("q").await?.token;
    same(
        "the answer",
        a.cancel_one(token.id).await?,
        Cancelled::Requested,
    )?;
    a.accepted(token, outcome.clone()).await?;
    let record = a.in_state(token.id, state).await?;
    holds("it has an end time", record.finished_at.is_some())?;
    same("its holder", record.worker, None)?;
    a.claims_none("q").await?;
    a.accepted(token, outcome).await?;
    Ok(token.id)
}

async fn a_completion_stands(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = flagged_then(&a, complete(), State::Completed).await?;
    holds(
        "the flag stays to be seen",
        a.record(id).await?.cancel_requested,
    )
}

async fn a_failure_stands(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = flagged_then(&a, fail(), State::Failed).await?;
    same("the errors kept", a.record(id).await?.errors.len(), 1)
}

async fn a_retry_ends_cancelled_with_its_error(store: Store) -> Verdict {
    let a = store.open().await?;
    for delay in [Duration::ZERO, FAR] {
        let id = flagged_then(&a, retry(delay), State::Cancelled).await?;
        same("the errors kept", a.record(id).await?.errors.len(), 1)?;
    }
    Ok(())
}

async fn a_snooze_ends_cancelled(store: Store) -> Verdict {
    let a = store.open().await?;
    flagged_then(&a, snooze(FAR), State::Cancelled)
        .await
        .map(drop)
}

async fn a_release_ends_cancelled(store: Store) -> Verdict {
    let a = store.open().await?;
    flagged_then(&a, Outcome::Release, State::Cancelled)
        .await
        .map(drop)
}

async fn from_another_handle(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    let token = a.put_and_take("q").await?.token;
    same(
        "the answer",
        b.cancel_one(token.id).await?,
        Cancelled::Requested,
    )?;
    same(
        "the holder's heartbeat",
        a.beat(token, LONG).await?,
        Holding::CancelRequested,
    )
}

async fn of_a_waiting_job(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&job("q")).await?;
    is_cancelled(&a, id).await?;
    let before = a.record(id).await?;
    is_cancelled(&a, id).await?;
    same("the record", a.record(id).await?, before)
}

async fn of_a_running_job(store: Store) -> Verdict {
    let a = store.open().await?;
    let token = a.put_and_take("q").await?.token;
    for _ in 0..2 {
        same(
            "the answer",
            a.cancel_one(token.id).await?,
            Cancelled::Requested,
        )?;
    }
    a.accepted(token, Outcome::Release).await?;
    same(
        "the answer once it ended",
        a.cancel_one(token.id).await?,
        Cancelled::Done,
    )
}

async fn of_a_finished_job_changes_nothing(store: Store) -> Verdict {
    let a = store.open().await?;
    for (outcome, state) in [(complete(), State::Completed), (fail(), State::Failed)] {
        let id = a.run("q", outcome).await?.id;
        let before = a.record(id).await?;
        same(
            "the answer",
            a.cancel_one(id).await?,
            Cancelled::Finished(state),
        )?;
        same("the record", a.record(id).await?, before)?;
    }
    Ok(())
}

async fn of_an_unknown_job(store: Store) -> Verdict {
    let a = store.open().await?;
    same(
        "the answer",
        a.cancel_one(JobId::new(&queue("q"))).await?,
        Cancelled::NotFound,
    )
}

async fn answers_in_the_order_of_the_ids(store: Store) -> Verdict {
    let a = store.open().await?;
    let done = a.run("q", complete()).await?.id;
    let running = a.put_and_take("q").await?.token.id;
    let waiting = a.put(&job("q")).await?;
    let unknown = JobId::new(&queue("q"));
    let asked = [unknown, running, waiting, done, waiting];
    let expected = vec![
        Cancelled::NotFound,
        Cancelled::Requested,
        Cancelled::Done,
        Cancelled::Finished(State::Completed),
        Cancelled::Done,
    ];
    same("the answers", a.cancel(&asked).await?, expected)?;
    same("the answers to none", a.cancel(&[]).await?, vec![])
}
