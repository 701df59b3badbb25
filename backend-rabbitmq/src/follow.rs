//! Following the ledger: every message is folded, in the order of the stream.

use anyqueue_core::ErrorKind;
use futures::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::AMQPValue;
use lapin::{Connection, Consumer};

use crate::error::Failure;
use crate::roots::ended;
use crate::shared::{Place, Shared};
use crate::topology::table;

/// Messages that the broker may send ahead of the acknowledgements.
const PREFETCH: u16 = 128;

/// How many messages one acknowledgement covers.
const ACK_EVERY: u32 = 32;

/// Follows the ledger from where the fold stands; ends with an error only.
pub(crate) async fn run(connection: &Connection, shared: &Shared) -> Result<(), Failure> {
    loop {
        let place = shared.view().place.clone();
        let place =
            place.ok_or_else(|| Failure::new(ErrorKind::Internal, "no ledger was found"))?;
        let mut reader = Reader::open(connection, &place).await?;
        loop {
            let delivery = reader.next().await?;
            shared.fold(&delivery.data)?;
            reader.done(&delivery).await?;
            let mut view = shared.view();
            if let Some(next) = view.fold.sealed.take() {
                // What comes after the seal is void; its senders see that and
                // send it again to the next ledger.
                view.place = Some(Place {
                    ledger: next.ledger.clone(),
                    next: next.first,
                });
                view.generation = next.generation;
                view.head = Some(next);
                view.bytes = 0;
                drop(view);
                shared.outbox().send_again();
                shared.to_send.notify_one();
                shared.lead.notify_one();
                break;
            }
        }
    }
}

/// Reads a stream message by message, without a gap.
pub(crate) struct Reader {
    consumer: Consumer,
    next: u64,
    unacked: u32,
}

impl Reader {
    /// Starts at this place.
    pub(crate) async fn open(connection: &Connection, place: &Place) -> Result<Self, Failure> {
        let channel = connection.create_channel().await?;
        channel
            .basic_qos(PREFETCH, BasicQosOptions::default())
            .await?;
        let offset = AMQPValue::LongLongInt(place.next.cast_signed());
        let consumer = channel
            .basic_consume(
                place.ledger.as_str().into(),
                "".into(),
                BasicConsumeOptions::default(),
                table(&[("x-stream-offset", offset)]),
            )
            .await?;
        Ok(Self {
            consumer,
            next: place.next,
            unacked: 0,
        })
    }

    /// The next message. The broker starts elsewhere, without a word, where
    /// the offset asked for is not there (any more).
    pub(crate) async fn next(&mut self) -> Result<Delivery, Failure> {
        let delivery = self.consumer.next().await.ok_or_else(ended)??;
        let found = offset(&delivery);
        if found != Some(self.next) {
            let message = format!("the ledger gave message {found:?} instead of {}", self.next);
            return Err(Failure::new(ErrorKind::NotFound, message));
        }
        self.next += 1;
        Ok(delivery)
    }

    /// Lets the broker send more.
    pub(crate) async fn done(&mut self, delivery: &Delivery) -> Result<(), Failure> {
        self.unacked += 1;
        if self.unacked >= ACK_EVERY {
            self.unacked = 0;
            delivery.ack(BasicAckOptions { multiple: true }).await?;
        }
        Ok(())
    }
}

fn offset(delivery: &Delivery) -> Option<u64> {
    let headers = delivery.properties.headers().as_ref()?;
    match headers.inner().get("x-stream-offset")? {
        AMQPValue::LongLongInt(offset) => u64::try_from(*offset).ok(),
        _ => None,
    }
}
