//! Names, tags and traces: kept as they are, however hostile.

use anyqueue_core::{Enqueued, Filter, JobId, NewJob, State, Tag, TraceContext};

use crate::asserts::{Failure, Verdict, same};
use crate::case::cases;
use crate::handle::Handle;
use crate::samples::{FAR, HOSTILE, complete, job, kind, queue, tag, unique};
use crate::store::Store;

cases! { "names";
    law tags "tags and trace context travel with a job" {
        of_the_longest_kind_and_number;
        in_their_order;
        none_at_all;
    }
    law hostile_data "names, keys and payloads are bound, never spliced" {
        names_of_queues;
        names_of_kinds;
        unique_keys [Unique];
        tags_and_traces;
        names_of_workers;
        counts_and_queues_show_names_as_they_are [Counts];
        filters_match_exactly [List];
        a_pause_is_of_one_name_exactly [Pause];
        many_hostile_queues_in_one_claim;
    }
}

async fn tags_round_trip(a: &Handle, tags: Vec<Tag>, trace: Option<TraceContext>) -> Verdict {
    let id = a
        .put(&NewJob {
            tags: tags.clone(),
            trace: trace.clone(),
            ..job("q")
        })
        .await?;
    let (record, claimed) = (a.record(id).await?, a.take("q").await?);
    same("the record's tags", &record.tags, &tags)?;
    same("the record's trace", &record.trace, &trace)?;
    same("the claimed job's tags", claimed.tags, tags)?;
    same("the claimed job's trace", claimed.trace, trace)
}

async fn of_the_longest_kind_and_number(store: Store) -> Verdict {
    let a = store.open().await?;
    let tags = (0..NewJob::MAX_TAGS)
        .map(|n| tag(&format!("{n}{}", "☃".repeat(21))))
        .collect();
    tags_round_trip(
        &a,
        tags,
        TraceContext::new("x".repeat(TraceContext::MAX_LEN)).ok(),
    )
    .await
}

async fn in_their_order(store: Store) -> Verdict {
    let a = store.open().await?;
    let tags = ["b", "a", "c", "B", "aa"].map(tag).to_vec();
    tags_round_trip(&a, tags, None).await
}

async fn none_at_all(store: Store) -> Verdict {
    let a = store.open().await?;
    tags_round_trip(&a, vec![], None).await
}

/// A job in each queue with a hostile name.
async fn one_in_each_queue(a: &Handle) -> Result<Vec<JobId>, Failure> {
    a.put_all(&HOSTILE.map(job)).await
}

async fn names_of_queues(store: Store) -> Verdict {
    let a = store.open().await?;
    let ids = one_in_each_queue(&a).await?;
    for (id, name) in ids.into_iter().zip(HOSTILE) {
        same(
            "the queue of the record",
            a.record(id).await?.queue,
            queue(name),
        )?;
        same(
            &format!("the jobs of {name:?}"),
            a.claim_ids(name, 100).await?,
            vec![id],
        )?;
    }
    Ok(())
}

async fn names_of_kinds(store: Store) -> Verdict {
    let a = store.open().await?;
    for name in HOSTILE {
        let id = a
            .put(&NewJob {
                kind: kind(name),
                ..job("q")
            })
            .await?;
        same(
            "the kind of the record",
            a.record(id).await?.kind,
            kind(name),
        )?;
        same("the kind claimed", a.take("q").await?.kind, kind(name))?;
    }
    Ok(())
}

async fn unique_keys(store: Store) -> Verdict {
    let a = store.open().await?;
    let first = a.put_all(&HOSTILE.map(|key| unique("q", key))).await?;
    let answers = a.enqueue(&HOSTILE.map(|key| unique("q", key))).await?;
    let expected: Vec<_> = first.iter().copied().map(Enqueued::Existing).collect();
    same("the answers while all are held", answers, expected)?;
    for (id, key) in first.into_iter().zip(HOSTILE) {
        let shown = a
            .record(id)
            .await?
            .unique
            .map(|unique| unique.key.as_str().to_owned());
        same("the key of the record", shown.as_deref(), Some(key))?;
        let token = a.take("q").await?.token;
        a.accepted(token, complete()).await?;
    }
    a.put_all(&HOSTILE.map(|key| unique("q", key)))
        .await
        .map(drop)
}

async fn tags_and_traces(store: Store) -> Verdict {
    let a = store.open().await?;
    for text in HOSTILE
        .into_iter()
        .filter(|text| text.len() <= Tag::MAX_LEN)
    {
        tags_round_trip(&a, vec![tag(text), tag("x")], TraceContext::new(text).ok()).await?;
    }
    Ok(())
}

async fn names_of_workers(store: Store) -> Verdict {
    let a = store.open().await?;
    for name in HOSTILE {
        let worker = anyqueue_core::WorkerId::new(name).ok();
        let id = a.put(&job("q")).await?;
        a.named(name).take("q").await?;
        same(
            "the worker of the record",
            a.record(id).await?.worker,
            worker,
        )?;
    }
    Ok(())
}

async fn counts_and_queues_show_names_as_they_are(store: Store) -> Verdict {
    let a = store.open().await?;
    one_in_each_queue(&a).await?;
    let mut names = HOSTILE.map(str::to_owned);
    names.sort();
    let counted: Vec<_> = a
        .counts()
        .await?
        .iter()
        .map(|c| c.queue.to_string())
        .collect();
    same(
        "the queues counted, by their bytes",
        counted,
        names.to_vec(),
    )?;
    let known: Vec<_> = a
        .queues()
        .await?
        .iter()
        .map(|info| info.name.to_string())
        .collect();
    same("the queues known, by their bytes", known, names.to_vec())
}

async fn filters_match_exactly(store: Store) -> Verdict {
    let a = store.open().await?;
    let tagged = |text: &str| Tag::new(text).ok().into_iter().collect();
    let batch = HOSTILE.map(|text| NewJob {
        kind: kind(text),
        tags: tagged(text),
        ..job(text)
    });
    let ids = a.put_all(&batch).await?;
    for (id, text) in ids.into_iter().zip(HOSTILE) {
        let mut filters = vec![
            Filter::any().queue(queue(text)),
            Filter::any().kind(kind(text)),
        ];
        filters.extend(Tag::new(text).ok().map(|tag| Filter::any().tag(tag)));
        for filter in filters {
            let found = a.list_all(&filter, 100).await?;
            let found: Vec<_> = found.iter().map(|record| record.id).collect();
            same(&format!("the jobs listed by {filter:?}"), found, vec![id])?;
        }
    }
    Ok(())
}

async fn a_pause_is_of_one_name_exactly(store: Store) -> Verdict {
    use anyqueue_core::Flow::{Open, Paused};
    let a = store.open().await?;
    let ids = one_in_each_queue(&a).await?;
    for (place, name) in HOSTILE.into_iter().enumerate() {
        a.flow(name, Paused).await?;
        a.claims_none(name).await?;
        let next = (place + 1) % HOSTILE.len();
        a.in_state(
            ids[next],
            if next == 0 {
                State::Running
            } else {
                State::Ready
            },
        )
        .await?;
        a.flow(name, Open).await?;
        same(
            "the jobs once opened",
            a.claim_ids(name, 9).await?,
            vec![ids[place]],
        )?;
    }
    Ok(())
}

async fn many_hostile_queues_in_one_claim(store: Store) -> Verdict {
    let a = store.open().await?;
    let ids = one_in_each_queue(&a).await?;
    let claimed = a.claim_from(&HOSTILE, 100, FAR).await?;
    let found: Vec<_> = claimed.iter().map(|job| job.token.id).collect();
    same("the claimed jobs, in the order of the queues", found, ids)
}
