//! A stream is kept in segments, and each but the first begins with a record of
//! the broker's own that takes an offset: no reader ever sees it. A broker
//! begins one after 500 MB or 256,000 chunks; here after a few chunks.

mod common;

use std::process::ExitCode;
use std::time::Duration;

use anyqueue_conformance_tests::faults::Proxy;
use anyqueue_conformance_tests::faults::servers::RabbitMq;
use anyqueue_core::{Backend, NewJob, Payload, Settled, State};
use common::amqp::consume;
use common::jobs::{LONG, again, job, put, record, settle, take};
use common::{config, eventually, fresh, open};
use futures::StreamExt as _;
use lapin::types::AMQPValue;
use lapin::{Connection, ConnectionProperties};

/// Jobs of one megabyte.
const LARGE: usize = 12;

fn main() -> ExitCode {
    let trials = trials![
        a_ledger_is_followed_from_segment_to_segment,
        a_snapshot_may_fill_several_segments,
    ];
    common::run(trials, RabbitMq::missing())
}

/// A broker whose segments have so many chunks: what it wrote at a time. (With
/// one it would not stop to begin segments, as its record is a chunk too.)
async fn broker(chunks: u32) -> RabbitMq {
    let broker = RabbitMq::start("").await.unwrap();
    let setting = format!("application:set_env(osiris, max_segment_size_chunks, {chunks}).");
    broker.control(&["eval", &setting]).unwrap();
    broker
}

/// The offsets of a stream's messages, from first to last, as a reader sees them.
async fn offsets(url: &str, stream: &str) -> Vec<i64> {
    let connection = Connection::connect(url, ConnectionProperties::default());
    let connection = connection.await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let first = [("x-stream-offset", AMQPValue::LongLongInt(0))];
    let mut consumer = consume(&channel, stream, 60_000, &first).await;
    let mut found = Vec::new();
    // The end of a stream cannot be seen; what came last is far behind.
    while let Ok(Some(delivery)) =
        tokio::time::timeout(Duration::from_millis(500), consumer.next()).await
    {
        let delivery = delivery.unwrap();
        let headers = delivery.properties.headers().as_ref().unwrap();
        match headers.inner().get("x-stream-offset") {
            Some(AMQPValue::LongLongInt(offset)) => found.push(*offset),
            other => panic!("no offset: {other:?}"),
        }
    }
    let _ = connection.close(200, "".into()).await;
    found
}

async fn a_ledger_is_followed_from_segment_to_segment() {
    let broker = broker(4).await;
    let (url, prefix) = (broker.url(), fresh("segments"));
    let proxy = Proxy::to(broker.port()).await.unwrap();
    let cut = open(&config(&proxy.url(&url), &prefix)).await;
    let steady = open(&config(&url, &prefix)).await;
    let mut ids = Vec::new();
    for round in 0..40 {
        // One that follows all along, and one that comes back to every place:
        // to the first of a segment as well.
        let store = if round % 2 == 0 { &cut } else { &steady };
        let id = put(store).await;
        let held = take(store, LONG).await;
        assert_eq!(held.token.id, id);
        assert_eq!(settle(store, held.token).await, Settled::Accepted);
        for store in [&steady, &cut] {
            assert_eq!(record(store, id).await.state, State::Completed, "{round}");
        }
        proxy.cut();
        ids.push(id);
    }
    // One that reads it from the start.
    let late = open(&config(&url, &prefix)).await;
    for id in ids {
        assert_eq!(record(&late, id).await.state, State::Completed);
    }
    // All that this is about did happen.
    let offsets = offsets(&url, &format!("{prefix}.ledger.0")).await;
    let gaps = offsets.windows(2).filter(|pair| pair[1] == pair[0] + 2);
    assert!(gaps.count() > 10, "no segment ended: {offsets:?}");
}

async fn a_snapshot_may_fill_several_segments() {
    let broker = broker(2).await;
    let (url, prefix) = (broker.url(), fresh("snapshot"));
    let mut config = config(&url, &prefix);
    // A snapshot is due when all of them are there. It has a piece for each MiB.
    config.ledger_bytes = LARGE as u64 * 1_000_000;
    let first = open(&config).await;
    let mut ids = Vec::new();
    for _ in 0..LARGE {
        let mut large: NewJob = job();
        let text = format!("\"{}\"", "x".repeat(1_000_000));
        large.payload = Payload::parse(&text, 2_000_000).unwrap();
        ids.push(large.id);
        let large = [large];
        again(async || first.enqueue(&large).await).await;
    }
    let next = eventually("the ledger goes on in another", async || {
        put(&first).await;
        let ledgers = ledgers(&broker, &prefix);
        let next = ledgers.into_iter().find(|name| !name.ends_with(".0"))?;
        let offsets = offsets(&url, &next).await;
        (offsets.len() > LARGE + 3).then_some(offsets)
    })
    .await;
    // All that this is about did happen.
    assert_eq!(next[0], 0);
    let pieces = &next[..LARGE];
    assert!(
        pieces[LARGE - 1] >= LARGE as i64,
        "no segment ended: {next:?}"
    );
    // One that was there all along goes on, and one that starts anew.
    for store in [&first, &open(&config).await] {
        for id in &ids {
            assert_eq!(record(store, *id).await.state, State::Ready);
        }
        let id = put(store).await;
        assert_eq!(record(&first, id).await.state, State::Ready);
    }
}

fn ledgers(broker: &RabbitMq, prefix: &str) -> Vec<String> {
    let listed = broker
        .control(&["list_queues", "name", "--no-table-headers"])
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let start = format!("{prefix}.ledger.");
    let names = listed.lines().map(str::trim);
    names
        .filter(|name| name.starts_with(&start))
        .map(str::to_owned)
        .collect()
}
