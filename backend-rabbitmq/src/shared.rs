//! [`Shared`]: what an instance's tasks and its handles share.

use std::hash::{DefaultHasher, Hasher as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyqueue_core::support::Waiters;
use anyqueue_core::{Error, ErrorKind, Operation};
use anyqueue_memory::Changes;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::clock::{Clock, Mark, Said};
use crate::config::RabbitConfig;
use crate::error::Failure;
use crate::fold::{Effects, Fold, Reply, Standing};
use crate::item::{Answered, Item};
use crate::outbox::{Outbox, Own, Urgency};
use crate::ticket::Held;
use crate::wire::{self, Entry, Head, Unreadable};

/// How long a claim waits for the instance's ticket.
const TICKET_PATIENCE: Duration = Duration::from_secs(1);

/// What it costs to read a message, however short, in bytes of a long one. The
/// broker gives 6,000 to 14,000 small ones a second (RabbitMQ 3.10, two cores).
const MESSAGE_WEIGHT: u64 = 4 * 1024;

/// An instance: one process's view of a store, and its way of changing it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: RabbitConfig,
    /// The instance's name in the ledger.
    pub(crate) session: Uuid,
    view: Mutex<View>,
    outbox: Mutex<Outbox>,
    /// Told when the outbox has something to send.
    pub(crate) to_send: Notify,
    pub(crate) waiters: Waiters,
    /// The ledger's time, and what is known of it.
    pub(crate) clock: watch::Sender<Clock>,
    pub(crate) phase: watch::Sender<Phase>,
    /// Calls are refused at once: the broker is away for long.
    refusing: AtomicBool,
    /// The term in which this instance leads; 0 where it does not.
    leading: AtomicU64,
    /// Told when the leader may have something to do.
    pub(crate) lead: Notify,
    /// Whether a tick is asked for.
    pub(crate) tick_wanted: AtomicBool,
    /// Whether a tick was asked for in vain.
    pub(crate) unheard: AtomicBool,
    /// Whether some claim was asked for: a ticket is needed.
    pub(crate) claims: watch::Sender<bool>,
    /// The ticket that this instance holds on the present connection.
    pub(crate) ticket: watch::Sender<Option<Uuid>>,
    /// A claim has waited for one in vain.
    pub(crate) ticketless: AtomicBool,
    held: Mutex<Option<Held>>,
    /// The ticket that the ledger was told of last.
    told: Mutex<Option<Uuid>>,
    /// All handles are gone.
    pub(crate) closing: watch::Sender<bool>,
}

/// The fold, and how far it has come.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) fold: Fold,
    /// `None` before the first ledger was found.
    pub(crate) place: Option<Place>,
    /// How many ledgers there were before this one.
    pub(crate) generation: u64,
    /// Where this ledger begins; not known of the one that a snapshot folds.
    pub(crate) head: Option<Head>,
    /// What reading the ledger from its beginning to here costs, in bytes.
    pub(crate) weight: u64,
    /// This instance's latest messages.
    said: Said,
}

impl View {
    /// Every ledger that may be there.
    pub(crate) fn ledgers(&self) -> Vec<String> {
        let here = self.place.iter().map(|place| place.ledger.clone());
        here.chain(self.fold.other_ledgers()).collect()
    }

    /// How far the ledger was read.
    pub(crate) fn mark(&self) -> Option<Mark> {
        let place = self.place.as_ref()?;
        Some(Mark {
            generation: self.generation,
            next: place.next,
        })
    }

    /// The place is after this message.
    fn pass(&mut self, offset: u64, message: &[u8]) {
        if let Some(place) = &mut self.place {
            place.next = offset + 1;
            place.last = Some(Print::of(message));
        }
    }
}

/// A place in a ledger: between a message and the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) ledger: String,
    /// One more than the offset of the message before; the next one's is this
    /// or a greater one.
    pub(crate) next: u64,
    /// What the message before said, where it was read here.
    pub(crate) last: Option<Print>,
}

impl Place {
    /// Where a ledger begins, or a snapshot of it ends.
    pub(crate) fn at(ledger: &str, next: u64) -> Self {
        Self {
            ledger: ledger.to_owned(),
            next,
            last: None,
        }
    }
}

/// Tells messages apart that come at the same offset, from before and after a
/// broker lost its last writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Print(u64);

impl Print {
    pub(crate) fn of(message: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(message);
        Self(hasher.finish())
    }
}

/// How the instance gets on with its broker.
#[derive(Debug, Clone)]
pub(crate) enum Phase {
    /// Not connected yet, or not at the end of the ledger yet.
    Starting,
    /// It follows the ledger.
    Ready,
    /// The connection is lost, or was not made.
    Down(Failure),
    /// It has ended for good.
    Closed,
}

impl Phase {
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self, Self::Ready)
    }
}

impl Shared {
    pub(crate) fn new(config: RabbitConfig) -> Self {
        let session = Uuid::now_v7();
        Self {
            config,
            session,
            view: Mutex::default(),
            outbox: Mutex::new(Outbox::new(session)),
            to_send: Notify::new(),
            waiters: Waiters::default(),
            clock: watch::Sender::new(Clock::new()),
            phase: watch::Sender::new(Phase::Starting),
            refusing: AtomicBool::new(false),
            leading: AtomicU64::new(0),
            lead: Notify::new(),
            tick_wanted: AtomicBool::new(false),
            unheard: AtomicBool::new(false),
            claims: watch::Sender::new(false),
            ticket: watch::Sender::new(None),
            ticketless: AtomicBool::new(false),
            held: Mutex::default(),
            told: Mutex::default(),
            closing: watch::Sender::new(false),
        }
    }

    /// The view, for a look at the fold. Never held across an await.
    pub(crate) fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the ticket that the ledger is told of, and gives the one before.
    pub(crate) fn last_ticket(&self, ticket: Uuid) -> Option<Uuid> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.replace(ticket).filter(|last| *last != ticket)
    }

    /// The term in which this instance leads.
    pub(crate) fn leads(&self) -> Option<u64> {
        match self.leading.load(Ordering::Acquire) {
            0 => None,
            term => Some(term),
        }
    }

    /// Appends an entry, or a barrier, and returns once it was folded here.
    pub(crate) async fn submit(
        &self,
        operation: Operation,
        entry: Option<Entry>,
        urgency: Urgency,
    ) -> Result<Reply, Error> {
        let answered = self.append(entry, urgency).map_err(|f| f.of(operation))?;
        match answered.await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(failure)) => Err(failure.of(operation)),
            Err(_) => {
                let message = "the instance ended";
                Err(Failure::new(ErrorKind::Unknown, message).of(operation))
            }
        }
    }

    /// Waits, a little and once a connection, for a ticket. Without one the
    /// leases of a claim end by time alone.
    pub(crate) async fn have_ticket(&self) {
        if self.ticket.borrow().is_some() || self.ticketless.load(Ordering::Acquire) {
            return;
        }
        self.claims.send_replace(true);
        let mut ticket = self.ticket.subscribe();
        let taken = ticket.wait_for(Option::is_some);
        if tokio::time::timeout(TICKET_PATIENCE, taken).await.is_err() {
            self.ticketless.store(true, Ordering::Release);
        }
    }

    /// A barrier of the instance's own, also while calls are refused.
    pub(crate) fn barrier(&self) -> Answered {
        self.insist(Item::new(None))
    }

    /// Appends an item of the instance's own before all others, also while calls
    /// are refused.
    pub(crate) fn insist(&self, (item, answered): (Item, Answered)) -> Answered {
        self.outbox().push(item, Urgency::First);
        self.to_send.notify_one();
        answered
    }

    /// Appends an entry, or a barrier; the answer comes once it was folded.
    pub(crate) fn append(
        &self,
        entry: Option<Entry>,
        urgency: Urgency,
    ) -> Result<Answered, Failure> {
        if self.refusing.load(Ordering::Acquire) {
            return Err(match &*self.phase.borrow() {
                Phase::Down(failure) => failure.clone(),
                _ => Failure::new(ErrorKind::Unavailable, "the broker is not reached yet"),
            });
        }
        let (item, answered) = Item::new(entry);
        self.outbox().push(item, urgency);
        self.to_send.notify_one();
        Ok(answered)
    }

    /// Fails every call under way, and those to come until the instance is
    /// ready again.
    pub(crate) fn give_up(&self, failure: &Failure) {
        self.refusing.store(true, Ordering::Release);
        self.start_over(failure);
    }

    /// Fails every call under way; those to come go in a new epoch.
    fn start_over(&self, failure: &Failure) {
        let (unknown, unsent) = self.outbox().give_up();
        answer_all(unknown, &failure.unknown());
        answer_all(unsent, failure);
    }

    /// Accepts calls again.
    pub(crate) fn accept(&self) {
        self.refusing.store(false, Ordering::Release);
    }

    /// Takes over a state from elsewhere, with what it means for calls whose
    /// messages are in it.
    pub(crate) fn load(&self, fold: Fold, place: Place, generation: u64, head: Option<Head>) {
        let (clock, folded);
        {
            let mut view = self.view();
            let epoch = self.outbox().epoch();
            (clock, folded) = (fold.clock(), fold.folded(self.session, epoch));
            *view = View {
                fold,
                place: Some(place),
                generation,
                head,
                weight: 0,
                said: Said::default(),
            };
        }
        let missed = self.outbox().missed(folded);
        let message = "accepted, but the ledger went on without this instance";
        answer_all(missed, &Failure::new(ErrorKind::Unknown, message));
        self.unheard.store(false, Ordering::Release);
        self.clock.send_modify(|known| known.load(clock));
        self.note_leader();
        self.waiters.wake_all();
    }

    /// Folds the ledger's message at this offset, whose sender had read so far.
    pub(crate) fn fold(
        &self,
        offset: u64,
        message: &[u8],
        read: Option<Mark>,
    ) -> Result<(), Failure> {
        let (header, body) = match wire::open(message) {
            Ok(opened) => opened,
            Err(Unreadable::Newer) => return Err(Unreadable::Newer.into()),
            Err(Unreadable::Garbled) => {
                // Something else publishes here. Every instance passes it over.
                tracing::warn!("the ledger holds a message that is no command; passed over");
                self.view().pass(offset, message);
                return Ok(());
            }
        };
        let mut effects = Effects::default();
        let mut answers = Vec::new();
        let (clock, altered);
        let mut made = None;
        {
            let mut view = self.view();
            let view = &mut *view;
            view.pass(offset, message);
            view.weight += MESSAGE_WEIGHT + message.len() as u64;
            if header.body == wire::Body::Snapshot || view.fold.sealed.is_some() {
                return Ok(());
            }
            match view.fold.admit(&header) {
                Standing::Next => {}
                Standing::Repeated => return Ok(()),
                Standing::TooEarly => {
                    let folded = view.fold.folded(header.session, header.epoch);
                    self.too_early(&header, folded);
                    return Ok(());
                }
            }
            let mut changed = |changes: &Changes| {
                self.waiters.wake(&changes.queues, &changes.jobs);
            };
            let own =
                (header.session == self.session).then(|| self.outbox().seen(&header, message));
            altered = matches!(own, Some(Own::Altered));
            if let Some(Own::Batch { items, packed }) = own {
                // Its entries are at hand: they need not be decoded.
                view.fold.forget_pieces(header.session);
                made = Some(packed);
                if let Some(here) = view.mark() {
                    view.said.push(here, packed);
                }
                for item in items {
                    let (entry, reply) = item.take();
                    let done = match entry {
                        Some(entry) => {
                            view.fold
                                .apply(header.session, entry, &mut effects, &mut changed)
                        }
                        None => Reply::Done,
                    };
                    answers.push((reply, done));
                }
                self.to_send.notify_one();
            } else {
                let entries = view.fold.entries(&header, body).unwrap_or_else(|_| {
                    tracing::warn!("the ledger holds commands that cannot be read; passed over");
                    None
                });
                for entry in entries.into_iter().flatten() {
                    view.fold
                        .apply(header.session, entry, &mut effects, &mut changed);
                }
                // Others' commands are stamped with the last tick: keep it
                // fresh while they come.
                effects.touched |= effects.moved;
            }
            clock = view.fold.clock();
            if effects.reading.is_some() {
                made = made.or_else(|| match read {
                    Some(read) => view.said.read_by(read),
                    // An older version's: it is taken for an answer.
                    None => view.said.last(),
                });
            }
        }
        if effects.elected {
            self.clock.send_modify(Clock::doubt);
        }
        if let Some(reading) = effects.reading {
            self.unheard.store(false, Ordering::Release);
            let hear = |known: &mut Clock| known.hear(clock, reading, made);
            self.clock.send_modify(hear);
        }
        for (reply, done) in answers {
            // A caller that is gone needs no answer.
            let _ = reply.send(Ok(done));
        }
        if altered {
            let failure = "the ledger holds another message in place of this instance's";
            self.start_over(&Failure::new(ErrorKind::Unavailable, failure));
        }
        self.tell(&effects);
        Ok(())
    }

    /// A message of this instance came before its turn: one before it was
    /// lost, or the ledger has forgotten an instance that was silent for long.
    fn too_early(&self, header: &wire::Header, folded: u64) {
        let mut outbox = self.outbox();
        if header.session != self.session || header.epoch != outbox.epoch() {
            return;
        }
        if outbox.begins_after(folded + 1) {
            drop(outbox);
            let failure = "the instance was silent for so long that the ledger forgot it";
            self.start_over(&Failure::new(ErrorKind::Unavailable, failure));
        } else {
            outbox.send_again();
            drop(outbox);
            self.to_send.notify_one();
        }
    }

    fn tell(&self, effects: &Effects) {
        if effects.elected {
            self.note_leader();
        }
        if effects.touched {
            self.tick_wanted.store(true, Ordering::Release);
        }
        if effects.touched || effects.moved || effects.elected {
            self.lead.notify_one();
        }
        if effects.challenged.contains(&self.session) {
            // Any message will do as a sign of life.
            drop(self.insist(Item::new(Some(Entry::Alive))));
        }
    }

    fn note_leader(&self) {
        let term = {
            let view = self.view();
            let own = view.fold.leader() == Some(self.session);
            if own { view.fold.term() } else { 0 }
        };
        self.leading.store(term, Ordering::Release);
        self.lead.notify_one();
    }
}

fn answer_all(items: Vec<Item>, failure: &Failure) {
    for item in items {
        let _ = item.take().1.send(Err(failure.clone()));
    }
}

/// A reference that closes the instance when the last one is dropped.
#[derive(Debug)]
pub(crate) struct Handle(pub(crate) Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.closing.send_replace(true);
    }
}
