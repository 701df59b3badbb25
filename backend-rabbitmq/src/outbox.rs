//! [`Outbox`]: commands on their way into the ledger.
//!
//! What is asked while earlier messages are under way goes into the next one.
//! A message stays here until it is seen in the ledger: after a lost
//! connection all that is left is sent again, in order, and the fold drops
//! what it knows already.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use uuid::Uuid;

use crate::clock::Mark;
use crate::item::{Answered, Gate, Item};
use crate::wire::{Body, Entry, Header, encode, message};

/// Batches that may be under way at a time. More would make batches smaller
/// without making the ledger faster.
const WINDOW: usize = 4;

/// A batch is closed once it has so many bytes or items.
const BATCH_BYTES: usize = 1024 * 1024;
const BATCH_ITEMS: usize = 4_096;

/// A larger batch (of one large call) is sent in pieces of this size: brokers
/// refuse messages over 16 MiB.
const PIECE_BYTES: usize = 4 * 1024 * 1024;

/// Which commands go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Heartbeats: a lease may depend on it.
    First,
    InTurn,
}

#[derive(Debug)]
pub(crate) struct Outbox {
    session: Uuid,
    epoch: u32,
    /// The sequence of the last message made.
    sequence: u64,
    urgent: VecDeque<Item>,
    waiting: VecDeque<Item>,
    flights: VecDeque<Flight>,
    /// How many of the flights were sent on this connection.
    sent: usize,
}

/// A batch that is not seen in the ledger yet.
#[derive(Debug)]
struct Flight {
    /// The sequences of its first and last message.
    first: u64,
    last: u64,
    messages: Arc<[Vec<u8>]>,
    mark: Option<Mark>,
    items: Vec<Item>,
    packed: Instant,
    ever_sent: bool,
}

/// What to send next.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) messages: Arc<[Vec<u8>]>,
    /// How far the sender had read before the ticks in it.
    pub(crate) mark: Option<Mark>,
}

/// What a new batch is packed with.
#[derive(Debug)]
pub(crate) struct Packing {
    pub(crate) gate: Gate,
    /// When the batch is made: no later than its ticks.
    pub(crate) at: Instant,
    /// How far this instance had read then.
    pub(crate) mark: Option<Mark>,
    /// The leader's, before all other entries.
    pub(crate) ticks: Vec<Entry>,
}

impl Outbox {
    pub(crate) fn new(session: Uuid) -> Self {
        Self {
            session,
            epoch: 1,
            sequence: 0,
            urgent: VecDeque::new(),
            waiting: VecDeque::new(),
            flights: VecDeque::new(),
            sent: 0,
        }
    }

    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(crate) fn push(&mut self, item: Item, urgency: Urgency) {
        match urgency {
            Urgency::First => self.urgent.push_back(item),
            Urgency::InTurn => self.waiting.push_back(item),
        }
    }

    /// Whether [`next`](Self::next) would give anything, and whether that is
    /// stamped with the ledger's time; and whether something is held back.
    pub(crate) fn look(&self, gate: &Gate) -> Look {
        let mut look = Look::default();
        if self.sent < self.flights.len() {
            look.wish = Some(Wish::Again);
        } else if self.flights.len() < WINDOW {
            for item in self.urgent.iter().chain(&self.waiting).take(BATCH_ITEMS) {
                if !gate.lets(item) {
                    look.held = true;
                } else if item.is_timed() {
                    look.wish = Some(Wish::Timed);
                } else {
                    look.wish = look.wish.or(Some(Wish::Untimed));
                }
            }
        }
        look
    }

    /// The next batch to send.
    pub(crate) fn next(&mut self, packing: Packing) -> Option<Parcel> {
        if self.sent == self.flights.len() {
            let flight = self.pack(packing)?;
            self.flights.push_back(flight);
        }
        Some(self.send())
    }

    fn send(&mut self) -> Parcel {
        let flight = &mut self.flights[self.sent];
        flight.ever_sent = true;
        self.sent += 1;
        Parcel {
            messages: Arc::clone(&flight.messages),
            mark: flight.mark,
        }
    }

    /// A batch of this entry or these ticks alone, ahead of what waits; and where
    /// its answer comes. None where something is to be sent again first.
    pub(crate) fn alone(
        &mut self,
        entry: Option<Entry>,
        packing: Packing,
    ) -> Option<(Parcel, Answered)> {
        if self.sent < self.flights.len() {
            return None;
        }
        let (item, answered) = Item::new(entry);
        let flight = self.seal(vec![item], packing);
        self.flights.push_back(flight);
        Some((self.send(), answered))
    }

    fn pack(&mut self, packing: Packing) -> Option<Flight> {
        if self.flights.len() >= WINDOW {
            return None;
        }
        let gate = &packing.gate;
        let mut items: Vec<Item> = Vec::new();
        let mut bytes = 0;
        for queue in [&mut self.urgent, &mut self.waiting] {
            let mut at = 0;
            while bytes < BATCH_BYTES && items.len() < BATCH_ITEMS {
                match queue.get(at) {
                    None => break,
                    Some(item) if !gate.lets(item) => at += 1,
                    Some(_) => {
                        let Some(mut item) = queue.remove(at) else {
                            break;
                        };
                        gate.lengthen(&mut item);
                        bytes += item.bytes().len();
                        items.push(item);
                    }
                }
            }
        }
        if items.is_empty() {
            return None;
        }
        Some(self.seal(items, packing))
    }

    fn seal(&mut self, items: Vec<Item>, packing: Packing) -> Flight {
        let ticks = packing.ticks.into_iter();
        let ticks = ticks.map(|tick| Item::new(Some(tick)).0);
        let mut items: Vec<Item> = ticks.chain(items).collect();
        let entries = items.iter().filter(|item| !item.is_barrier()).count();
        let count = encode(&entries);
        let parts: Vec<&[u8]> = std::iter::once(&count[..])
            .chain(items.iter().map(Item::bytes))
            .collect();
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut messages = Vec::new();
        if length <= PIECE_BYTES {
            messages.push(message(&self.header(Body::Batch), &parts));
        } else {
            let whole = parts.concat();
            let mut pieces = whole.chunks(PIECE_BYTES).peekable();
            while let Some(piece) = pieces.next() {
                let body = match pieces.peek() {
                    Some(_) => Body::Piece,
                    None => Body::LastPiece,
                };
                messages.push(message(&self.header(body), &[piece]));
            }
        }
        items.iter_mut().for_each(Item::forget_bytes);
        Flight {
            first: self.sequence + 1 - messages.len() as u64,
            last: self.sequence,
            messages: messages.into(),
            mark: packing.mark,
            items,
            packed: packing.at,
            ever_sent: false,
        }
    }

    fn header(&mut self, body: Body) -> Header {
        self.sequence += 1;
        Header {
            session: self.session,
            epoch: self.epoch,
            sequence: self.sequence,
            body,
        }
    }

    /// Takes the batch that ends with this message, which names this instance
    /// and was seen in the ledger in its turn.
    pub(crate) fn seen(&mut self, header: &Header, message: &[u8]) -> Own {
        if header.epoch != self.epoch {
            return Own::Part;
        }
        let sent = self.flights.front().and_then(|flight| {
            let place = header.sequence.checked_sub(flight.first)?;
            let sent = flight.messages.get(usize::try_from(place).ok()?)?;
            (sent == message).then_some(flight.last)
        });
        match sent {
            None => Own::Altered,
            Some(last) if header.sequence < last => Own::Part,
            Some(_) => {
                let Some(flight) = self.flights.pop_front() else {
                    return Own::Altered;
                };
                // It may be an earlier connection's that is only now seen.
                self.sent = self.sent.saturating_sub(1);
                Own::Batch {
                    items: flight.items,
                    packed: flight.packed,
                }
            }
        }
    }

    /// Whether what is kept begins after this message, which therefore cannot
    /// be sent (again).
    pub(crate) fn begins_after(&self, sequence: u64) -> bool {
        let first = self.flights.front();
        first.is_some_and(|flight| flight.first > sequence)
    }

    /// All that was not seen is to be sent again.
    pub(crate) fn send_again(&mut self) {
        self.sent = 0;
    }

    /// Gives up all batches that end with this message or an earlier one:
    /// they are in the ledger, and their answers were not seen.
    pub(crate) fn missed(&mut self, sequence: u64) -> Vec<Item> {
        let mut items = Vec::new();
        while self
            .flights
            .front()
            .is_some_and(|flight| flight.last <= sequence)
        {
            items.extend(
                self.flights
                    .pop_front()
                    .into_iter()
                    .flat_map(|flight| flight.items),
            );
        }
        self.sent = 0;
        items
    }

    /// Gives up everything: what may have been accepted, and what was never
    /// sent. What is still under way is void from now on.
    pub(crate) fn give_up(&mut self) -> (Vec<Item>, Vec<Item>) {
        let (mut unknown, mut unsent) = (Vec::new(), Vec::new());
        for flight in self.flights.drain(..) {
            if flight.ever_sent {
                unknown.extend(flight.items);
            } else {
                unsent.extend(flight.items);
            }
        }
        unsent.extend(self.urgent.drain(..));
        unsent.extend(self.waiting.drain(..));
        self.sent = 0;
        self.epoch += 1;
        self.sequence = 0;
        (unknown, unsent)
    }
}

/// What a message of the ledger is to the instance that it names.
#[derive(Debug)]
pub(crate) enum Own {
    /// The end of the batch of these items, which was made then.
    Batch { items: Vec<Item>, packed: Instant },
    /// A piece of a batch, or of an epoch that was given up.
    Part,
    /// Not what this instance has sent. The others know no better, and what it
    /// did send in that place is void.
    Altered,
}

/// What is in the outbox.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) wish: Option<Wish>,
    /// Something waits for the time.
    pub(crate) held: bool,
}

/// What waits to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// What was sent before.
    Again,
    /// Commands that are stamped with the ledger's time.
    Timed,
    /// Others.
    Untimed,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anyqueue_core::{ClaimRequest, QueueName, Timestamp, WorkerId};
    use anyqueue_memory::Command;

    use super::*;
    use crate::clock::Clock;
    use crate::wire::{decode, open};

    const LEASE: Duration = Duration::from_secs(5);

    fn gate() -> Gate {
        Gate {
            clock: Clock::new(),
            now: Instant::now(),
            leads: false,
            unheard: false,
        }
    }

    fn packing() -> Packing {
        Packing {
            gate: gate(),
            at: Instant::now(),
            mark: None,
            ticks: Vec::new(),
        }
    }

    fn claim() -> Entry {
        Entry::Store(Command::Claim(ClaimRequest {
            queues: vec![QueueName::default()],
            limit: 1,
            lease: LEASE,
            worker: WorkerId::random(),
        }))
    }

    /// The leases asked for in a parcel.
    fn leases(parcel: &Parcel) -> Vec<Duration> {
        let (_, body) = open(&parcel.messages[0]).unwrap();
        let entries: Vec<Entry> = decode(body).unwrap();
        let leases = entries.into_iter().filter_map(|entry| match entry {
            Entry::Store(Command::Claim(request)) => Some(request.lease),
            _ => None,
        });
        leases.collect()
    }

    fn outbox() -> Outbox {
        Outbox::new(Uuid::now_v7())
    }

    fn push(outbox: &mut Outbox, entry: Option<Entry>) -> Answered {
        let (item, answered) = Item::new(entry);
        outbox.push(item, Urgency::InTurn);
        answered
    }

    /// How many items came with a parcel's last message.
    fn seen(outbox: &mut Outbox, parcel: &Parcel) -> Option<usize> {
        let message = parcel.messages.last().unwrap();
        match outbox.seen(&open(message).unwrap().0, message) {
            Own::Batch { items, .. } => Some(items.len()),
            _ => None,
        }
    }

    fn sequences(parcel: &Parcel) -> Vec<(u64, Body)> {
        let headers = parcel
            .messages
            .iter()
            .map(|message| open(message).unwrap().0);
        headers
            .map(|header| (header.sequence, header.body))
            .collect()
    }

    #[test]
    fn what_waits_goes_together_and_urgent_items_first() {
        let mut outbox = outbox();
        let _a = push(&mut outbox, None);
        let _b = push(&mut outbox, Some(Entry::Alive));
        let (item, _c) = Item::new(Some(Entry::Touch));
        outbox.push(item, Urgency::First);
        let parcel = outbox.next(packing()).unwrap();
        let (_, body) = open(&parcel.messages[0]).unwrap();
        let entries: Vec<Entry> = decode(body).unwrap();
        assert!(matches!(entries[..], [Entry::Touch, Entry::Alive]));
        assert!(outbox.next(packing()).is_none());
        assert_eq!(seen(&mut outbox, &parcel), Some(3));
    }

    #[test]
    fn what_was_not_seen_is_sent_again_in_order() {
        let mut outbox = outbox();
        let mut parcels = Vec::new();
        for _ in 0..WINDOW {
            push(&mut outbox, None);
            parcels.push(outbox.next(packing()).unwrap());
        }
        push(&mut outbox, None);
        assert_eq!(outbox.look(&gate()).wish, None, "the window is full");
        assert!(outbox.next(packing()).is_none());
        assert_eq!(seen(&mut outbox, &parcels[0]), Some(1));
        outbox.send_again();
        assert_eq!(outbox.look(&gate()).wish, Some(Wish::Again));
        let again: Vec<_> = (0..WINDOW)
            .map(|_| sequences(&outbox.next(packing()).unwrap())[0].0)
            .collect();
        assert_eq!(again, [2, 3, 4, 5]);
    }

    #[test]
    fn a_large_call_goes_in_pieces() {
        let mut outbox = outbox();
        let ledger = "x".repeat(2 * PIECE_BYTES);
        let _a = push(&mut outbox, Some(Entry::Draft { term: 1, ledger }));
        let parcel = outbox.next(packing()).unwrap();
        let expected = [(1, Body::Piece), (2, Body::Piece), (3, Body::LastPiece)];
        assert_eq!(sequences(&parcel), expected);
        for piece in &parcel.messages[..2] {
            let header = open(piece).unwrap().0;
            assert!(matches!(outbox.seen(&header, piece), Own::Part));
        }
        assert_eq!(seen(&mut outbox, &parcel), Some(1));
    }

    #[test]
    fn what_others_say_in_its_place_is_told_from_its_own() {
        let mut outbox = outbox();
        let _a = push(&mut outbox, Some(Entry::Touch));
        let parcel = outbox.next(packing()).unwrap();
        let own = &parcel.messages[0];
        let (header, _) = open(own).unwrap();
        let garbled = &own[..own.len() - 1];
        assert!(matches!(outbox.seen(&header, garbled), Own::Altered));
        let ahead = Header {
            sequence: 2,
            ..header
        };
        let forged = message(&ahead, &[&[0]]);
        assert!(matches!(outbox.seen(&ahead, &forged), Own::Altered));
        assert_eq!(seen(&mut outbox, &parcel), Some(1), "it is there still");
    }

    #[test]
    fn giving_up_tells_the_sent_from_the_unsent_and_starts_an_epoch() {
        let mut outbox = outbox();
        let _a = push(&mut outbox, None);
        let given_up = outbox.next(packing()).unwrap();
        let _b = push(&mut outbox, None);
        let (unknown, unsent) = outbox.give_up();
        assert_eq!((unknown.len(), unsent.len()), (1, 1));
        let _c = push(&mut outbox, None);
        let parcel = outbox.next(packing()).unwrap();
        let (header, _) = open(&parcel.messages[0]).unwrap();
        assert_eq!((header.epoch, header.sequence), (2, 1));
        assert_eq!(seen(&mut outbox, &given_up), None);
    }

    #[test]
    fn what_begins_a_span_waits_for_the_time() {
        let mut outbox = outbox();
        let _a = push(&mut outbox, Some(claim()));
        let _b = push(&mut outbox, Some(Entry::Alive));
        let look = outbox.look(&gate());
        assert_eq!((look.wish, look.held), (Some(Wish::Untimed), true));
        let parcel = outbox.next(packing()).unwrap();
        assert!(leases(&parcel).is_empty());
        assert_eq!(seen(&mut outbox, &parcel), Some(1));
        let mut known = packing();
        let time = Timestamp::from_micros(1);
        known.gate.clock.hear(time, time, Some(Instant::now()));
        let look = outbox.look(&known.gate);
        assert_eq!((look.wish, look.held), (Some(Wish::Timed), false));
        assert_eq!(leases(&outbox.next(known).unwrap()), [LEASE]);
    }

    #[test]
    fn spans_are_longer_by_what_the_time_is_behind() {
        let mut outbox = outbox();
        let late = Duration::from_secs(700);
        let mut unheard = packing();
        let time = Timestamp::from_micros(1);
        let heard = Some(Instant::now().checked_sub(late).unwrap());
        unheard.gate.clock.hear(time, time, heard);
        let _a = push(&mut outbox, Some(claim()));
        assert!(outbox.look(&unheard.gate).held);
        unheard.gate.unheard = true;
        assert!(!outbox.look(&unheard.gate).held);
        let parcel = outbox.next(unheard).unwrap();
        assert!(leases(&parcel)[0] >= LEASE + late);
        // What is folded here is what the others read.
        let (header, _) = open(&parcel.messages[0]).unwrap();
        let Own::Batch { items, .. } = outbox.seen(&header, &parcel.messages[0]) else {
            panic!("its own")
        };
        let entries: Vec<_> = items.into_iter().filter_map(|item| item.take().0).collect();
        let (_, body) = open(&parcel.messages[0]).unwrap();
        assert_eq!(encode(&entries), body);
    }

    #[test]
    fn ticks_go_before_all_others() {
        let mut outbox = outbox();
        let _a = push(&mut outbox, None);
        let (term, now) = (1, Timestamp::from_micros(1));
        let mark = Some(Mark {
            generation: 0,
            next: 7,
        });
        let ticks = vec![Entry::Tick { term, now }; 2];
        let parcel = outbox.next(Packing {
            mark,
            ticks,
            ..packing()
        });
        let parcel = parcel.unwrap();
        assert_eq!(parcel.mark, mark);
        let (_, body) = open(&parcel.messages[0]).unwrap();
        let entries: Vec<Entry> = decode(body).unwrap();
        assert!(matches!(
            entries[..],
            [Entry::Tick { .. }, Entry::Tick { .. }]
        ));
        assert_eq!(seen(&mut outbox, &parcel), Some(3));
    }
}
