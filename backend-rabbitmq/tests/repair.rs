//! Connections cut at every step, tickets in the wrong hands, ledgers that
//! end: each half-done write ends right.

mod common;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyqueue_conformance_tests::faults::{Proxy, Way};
use anyqueue_core::{
    Backend, ErrorText, Filter, MaintainLimits, Outcome, Page, QueueName, Retention, Schedule,
    Settled, Settlement, State, Timestamp, WaitRequest,
};
use anyqueue_rabbitmq::{RabbitBackend, RabbitConfig};
use common::amqp::{consume, text};
use common::jobs::{LONG, again, claim_of, complete, job, put, record, settle, take};
use common::{eventually, fresh, open};
use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

fn main() -> ExitCode {
    let trials = trials![
        a_cut_at_every_step_of_enqueue_claim_and_settle,
        a_broker_that_accepts_and_says_nothing_is_tried_again,
        a_ticket_that_nobody_holds_is_put_away,
        a_holder_that_lives_keeps_its_jobs_when_its_ticket_goes_to_another,
        a_holder_whose_connection_fails_for_a_moment_keeps_its_jobs,
        an_instance_that_was_away_for_long_is_back_with_one_connection,
        tickets_are_renewed,
        ledgers_end_and_go_on_for_all_alike,
        an_instance_that_was_away_while_its_ledger_was_deleted_starts_from_a_snapshot,
        a_large_call_is_stored_whole,
        what_others_publish_is_passed_over_by_all_alike,
        an_idle_instance_appends_nothing,
        a_delay_is_whole_after_a_long_rest,
        spans_are_whole_on_a_new_connection,
        spans_are_whole_without_a_leader,
        spans_are_whole_after_all_were_away,
        many_small_messages_end_a_ledger_as_few_large_ones_do,
        a_newcomer_asks_to_lead_in_no_term_that_is_over,
        a_store_may_go_at_any_moment_of_its_start,
    ];
    common::run(trials, common::broker())
}

fn config(prefix: &str) -> RabbitConfig {
    let url = std::env::var(common::URL).unwrap();
    common::config(&url, prefix)
}

async fn remove(prefix: &str) {
    RabbitBackend::destroy(&config(prefix)).await.unwrap();
}

/// A channel of the test's own, to do the broker's part or another's.
async fn channel() -> (Connection, Channel) {
    let url = std::env::var(common::URL).unwrap();
    let connection = Connection::connect(&url, ConnectionProperties::default())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

async fn waiting_in(channel: &Channel, queue: &str) -> u32 {
    let passive = QueueDeclareOptions {
        passive: true,
        ..Default::default()
    };
    let declared = channel
        .queue_declare(queue.into(), passive, FieldTable::default())
        .await;
    declared.unwrap().message_count()
}

async fn proxy() -> Proxy {
    let url = std::env::var(common::URL).unwrap();
    let (_, rest) = url.rsplit_once(':').unwrap();
    let (port, _) = rest.split_once('/').unwrap();
    Proxy::to(port.parse().unwrap()).await.unwrap()
}

async fn behind(prefix: &str) -> (Proxy, RabbitBackend) {
    let url = std::env::var(common::URL).unwrap();
    let proxy = proxy().await;
    let store = open(&common::config(&proxy.url(&url), prefix)).await;
    (proxy, store)
}

async fn a_cut_at_every_step_of_enqueue_claim_and_settle() {
    let prefix = fresh("cuts");
    let (proxy, store) = behind(&prefix).await;
    let observer = open(&config(&prefix)).await;
    // The first claim takes the ticket.
    assert!(store.claim(&claim_of(1, LONG)).await.unwrap().is_empty());
    for (step, cut_before) in
        (0..14).flat_map(|step| [(step, "enqueue"), (step, "claim"), (step, "settle")])
    {
        let arm = |now: &str| {
            if now == cut_before {
                // Each way in turn, some tens of bytes further each time.
                let way = Way::BOTH[(step % 2) as usize];
                proxy.cut_after(way, step / 2 * 60);
            }
        };
        arm("enqueue");
        let id = put(&store).await;
        arm("claim");
        let claimed = take(&store, LONG).await;
        assert_eq!(claimed.token.id, id, "{step} {cut_before}");
        arm("settle");
        assert_eq!(
            settle(&store, claimed.token).await,
            Settled::Accepted,
            "{step} {cut_before}"
        );
        let _ = Way::BOTH.map(|way| proxy.disarm(way));
        let found = record(&observer, id).await;
        assert_eq!(found.state, State::Completed, "{step} {cut_before}");
        // A claim that was cut off was not made twice.
        assert_eq!(
            (found.attempt, found.counter),
            (1, 1),
            "{step} {cut_before}"
        );
    }
    // How many segments an exchange has is up to the network.
    assert!(proxy.cuts() >= 12, "only {} cuts", proxy.cuts());
    let all = observer.counts().await.unwrap();
    assert_eq!(all[0].counts.total(), all[0].counts.get(State::Completed));
    drop((store, observer));
    remove(&prefix).await;
}

async fn a_broker_that_accepts_and_says_nothing_is_tried_again() {
    let prefix = fresh("mute");
    let (proxy, store) = behind(&prefix).await;
    let before = proxy.accepted();
    proxy.mute();
    proxy.cut();
    eventually("a connection is met with silence", async || {
        (proxy.accepted() > before).then_some(())
    })
    .await;
    // That one is never answered.
    proxy.pass();
    let id = put(&store).await;
    assert_eq!(record(&store, id).await.state, State::Ready);
    drop(store);
    remove(&prefix).await;
}

async fn a_ticket_that_nobody_holds_is_put_away() {
    let prefix = fresh("stray");
    let store = open(&config(&prefix)).await;
    put(&store).await;
    let claimed = take(&store, LONG).await;
    let (_connection, channel) = channel().await;
    let name = format!("{prefix}.tickets");
    // Published by one that died before the ledger knew of it; and no ticket.
    for body in [uuid::Uuid::now_v7().as_bytes().as_slice(), b"?"] {
        let properties = BasicProperties::default();
        let options = BasicPublishOptions::default();
        channel
            .basic_publish("".into(), name.as_str().into(), options, body, properties)
            .await
            .unwrap();
    }
    eventually("both are put away", async || {
        (waiting_in(&channel, &name).await == 0).then_some(())
    })
    .await;
    assert_eq!(record(&store, claimed.token.id).await.state, State::Running);
    assert_eq!(settle(&store, claimed.token).await, Settled::Accepted);
    drop(store);
    remove(&prefix).await;
}

async fn a_holder_that_lives_keeps_its_jobs_when_its_ticket_goes_to_another() {
    let prefix = fresh("twice");
    let holder = open(&config(&prefix)).await;
    put(&holder).await;
    let claimed = take(&holder, LONG).await;
    let ticket = holder.ticket().expect("it has claimed");
    let other = open(&config(&prefix)).await;
    // The other one listens from its first claim on.
    assert!(other.claim(&claim_of(1, LONG)).await.unwrap().is_empty());
    let (_connection, channel) = channel().await;
    let name = format!("{prefix}.tickets");
    // The same ticket again and again: to both in turn.
    for _ in 0..10 {
        let properties = BasicProperties::default();
        let options = BasicPublishOptions::default();
        let body = ticket.as_bytes();
        channel
            .basic_publish("".into(), name.as_str().into(), options, body, properties)
            .await
            .unwrap();
        eventually("it is put away", async || {
            (waiting_in(&channel, &name).await == 0).then_some(())
        })
        .await;
    }
    // Longer than a challenge waits for an answer, on the ledger's clock.
    pass(&other, Duration::from_secs(1)).await;
    let found = record(&other, claimed.token.id).await;
    assert_eq!(
        (found.state, found.counter),
        (State::Running, claimed.token.counter)
    );
    assert_eq!(settle(&holder, claimed.token).await, Settled::Accepted);
    drop((holder, other));
    remove(&prefix).await;
}

/// Waits until so much time has passed on the store's clock.
async fn pass(store: &RabbitBackend, span: Duration) {
    let mut probe = job();
    probe.queue = QueueName::new("clock").unwrap();
    let first = [probe];
    again(async || store.enqueue(&first).await).await;
    let begun = record(store, first[0].id).await.created_at;
    eventually("time passes", async || {
        let mut probe = job();
        probe.queue = QueueName::new("clock").unwrap();
        let probe = [probe];
        again(async || store.enqueue(&probe).await).await;
        (record(store, probe[0].id).await.created_at > begun.after(span)).then_some(())
    })
    .await;
}

async fn a_holder_whose_connection_fails_for_a_moment_keeps_its_jobs() {
    let prefix = fresh("blip");
    let (proxy, holder) = behind(&prefix).await;
    put(&holder).await;
    let claimed = take(&holder, LONG).await;
    let other = open(&config(&prefix)).await;
    assert!(other.claim(&claim_of(1, LONG)).await.unwrap().is_empty());
    let first = holder.ticket();
    // The ledger's time stands still where nobody needs it.
    tokio::time::sleep(Duration::from_secs(2)).await;
    proxy.cut();
    eventually("it takes another ticket", async || {
        (holder.ticket().is_some() && holder.ticket() != first).then_some(())
    })
    .await;
    pass(&other, Duration::from_secs(1)).await;
    let found = record(&other, claimed.token.id).await;
    assert_eq!(
        (found.state, found.counter),
        (State::Running, claimed.token.counter)
    );
    assert_eq!(settle(&holder, claimed.token).await, Settled::Accepted);
    drop((holder, other));
    remove(&prefix).await;
}

/// What is done on a new connection before the instance is ready (its ticket) is
/// not refused as calls are; or connection after connection is given up.
async fn an_instance_that_was_away_for_long_is_back_with_one_connection() {
    let prefix = fresh("away");
    let (proxy, store) = behind(&prefix).await;
    assert!(store.claim(&claim_of(1, LONG)).await.unwrap().is_empty());
    let other = open(&config(&prefix)).await;
    for round in 1..=4 {
        proxy.refuse();
        proxy.cut();
        // Until then they wait for a connection.
        eventually("calls are refused", async || store.counts().await.err()).await;
        // To be read before it is ready, while it has a ticket soon.
        for _ in 0..16 {
            let mut large = job();
            large.queue = QueueName::new("large").unwrap();
            let text = format!("\"{}\"", "x".repeat(900_000));
            large.payload = anyqueue_core::Payload::parse(text, 1 << 20).unwrap();
            other.enqueue(&[large]).await.unwrap();
        }
        let before = proxy.accepted();
        proxy.pass();
        let id = put(&store).await;
        assert_eq!(proxy.accepted() - before, 1, "round {round}");
        let taken = take(&store, LONG).await;
        assert_eq!(taken.token.id, id);
        assert_eq!(settle(&store, taken.token).await, Settled::Accepted);
    }
    drop((store, other));
    remove(&prefix).await;
}

async fn tickets_are_renewed() {
    let prefix = fresh("renewal");
    let mut config = config(&prefix);
    config.ticket_age = Duration::from_millis(200);
    let store = open(&config).await;
    put(&store).await;
    let claimed = take(&store, LONG).await;
    let mut seen = std::collections::BTreeSet::new();
    eventually("it has had four", async || {
        seen.extend(store.ticket());
        (seen.len() >= 4).then_some(())
    })
    .await;
    assert_eq!(record(&store, claimed.token.id).await.state, State::Running);
    assert_eq!(settle(&store, claimed.token).await, Settled::Accepted);
    drop(store);
    remove(&prefix).await;
}

async fn ledgers_end_and_go_on_for_all_alike() {
    let prefix = fresh("generations");
    let mut config = config(&prefix);
    config.ledger_bytes = 60_000;
    let stores = [
        open(&config).await,
        open(&config).await,
        open(&config).await,
    ];
    let mut held = Vec::new();
    let mut round = 0;
    eventually("six ledgers have ended", async || {
        let store = &stores[round % 3];
        round += 1;
        let jobs: Vec<_> = (0..20).map(|_| job()).collect();
        again(async || store.enqueue(&jobs).await).await;
        let request = claim_of(15, LONG);
        let claimed = again(async || stores[(round + 1) % 3].claim(&request).await).await;
        assert_eq!(claimed.len(), 15);
        let (keep, done) = claimed.split_at(1);
        held.extend(keep.iter().map(|job| job.token));
        let done: Vec<_> = done
            .iter()
            .map(|job| Settlement {
                token: job.token,
                outcome: complete(),
            })
            .collect();
        let answers = again(async || stores[(round + 2) % 3].settle(&done).await).await;
        assert!(answers.iter().all(|answer| *answer == Settled::Accepted));
        // What is finished goes at once, so that snapshots stay small.
        let limits = MaintainLimits {
            jobs: 1_000,
            retention: Retention::all(Duration::ZERO),
        };
        again(async || store.maintain(&limits).await).await;
        (store.generation() >= 6).then_some(())
    })
    .await;
    // A claim of before the snapshots is as good as ever.
    for token in &held {
        assert_eq!(settle(&stores[0], *token).await, Settled::Accepted);
    }
    let late = open(&config).await;
    let everything = async |store: &RabbitBackend| {
        let (mut jobs, mut page) = (Vec::new(), Page::first(1_000));
        loop {
            let listing = store.list(&Filter::any(), &page).await.unwrap();
            jobs.extend(listing.jobs);
            match listing.next {
                Some(next) => page = Page::first(1_000).after(next),
                None => return jobs,
            }
        }
    };
    let expected = everything(&stores[0]).await;
    let unfinished = expected.iter().filter(|job| job.state == State::Ready);
    assert_eq!(unfinished.count(), round * 5);
    for store in [&stores[1], &stores[2], &late] {
        assert!(everything(store).await == expected, "the views differ");
    }
    // All but the last two ledgers are gone.
    let (connection, _) = channel().await;
    let first = format!("{prefix}.ledger.0");
    let passive = QueueDeclareOptions {
        passive: true,
        ..Default::default()
    };
    eventually("the first ledger is deleted", async || {
        let channel = connection.create_channel().await.unwrap();
        let declared = channel.queue_declare(first.as_str().into(), passive, FieldTable::default());
        declared.await.is_err().then_some(())
    })
    .await;
    drop((stores, late));
    remove(&prefix).await;
}

async fn an_instance_that_was_away_while_its_ledger_was_deleted_starts_from_a_snapshot() {
    let prefix = fresh("away");
    let (proxy, away) = behind(&prefix).await;
    let id = put(&away).await;
    proxy.refuse();
    proxy.cut();
    let mut config = config(&prefix);
    config.ledger_bytes = 20_000;
    let store = open(&config).await;
    // Stored once: the ledger grows, and what a snapshot has does not.
    let jobs: Vec<_> = (0..20).map(|_| job()).collect();
    eventually("three ledgers have ended", async || {
        again(async || store.enqueue(&jobs).await).await;
        (store.generation() >= 3).then_some(())
    })
    .await;
    let last = put(&store).await;
    proxy.pass();
    assert_eq!(record(&away, id).await.state, State::Ready);
    assert_eq!(record(&away, last).await, record(&store, last).await);
    drop((away, store));
    remove(&prefix).await;
}

async fn a_large_call_is_stored_whole() {
    let prefix = fresh("large");
    let store = open(&config(&prefix)).await;
    let jobs: Vec<_> = (0..30)
        .map(|n| {
            let text = format!(
                "\"{}\"",
                char::from(b'a' + n % 26).to_string().repeat(1_000_000)
            );
            let mut job = job();
            job.payload = anyqueue_core::Payload::parse(text, 1 << 20).unwrap();
            job
        })
        .collect();
    store.enqueue(&jobs).await.unwrap();
    let other = open(&config(&prefix)).await;
    for job in &jobs {
        assert!(
            record(&other, job.id).await.payload == job.payload,
            "{}",
            job.id
        );
    }
    drop((store, other));
    remove(&prefix).await;
}

/// A message of the ledger, as `wire.rs` has it: the mark, the format, and a
/// header in the name of an instance that there is not.
fn message(stranger: u8, sequence: u8, body: u8) -> Vec<u8> {
    let mut message = b"aq\x01\x10".to_vec();
    message.extend([stranger; 16]);
    // Its epoch, and what its body is.
    message.extend([1, sequence, body]);
    message
}

/// A body that says it holds three commands, and ends in the first.
const GARBLED: [u8; 2] = [3, 200];

async fn what_others_publish_is_passed_over_by_all_alike() {
    let [batch, piece, last_piece] = [0, 1, 2];
    let prefix = fresh("strangers");
    let (proxy, store) = behind(&prefix).await;
    let id = put(&store).await;
    let connections = proxy.accepted();
    let (_connection, channel) = channel().await;
    let ledger = format!("{prefix}.ledger.0");
    let roots = format!("{prefix}.roots");
    let ledgers = [
        Vec::new(),
        b"hello".to_vec(),
        message(7, 1, batch)[..20].to_vec(),
        [&message(7, 1, batch)[..], &GARBLED].concat(),
        [&message(7, 2, piece)[..], &GARBLED].concat(),
        [&message(7, 3, last_piece)[..], &GARBLED].concat(),
        // Its place in the sequence was taken all the same.
        [&message(7, 3, batch)[..], &GARBLED].concat(),
    ];
    let ledgers = ledgers.iter().map(|bytes| (&ledger, &bytes[..]));
    for (stream, bytes) in ledgers.chain([(&roots, &b"hello"[..]), (&roots, b"")]) {
        let properties = BasicProperties::default();
        let options = BasicPublishOptions::default();
        let published = channel.basic_publish(
            "".into(),
            stream.as_str().into(),
            options,
            bytes,
            properties,
        );
        published.await.unwrap();
    }
    // The broker has them all before what comes next on the channel.
    waiting_in(&channel, &ledger).await;
    // No call fails, not even once, and none begins a connection.
    for _ in 0..20 {
        let new = [job()];
        store.enqueue(&new).await.unwrap();
    }
    assert_eq!(proxy.accepted(), connections, "the connection was replaced");
    let late = open(&config(&prefix)).await;
    for store in [&store, &late] {
        assert_eq!(store.counts().await.unwrap()[0].counts.total(), 21);
        assert_eq!(record(store, id).await.state, State::Ready);
    }
    drop((store, late));
    remove(&prefix).await;
}

async fn an_idle_instance_appends_nothing() {
    let prefix = fresh("idle");
    let stores = [open(&config(&prefix)).await, open(&config(&prefix)).await];
    put(&stores[0]).await;
    let claimed = take(&stores[1], LONG).await;
    assert_eq!(settle(&stores[1], claimed.token).await, Settled::Accepted);
    // What the ledger gives while both only wait.
    let (_connection, channel) = channel().await;
    // The last ticks that were asked for.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut ledger = consume(
        &channel,
        &format!("{prefix}.ledger.0"),
        100,
        &[("x-stream-offset", text("next"))],
    )
    .await;
    let request = WaitRequest {
        queues: vec![QueueName::default()],
        timeout: Duration::from_secs(3),
        worker: anyqueue_core::WorkerId::random(),
    };
    for store in &stores {
        store.wait_for_work(&request).await.unwrap();
    }
    let appended = futures::FutureExt::now_or_never(futures::StreamExt::next(&mut ledger));
    assert!(appended.is_none(), "{appended:?}");
    drop(stores);
    remove(&prefix).await;
}

/// A tick moves the clock by 10 s at most.
async fn a_delay_is_whole_after_a_long_rest() {
    const DELAY: Duration = Duration::from_secs(60);
    let prefix = fresh("rest");
    let store = open(&config(&prefix)).await;
    put(&store).await;
    tokio::time::sleep(Duration::from_secs(13)).await;
    let mut job = job();
    job.schedule = Schedule::After(DELAY);
    let before = Timestamp::host_now();
    store.enqueue(std::slice::from_ref(&job)).await.unwrap();
    let found = store.get(&[job.id]).await.unwrap();
    let due = found[0].as_ref().unwrap().due_at;
    // One host: the leader's clock is the test's.
    assert!(due >= before.after(DELAY), "{before:?} {due:?}");
    drop(store);
    remove(&prefix).await;
}

/// Delays and leases that begin now end no earlier than was asked for. Takes
/// the one job that is ready. One host: the leader's clock is the test's.
async fn spans_are_whole(store: &RabbitBackend) {
    const SPAN: Duration = Duration::from_secs(60);
    // How old the time of a stamp may be.
    const PRECISION: Duration = Duration::from_millis(30);
    let least = || Timestamp::host_now().after(SPAN).before(PRECISION);
    let mut later = job();
    later.schedule = Schedule::After(SPAN);
    let due = least();
    store.enqueue(std::slice::from_ref(&later)).await.unwrap();
    let found = record(store, later.id).await.due_at;
    assert!(found >= due, "a delay: {found:?}, not {due:?}");

    let until = least();
    let token = store.claim(&claim_of(1, SPAN)).await.unwrap()[0].token;
    let found = record(store, token.id).await.lease_until.unwrap();
    assert!(found >= until, "a lease: {found:?}, not {until:?}");

    let until = least();
    store.heartbeat(&[token], SPAN).await.unwrap();
    let found = record(store, token.id).await.lease_until.unwrap();
    assert!(found >= until, "a heartbeat: {found:?}, not {until:?}");

    let outcome = Outcome::Retry {
        delay: SPAN,
        error: ErrorText::new("once more"),
    };
    let due = least();
    let settlement = [Settlement { token, outcome }];
    assert_eq!(
        store.settle(&settlement).await.unwrap(),
        [Settled::Accepted]
    );
    let found = record(store, token.id).await.due_at;
    assert!(found >= due, "a retry: {found:?}, not {due:?}");
}

/// Its reader takes the last tick for one just made.
async fn spans_are_whole_on_a_new_connection() {
    let prefix = fresh("newcomer");
    let leader = open(&config(&prefix)).await;
    put(&leader).await;
    // Less than an idle leader's ticks are apart.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let store = RabbitBackend::open(&config(&prefix));
    spans_are_whole(&store).await;
    drop((leader, store));
    remove(&prefix).await;
}

async fn spans_are_whole_without_a_leader() {
    let prefix = fresh("leaderless");
    let (proxy, leader) = behind(&prefix).await;
    let store = open(&config(&prefix)).await;
    // The first claim takes the ticket.
    assert!(store.claim(&claim_of(1, LONG)).await.unwrap().is_empty());
    put(&store).await;
    // It hangs, and its connection lives: the next one is not elected at once.
    proxy.stall();
    tokio::time::sleep(Duration::from_secs(1)).await;
    spans_are_whole(&store).await;
    proxy.pass();
    drop((leader, store));
    remove(&prefix).await;
}

async fn spans_are_whole_after_all_were_away() {
    let prefix = fresh("outage");
    let store = open(&config(&prefix)).await;
    put(&store).await;
    drop(store);
    // More than a tick moves the clock by, and than two.
    tokio::time::sleep(Duration::from_secs(25)).await;
    let store = RabbitBackend::open(&config(&prefix));
    spans_are_whole(&store).await;
    drop(store);
    remove(&prefix).await;
}

/// Each takes a newcomer the same time to read, however little it says.
async fn many_small_messages_end_a_ledger_as_few_large_ones_do() {
    let prefix = fresh("small");
    let mut config = config(&prefix);
    config.ledger_bytes = 1_000_000;
    let store = open(&config).await;
    for _ in 0..300 {
        put(&store).await;
    }
    eventually("a ledger has ended", async || {
        (store.generation() >= 1).then_some(())
    })
    .await;
    drop(store);
    remove(&prefix).await;
}

/// The terms of the ledger's elections, as `wire.rs` has them, in its order.
async fn elections(prefix: &str) -> Vec<u8> {
    let end = fresh("end").into_bytes();
    let (_connection, channel) = channel().await;
    let ledger = format!("{prefix}.ledger.0");
    let (options, properties) = Default::default();
    let published =
        channel.basic_publish("".into(), ledger.as_str().into(), options, &end, properties);
    published.await.unwrap();
    let mut messages = consume(
        &channel,
        &ledger,
        100,
        &[("x-stream-offset", text("first"))],
    )
    .await;
    let mut terms = Vec::new();
    while let Some(message) = futures::StreamExt::next(&mut messages).await {
        let message = message.unwrap();
        if message.data == end {
            message.ack(Default::default()).await.unwrap();
            return terms;
        }
        // The rest of a batch's header, and one entry.
        if message.data.starts_with(b"aq\x01")
            && let Some([_epoch, _sequence, 0, 1, 2, term]) = message.data.get(20..)
        {
            terms.push(*term);
        }
        message.ack(Default::default()).await.unwrap();
    }
    panic!("the ledger has no end");
}

async fn a_newcomer_asks_to_lead_in_no_term_that_is_over() {
    let prefix = fresh("newcomer");
    let url = std::env::var(common::URL).unwrap();
    let mut over = Vec::new();
    for newcomer in 0..3 {
        let proxy = proxy().await;
        // It is told that it may ask to lead before it has read the ledger.
        proxy.delay(Duration::from_millis(10));
        let store = open(&common::config(&proxy.url(&url), &prefix)).await;
        proxy.pass();
        for _ in 0..300 {
            put(&store).await;
        }
        let terms = eventually("it leads", async || {
            let terms = elections(&prefix).await;
            (terms.len() > over.len()).then_some(terms)
        });
        let terms = terms.await;
        let (old, new) = terms.split_at(over.len());
        assert_eq!(old, over);
        let last = over.last().copied().unwrap_or(0);
        assert!(new.iter().all(|term| *term > last), "{newcomer}: {terms:?}");
        over = terms;
    }
    remove(&prefix).await;
}

/// A panic of a thread is the end of a process that is built to abort.
async fn a_store_may_go_at_any_moment_of_its_start() {
    static PANICS: AtomicU64 = AtomicU64::new(0);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() == Some("lapin-io-loop") {
            PANICS.fetch_add(1, Ordering::SeqCst);
        }
        before(panic);
    }));
    let prefix = fresh("brief");
    let (proxy, store) = behind(&prefix).await;
    let brief = common::config(&proxy.url(&std::env::var(common::URL).unwrap()), &prefix);
    for step in 0..200 {
        let begun = RabbitBackend::open(&brief);
        tokio::time::sleep(Duration::from_micros(step * 100)).await;
        drop(begun);
    }
    drop(store);
    // Their threads end, and with them the last connections.
    eventually("all have gone", async || {
        let carried = proxy.carried();
        tokio::time::sleep(Duration::from_secs(3)).await;
        (proxy.carried() == carried).then_some(())
    })
    .await;
    assert_eq!(PANICS.load(Ordering::SeqCst), 0);
    remove(&prefix).await;
}
