//! The store's queues: their names, and how they are declared and checked.
//!
//! | Name | Type | Holds |
//! |---|---|---|
//! | `P.roots` | stream | where the ledgers begin |
//! | `P.ledger.0`, `P.ledger.N.…` | stream | the commands, one after the other |
//! | `P.leader` | quorum, single active consumer | one message: who has it asks to lead |
//! | `P.tickets` | quorum | one message for each instance that claims |

use lapin::options::{BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{BasicProperties, Channel, Confirmation, Connection};

use crate::error::Failure;
use anyqueue_core::ErrorKind;

/// A queue of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queue<'a> {
    Roots,
    Ledger(&'a str),
    Leader,
    Tickets,
}

/// The roots' stream keeps so much, and drops it by segments.
const ROOTS_BYTES: i64 = 512 * 1024;
const ROOTS_SEGMENT_BYTES: i64 = 128 * 1024;

impl Queue<'_> {
    pub(crate) fn name(self, prefix: &str) -> String {
        match self {
            Self::Roots => format!("{prefix}.roots"),
            Self::Ledger(name) => name.to_owned(),
            Self::Leader => format!("{prefix}.leader"),
            Self::Tickets => format!("{prefix}.tickets"),
        }
    }

    fn arguments(self) -> FieldTable {
        match self {
            Self::Roots => table(&[
                ("x-queue-type", text("stream")),
                ("x-max-length-bytes", AMQPValue::LongLongInt(ROOTS_BYTES)),
                (
                    "x-stream-max-segment-size-bytes",
                    AMQPValue::LongLongInt(ROOTS_SEGMENT_BYTES),
                ),
            ]),
            Self::Ledger(_) => table(&[("x-queue-type", text("stream"))]),
            Self::Leader => table(&[
                ("x-queue-type", text("quorum")),
                ("x-single-active-consumer", AMQPValue::Boolean(true)),
                ("x-max-length", AMQPValue::LongLongInt(1)),
            ]),
            Self::Tickets => table(&[("x-queue-type", text("quorum"))]),
        }
    }
}

/// The store's first ledger.
pub(crate) fn first_ledger(prefix: &str) -> String {
    format!("{prefix}.ledger.0")
}

pub(crate) fn table(pairs: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in pairs {
        table.insert(ShortString::from(*key), value.clone());
    }
    table
}

pub(crate) fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

/// What became of a declaration.
#[derive(Debug)]
pub(crate) enum Declared {
    /// The queue is there as it has to be, with so many messages waiting.
    Checked(u32),
    /// The user may not declare, and not look either. It may be there.
    Refused(Failure),
}

impl Declared {
    /// Whether a message is known to wait in it, or may.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Checked(0))
    }
}

/// Makes sure that a queue is there as it has to be. A user who may not
/// declare may still use what is there.
pub(crate) async fn declare(
    connection: &Connection,
    prefix: &str,
    queue: Queue<'_>,
) -> Result<Declared, Failure> {
    let name = queue.name(prefix);
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let channel = connection.create_channel().await?;
    let declared = channel
        .queue_declare(name.as_str().into(), durable, queue.arguments())
        .await;
    match declared.map_err(Failure::from) {
        Ok(declared) => {
            let count = declared.message_count();
            close(&channel).await;
            Ok(Declared::Checked(count))
        }
        Err(failure) if failure.kind == ErrorKind::Denied => Ok(Declared::Refused(failure)),
        Err(failure) => Err(failure),
    }
}

/// Whether a queue is there, as far as the user may know.
pub(crate) async fn exists(connection: &Connection, name: &str) -> Result<bool, Failure> {
    let channel = connection.create_channel().await?;
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let looked = channel
        .queue_declare(name.into(), passive, FieldTable::default())
        .await;
    match looked {
        Ok(_) => {
            close(&channel).await;
            Ok(true)
        }
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => {
            let failure = Failure::from(error);
            // Without the permission to configure there is no look either.
            if failure.kind == ErrorKind::Denied {
                return Ok(true);
            }
            Err(failure)
        }
    }
}

/// Deletes a queue with what is in it; it may be gone already.
pub(crate) async fn delete(connection: &Connection, name: &str) -> Result<(), Failure> {
    let channel = connection.create_channel().await?;
    let deleted = channel.queue_delete(name.into(), QueueDeleteOptions::default());
    match deleted.await {
        Ok(_) => {
            close(&channel).await;
            Ok(())
        }
        Err(error) if is_missing(&error) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Publishes to a queue, and returns when the broker has it. The channel must
/// confirm.
pub(crate) async fn publish(channel: &Channel, queue: &str, body: &[u8]) -> Result<(), Failure> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let properties = BasicProperties::default().with_delivery_mode(2);
    let sent = channel
        .basic_publish("".into(), queue.into(), options, body, properties)
        .await?;
    confirmed(&sent.await?)
}

/// What a confirmation says.
pub(crate) fn confirmed(confirmation: &Confirmation) -> Result<(), Failure> {
    match confirmation {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_)) => Err(Failure::new(
            ErrorKind::Unavailable,
            "a queue of the store is gone",
        )),
        _ => Err(Failure::new(
            ErrorKind::Unavailable,
            "the broker could not keep a message",
        )),
    }
}

/// Whether the queue is not there: not declared, that is. One whose node is
/// down, or has not yet recovered it, is said to be not found as well.
pub(crate) fn is_missing(error: &lapin::Error) -> bool {
    matches!(
        error.kind(),
        lapin::ErrorKind::ProtocolError(error)
            if *error.kind() == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND)
                && error.get_message().as_str().contains("no queue")
    )
}

async fn close(channel: &Channel) {
    // It closes with the connection otherwise.
    let _ = channel.close(200, "done".into()).await;
}
