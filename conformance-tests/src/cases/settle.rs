//! Settling: the five outcomes, repeats and batches.

use std::time::Duration;

use anyqueue_core::{
    ErrorText, JobRecord, NewJob, Outcome, RetryPolicy, Settled, Settlement, State, Timestamp,
    Token,
};

use crate::asserts::{Verdict, holds, same, same_payload};
use crate::case::cases;
use crate::handle::Handle;
use crate::samples::{
    FAR, SOON, complete, fail, job, jobs, outcomes, payload, percent, retry, snooze, unknown_token,
};
use crate::store::Store;

cases! { "settle";
    law settle "settle moves each job as its outcome says and keeps result and errors" {
        complete_ends_the_job;
        complete_keeps_the_result [Results];
        complete_keeps_the_progress [Progress];
        fail_ends_the_job_with_its_error;
        retry_without_delay_is_ready_at_once;
        retry_with_delay_is_scheduled;
        retry_runs_when_it_is_due;
        snooze_is_scheduled_with_its_reason;
        snooze_runs_when_it_is_due;
        release_is_ready_at_once;
        keeps_the_last_ten_errors;
        errors_of_all_attempts_are_kept_in_order;
        by_another_handle;
    }
    law attempts "retry and fail keep the charged attempt; snooze and release give it back" {
        kept_by_retry_and_fail;
        given_back_by_snooze_and_release;
    }
    law settle_once "a token settles once: the same kind of outcome answers `Accepted` again and changes nothing, another kind is `Stale`" {
        the_same_outcome_again_is_accepted;
        another_outcome_is_stale;
        repeated_after_the_job_was_claimed_again;
        twice_in_one_batch;
        both_kinds_in_one_batch;
    }
    law settle_batch "all accepted items take effect; one stale item does not fail its batch" {
        one_stale_among_others;
        each_outcome_in_one_batch;
        of_five_hundred_jobs;
    }
}

/// The job is held by no one.
fn is_let_go(record: &JobRecord) -> Verdict {
    same("the worker", record.worker.as_ref(), None)?;
    same("the lease", record.lease_until, None)?;
    holds(
        "the time of the latest claim is kept",
        record.claimed_at.is_some(),
    )
}

fn error_texts(record: &JobRecord) -> Vec<(u32, &str)> {
    record
        .errors
        .iter()
        .map(|error| (error.attempt, error.message.as_str()))
        .collect()
}

/// The settled job, and the store's time before and after the settle.
async fn settled(
    a: &Handle,
    outcome: Outcome,
) -> Result<(JobRecord, Timestamp, Timestamp), crate::asserts::Failure> {
    let token = a.put_and_take("q").await?.token;
    let before = a.store_now().await?;
    a.accepted(token, outcome).await?;
    let after = a.store_now().await?;
    let record = a.record(token.id).await?;
    is_let_go(&record)?;
    Ok((record, before, after))
}

fn is_between(what: &str, time: Timestamp, earliest: Timestamp, latest: Timestamp) -> Verdict {
    holds(&format!("{what} is not too early"), time >= earliest)?;
    holds(&format!("{what} is not too late"), time <= latest)
}

async fn complete_ends_the_job(store: Store) -> Verdict {
    let a = store.open().await?;
    let (record, before, after) = settled(&a, complete()).await?;
    same("the state", record.state, State::Completed)?;
    same("the attempt", record.attempt, 1)?;
    same("the errors", record.errors, vec![])?;
    is_between(
        "its end",
        record.finished_at.unwrap_or_default(),
        before,
        after,
    )?;
    a.claims_none("q").await
}

async fn complete_keeps_the_result(store: Store) -> Verdict {
    let a = store.open().await?;
    let result = payload(r#"{"rows": 3, "file": "a.csv"}"#);
    let token = a
        .run(
            "q",
            Outcome::Complete {
                result: result.clone(),
            },
        )
        .await?;
    let kept = a.record(token.id).await?.result.unwrap_or(payload("0"));
    same_payload("the result", &kept, &result)?;
    let failed = a.run("q", fail()).await?;
    same(
        "the result of a failed job",
        a.record(failed.id).await?.result,
        None,
    )
}

async fn complete_keeps_the_progress(store: Store) -> Verdict {
    let a = store.open().await?;
    let token = a.put_and_take("q").await?.token;
    a.report(token, percent(80).message("nearly")).await?;
    let before = a.record(token.id).await?.progress;
    a.accepted(token, complete()).await?;
    same("the progress", a.record(token.id).await?.progress, before)
}

async fn fail_ends_the_job_with_its_error(store: Store) -> Verdict {
    let a = store.open().await?;
    let (record, before, after) = settled(&a, fail()).await?;
    same("the state", record.state, State::Failed)?;
    same("the errors", error_texts(&record), vec![(1, "no use")])?;
    is_between(
        "its end",
        record.finished_at.unwrap_or_default(),
        before,
        after,
    )?;
    is_between("its error's time", record.errors[0].at, before, after)?;
    a.claims_none("q").await
}

async fn retry_without_delay_is_ready_at_once(store: Store) -> Verdict {
    let a = store.open().await?;
    let (record, before, after) = settled(&a, retry(Duration::ZERO)).await?;
    same("the state", record.state, State::Ready)?;
    same("the errors", error_texts(&record), vec![(1, "try again")])?;
    same("the end", record.finished_at, None)?;
    is_between("its due time", record.due_at, before, after)?;
    same("the next attempt", a.take("q").await?.attempt, 2)
}

async fn retry_with_delay_is_scheduled(store: Store) -> Verdict {
    let a = store.open().await?;
    let (record, before, after) = settled(&a, retry(FAR)).await?;
    same("the state", record.state, State::Scheduled)?;
    same("the errors", error_texts(&record), vec![(1, "try again")])?;
    same("the end", record.finished_at, None)?;
    is_between(
        "its due time",
        record.due_at,
        before.after(FAR),
        after.after(FAR),
    )?;
    a.claims_none("q").await
}

async fn retry_runs_when_it_is_due(store: Store) -> Verdict {
    runs_when_due(&store, retry(SOON), 2).await
}

async fn snooze_is_scheduled_with_its_reason(store: Store) -> Verdict {
    let a = store.open().await?;
    let (record, before, after) = settled(&a, snooze(FAR)).await?;
    same("the state", record.state, State::Scheduled)?;
    same(
        "the reason",
        record.snooze_reason,
        Some(ErrorText::new("not yet")),
    )?;
    same("the errors", record.errors, vec![])?;
    is_between(
        "its due time",
        record.due_at,
        before.after(FAR),
        after.after(FAR),
    )?;
    let silent = Outcome::Snooze {
        delay: FAR,
        reason: None,
    };
    same(
        "no reason",
        settled(&a, silent).await?.0.snooze_reason,
        None,
    )?;
    a.claims_none("q").await
}

async fn snooze_runs_when_it_is_due(store: Store) -> Verdict {
    runs_when_due(&store, snooze(SOON), 1).await
}

async fn runs_when_due(store: &Store, outcome: Outcome, attempt: u32) -> Verdict {
    let a = store.open().await?;
    let (record, ..) = settled(&a, outcome).await?;
    let claimed = a.take_soon("q").await?;
    same("the claimed job", claimed.token.id, record.id)?;
    same("its attempt", claimed.attempt, attempt)?;
    let claimed_at = a.record(record.id).await?.claimed_at.unwrap_or_default();
    holds("it was claimed when due", claimed_at >= record.due_at)
}

async fn release_is_ready_at_once(store: Store) -> Verdict {
    let a = store.open().await?;
    let (record, ..) = settled(&a, Outcome::Release).await?;
    same("the state", record.state, State::Ready)?;
    same("the errors", record.errors, vec![])?;
    same("the claimed job", a.take("q").await?.token.id, record.id)
}

async fn keeps_the_last_ten_errors(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&job("q")).await?;
    for attempt in 1..=13 {
        let error = ErrorText::new(format!("error {attempt}"));
        let token = a.take("q").await?.token;
        a.accepted(
            token,
            Outcome::Retry {
                delay: Duration::ZERO,
                error,
            },
        )
        .await?;
    }
    let record = a.record(id).await?;
    let texts: Vec<_> = (4..=13).map(|n| (n, format!("error {n}"))).collect();
    let expected: Vec<_> = texts.iter().map(|(n, text)| (*n, text.as_str())).collect();
    same("the errors", error_texts(&record), expected)
}

async fn errors_of_all_attempts_are_kept_in_order(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&job("q")).await?;
    for outcome in [
        retry(Duration::ZERO),
        Outcome::Release,
        retry(Duration::ZERO),
        fail(),
    ] {
        let token = a.take("q").await?.token;
        a.accepted(token, outcome).await?;
    }
    let record = a.in_state(id, State::Failed).await?;
    let expected = vec![(1, "try again"), (2, "try again"), (3, "no use")];
    same("the errors", error_texts(&record), expected)?;
    holds(
        "their times do not fall",
        record.errors.is_sorted_by_key(|error| error.at),
    )
}

async fn by_another_handle(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    let token = a.put_and_take("q").await?.token;
    b.accepted(token, complete()).await?;
    a.in_state(token.id, State::Completed).await.map(drop)
}

async fn kept_by_retry_and_fail(store: Store) -> Verdict {
    let a = store.open().await?;
    for outcome in [retry(Duration::ZERO), retry(FAR), fail()] {
        let (record, ..) = settled(&a, outcome).await?;
        same("the charged attempts", record.attempt, 1)?;
        // Out of the way of the next job.
        let _ = a.claim_many("q", 9).await?;
    }
    Ok(())
}

async fn given_back_by_snooze_and_release(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a
        .put(&NewJob {
            retry: RetryPolicy::never(),
            ..job("q")
        })
        .await?;
    for _ in 0..3 {
        for outcome in [Outcome::Release, snooze(Duration::ZERO)] {
            let claimed = a.take_soon("q").await?;
            same("the attempt", claimed.attempt, 1)?;
            a.accepted(claimed.token, outcome).await?;
            same("the charged attempts", a.record(id).await?.attempt, 0)?;
        }
    }
    Ok(())
}

async fn the_same_outcome_again_is_accepted(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    for outcome in outcomes() {
        let token = a.put_and_take("q").await?.token;
        a.accepted(token, outcome.clone()).await?;
        let before = a.record(token.id).await?;
        for handle in [&a, &b, &a] {
            handle.accepted(token, outcome.clone()).await?;
        }
        same("the record", a.record(token.id).await?, before)?;
        let _ = a.claim_many("q", 9).await?;
    }
    Ok(())
}

async fn another_outcome_is_stale(store: Store) -> Verdict {
    let a = store.open().await?;
    for first in outcomes() {
        let token = a.put_and_take("q").await?.token;
        a.accepted(token, first.clone()).await?;
        let before = a.record(token.id).await?;
        for other in outcomes()
            .into_iter()
            .filter(|other| other.kind() != first.kind())
        {
            let (first, second) = (first.kind().as_str(), other.kind().as_str());
            let what = format!("the answer to {second} after {first}");
            same(&what, a.settle_one(token, other).await?, Settled::Stale)?;
        }
        same("the record", a.record(token.id).await?, before)?;
        let _ = a.claim_many("q", 9).await?;
    }
    Ok(())
}

async fn repeated_after_the_job_was_claimed_again(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    let old = a.run("q", retry(Duration::ZERO)).await?;
    let new = b.take("q").await?.token;
    let before = a.record(old.id).await?;
    a.accepted(old, retry(Duration::ZERO)).await?;
    same("the record", a.record(old.id).await?, before)?;
    b.accepted(new, complete()).await?;
    let stale = a.settle_one(old, retry(Duration::ZERO)).await?;
    same(
        "the answer once a later token settled",
        stale,
        Settled::Stale,
    )
}

async fn twice_in_one_batch(store: Store) -> Verdict {
    let a = store.open().await?;
    for outcome in outcomes() {
        let token = a.put_and_take("q").await?.token;
        let settlement = Settlement { token, outcome };
        let answers = a.settle(&[settlement.clone(), settlement]).await?;
        same("the answers", answers, vec![Settled::Accepted; 2])?;
        holds(
            "one error at most",
            a.record(token.id).await?.errors.len() <= 1,
        )?;
        let _ = a.claim_many("q", 9).await?;
    }
    Ok(())
}

async fn both_kinds_in_one_batch(store: Store) -> Verdict {
    let a = store.open().await?;
    let token = a.put_and_take("q").await?.token;
    let batch = [complete(), fail()].map(|outcome| Settlement { token, outcome });
    let answers = a.settle(&batch).await?;
    same(
        "the answers",
        answers,
        vec![Settled::Accepted, Settled::Stale],
    )?;
    let record = a.in_state(token.id, State::Completed).await?;
    same("the errors", record.errors, vec![])
}

async fn one_stale_among_others(store: Store) -> Verdict {
    let a = store.open().await?;
    a.put_all(&jobs("q", 3)).await?;
    let tokens: Vec<Token> = a
        .claim_many("q", 3)
        .await?
        .iter()
        .map(|job| job.token)
        .collect();
    let wrong = Token {
        counter: tokens[1].counter + 1,
        ..tokens[1]
    };
    // Not the same read backwards, so that answers in the wrong order show.
    let asked = [tokens[0], wrong, tokens[2], unknown_token("q")];
    let batch = asked.map(|token| Settlement {
        token,
        outcome: complete(),
    });
    use Settled::{Accepted, Stale};
    same(
        "the answers",
        a.settle(&batch).await?,
        vec![Accepted, Stale, Accepted, Stale],
    )?;
    for (token, state) in tokens
        .iter()
        .zip([State::Completed, State::Running, State::Completed])
    {
        a.in_state(token.id, state).await?;
    }
    a.accepted(tokens[1], fail()).await
}

async fn each_outcome_in_one_batch(store: Store) -> Verdict {
    let a = store.open().await?;
    a.put_all(&jobs("q", 5)).await?;
    let claimed = a.claim_many("q", 5).await?;
    let batch: Vec<_> = claimed
        .iter()
        .zip(outcomes())
        .map(|(job, outcome)| Settlement {
            token: job.token,
            outcome,
        })
        .collect();
    same(
        "the answers",
        a.settle(&batch).await?,
        vec![Settled::Accepted; 5],
    )?;
    use State::{Completed, Failed, Ready, Scheduled};
    for (job, state) in claimed
        .iter()
        .zip([Completed, Scheduled, Failed, Scheduled, Ready])
    {
        a.in_state(job.token.id, state).await?;
    }
    Ok(())
}

async fn of_five_hundred_jobs(store: Store) -> Verdict {
    let a = store.open().await?;
    let ids = a.put_all(&jobs("q", 500)).await?;
    let batch: Vec<_> = a
        .claim_many("q", 500)
        .await?
        .iter()
        .map(|job| Settlement {
            token: job.token,
            outcome: complete(),
        })
        .collect();
    same(
        "the answers",
        a.settle(&batch).await?,
        vec![Settled::Accepted; 500],
    )?;
    let records = a.records(&ids).await?;
    holds(
        "all are completed",
        records.iter().all(|r| r.state == State::Completed),
    )
}
