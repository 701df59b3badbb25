//! Heartbeats: extending leases and hearing of cancellation.

use std::time::Duration;

use anyqueue_core::{Holding, Token};

use crate::asserts::{Verdict, holds, same};
use crate::case::cases;
use crate::samples::{LONG, SHORT, complete, job, jobs, unknown_token};
use crate::store::Store;

cases! { "heartbeat";
    law heartbeat "the job stays held that much longer; a flagged job answers `CancelRequested` and is extended all the same" {
        extends_the_lease_from_now;
        keeps_the_job_past_its_first_lease;
        changes_nothing_else;
        of_a_flagged_job_tells_and_extends [Cancel];
        of_five_hundred_jobs;
        names_a_token_twice;
        from_another_handle;
    }
    law stale "a token that does not hold its job answers `Stale` and changes nothing; the other items are not affected" {
        heartbeats_among_others_answer_in_order;
    }
}

async fn extends_the_lease_from_now(store: Store) -> Verdict {
    let a = store.open().await?;
    a.put(&job("q")).await?;
    let claimed = a.take_for("q", Duration::from_secs(60)).await?;
    let before = a.store_now().await?;
    same("the answer", a.beat(claimed.token, LONG).await?, Holding::Held)?;
    let after = a.store_now().await?;
    let until = a.record(claimed.token.id).await?.lease_until.unwrap_or_default();
    // A store's clock may tick coarsely: a second of grace on an hour.
    let grace = Duration::from_secs(1);
    holds(
        "the lease ends no earlier than an hour from now",
        until.after(grace) >= before.after(LONG),
    )?;
    holds("the lease ends no later than an hour from now", until <= after.after(LONG + grace))
}

async fn keeps_the_job_past_its_first_lease(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    a.put(&job("q")).await?;
    let claimed = a.take_for("q", SHORT).await?;
    same("the answer", a.beat(claimed.token, LONG).await?, Holding::Held)?;
    a.outlive(&claimed).await?;
    b.claims_none("q").await?;
    same("the leases that maintain ended", b.maintain_all().await?.expired, 0)?;
    a.accepted(claimed.token, complete()).await
}

async fn changes_nothing_else(store: Store) -> Verdict {
    let a = store.open().await?;
    let token = a.put_and_take("q").await?.token;
    let mut before = a.record(token.id).await?;
    a.beat(token, LONG).await?;
    let after = a.record(token.id).await?;
    before.lease_until = after.lease_until;
    same("the record, its lease aside", after, before)
}

async fn of_a_flagged_job_tells_and_extends(store: Store) -> Verdict {
    let a = store.open().await?;
    a.put(&job("q")).await?;
    let claimed = a.take_for("q", SHORT).await?;
    a.cancel_one(claimed.token.id).await?;
    for _ in 0..2 {
        let answer = a.beat(claimed.token, LONG).await?;
        same("the answer", answer, Holding::CancelRequested)?;
    }
    a.outlive(&claimed).await?;
    same("the leases that maintain ended", a.maintain_all().await?.expired, 0)?;
    a.accepted(claimed.token, complete()).await
}

async fn of_five_hundred_jobs(store: Store) -> Verdict {
    let a = store.open().await?;
    a.put_all(&jobs("q", 500)).await?;
    let tokens: Vec<Token> = a.claim_many("q", 500).await?.iter().map(|job| job.token).collect();
    same("the answers", a.heartbeat(&tokens, LONG).await?, vec![Holding::Held; 500])
}

async fn names_a_token_twice(store: Store) -> Verdict {
    let a = store.open().await?;
    let token = a.put_and_take("q").await?.token;
    same("the answers", a.heartbeat(&[token, token], LONG).await?, vec![Holding::Held; 2])
}

async fn from_another_handle(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    let token = a.put_and_take("q").await?.token;
    let c = a.reopened().await?;
    same("the answer to another process", b.beat(token, LONG).await?, Holding::Held)?;
    same("the answer to a reopened handle", c.beat(token, LONG).await?, Holding::Held)
}

async fn heartbeats_among_others_answer_in_order(store: Store) -> Verdict {
    let a = store.open().await?;
    let mut tokens = Vec::new();
    for _ in 0..4 {
        tokens.push(a.put_and_take("q").await?.token);
    }
    a.accepted(tokens[1], complete()).await?;
    let wrong = Token { counter: tokens[3].counter + 1, ..tokens[3] };
    let asked = [tokens[0], tokens[1], unknown_token("q"), tokens[2], wrong, tokens[3]];
    use Holding::{Held, Stale};
    let expected = vec![Held, Stale, Stale, Held, Stale, Held];
    same("the answers", a.heartbeat(&asked, LONG).await?, expected)
}
