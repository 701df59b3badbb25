//! What a message of the ledger says: a format byte, a header, and commands
//! or a piece of a snapshot. All of it is `postcard`, whose enums are numbers:
//! variants are added at the end only, and never change their meaning.
//!
//! What cannot be read is void, for every instance alike. So whatever one
//! version can write and another cannot read, a new variant too, takes a new
//! format: a version that passed over what others fold would have a state of
//! its own.

use anyqueue_core::Timestamp;
use anyqueue_memory::Command;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How every message of a ledger begins; others are not ours.
const MAGIC: [u8; 2] = *b"aq";

/// What follows that. A later format is refused, not guessed.
const FORMAT: u8 = 1;

/// Whose message it is, and its place among theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// The instance that sent it.
    pub(crate) session: Uuid,
    /// Rises where the instance gives up what it had sent: what is still under
    /// way of an older epoch is void.
    pub(crate) epoch: u32,
    /// Counts the messages of the epoch, from 1.
    pub(crate) sequence: u64,
    /// What the rest is.
    pub(crate) body: Body,
}

/// What follows a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Body {
    /// A number, and so many entries.
    Batch,
    /// The start or the middle of a batch too large for one message.
    Piece,
    /// The end of such a batch.
    LastPiece,
    /// A piece of a snapshot, at the head of a ledger.
    Snapshot,
}

/// One command of the ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Entry {
    /// For the machine.
    Store(Command),
    /// The leader of this term read this time off its clock.
    Tick { term: u64, now: Timestamp },
    /// The sender wants to lead in this term, which follows the present one.
    Elect { term: u64 },
    /// The sender finds the clock old and asks for a tick.
    Touch,
    /// The sender holds this ticket: while it does, its leases are its own.
    Hold { ticket: Uuid },
    /// The sender no longer holds this ticket.
    Let { ticket: Uuid },
    /// The sender was given this ticket, which this other instance had held.
    Challenge { ticket: Uuid, session: Uuid },
    /// The sender lives.
    Alive,
    /// The sender ends; its leases end by themselves.
    Bye,
    /// The leader begins a ledger of this name.
    Draft { term: u64, ledger: String },
    /// The ledger ends here and goes on in this one.
    Seal { term: u64, next: Head },
    /// A stale ledger is deleted.
    Trimmed { term: u64, ledger: String },
}

/// Where a ledger begins: what is before `first` in it is a snapshot of the
/// state at a place in the ledger before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// How many ledgers there were before it.
    pub(crate) generation: u64,
    /// The stream's name.
    pub(crate) ledger: String,
    /// How many messages its snapshot has: no command has a smaller offset.
    pub(crate) first: u64,
    /// What its snapshot folds; `None` for the first ledger, which has none.
    pub(crate) base: Option<Base>,
}

/// The place of a snapshot: everything before `offset` is in it, and the
/// message at `offset - 1` is the last of that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Base {
    pub(crate) ledger: String,
    pub(crate) offset: u64,
}

/// A message that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Of a format that this version does not know.
    Newer,
    /// Cut short or garbled.
    Garbled,
}

/// A value as bytes. What is encoded here has no form that cannot be.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain data encodes into memory")
}

/// A value from bytes, all of them.
pub(crate) fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, Unreadable> {
    postcard::from_bytes(bytes).map_err(|_| Unreadable::Garbled)
}

/// The message of a header and a body.
pub(crate) fn message(header: &Header, body: &[&[u8]]) -> Vec<u8> {
    let length: usize = body.iter().map(|part| part.len()).sum();
    let mut message = Vec::with_capacity(48 + length);
    message.extend(MAGIC);
    message.push(FORMAT);
    let mut message = postcard::to_extend(header, message).expect("plain data encodes into memory");
    for part in body {
        message.extend_from_slice(part);
    }
    message
}

/// The header of a message, and the rest of it.
pub(crate) fn open(message: &[u8]) -> Result<(Header, &[u8]), Unreadable> {
    match message.strip_prefix(&MAGIC).and_then(<[u8]>::split_first) {
        Some((&FORMAT, rest)) => postcard::take_from_bytes(rest).map_err(|_| Unreadable::Garbled),
        Some((&format, _)) if format > FORMAT => Err(Unreadable::Newer),
        _ => Err(Unreadable::Garbled),
    }
}

#[cfg(test)]
mod tests {
    use anyqueue_core::{Kind, NewJob, Payload, QueueName};

    use super::*;

    fn header() -> Header {
        let session = Uuid::now_v7();
        Header {
            session,
            epoch: 7,
            sequence: 300,
            body: Body::Batch,
        }
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let payload = Payload::parse(r#"{"a":"\u0000☃"}"#, 100).unwrap();
        let job = NewJob::new(QueueName::default(), Kind::new("kind").unwrap(), payload);
        let entries = [
            Entry::Store(Command::Enqueue(vec![job.clone()])),
            Entry::Touch,
        ];
        let parts = entries.each_ref().map(encode);
        let header = header();
        let message = message(&header, &[&encode(&2_u32), &parts[0], &parts[1]]);
        let (found, body) = open(&message).unwrap();
        assert_eq!(found, header);
        let read: Vec<Entry> = decode(body).unwrap();
        let [Entry::Store(Command::Enqueue(jobs)), Entry::Touch] = &read[..] else {
            panic!("{read:?}")
        };
        assert_eq!(*jobs, [job]);
    }

    #[test]
    fn what_cannot_be_read_is_told_apart() {
        let mut message = message(&header(), &[&encode(&0_u32)]);
        assert_eq!(
            decode::<Vec<Entry>>(&[3, 200]).unwrap_err(),
            Unreadable::Garbled
        );
        assert_eq!(open(&message[..9]).unwrap_err(), Unreadable::Garbled);
        assert_eq!(open(&[]).unwrap_err(), Unreadable::Garbled);
        assert_eq!(open(b"hello").unwrap_err(), Unreadable::Garbled);
        message[2] = 2;
        assert_eq!(open(&message).unwrap_err(), Unreadable::Newer);
    }
}
