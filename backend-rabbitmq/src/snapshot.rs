//! Snapshots and generations: how the ledger is kept short.
//!
//! A stream's retention drops whole segments, wherever the snapshots are. So
//! the log is trimmed by generations: the leader writes a snapshot into a new
//! stream and then seals the old one, whose first seal names its successor.
//! What comes after the seal is void and is sent again to the new stream. The
//! snapshot says up to where in the old stream it folds: who starts reads it,
//! the old stream from there to the seal, and the new one. The stream before
//! the old one is deleted, after the roots name the new one.

use std::time::Duration;

use anyqueue_core::ErrorKind;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Connection};
use uuid::Uuid;

use crate::error::Failure;
use crate::fold::Fold;
use crate::follow::Reader;
use crate::outbox::Urgency;
use crate::roots;
use crate::shared::{Place, Shared};
use crate::topology::{self, Queue, confirmed, declare};
use crate::wire::{self, Base, Body, Entry, Head, Header};

/// How often the leader looks whether a snapshot is due.
const LOOK: Duration = Duration::from_millis(500);

/// How long it waits after one failed.
const PAUSE: Duration = Duration::from_secs(10);

/// The size of a snapshot's pieces.
const PIECE_BYTES: usize = 1024 * 1024;

/// Pieces that may be under way at a time.
const WINDOW: usize = 8;

/// Writes snapshots and trims while this instance leads; never ends.
pub(crate) async fn run(connection: &Connection, shared: &Shared) -> Result<(), Failure> {
    let mut least = shared.config.ledger_bytes;
    let mut trimmed_in = None;
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(term) = shared.leads() else { continue };
        if trimmed_in != Some(term) {
            // What a former leader left undone.
            match trim(connection, shared, term).await {
                Ok(()) => trimmed_in = Some(term),
                Err(failure) => pause(&failure).await,
            }
        }
        if shared.view().weight < least {
            continue;
        }
        match turn(connection, shared, term).await {
            Ok(bytes) => {
                // The cost of snapshots stays a share of the ledger's.
                least = shared.config.ledger_bytes.max(2 * bytes);
                trimmed_in = None;
            }
            Err(failure) => pause(&failure).await,
        }
    }
}

async fn pause(failure: &Failure) {
    tracing::warn!(reason = &*failure.message, "no snapshot was written; later");
    tokio::time::sleep(PAUSE).await;
}

/// Starts the next generation; answers the snapshot's size.
async fn turn(connection: &Connection, shared: &Shared, term: u64) -> Result<u64, Failure> {
    let prefix = &shared.config.prefix;
    let generation = shared.view().generation + 1;
    let ledger = format!("{prefix}.ledger.{generation}.{}", Uuid::now_v7().simple());
    let draft = ledger.clone();
    say(
        shared,
        Entry::Draft {
            term,
            ledger: draft,
        },
    )
    .await?;
    declare(connection, prefix, Queue::Ledger(&ledger)).await?;
    // Nothing is folded meanwhile.
    let (snapshot, base) = {
        let view = shared.view();
        let place = view.place.clone();
        let place = place.ok_or_else(|| Failure::new(ErrorKind::Internal, "no ledger"))?;
        let base = Base {
            ledger: place.ledger,
            offset: place.next,
        };
        (wire::encode(&view.fold), base)
    };
    let channel = connection.create_channel().await?;
    let confirm = ConfirmSelectOptions::default();
    channel.confirm_select(confirm).await?;
    let first = write(&channel, shared, &ledger, &snapshot).await?;
    let _ = channel.close(200, "done".into()).await;
    let next = Head {
        generation,
        ledger,
        first,
        base: Some(base),
    };
    say(shared, Entry::Seal { term, next }).await?;
    tracing::debug!(generation, bytes = snapshot.len(), "a snapshot was written");
    Ok(snapshot.len() as u64)
}

async fn write(
    channel: &Channel,
    shared: &Shared,
    ledger: &str,
    snapshot: &[u8],
) -> Result<u64, Failure> {
    let mut confirms = FuturesUnordered::new();
    let mut header = Header {
        session: shared.session,
        epoch: 0,
        sequence: 0,
        body: Body::Snapshot,
    };
    for piece in snapshot.chunks(PIECE_BYTES) {
        header.sequence += 1;
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let message = wire::message(&header, &[piece]);
        let properties = BasicProperties::default();
        let confirm = channel
            .basic_publish("".into(), ledger.into(), options, &message, properties)
            .await?;
        confirms.push(confirm);
        if confirms.len() >= WINDOW
            && let Some(confirm) = confirms.next().await
        {
            confirmed(&confirm?)?;
        }
    }
    while let Some(confirm) = confirms.next().await {
        confirmed(&confirm?)?;
    }
    Ok(header.sequence)
}

/// Deletes what no one needs any more, once the roots name the ledger that is
/// needed.
async fn trim(connection: &Connection, shared: &Shared, term: u64) -> Result<(), Failure> {
    let (head, stale) = {
        let view = shared.view();
        (view.head.clone(), view.fold.stale.clone())
    };
    let Some(head) = head else { return Ok(()) };
    roots::write(connection, &shared.config.prefix, head).await?;
    for ledger in stale {
        topology::delete(connection, &ledger).await?;
        say(shared, Entry::Trimmed { term, ledger }).await?;
    }
    Ok(())
}

async fn say(shared: &Shared, entry: Entry) -> Result<(), Failure> {
    let answered = shared.append(Some(entry), Urgency::InTurn)?;
    let ended = |_| Failure::new(ErrorKind::Unavailable, "the instance ended");
    answered.await.map_err(ended)?.map(drop)
}

/// Reads the snapshot at the head of a ledger.
pub(crate) async fn load(connection: &Connection, head: &Head) -> Result<Fold, Failure> {
    let mut reader = Reader::open(connection, &Place::at(&head.ledger, 0)).await?;
    let mut snapshot = Vec::new();
    for number in 1..=head.first {
        let (_, delivery) = reader.next().await?;
        let (header, piece) = wire::open(&delivery.data)?;
        if (header.body, header.sequence) != (Body::Snapshot, number) {
            return Err(wire::Unreadable::Garbled.into());
        }
        snapshot.extend_from_slice(piece);
        reader.done(&delivery).await?;
    }
    Ok(Fold::load(&snapshot)?)
}
