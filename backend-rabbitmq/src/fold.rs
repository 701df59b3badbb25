//! [`Fold`]: what the ledger says so far.
//!
//! It has no clock and knows nothing of the instance that folds: the same
//! messages give the same state everywhere. FOLD.md argues why that is enough.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyqueue_core::{JobId, Settled, Timestamp, Token};
use anyqueue_memory::{Answer, Changes, Command, Machine};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::wire::{Body, Entry, Head, Header, Unreadable, decode};

/// The furthest that one tick moves the clock. Longer gaps are closed by more
/// ticks, so that a clock that is far ahead is noticed before it has done harm.
pub(crate) const STEP: Duration = Duration::from_secs(10);

/// How long a challenged instance has to answer, on the ledger's clock.
pub(crate) const GRACE: Duration = Duration::from_millis(400);

/// How long an instance that says nothing is remembered.
const REMEMBERED: Duration = Duration::from_secs(24 * 3_600);

/// How often the forgotten are looked for.
const SWEEP: Duration = Duration::from_secs(3_600);

/// The state after the messages folded so far.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Fold {
    pub(crate) machine: Machine,
    /// The time of the last tick.
    clock: Timestamp,
    /// The last election that was won, and by whom.
    term: u64,
    leader: Option<Uuid>,
    senders: BTreeMap<Uuid, Sender>,
    /// Which instance holds which ticket.
    tickets: BTreeMap<Uuid, Uuid>,
    /// Instances that were asked whether they live, and when.
    challenged: BTreeMap<Uuid, Timestamp>,
    /// The claims of running jobs, and who made them. An entry may outlive
    /// its claim; its counter tells.
    held: HashMap<JobId, (u64, Uuid)>,
    /// Ledgers that leaders began and that do not follow (yet).
    drafts: Vec<String>,
    /// The ledger before this one.
    before: Option<String>,
    /// Ledgers that nobody needs any more.
    pub(crate) stale: Vec<String>,
    swept: Timestamp,
    /// The ledger that goes on from here, once this one has ended.
    #[serde(skip)]
    pub(crate) sealed: Option<Head>,
}

/// What is known of an instance's messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Sender {
    epoch: u32,
    sequence: u64,
    seen: Timestamp,
    /// The pieces of a batch whose end has not come.
    pieces: Vec<u8>,
}

/// Whether a message counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is the sender's next.
    Next,
    /// It was folded before.
    Repeated,
    /// One before it is missing: it will be sent again.
    TooEarly,
}

/// What an entry came to.
#[derive(Debug)]
pub(crate) enum Reply {
    Answer(Answer),
    Done,
}

/// What others may want to know of an entry.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// The clock moved.
    pub(crate) ticked: bool,
    /// A tick is asked for.
    pub(crate) touched: bool,
    /// Something may have got a moment of its own.
    pub(crate) moved: bool,
    /// This instance is asked whether it lives.
    pub(crate) challenged: Vec<Uuid>,
    /// The leader or the term is another.
    pub(crate) elected: bool,
}

impl Fold {
    /// The time of the last tick.
    pub(crate) fn clock(&self) -> Timestamp {
        self.clock
    }

    pub(crate) fn term(&self) -> u64 {
        self.term
    }

    pub(crate) fn leader(&self) -> Option<Uuid> {
        self.leader
    }

    fn is_led_by(&self, session: Uuid, term: u64) -> bool {
        term == self.term && self.leader == Some(session)
    }

    /// The instance that holds a ticket.
    pub(crate) fn holder(&self, ticket: Uuid) -> Option<Uuid> {
        self.tickets.get(&ticket).copied()
    }

    /// The last message of an instance's epoch that was folded.
    pub(crate) fn folded(&self, session: Uuid, epoch: u32) -> u64 {
        match self.senders.get(&session) {
            Some(sender) if sender.epoch == epoch => sender.sequence,
            _ => 0,
        }
    }

    /// The ledgers that there are beside this one.
    pub(crate) fn other_ledgers(&self) -> impl Iterator<Item = String> {
        let others = self.before.iter().chain(&self.drafts).chain(&self.stale);
        others.cloned()
    }

    /// The next moment at which something happens by time alone.
    pub(crate) fn next_event(&self) -> Option<Timestamp> {
        let answers = self.challenged.values().map(|at| at.after(GRACE)).min();
        let moments = [self.machine.next_event(self.clock), answers];
        moments.into_iter().flatten().min()
    }

    /// Whether a message counts, and notes it where it does.
    pub(crate) fn admit(&mut self, header: &Header) -> Standing {
        let clock = self.clock;
        let sender = self.senders.entry(header.session).or_default();
        if header.epoch > sender.epoch {
            *sender = Sender {
                epoch: header.epoch,
                ..Sender::default()
            };
        }
        let next = sender.sequence + 1;
        if header.epoch < sender.epoch || header.sequence < next {
            return Standing::Repeated;
        }
        if header.sequence > next {
            return Standing::TooEarly;
        }
        sender.sequence = next;
        sender.seen = clock;
        // Whoever speaks lives.
        self.challenged.remove(&header.session);
        Standing::Next
    }

    /// The entries of an admitted message; `None` where they are still to
    /// come.
    pub(crate) fn entries(
        &mut self,
        header: &Header,
        body: &[u8],
    ) -> Result<Option<Vec<Entry>>, Unreadable> {
        match header.body {
            Body::Batch => decode(body).map(Some),
            Body::Piece => {
                let sender = self.senders.entry(header.session).or_default();
                sender.pieces.extend_from_slice(body);
                Ok(None)
            }
            Body::LastPiece => {
                let sender = self.senders.entry(header.session).or_default();
                let mut whole = std::mem::take(&mut sender.pieces);
                whole.extend_from_slice(body);
                decode(&whole).map(Some)
            }
            Body::Snapshot => Ok(None),
        }
    }

    /// Forgets the pieces of a batch whose entries are known from elsewhere.
    pub(crate) fn forget_pieces(&mut self, session: Uuid) {
        if let Some(sender) = self.senders.get_mut(&session) {
            sender.pieces = Vec::new();
        }
    }

    /// Folds an entry of an admitted message.
    pub(crate) fn apply(
        &mut self,
        session: Uuid,
        entry: Entry,
        effects: &mut Effects,
        changed: &mut dyn FnMut(&Changes),
    ) -> Reply {
        match entry {
            Entry::Store(command) => {
                effects.moved = true;
                let answer = self.store(session, command);
                changed(self.machine.changes());
                return Reply::Answer(answer);
            }
            Entry::Tick { term, now } => {
                if self.is_led_by(session, term) {
                    self.tick(now);
                    effects.ticked = true;
                    self.end_unanswered(changed);
                }
            }
            Entry::Elect { term } => {
                if term == self.term + 1 {
                    self.term = term;
                    self.leader = Some(session);
                    effects.elected = true;
                }
            }
            Entry::Touch => effects.touched = true,
            Entry::Hold { ticket } => {
                self.tickets.insert(ticket, session);
            }
            Entry::Let { ticket } => {
                if self.holder(ticket) == Some(session) {
                    self.tickets.remove(&ticket);
                }
            }
            Entry::Challenge {
                ticket,
                session: holder,
            } => {
                if self.holder(ticket) == Some(holder) && holder != session {
                    self.tickets.remove(&ticket);
                    self.challenged.entry(holder).or_insert(self.clock);
                    effects.challenged.push(holder);
                    effects.moved = true;
                }
            }
            Entry::Alive => {}
            Entry::Bye => {
                self.tickets.retain(|_, holder| *holder != session);
                self.senders.remove(&session);
                if self.leader == Some(session) {
                    self.leader = None;
                    effects.elected = true;
                }
            }
            Entry::Draft { term, ledger } => {
                if self.is_led_by(session, term) {
                    self.drafts.push(ledger);
                }
            }
            Entry::Seal { term, next } => {
                // The first one counts: nothing is folded after it.
                if self.is_led_by(session, term) {
                    let drafts = std::mem::take(&mut self.drafts);
                    let lost = drafts.into_iter().filter(|draft| *draft != next.ledger);
                    self.stale.extend(lost);
                    let this = next.base.as_ref().map(|base| base.ledger.clone());
                    self.stale.extend(std::mem::replace(&mut self.before, this));
                    self.sealed = Some(next);
                }
            }
            Entry::Trimmed { term, ledger } => {
                if self.is_led_by(session, term) {
                    self.stale.retain(|stale| *stale != ledger);
                }
            }
        }
        Reply::Done
    }

    fn store(&mut self, session: Uuid, command: Command) -> Answer {
        let settled: Vec<Token> = match &command {
            Command::Settle(settlements) => settlements.iter().map(|one| one.token).collect(),
            _ => Vec::new(),
        };
        let answer = self.machine.apply(command, self.clock);
        match &answer {
            Answer::Claimed(jobs) => {
                let claims = jobs.iter().map(|job| job.token);
                let claims = claims.map(|token| (token.id, (token.counter, session)));
                self.held.extend(claims);
            }
            Answer::Settled(answers) => {
                for (token, answer) in settled.iter().zip(answers) {
                    let held = self.held.get(&token.id);
                    if *answer == Settled::Accepted
                        && held.is_some_and(|(counter, _)| *counter == token.counter)
                    {
                        self.held.remove(&token.id);
                    }
                }
            }
            _ => {}
        }
        answer
    }

    fn tick(&mut self, now: Timestamp) {
        self.clock = if self.clock == Timestamp::default() {
            self.swept = now;
            for sender in self.senders.values_mut() {
                sender.seen = now;
            }
            now
        } else {
            // A leader whose clock is behind lets time all but stand still.
            let least = self.clock.after(Duration::from_micros(1));
            now.clamp(least, self.clock.after(STEP))
        };
        if self.clock.since(self.swept) >= SWEEP {
            self.swept = self.clock;
            let forgotten = self.clock.before(REMEMBERED);
            self.senders.retain(|_, sender| sender.seen > forgotten);
            let machine = &self.machine;
            self.held.retain(|id, (counter, _)| {
                machine.is_held(Token {
                    id: *id,
                    counter: *counter,
                })
            });
        }
    }

    /// Ends the leases of those who were challenged and have not answered.
    fn end_unanswered(&mut self, changed: &mut dyn FnMut(&Changes)) {
        let clock = self.clock;
        let silent = self
            .challenged
            .iter()
            .filter(|(_, at)| at.after(GRACE) <= clock);
        let silent: Vec<Uuid> = silent.map(|(session, _)| *session).collect();
        for session in silent {
            self.challenged.remove(&session);
            self.tickets.retain(|_, holder| *holder != session);
            let claims = self
                .held
                .iter()
                .filter(|(_, (_, holder))| *holder == session);
            let mut tokens: Vec<Token> = claims
                .map(|(id, (counter, _))| Token {
                    id: *id,
                    counter: *counter,
                })
                .collect();
            tokens.sort_unstable();
            for token in &tokens {
                self.held.remove(&token.id);
            }
            self.machine.apply(Command::EndLeases(tokens), clock);
            changed(self.machine.changes());
        }
    }
}
