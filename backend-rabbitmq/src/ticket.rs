//! Tickets: what proves to the others that an instance is gone.
//!
//! An instance that claims holds one message of `P.tickets`, unacknowledged;
//! the ledger knows which. When its channel ends without a word the broker
//! gives the message to another instance at once, and that one challenges the
//! holder in the ledger. A holder that lives (its network failed for a moment)
//! says so and takes another ticket; of one that does not answer within
//! [`GRACE`](crate::fold::GRACE) all leases end, and its jobs run again.
//!
//! Every half of these dual writes may be missing:
//! - published and not held: whoever is given it has no use for it and
//!   acknowledges it; the publisher publishes another;
//! - held, and the acknowledgement of the former one lost: the ledger knows no
//!   holder of that one any more, it is acknowledged by whoever is given it;
//! - challenged, and not acknowledged: as before, a challenge takes the ticket
//!   from its holder;
//! - given to two: the ledger knows one holder, the latest.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;

use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Acker, Channel, Connection, Consumer};
use tokio::time::{Instant, sleep_until, timeout_at};
use uuid::Uuid;

use crate::error::Failure;
use crate::item::Item;
use crate::roots::ended;
use crate::shared::Shared;
use crate::topology::{Queue, declare, publish, table};
use crate::wire::Entry;

/// How long an instance waits for a ticket that it published.
const WAIT: Duration = Duration::from_millis(300);

/// How long a new connection challenges nobody. A ticket that came with it may be
/// that of one who lost the broker with us and is not back yet.
const LENIENCE: Duration = Duration::from_secs(3);

/// A ticket in hand.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) ticket: Uuid,
    acker: Acker,
}

/// Takes a ticket once there are claims, renews it, and challenges the holders
/// of others'; ends with an error only.
pub(crate) async fn run(connection: &Connection, shared: &Shared) -> Result<(), Failure> {
    // That of a former connection went back to the queue with it.
    shared.ticket.send_replace(None);
    shared.ticketless.store(false, Ordering::Release);
    let mut claims = shared.claims.subscribe();
    // The sender is this instance's own.
    let _ = claims.wait_for(|claims| *claims).await;
    declare(connection, &shared.config.prefix, Queue::Tickets).await?;
    let channel = connection.create_channel().await?;
    let confirmed = ConfirmSelectOptions::default();
    channel.confirm_select(confirmed).await?;
    channel.basic_qos(0, BasicQosOptions::default()).await?;
    let name = Queue::Tickets.name(&shared.config.prefix);
    let mut counter = Counter {
        shared,
        listening: consume(&channel, &name, FieldTable::default()).await?,
        channel,
        name,
        asking: None,
        strict: Instant::now() + LENIENCE,
        later: Vec::new(),
    };
    loop {
        counter.take().await?;
        let renewal = tokio::time::sleep(shared.config.ticket_age);
        tokio::pin!(renewal);
        loop {
            tokio::select! {
                delivery = counter.listening.next() => {
                    let delivery = delivery.ok_or_else(ended)??;
                    counter.judge(delivery, Need::None).await?;
                }
                () = sleep_until(counter.strict), if !counter.later.is_empty() => {
                    for delivery in std::mem::take(&mut counter.later) {
                        counter.judge(delivery, Need::None).await?;
                    }
                }
                () = &mut renewal => break,
            }
        }
    }
}

async fn consume(
    channel: &Channel,
    name: &str,
    arguments: FieldTable,
) -> Result<Consumer, Failure> {
    let options = BasicConsumeOptions::default();
    Ok(channel
        .basic_consume(name.into(), "".into(), options, arguments)
        .await?)
}

/// Where tickets are handed out.
struct Counter<'a> {
    shared: &'a Shared,
    channel: Channel,
    name: String,
    /// Gets what others lost.
    listening: Consumer,
    /// Gets new ones, before all who only listen.
    asking: Option<Consumer>,
    /// From when on others are challenged, and what is judged then.
    strict: Instant,
    later: Vec<Delivery>,
}

/// Whether a ticket is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    One,
    None,
}

impl Counter<'_> {
    /// Takes a new ticket, in place of the present one.
    async fn take(&mut self) -> Result<(), Failure> {
        let first = table(&[("x-priority", AMQPValue::LongInt(1))]);
        self.asking = Some(consume(&self.channel, &self.name, first).await?);
        let mut taken = false;
        while !taken {
            let ticket = Uuid::now_v7();
            publish(&self.channel, &self.name, ticket.as_bytes()).await?;
            let until = Instant::now() + WAIT;
            // Only what is waited for is given up: what was delivered is judged,
            // or it would be nobody's until the broker minds.
            while !taken && let Ok(delivery) = timeout_at(until, self.delivery()).await {
                taken = self.judge(delivery?, Need::One).await?;
            }
            // Where another was given it: once more.
        }
        if let Some(asking) = self.asking.take() {
            let options = BasicCancelOptions::default();
            self.channel.basic_cancel(asking.tag(), options).await?;
            // What came in between is nobody's yet.
            let mut rest = asking;
            while let Some(Some(delivery)) = futures::FutureExt::now_or_never(rest.next()) {
                self.judge(delivery?, Need::None).await?;
            }
        }
        Ok(())
    }

    async fn delivery(&mut self) -> Result<Delivery, Failure> {
        let asking = self.asking.as_mut();
        let asked = async {
            match asking {
                Some(asking) => asking.next().await,
                None => std::future::pending().await,
            }
        };
        let delivery = tokio::select! {
            delivery = asked => delivery,
            delivery = self.listening.next() => delivery,
        };
        Ok(delivery.ok_or_else(ended)??)
    }

    /// Decides what a delivered ticket is; true where it was kept.
    async fn judge(&mut self, delivery: Delivery, need: Need) -> Result<bool, Failure> {
        let Ok(ticket) = Uuid::from_slice(&delivery.data) else {
            // Not one of ours.
            delivery.ack(BasicAckOptions::default()).await?;
            return Ok(false);
        };
        // What the ledger says of it up to now.
        let _ = self.shared.barrier().await;
        let holder = self.shared.view().fold.holder(ticket);
        match holder {
            Some(holder) if holder != self.shared.session => {
                if Instant::now() < self.strict {
                    self.later.push(delivery);
                    return Ok(false);
                }
                tracing::info!(%holder, "an instance lost its ticket; it has to answer");
                let session = holder;
                self.say(vec![Entry::Challenge { ticket, session }]).await?;
                delivery.ack(BasicAckOptions::default()).await?;
                Ok(false)
            }
            _ if need == Need::One => {
                let mut entries = vec![Entry::Hold { ticket }];
                let given_back = self.shared.last_ticket(ticket);
                entries.extend(given_back.map(|ticket| Entry::Let { ticket }));
                self.say(entries).await?;
                let acker = delivery.acker;
                let former = self.shared.held().replace(Held { ticket, acker });
                if let Some(former) = former {
                    // That of a former connection cannot be acknowledged.
                    let _ = former.acker.ack(BasicAckOptions::default()).await;
                }
                self.shared.ticket.send_replace(Some(ticket));
                Ok(true)
            }
            _ => {
                delivery.ack(BasicAckOptions::default()).await?;
                Ok(false)
            }
        }
    }

    async fn say(&self, entries: Vec<Entry>) -> Result<(), Failure> {
        // Also while calls are refused: the instance is about to be ready.
        let insist = |entry| self.shared.insist(Item::new(Some(entry)));
        let answers: Vec<_> = entries.into_iter().map(insist).collect();
        for answer in answers {
            answer.await.map_err(|_| ended())??;
        }
        Ok(())
    }
}

/// Gives the ticket back, after the ledger has said goodbye.
pub(crate) async fn give_back(shared: &Shared) {
    let held = shared.held().take();
    if let Some(held) = held {
        tracing::trace!(ticket = %held.ticket, "given back");
        let _ = held.acker.ack(BasicAckOptions::default()).await;
    }
}
