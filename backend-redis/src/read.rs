//! What can be seen.

use std::collections::BTreeSet;

use anyqueue_core::{
    Cursor, Filter, Flow, JobId, JobRecord, Listing, Page, QueueCounts, QueueInfo, QueueName,
    State, StateCounts, Timestamp,
};
use redis::Value;

use crate::connection::{bytes, int, list, unexpected};
use crate::error::Failure;
use crate::script::{GET, LIST, NEXT};
use crate::store::{Shard, Store, by_shard, cut, in_parts};
use crate::wire::{self, Reader, utf8};

/// The most ids of one script that reads records, and its most bytes.
const MOST: usize = 500;
const BYTES: &[u8] = b"8388608";

/// The most ids that one script of a list looks at.
const LOOK: usize = 500;

/// Each id's record, or `None`.
pub(crate) async fn get(store: &Store, ids: &[JobId]) -> Result<Vec<Option<JobRecord>>, Failure> {
    let parts = cut(
        by_shard(ids, |id| Shard::of_job(*id)),
        MOST,
        usize::MAX,
        |_: &JobId| 0,
    );
    let make = async |shard, ids: Vec<&JobId>| records(store, shard, &ids).await;
    in_parts(parts, ids.len(), make).await
}

async fn records(
    store: &Store,
    shard: Shard,
    ids: &[&JobId],
) -> Result<Vec<Option<JobRecord>>, Failure> {
    let mut records = Vec::with_capacity(ids.len());
    while records.len() < ids.len() {
        let rest = &ids[records.len()..];
        let packed: Vec<u8> = rest.iter().flat_map(|id| *id.as_bytes()).collect();
        let found = list(store.run(shard, &GET, &[&packed, BYTES]).await?)?;
        if found.is_empty() || found.len() > rest.len() {
            return Err(unexpected());
        }
        for (id, parts) in rest.iter().zip(found) {
            records.push(record(**id, parts)?);
        }
    }
    Ok(records)
}

fn record(id: JobId, parts: Value) -> Result<Option<JobRecord>, Failure> {
    let parts = list(parts)?.into_iter().map(bytes);
    let parts = parts.collect::<Result<Vec<_>, _>>()?;
    if parts.is_empty() {
        return Ok(None);
    }
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    let parts = parts.try_into().map_err(|_| unexpected())?;
    wire::record(id, parts).map(Some)
}

/// A page of the jobs that match, highest id first: the matches of every
/// shard, merged.
pub(crate) async fn page(store: &Store, filter: &Filter, page: &Page) -> Result<Listing, Failure> {
    let limit = page.limit.clamp(1, Page::MAX_LIMIT) as usize;
    let shards = match &filter.queue {
        Some(queue) => vec![Shard::of_queue(queue)],
        None => store.shards().await?,
    };
    let after = page.after.map(Cursor::id);
    let found = store
        // One more than the page holds tells whether another follows.
        .each(shards, |shard| {
            matching(store, shard, filter, after, limit + 1)
        })
        .await?;
    let found: BTreeSet<JobId> = found.into_iter().flatten().collect();
    let more = found.len() > limit;
    let ids: Vec<JobId> = found.into_iter().rev().take(limit).collect();
    let records = get(store, &ids).await?.into_iter().flatten();
    let last = ids.last().filter(|_| more);
    Ok(Listing {
        // One may have moved on in between.
        jobs: records.filter(|record| filter.matches(record)).collect(),
        next: last.map(|id| Cursor::behind(*id)),
    })
}

/// The highest ids of a shard that match, at most `most`.
async fn matching(
    store: &Store,
    shard: Shard,
    filter: &Filter,
    after: Option<JobId>,
    most: usize,
) -> Result<Vec<JobId>, Failure> {
    let mut after = after.map_or_else(Vec::new, |id| id.as_bytes().to_vec());
    let states: String = filter
        .states
        .iter()
        .map(|s| s.as_u8().to_string())
        .collect();
    let queue = filter.queue.as_ref().map_or("", |queue| queue.as_str());
    let kind = filter.kind.as_ref().map_or("", |kind| kind.as_str());
    let time =
        |time: Option<Timestamp>| time.map_or_else(String::new, |t| t.as_micros().to_string());
    let (from, before) = (time(filter.created_from), time(filter.created_before));
    let look = LOOK.to_string();
    let mut found = Vec::new();
    loop {
        let limit = (most - found.len()).to_string();
        let mut arguments = vec![
            &after[..],
            look.as_bytes(),
            limit.as_bytes(),
            states.as_bytes(),
            queue.as_bytes(),
            kind.as_bytes(),
            from.as_bytes(),
            before.as_bytes(),
        ];
        arguments.extend(filter.tags.iter().map(|tag| tag.as_str().as_bytes()));
        let answer: [Value; 2] = list(store.run(shard, &LIST, &arguments).await?)?
            .try_into()
            .map_err(|_| unexpected())?;
        let [last, ids] = answer.map(bytes);
        let (last, ids) = (last?, ids?);
        let mut ids = Reader(&ids);
        while !ids.is_empty() {
            found.push(ids.id()?);
        }
        if last.is_empty() || found.len() >= most {
            return Ok(found);
        }
        after = last;
    }
}

/// The jobs of each queue by state.
pub(crate) async fn counts(store: &Store) -> Result<Vec<QueueCounts>, Failure> {
    let queues = all(store).await?.into_iter();
    let counted = queues.filter(|queue| queue.counts.total() > 0);
    Ok(counted
        .map(|Queue { name, counts, .. }| QueueCounts {
            queue: name,
            counts,
        })
        .collect())
}

/// The queues that hold a job or are paused.
pub(crate) async fn queues(store: &Store) -> Result<Vec<QueueInfo>, Failure> {
    let queues = all(store).await?.into_iter();
    let known = queues.filter(|queue| queue.flow == Flow::Paused || queue.counts.total() > 0);
    Ok(known
        .map(|Queue { name, flow, .. }| QueueInfo { name, flow })
        .collect())
}

pub(crate) struct Queue {
    name: QueueName,
    flow: Flow,
    counts: StateCounts,
}

/// All queues, ordered by name: a small hash of each shard says it all.
async fn all(store: &Store) -> Result<Vec<Queue>, Failure> {
    let shards = store.shards().await?;
    let of_shard = async |shard| {
        let mut hash = redis::cmd("HGETALL");
        hash.arg(store.key(shard, "m"));
        shard_queues(list(store.connections.command(&hash).await?)?)
    };
    let mut all: Vec<Queue> = store
        .each(shards, of_shard)
        .await?
        .into_iter()
        .flatten()
        .collect();
    all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

pub(crate) fn shard_queues(fields: Vec<Value>) -> Result<Vec<Queue>, Failure> {
    let fields = fields
        .into_iter()
        .map(bytes)
        .collect::<Result<Vec<_>, _>>()?;
    let field = |wanted: &str| {
        let mut pairs = fields.chunks_exact(2);
        pairs
            .find(|pair| pair[0] == wanted.as_bytes())
            .map(|pair| &pair[1])
    };
    let mut queues = Vec::new();
    for pair in fields
        .chunks_exact(2)
        .filter(|pair| pair[0].starts_with(b"q"))
    {
        let number = utf8(&pair[1])?;
        let mut counts = StateCounts::default();
        for state in State::ALL {
            if let Some(count) = field(&format!("c{number}:{}", state.as_u8())) {
                let count = utf8(count)?.parse().map_err(|_| Failure::corrupt("count"));
                *counts.get_mut(state) = count?;
            }
        }
        let paused = field(&format!("p{number}")).is_some();
        queues.push(Queue {
            name: wire::queue_name(&pair[0][1..])?,
            flow: if paused { Flow::Paused } else { Flow::Open },
            counts,
        });
    }
    Ok(queues)
}

/// How long until a claim on these queues may find something; `None` where
/// time alone brings nothing.
pub(crate) async fn next_due(
    store: &Store,
    queues: &[QueueName],
) -> Result<Option<std::time::Duration>, Failure> {
    let shards = by_shard(queues, Shard::of_queue);
    let mut first = None;
    for (shard, queues) in shards {
        let names: Vec<&[u8]> = queues
            .iter()
            .map(|(_, queue)| queue.as_str().as_bytes())
            .collect();
        let micros = int(&store.run(shard, &NEXT, &names).await?)?;
        if let Ok(micros) = u64::try_from(micros) {
            let span = std::time::Duration::from_micros(micros);
            first = Some(first.map_or(span, |first: std::time::Duration| first.min(span)));
        }
    }
    Ok(first)
}
