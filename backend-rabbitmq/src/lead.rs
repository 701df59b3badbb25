//! Leading: elections, and the ticks that move the ledger's clock.
//!
//! The leader's message (one in a queue with a single active consumer) says
//! who may ask to lead; an accepted Elect says who does. Whoever needs the
//! time and hears no tick asks to lead as well, so that a leader that hangs
//! holds nobody up.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyqueue_core::Timestamp;
use futures::StreamExt as _;
use lapin::Connection;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, ConfirmSelectOptions};
use lapin::types::FieldTable;

use crate::clock::FAR;
use crate::error::Failure;
use crate::fold::STEP;
use crate::item::Item;
use crate::roots::ended;
use crate::shared::Shared;
use crate::topology::{Queue, declare, publish};
use crate::wire::Entry;

/// The least span between two ticks, while others need the time.
const SPAN: Duration = Duration::from_millis(10);

/// The most, where nothing happens at all. It is less than a tick moves the clock
/// by: what is asked after a long rest is not stamped with a time in the past.
const IDLE: Duration = Duration::from_secs(8);
const _: () = assert!(IDLE.as_secs() < STEP.as_secs());

/// How often an instance looks whether a tick is overdue.
const LOOK: Duration = Duration::from_millis(400);

/// How long a leader may keep those who need the time waiting.
const SILENCE: Duration = Duration::from_millis(1_500);

/// Takes part in elections and leads where they are won; ends with an error
/// only.
pub(crate) async fn run(connection: &Connection, shared: &Shared) -> Result<(), Failure> {
    let mut message = pin!(await_message(connection, shared));
    loop {
        tokio::select! {
            ended = &mut message => return ended,
            () = lead(shared) => {}
            () = watch(shared) => elect(shared).await,
        }
    }
}

/// Asks to lead once the leader's message is delivered, and keeps it: not
/// acknowledged, it goes to another with this connection. It is replaced now and
/// then, since the broker closes a channel that keeps one for half an hour.
async fn await_message(connection: &Connection, shared: &Shared) -> Result<(), Failure> {
    let name = Queue::Leader.name(&shared.config.prefix);
    let waiting = declare(connection, &shared.config.prefix, Queue::Leader).await?;
    let channel = connection.create_channel().await?;
    let confirm = ConfirmSelectOptions::default();
    channel.confirm_select(confirm).await?;
    if waiting.is_empty() {
        // The queue keeps one: a second is no harm.
        publish(&channel, &name, b"lead").await?;
    }
    channel.basic_qos(1, BasicQosOptions::default()).await?;
    let mut consumer = channel
        .basic_consume(
            name.as_str().into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let mut message = consumer.next().await.ok_or_else(ended)??;
    elect(shared).await;
    loop {
        tokio::select! {
            // Nothing is delivered beside the one that is kept.
            delivery = consumer.next() => drop(delivery.ok_or_else(ended)??),
            () = tokio::time::sleep(shared.config.ticket_age) => {
                publish(&channel, &name, b"lead").await?;
                message.ack(BasicAckOptions::default()).await?;
                message = consumer.next().await.ok_or_else(ended)??;
            }
        }
    }
}

/// Asks to lead in the next term; returns when that is decided.
async fn elect(shared: &Shared) {
    // Which term is in force is known at the ledger's end only: a newcomer that asked
    // before would ask for one that is over, and wait until it is missed.
    let _ = shared.barrier().await;
    let term = shared.view().fold.term() + 1;
    let _ = shared.insist(Item::new(Some(Entry::Elect { term }))).await;
}

/// Ticks while this instance leads; returns when it does not.
async fn lead(shared: &Shared) {
    let mut last: Option<Instant> = None;
    while shared.leads().is_none() {
        shared.lead.notified().await;
    }
    while shared.leads().is_some() {
        let (clock, event) = {
            let view = shared.view();
            (view.fold.clock(), view.fold.next_event())
        };
        let now = Timestamp::host_now();
        let wait = event.map_or(IDLE, |event| event.since(now).min(IDLE));
        let behind = now.since(clock);
        let wanted = shared.tick_wanted.load(Ordering::Acquire)
            || clock == Timestamp::default()
            // After a rest of the whole system.
            || (behind > STEP && behind <= FAR);
        if !wanted && wait > Duration::ZERO {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = shared.lead.notified() => continue,
            }
        }
        if let Some(last) = last {
            tokio::time::sleep(SPAN.saturating_sub(last.elapsed())).await;
        }
        shared.tick_wanted.store(false, Ordering::Release);
        last = Some(Instant::now());
        let _ = shared.insist(Item::tick()).await;
    }
}

/// Returns when the leader is silent, though the time is needed.
async fn watch(shared: &Shared) {
    let patience = SILENCE + Duration::from_millis(fastrand::u64(0..1_000));
    let mut silent: Option<Instant> = None;
    loop {
        tokio::time::sleep(LOOK).await;
        let needed = needs_time(shared);
        if shared.leads().is_some() || !needed {
            silent = None;
            continue;
        }
        let since = *silent.get_or_insert_with(Instant::now);
        if shared.clock.borrow().heard > since {
            // It ticks, if late.
            silent = None;
            continue;
        }
        if since.elapsed() > patience {
            return;
        }
        drop(shared.insist(Item::new(Some(Entry::Touch))));
    }
}

/// Whether a tick is overdue: something should have happened by now, or
/// someone here has asked for the time in vain.
fn needs_time(shared: &Shared) -> bool {
    if shared.unheard.load(Ordering::Acquire) {
        return true;
    }
    let clock = *shared.clock.borrow();
    let passed = clock.time.after(clock.heard.elapsed()).before(LOOK);
    let event = shared.view().fold.next_event();
    shared.phase.borrow().is_ready() && event.is_some_and(|event| event <= passed)
}
