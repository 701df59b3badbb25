//! Leases that run out, by claim and by maintenance.

use anyqueue_core::{
    Cancelled, ErrorText, Holding, JobRecord, MaintainLimits, Retention, State, Token,
};

use crate::asserts::{Verdict, eventually, holds, same, same_set};
use crate::case::cases;
use crate::samples::{LONG, SHORT, SOON, attempts, complete, delayed, job, jobs, percent};
use crate::store::{Store, together};

cases! { "lease";
    law lease_expiry "a job whose lease has run out is claimable again, its original due time giving its place; the error \"lease expired\" is kept for that attempt; where no attempt is left it ends `failed`, where it is flagged `cancelled`, and it is not returned" {
        makes_the_job_claimable_and_not_before;
        keeps_the_place_in_the_order;
        with_no_attempt_left_ends_failed;
        of_a_flagged_job_ends_cancelled [Cancel];
        counts_until_the_attempts_are_spent;
        is_each_lease_s_own;
        needs_no_one_s_help_across_handles;
    }
    law lease_held "a lease that has run out but was neither claimed nor maintained is still held: it reads `running`, and its holder's calls succeed" {
        unclaimed_reads_running;
        its_holder_may_settle;
        its_holder_may_extend_it;
        its_holder_may_report_progress [Progress];
    }
    law maintain "maintain is safe from every worker at once; it does for expiry what claim does; `more` says that a bound was reached" {
        ends_what_has_expired;
        fails_what_has_no_attempt_left;
        cancels_what_is_flagged [Cancel];
        leaves_unexpired_leases_alone;
        does_a_bounded_share;
        counts_each_job_once_from_many_workers;
        promotes_due_jobs;
        of_an_empty_store_does_nothing;
    }
}

fn lease_errors(record: &JobRecord) -> Vec<(u32, &str)> {
    record
        .errors
        .iter()
        .map(|error| (error.attempt, error.message.as_str()))
        .collect()
}

/// The one error of a job whose first attempt's lease ran out.
const FIRST: (u32, &str) = (1, ErrorText::LEASE_EXPIRED);

async fn makes_the_job_claimable_and_not_before(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    a.put(&job("q")).await?;
    let first = a.take_for("q", SHORT).await?;
    let second = b.take_soon("q").await?;
    same("the job claimed again", second.token.id, first.token.id)?;
    same("its attempt", second.attempt, 2)?;
    holds(
        "its counter rose",
        second.token.counter > first.token.counter,
    )?;
    let record = b.in_state(first.token.id, State::Running).await?;
    same("its worker", record.worker.as_ref(), Some(b.worker()))?;
    same("its errors", lease_errors(&record), vec![FIRST])?;
    let claimed_at = record.claimed_at.unwrap_or_default();
    holds(
        "it was claimed when the lease was over",
        claimed_at >= first.lease_until,
    )
}

async fn keeps_the_place_in_the_order(store: Store) -> Verdict {
    let a = store.open().await?;
    let ids = a.put_all(&jobs("q", 3)).await?;
    let claimed = a.take_for("q", SHORT).await?;
    a.outlive(&claimed).await?;
    same("the claimed jobs", a.claim_ids("q", 9).await?, ids)
}

async fn with_no_attempt_left_ends_failed(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&attempts("q", 1)).await?;
    let claimed = a.take_for("q", SHORT).await?;
    a.outlive(&claimed).await?;
    a.claims_none("q").await?;
    // A claim may leave the ending to maintain where it found nothing to take.
    a.maintain_all().await?;
    let record = a.in_state(id, State::Failed).await?;
    same("its errors", lease_errors(&record), vec![FIRST])?;
    same("its attempt", record.attempt, 1)?;
    same("its worker", record.worker, None)?;
    same("its lease", record.lease_until, None)?;
    holds("it has an end time", record.finished_at.is_some())
}

async fn of_a_flagged_job_ends_cancelled(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&job("q")).await?;
    let claimed = a.take_for("q", SHORT).await?;
    same(
        "the answer to cancel",
        a.cancel_one(id).await?,
        Cancelled::Requested,
    )?;
    a.outlive(&claimed).await?;
    a.claims_none("q").await?;
    a.maintain_all().await?;
    let record = a.in_state(id, State::Cancelled).await?;
    holds("it has an end time", record.finished_at.is_some())?;
    same("its worker", record.worker, None)
}

async fn counts_until_the_attempts_are_spent(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&attempts("q", 2)).await?;
    for attempt in 1..=2 {
        let claimed = a.take_for("q", SHORT).await?;
        same("the attempt", claimed.attempt, attempt)?;
        a.outlive(&claimed).await?;
    }
    a.claims_none("q").await?;
    a.maintain_all().await?;
    let record = a.in_state(id, State::Failed).await?;
    let second = (2, ErrorText::LEASE_EXPIRED);
    same("its errors", lease_errors(&record), vec![FIRST, second])
}

async fn is_each_lease_s_own(store: Store) -> Verdict {
    let a = store.open().await?;
    let ids = a.put_all(&jobs("q", 2)).await?;
    let short = a.take_for("q", SHORT).await?;
    a.take_for("q", LONG).await?;
    a.outlive(&short).await?;
    same("the claimed jobs", a.claim_ids("q", 9).await?, vec![ids[0]])?;
    same(
        "the attempt of the other",
        a.in_state(ids[1], State::Running).await?.attempt,
        1,
    )
}

async fn needs_no_one_s_help_across_handles(store: Store) -> Verdict {
    let a = store.open().await?;
    a.put(&job("q")).await?;
    let claimed = a.take_for("q", SHORT).await?;
    drop(a);
    let b = store.open().await?;
    same(
        "the claimed job",
        b.take_soon("q").await?.token.id,
        claimed.token.id,
    )
}

async fn unclaimed_reads_running(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    a.put(&job("q")).await?;
    let claimed = a.take_for("q", SHORT).await?;
    let before = a.record(claimed.token.id).await?;
    a.outlive(&claimed).await?;
    same("the record", b.record(claimed.token.id).await?, before)
}

async fn its_holder_may_settle(store: Store) -> Verdict {
    let a = store.open().await?;
    a.put(&job("q")).await?;
    let claimed = a.take_for("q", SHORT).await?;
    a.outlive(&claimed).await?;
    a.accepted(claimed.token, complete()).await?;
    let record = a.in_state(claimed.token.id, State::Completed).await?;
    same("its errors", record.errors, vec![])?;
    a.claims_none("q").await
}

async fn its_holder_may_extend_it(store: Store) -> Verdict {
    let a = store.open().await?;
    a.put(&job("q")).await?;
    let claimed = a.take_for("q", SHORT).await?;
    a.outlive(&claimed).await?;
    same(
        "the answer to heartbeat",
        a.beat(claimed.token, LONG).await?,
        Holding::Held,
    )?;
    a.claims_none("q").await?;
    same(
        "the leases that maintain ended",
        a.maintain_all().await?.expired,
        0,
    )?;
    a.accepted(claimed.token, complete()).await
}

async fn its_holder_may_report_progress(store: Store) -> Verdict {
    let a = store.open().await?;
    a.put(&job("q")).await?;
    let claimed = a.take_for("q", SHORT).await?;
    a.outlive(&claimed).await?;
    same(
        "the answer",
        a.report(claimed.token, percent(7)).await?,
        Holding::Held,
    )?;
    same(
        "the values",
        a.record(claimed.token.id).await?.progress.values,
        percent(7),
    )
}

async fn ends_what_has_expired(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    let ids = a.put_all(&jobs("q", 2)).await?;
    let claimed = a.take_for("q", SHORT).await?;
    let before = a.record(ids[0]).await?;
    a.outlive(&claimed).await?;
    same("the leases ended", b.maintain_all().await?.expired, 1)?;
    let record = b.in_state(ids[0], State::Ready).await?;
    same("its errors", lease_errors(&record), vec![FIRST])?;
    same("its attempt", record.attempt, 1)?;
    same("its due time", record.due_at, before.due_at)?;
    same("its worker", record.worker, None)?;
    same("its lease", record.lease_until, None)?;
    same(
        "the holder's heartbeat",
        a.beat(claimed.token, LONG).await?,
        Holding::Stale,
    )?;
    let again = b.claim_many("q", 9).await?;
    same(
        "the next attempts",
        again.iter().map(|job| job.attempt).collect::<Vec<_>>(),
        vec![2, 1],
    )?;
    holds(
        "the counter rose",
        again[0].token.counter > claimed.token.counter,
    )
}

async fn fails_what_has_no_attempt_left(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&attempts("q", 1)).await?;
    let claimed = a.take_for("q", SHORT).await?;
    a.outlive(&claimed).await?;
    same("the leases ended", a.maintain_all().await?.expired, 1)?;
    let record = a.in_state(id, State::Failed).await?;
    same("its errors", lease_errors(&record), vec![FIRST])
}

async fn cancels_what_is_flagged(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&job("q")).await?;
    let claimed = a.take_for("q", SHORT).await?;
    a.cancel_one(id).await?;
    a.outlive(&claimed).await?;
    same("the leases ended", a.maintain_all().await?.expired, 1)?;
    a.in_state(id, State::Cancelled).await?;
    a.claims_none("q").await
}

async fn leaves_unexpired_leases_alone(store: Store) -> Verdict {
    let a = store.open().await?;
    let claimed = a.put_and_take("q").await?;
    let waiting = a.put(&job("q")).await?;
    let ids = [claimed.token.id, waiting];
    let before = a.records(&ids).await?;
    same("the leases ended", a.maintain_all().await?.expired, 0)?;
    same("the records", a.records(&ids).await?, before)
}

async fn does_a_bounded_share(store: Store) -> Verdict {
    let a = store.open().await?;
    a.put_all(&jobs("q", 7)).await?;
    let claimed = a.claim_from(&["q"], 7, SHORT).await?;
    a.outlive(&claimed[6]).await?;
    let limits = MaintainLimits {
        jobs: 3,
        retention: Retention::default(),
    };
    let first = a.maintain(&limits).await?;
    same("the leases ended by the first call", first.expired, 3)?;
    holds("it says that there may be more", first.more)?;
    let rest = a.maintain_with(3, Retention::default()).await?;
    same("the leases ended by the others", rest.expired, 4)
}

async fn counts_each_job_once_from_many_workers(store: Store) -> Verdict {
    let handles = store.open_many(4).await?;
    let a = handles[0].clone();
    let ids = a.put_all(&jobs("q", 20)).await?;
    let claimed = a.claim_from(&["q"], 20, SHORT).await?;
    a.outlive(&claimed[19]).await?;
    let work = handles.into_iter().map(|handle| async move {
        Ok(handle.maintain_with(5, Retention::default()).await?.expired)
    });
    let ended: u64 = together(work.collect()).await?.iter().sum();
    same("the leases ended, all workers together", ended, 20)?;
    let again = a.claim_many("q", 100).await?;
    same_set(
        "the jobs claimed again",
        again.iter().map(|job| job.token.id),
        ids,
    )?;
    holds(
        "each is at its second attempt",
        again.iter().all(|job| job.attempt == 2),
    )
}

async fn promotes_due_jobs(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&delayed("q", SOON)).await?;
    let far = a.put(&delayed("q", LONG)).await?;
    eventually("the due job is promoted", async || {
        a.maintain_all().await?;
        Ok((a.record(id).await?.state == State::Ready).then_some(()))
    })
    .await?;
    a.in_state(far, State::Scheduled).await?;
    let record = a.record(id).await?;
    let Token { id: claimed, .. } = a.take("q").await?.token;
    same("the claimed job", claimed, id)?;
    let claimed_at = a.record(id).await?.claimed_at.unwrap_or_default();
    holds("it was claimed when due", claimed_at >= record.due_at)
}

async fn of_an_empty_store_does_nothing(store: Store) -> Verdict {
    let a = store.open().await?;
    let did = a.maintain(&MaintainLimits::default()).await?;
    same(
        "what it did",
        (did.expired, did.promoted, did.purged),
        (0, 0, 0),
    )?;
    holds("nothing is left to do", !did.more)
}
