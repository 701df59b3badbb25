//! Claiming: how many, from where, what a claim changes.

use std::time::Duration;

use anyqueue_core::{ErrorText, Outcome, Progress, ProgressValues, State, Token};

use crate::asserts::{Verdict, holds, same, same_set};
use crate::case::cases;
use crate::samples::{LONG, full, job, jobs, percent};
use crate::store::Store;

cases! { "claim";
    law claim_limit "claim takes at most `limit` jobs, from the named queues only, visited in the request's order" {
        takes_no_more_and_no_fewer;
        zero_takes_none;
        no_queue_takes_none;
        an_empty_or_unknown_queue_gives_none;
        other_queues_are_left_alone;
        queues_are_visited_in_the_order_of_the_request;
        a_queue_named_twice_gives_each_job_once;
        rotation_starves_no_queue;
        a_thousand_at_once;
    }
    law claim_exclusive "a job is held by at most one unexpired lease, across processes and hosts" {
        a_held_job_is_not_given_again;
        the_record_shows_who_holds_it;
    }
    law claim_counter "each claim raises the job's counter by one or more; it never falls or repeats" {
        rises_at_every_claim;
    }
    law claim_attempt "each claim charges one attempt, clears the progress values (not the sequence) and the snooze reason" {
        charges_one;
        clears_the_snooze_reason;
        clears_progress_but_not_its_sequence [Progress];
    }
    law claim "a claimed job carries what its handler needs" {
        carries_every_field;
        the_lease_is_as_long_as_asked;
    }
}

async fn takes_no_more_and_no_fewer(store: Store) -> Verdict {
    let a = store.open().await?;
    let ids = a.put_all(&jobs("q", 7)).await?;
    same(
        "the first claim",
        a.claim_ids("q", 3).await?,
        ids[..3].to_vec(),
    )?;
    same(
        "the second claim",
        a.claim_ids("q", 3).await?,
        ids[3..6].to_vec(),
    )?;
    same(
        "the third claim",
        a.claim_ids("q", 3).await?,
        ids[6..].to_vec(),
    )?;
    a.claims_none("q").await
}

async fn zero_takes_none(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&job("q")).await?;
    same("the claimed jobs", a.claim_ids("q", 0).await?, vec![])?;
    a.in_state(id, State::Ready).await.map(drop)
}

async fn no_queue_takes_none(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&job("q")).await?;
    same(
        "the claimed jobs",
        a.claim_from(&[], 9, LONG).await?,
        vec![],
    )?;
    a.in_state(id, State::Ready).await.map(drop)
}

async fn an_empty_or_unknown_queue_gives_none(store: Store) -> Verdict {
    let a = store.open().await?;
    a.claims_none("never seen").await?;
    a.put_and_take("q").await?;
    a.claims_none("q").await
}

async fn other_queues_are_left_alone(store: Store) -> Verdict {
    let a = store.open().await?;
    let other = a.put(&job("other")).await?;
    let mine = a.put(&job("q")).await?;
    same("the claimed jobs", a.claim_ids("q", 9).await?, vec![mine])?;
    // Nor where the named queues have nothing to give.
    a.claims_none("q").await?;
    a.claims_none("empty").await?;
    a.in_state(other, State::Ready).await.map(drop)
}

async fn queues_are_visited_in_the_order_of_the_request(store: Store) -> Verdict {
    let a = store.open().await?;
    let first = a.put_all(&jobs("a", 3)).await?;
    let second = a.put_all(&jobs("b", 3)).await?;
    let claimed = a.claim_from(&["b", "empty", "a"], 5, LONG).await?;
    let ids: Vec<_> = claimed.iter().map(|job| job.token.id).collect();
    same(
        "the jobs of b, then what a fills up",
        ids,
        [&second[..], &first[..2]].concat(),
    )
}

async fn a_queue_named_twice_gives_each_job_once(store: Store) -> Verdict {
    let a = store.open().await?;
    let ids = a.put_all(&jobs("q", 4)).await?;
    let claimed = a.claim_from(&["q", "q"], 9, LONG).await?;
    same_set(
        "the claimed jobs",
        claimed.iter().map(|job| job.token.id),
        ids,
    )
}

async fn rotation_starves_no_queue(store: Store) -> Verdict {
    let a = store.open().await?;
    let mut queues = ["a", "b", "c"];
    for name in queues {
        a.put_all(&jobs(name, 4)).await?;
    }
    let mut seen = Vec::new();
    for _ in 0..6 {
        let claimed = a.claim_from(&queues, 2, LONG).await?;
        same("the jobs a claim of two gave", claimed.len(), 2)?;
        holds(
            "they are of the first queue",
            claimed.iter().all(|j| j.queue.as_str() == queues[0]),
        )?;
        seen.extend(claimed.iter().map(|job| job.queue.to_string()));
        queues.rotate_left(1);
    }
    let expected = ["a", "b", "c"]
        .into_iter()
        .flat_map(|name| vec![name.to_owned(); 4]);
    same_set("the queues served", seen, expected)
}

async fn a_thousand_at_once(store: Store) -> Verdict {
    let a = store.open().await?;
    let ids = a.put_all(&jobs("q", 1_000)).await?;
    same_set("the claimed jobs", a.claim_ids("q", 1_000).await?, ids)
}

async fn a_held_job_is_not_given_again(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    a.put_and_take("q").await?;
    b.claims_none("q").await?;
    a.claims_none("q").await?;
    let next = b.put(&job("q")).await?;
    same("the claimed jobs", a.claim_ids("q", 9).await?, vec![next])
}

async fn the_record_shows_who_holds_it(store: Store) -> Verdict {
    let a = store.open().await?;
    let claimed = a.put_and_take("q").await?;
    let record = a.in_state(claimed.token.id, State::Running).await?;
    same("the worker", record.worker.as_ref(), Some(a.worker()))?;
    same("the counter", record.counter, claimed.token.counter)?;
    same("the attempt", record.attempt, 1)?;
    same(
        "the end of the lease",
        record.lease_until,
        Some(claimed.lease_until),
    )?;
    same("the end", record.finished_at, None)?;
    let claimed_at = record.claimed_at.unwrap_or_default();
    holds(
        "the claim was made after the enqueue",
        claimed_at >= record.created_at,
    )
}

async fn rises_at_every_claim(store: Store) -> Verdict {
    let a = store.open().await?;
    a.put(&job("q")).await?;
    let mut last = 0;
    for _ in 0..10 {
        let Token { id, counter } = a.take("q").await?.token;
        holds(
            &format!("counter {counter} is above the one before, {last}"),
            counter > last,
        )?;
        last = counter;
        a.accepted(Token { id, counter }, Outcome::Release).await?;
        same(
            "the counter after the release",
            a.record(id).await?.counter,
            counter,
        )?;
    }
    Ok(())
}

async fn charges_one(store: Store) -> Verdict {
    let a = store.open().await?;
    let id = a.put(&job("q")).await?;
    for attempt in 1..=5 {
        let claimed = a.take("q").await?;
        same("the claimed job's attempt", claimed.attempt, attempt)?;
        same("the record's attempt", a.record(id).await?.attempt, attempt)?;
        a.accepted(claimed.token, crate::samples::retry(Duration::ZERO))
            .await?;
    }
    Ok(())
}

async fn clears_the_snooze_reason(store: Store) -> Verdict {
    let a = store.open().await?;
    let token = a.put_and_take("q").await?.token;
    a.accepted(token, crate::samples::snooze(Duration::from_millis(50)))
        .await?;
    let reason = a.record(token.id).await?.snooze_reason;
    same("the reason before", reason, Some(ErrorText::new("not yet")))?;
    a.take_soon("q").await?;
    same(
        "the reason after",
        a.record(token.id).await?.snooze_reason,
        None,
    )
}

async fn clears_progress_but_not_its_sequence(store: Store) -> Verdict {
    let a = store.open().await?;
    let token = a.put_and_take("q").await?.token;
    a.report(token, percent(40).step(2).message("half way"))
        .await?;
    a.accepted(token, Outcome::Release).await?;
    let before = a.record(token.id).await?.progress;
    a.take("q").await?;
    let Progress { sequence, values } = a.record(token.id).await?.progress;
    same(
        "the values of the new attempt",
        values,
        ProgressValues::default(),
    )?;
    holds(
        "the sequence did not fall",
        sequence >= before.sequence && sequence > 0,
    )
}

async fn carries_every_field(store: Store) -> Verdict {
    let a = store.open().await?;
    let job = full("q");
    a.put(&job).await?;
    let record = a.record(job.id).await?;
    let claimed = a.take("q").await?;
    same("the id", claimed.token.id, job.id)?;
    same("the queue", claimed.queue, job.queue)?;
    same("the kind", claimed.kind, job.kind)?;
    same(
        "the payload",
        claimed.payload.as_str(),
        job.payload.as_str(),
    )?;
    same("the priority", claimed.priority, job.priority)?;
    same("the attempt", claimed.attempt, 1)?;
    same("the retry policy", claimed.retry, job.retry)?;
    same(
        "when it was enqueued",
        claimed.created_at,
        record.created_at,
    )?;
    same("when it was due", claimed.due_at, record.due_at)?;
    same("the tags", claimed.tags, job.tags)?;
    same("the trace", claimed.trace, job.trace)
}

async fn the_lease_is_as_long_as_asked(store: Store) -> Verdict {
    let a = store.open().await?;
    for seconds in [5, 60, 3_600] {
        let lease = Duration::from_secs(seconds);
        a.put(&job("q")).await?;
        let claimed = a.take_for("q", lease).await?;
        let claimed_at = a
            .record(claimed.token.id)
            .await?
            .claimed_at
            .unwrap_or_default();
        let held = claimed.lease_until.since(claimed_at);
        let near = held.abs_diff(lease) <= Duration::from_secs(1);
        holds(
            &format!("the lease of {held:?} is the one asked for, {lease:?}"),
            near,
        )?;
    }
    Ok(())
}
