//! Progress: values, sequence, and what it leaves alone.

use std::time::Duration;

use anyqueue_core::{Holding, Progress, ProgressUpdate, ProgressValues, Token};

use crate::asserts::{Verdict, holds, same};
use crate::case::cases;
use crate::samples::{complete, jobs, percent, retry, unknown_token};
use crate::store::Store;

cases! { "progress";
    law progress "the values replace the former ones, the sequence rises; result and errors are not touched, nor is the lease" {
        starts_at_nothing [Progress];
        the_sequence_rises_at_every_update [Progress];
        the_values_are_replaced_as_a_whole [Progress];
        touches_nothing_else [Progress];
        the_sequence_never_falls_over_attempts [Progress];
        bounds_of_the_values [Progress];
        a_message_of_a_kibibyte [Progress];
        of_a_flagged_job_is_stored_and_told [Progress, Cancel];
        one_job_twice_in_a_batch [Progress];
        of_three_hundred_jobs [Progress];
    }
    law stale "a token that does not hold its job answers `Stale` and changes nothing; the other items are not affected" {
        updates_among_others_answer_in_order [Progress];
    }
}

async fn starts_at_nothing(store: Store) -> Verdict {
    let a = store.open().await?;
    let token = a.put_and_take("q").await?.token;
    same("the progress", a.record(token.id).await?.progress, Progress::default())?;
    same("the answers to none", a.progress(&[]).await?, vec![])
}

async fn the_sequence_rises_at_every_update(store: Store) -> Verdict {
    let (a, b) = (store.open().await?, store.open().await?);
    let token = a.put_and_take("q").await?.token;
    let mut last = 0;
    for n in [10, 10, 20, 5] {
        same("the answer", a.report(token, percent(n)).await?, Holding::Held)?;
        let Progress { sequence, values } = b.record(token.id).await?.progress;
        same("the values", values, percent(n))?;
        holds(
            &format!("the sequence {sequence} is above the one before, {last}"),
            sequence > last,
        )?;
        last = sequence;
    }
    Ok(())
}

async fn the_values_are_replaced_as_a_whole(store: Store) -> Verdict {
    let a = store.open().await?;
    let token = a.put_and_take("q").await?.token;
    let none = ProgressValues::default;
    for values in [
        percent(40).step(2).message("two of five"),
        none().step(3),
        none().message("now only this"),
        percent(90),
        none(),
    ] {
        a.report(token, values.clone()).await?;
        same("the values", a.record(token.id).await?.progress.values, values)?;
    }
    Ok(())
}

async fn touches_nothing_else(store: Store) -> Verdict {
    let a = store.open().await?;
    a.run("q", retry(Duration::ZERO)).await?;
    let token = a.take("q").await?.token;
    let before = a.record(token.id).await?;
    same("the errors before", before.errors.len(), 1)?;
    a.report(token, percent(1)).await?;
    let mut after = a.record(token.id).await?;
    after.progress = before.progress.clone();
    same("the record, its progress aside", after, before)
}

async fn the_sequence_never_falls_over_attempts(store: Store) -> Verdict {
    let a = store.open().await?;
    a.put_all(&jobs("q", 1)).await?;
    let mut last = 0;
    for _ in 0..4 {
        let token = a.take("q").await?.token;
        let at_claim = a.record(token.id).await?.progress;
        same("the values at the claim", at_claim.values, ProgressValues::default())?;
        holds("the sequence did not fall at the claim", at_claim.sequence >= last)?;
        a.report(token, percent(50)).await?;
        let sequence = a.record(token.id).await?.progress.sequence;
        holds("the sequence rose", sequence > last)?;
        last = sequence;
        a.accepted(token, retry(Duration::ZERO)).await?;
    }
    Ok(())
}

async fn bounds_of_the_values(store: Store) -> Verdict {
    let a = store.open().await?;
    let token = a.put_and_take("q").await?.token;
    for values in [percent(0).step(0).message(""), percent(100).step(u32::MAX)] {
        a.report(token, values.clone()).await?;
        same("the values", a.record(token.id).await?.progress.values, values)?;
    }
    Ok(())
}

async fn a_message_of_a_kibibyte(store: Store) -> Verdict {
    let a = store.open().await?;
    let token = a.put_and_take("q").await?.token;
    for text in ["x".repeat(2_000), "☃".repeat(2_000), "'; DROP TABLE jobs; --\\ \" \n\t😀".into()]
    {
        let values = ProgressValues::default().message(&text);
        a.report(token, values.clone()).await?;
        same("the values", a.record(token.id).await?.progress.values, values)?;
    }
    Ok(())
}

async fn of_a_flagged_job_is_stored_and_told(store: Store) -> Verdict {
    let a = store.open().await?;
    let token = a.put_and_take("q").await?.token;
    a.cancel_one(token.id).await?;
    same("the answer", a.report(token, percent(3)).await?, Holding::CancelRequested)?;
    same("the values", a.record(token.id).await?.progress.values, percent(3))
}

async fn one_job_twice_in_a_batch(store: Store) -> Verdict {
    let a = store.open().await?;
    let token = a.put_and_take("q").await?.token;
    let batch = [1, 2].map(|n| ProgressUpdate { token, values: percent(n) });
    same("the answers", a.progress(&batch).await?, vec![Holding::Held; 2])?;
    let Progress { sequence, values } = a.record(token.id).await?.progress;
    same("the values are the last item's", values, percent(2))?;
    holds("the sequence rose", sequence > 0)
}

async fn of_three_hundred_jobs(store: Store) -> Verdict {
    let a = store.open().await?;
    let ids = a.put_all(&jobs("q", 300)).await?;
    let claimed = a.claim_many("q", 300).await?;
    let batch: Vec<_> = claimed
        .iter()
        .map(|job| ProgressUpdate { token: job.token, values: percent(50) })
        .collect();
    same("the answers", a.progress(&batch).await?, vec![Holding::Held; 300])?;
    let records = a.records(&ids).await?;
    holds("all show it", records.iter().all(|r| r.progress.values == percent(50)))
}

async fn updates_among_others_answer_in_order(store: Store) -> Verdict {
    let a = store.open().await?;
    a.put_all(&jobs("q", 3)).await?;
    let tokens: Vec<Token> = a.claim_many("q", 3).await?.iter().map(|job| job.token).collect();
    a.accepted(tokens[1], complete()).await?;
    let wrong = Token { counter: tokens[2].counter + 1, ..tokens[2] };
    let asked = [unknown_token("q"), tokens[0], tokens[1], wrong, tokens[2]];
    let batch = asked.map(|token| ProgressUpdate { token, values: percent(8) });
    use Holding::{Held, Stale};
    same("the answers", a.progress(&batch).await?, vec![Stale, Held, Stale, Stale, Held])
}
