//! Where the ledgers begin: finding the present one.
//!
//! Leaders write to the stream `P.roots` where a ledger begins. A stream has
//! no end that a reader could see, so a reader writes a mark of its own and
//! reads up to it. What it finds is a hint: from an older ledger the seals
//! lead on, and one that is gone already sends the reader back here. Readers
//! write the newest root again once it is far from the end, so that it never
//! falls out of the stream's retention.

use anyqueue_core::ErrorKind;
use futures::StreamExt as _;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, ConfirmSelectOptions};
use lapin::{Channel, Connection};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::Failure;
use crate::topology::{self, Declared, Queue, declare, first_ledger, publish, table, text};
use crate::wire::{Head, decode, encode};

/// What a message of the roots' stream says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Root {
    /// A reader reads up to here.
    Mark(Uuid),
    /// A ledger begins so.
    Head(Head),
}

/// How far from the end the newest root may be.
const FAR: usize = 200;

/// The present ledger's beginning, or that of one shortly before it. In an
/// empty store the first ledger is made.
pub(crate) async fn find(connection: &Connection, prefix: &str) -> Result<Head, Failure> {
    let declared = declare(connection, prefix, Queue::Roots).await?;
    let found = newest(connection, prefix).await;
    if let Declared::Refused(refusal) = declared {
        // Such a user can use a store, and not make one.
        tracing::debug!("the user may not declare queues");
        return found.ok().flatten().ok_or(refusal);
    }
    if let Some(head) = found? {
        return Ok(head);
    }
    // Whoever finds nothing makes the first ledger. Should that have been made
    // and be long gone, because this reader stood still in between, the second
    // look finds the newer ones.
    let ledger = first_ledger(prefix);
    declare(connection, prefix, Queue::Ledger(&ledger)).await?;
    let head = Head {
        generation: 0,
        ledger,
        first: 0,
        base: None,
    };
    write(connection, prefix, head).await?;
    let found = newest(connection, prefix).await?;
    found.ok_or_else(|| Failure::new(ErrorKind::Corrupt, "the stream of roots lost its root"))
}

/// Notes where a ledger begins.
pub(crate) async fn write(
    connection: &Connection,
    prefix: &str,
    head: Head,
) -> Result<(), Failure> {
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let name = Queue::Roots.name(prefix);
    publish(&channel, &name, &encode(&Root::Head(head))).await?;
    let _ = channel.close(200, "done".into()).await;
    Ok(())
}

async fn newest(connection: &Connection, prefix: &str) -> Result<Option<Head>, Failure> {
    let name = Queue::Roots.name(prefix);
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let mark = Uuid::now_v7();
    publish(&channel, &name, &encode(&Root::Mark(mark))).await?;
    let (head, distance) = read_up_to(&channel, &name, mark).await?;
    if let Some(head) = head.as_ref().filter(|_| distance > FAR) {
        publish(&channel, &name, &encode(&Root::Head(head.clone()))).await?;
    }
    let _ = channel.close(200, "done".into()).await;
    Ok(head)
}

async fn read_up_to(
    channel: &Channel,
    name: &str,
    mark: Uuid,
) -> Result<(Option<Head>, usize), Failure> {
    channel.basic_qos(500, BasicQosOptions::default()).await?;
    let first = table(&[("x-stream-offset", text("first"))]);
    let mut consumer = channel
        .basic_consume(
            name.into(),
            "".into(),
            BasicConsumeOptions::default(),
            first,
        )
        .await?;
    let (mut newest, mut distance): (Option<Head>, usize) = (None, 0);
    let mut unacked = 0;
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery?;
        distance += 1;
        unacked += 1;
        if unacked >= 100 {
            unacked = 0;
            delivery.ack(BasicAckOptions { multiple: true }).await?;
        }
        match decode(&delivery.data) {
            // Something else publishes here.
            Err(_) => tracing::warn!("the roots hold a message that is no root; passed over"),
            Ok(Root::Mark(found)) if found == mark => return Ok((newest, distance)),
            Ok(Root::Mark(_)) => {}
            Ok(Root::Head(head)) => {
                let newer = |known: &Head| head.generation >= known.generation;
                if newest.as_ref().is_none_or(newer) {
                    newest = Some(head);
                    distance = 0;
                }
            }
        }
    }
    Err(ended())
}

/// The broker ended a consumer: its queue is gone or moved.
pub(crate) fn ended() -> Failure {
    Failure::new(
        ErrorKind::Unavailable,
        "the broker ended a consumer: a queue of the store is gone or has moved",
    )
}

/// Whether a ledger is there still.
pub(crate) async fn is_there(connection: &Connection, ledger: &str) -> Result<bool, Failure> {
    topology::exists(connection, ledger).await
}
