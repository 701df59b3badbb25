//! Following the ledger: every message is folded, in the order of the stream.

use std::time::{Duration, Instant};

use anyqueue_core::ErrorKind;
use futures::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::AMQPValue;
use lapin::{Acker, Connection, Consumer};

use crate::clock::Mark;
use crate::error::Failure;
use crate::roots::ended;
use crate::shared::{Place, Print, Shared};
use crate::topology::table;
use crate::wire::{self, Body};

/// Messages that the broker may send ahead of the acknowledgements.
const PREFETCH: u16 = 128;

/// How long the broker may take to give a message that it has.
const ANCHOR_PATIENCE: Duration = Duration::from_secs(20);

/// How many messages one acknowledgement covers.
const ACK_EVERY: u32 = 32;

/// Where fewer come, it is made after this time: the broker closes a channel that
/// keeps a message for half an hour.
const ACK_AFTER: Duration = Duration::from_secs(1);

/// Follows the ledger from where the fold stands; ends with an error only.
pub(crate) async fn run(connection: &Connection, shared: &Shared) -> Result<(), Failure> {
    loop {
        let place = shared.view().place.clone();
        let place =
            place.ok_or_else(|| Failure::new(ErrorKind::Internal, "no ledger was found"))?;
        let mut reader = Reader::open(connection, &place).await?;
        loop {
            let (offset, delivery) = reader.next().await?;
            shared.fold(offset, &delivery.data, mark(&delivery))?;
            reader.done(&delivery).await?;
            let mut view = shared.view();
            if let Some(next) = view.fold.sealed.take() {
                // What comes after the seal is void; its senders see that and
                // send it again to the next ledger.
                view.place = Some(Place::at(&next.ledger, next.first));
                view.generation = next.generation;
                view.head = Some(next);
                view.weight = 0;
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
///
/// Offsets have gaps: a segment of a stream begins with a record of the
/// broker's own, which takes one (test `segments`). And the broker starts a
/// reader elsewhere, without a word, where the offset asked for is not there
/// (any more). So a reader asks for the message *before* its place too. Where
/// that comes first, and says what it said, all that comes after it is what
/// follows it.
pub(crate) struct Reader {
    consumer: Consumer,
    place: Place,
    unacked: u32,
    /// When the acknowledgement before was made.
    acked: Instant,
    /// The newest message that is not acknowledged.
    newest: Option<Acker>,
}

impl Reader {
    /// Starts at this place.
    pub(crate) async fn open(connection: &Connection, place: &Place) -> Result<Self, Failure> {
        let channel = connection.create_channel().await?;
        channel
            .basic_qos(PREFETCH, BasicQosOptions::default())
            .await?;
        let offset = AMQPValue::LongLongInt(place.next.saturating_sub(1).cast_signed());
        let consumer = channel
            .basic_consume(
                place.ledger.as_str().into(),
                "".into(),
                BasicConsumeOptions::default(),
                table(&[("x-stream-offset", offset)]),
            )
            .await?;
        let mut reader = Self {
            consumer,
            place: place.clone(),
            unacked: 0,
            acked: Instant::now(),
            newest: None,
        };
        if place.next > 0 {
            reader.find_the_message_before().await?;
        }
        Ok(reader)
    }

    async fn find_the_message_before(&mut self) -> Result<(), Failure> {
        // It is there already, so it comes soon; where the ledger ends before
        // it, nothing would come at all.
        let receive = tokio::time::timeout(ANCHOR_PATIENCE, self.receive());
        let received = receive.await.map_err(|_| self.displaced(None))?;
        let (offset, delivery) = received?;
        let is_before = offset + 1 == self.place.next;
        let found = match self.place.last {
            Some(last) => is_before && last == Print::of(&delivery.data),
            // Where a ledger begins, a piece of its snapshot: its last one, or
            // one before that where offsets have a gap. Pieces are passed over.
            None => is_before || is_snapshot(&delivery.data),
        };
        if !found {
            return Err(self.displaced(Some(offset)));
        }
        self.place.next = offset + 1;
        self.done(&delivery).await
    }

    /// The next message and its offset.
    pub(crate) async fn next(&mut self) -> Result<(u64, Delivery), Failure> {
        let (offset, delivery) = self.receive().await?;
        let follows = match self.place.next {
            // Nothing was seen before it: it is the very first.
            0 => offset == 0,
            next => offset >= next,
        };
        if !follows {
            return Err(self.displaced(Some(offset)));
        }
        self.place.next = offset + 1;
        Ok((offset, delivery))
    }

    async fn receive(&mut self) -> Result<(u64, Delivery), Failure> {
        let soon = tokio::time::timeout(ACK_AFTER, self.consumer.next()).await;
        let delivery = match soon {
            Ok(delivery) => delivery,
            Err(_) => {
                self.acknowledge().await?;
                self.consumer.next().await
            }
        };
        let delivery = delivery.ok_or_else(ended)??;
        let offset = offset(&delivery).ok_or_else(|| {
            Failure::new(ErrorKind::Corrupt, "a message of the ledger has no offset")
        })?;
        Ok((offset, delivery))
    }

    fn displaced(&self, found: Option<u64>) -> Failure {
        let (ledger, wanted) = (&self.place.ledger, self.place.next);
        Failure::displaced(match found {
            Some(found) => {
                format!("{ledger} gave message {found} where {wanted} was to be the next")
            }
            None => format!("{ledger} ends before message {wanted}"),
        })
    }

    /// Lets the broker send more.
    pub(crate) async fn done(&mut self, delivery: &Delivery) -> Result<(), Failure> {
        self.unacked += 1;
        self.newest = Some(delivery.acker.clone());
        if self.unacked >= ACK_EVERY || self.acked.elapsed() > ACK_AFTER {
            self.acknowledge().await?;
        }
        Ok(())
    }

    async fn acknowledge(&mut self) -> Result<(), Failure> {
        self.unacked = 0;
        self.acked = Instant::now();
        if let Some(newest) = self.newest.take() {
            newest.ack(BasicAckOptions { multiple: true }).await?;
        }
        Ok(())
    }
}

fn is_snapshot(message: &[u8]) -> bool {
    wire::open(message).is_ok_and(|(header, _)| header.body == Body::Snapshot)
}

/// How far its sender had read, where it says so.
fn mark(delivery: &Delivery) -> Option<Mark> {
    let told = delivery.properties.correlation_id().as_ref()?;
    told.as_str().parse().ok()
}

fn offset(delivery: &Delivery) -> Option<u64> {
    let headers = delivery.properties.headers().as_ref()?;
    match headers.inner().get("x-stream-offset")? {
        AMQPValue::LongLongInt(offset) => u64::try_from(*offset).ok(),
        _ => None,
    }
}
