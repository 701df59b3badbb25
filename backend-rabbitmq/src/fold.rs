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
/// ticks.
pub(crate) const STEP: Duration = Duration::from_secs(10);

/// How long a challenged instance has to answer, on the ledger's clock.
pub(crate) const GRACE: Duration = Duration::from_millis(400);

/// How long an instance that says nothing is remembered.
const REMEMBERED: Duration = Duration::from_secs(24 * 3_600);

/// More terms than are ever elected, and messages than are ever sent.
const MOST: u64 = 1 << 62;

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
    /// The clock moved, after the leader had read this off its own.
    pub(crate) reading: Option<Timestamp>,
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
    /// What a snapshot holds. One whose numbers could not rise is garbled.
    pub(crate) fn load(snapshot: &[u8]) -> Result<Self, Unreadable> {
        let fold: Self = decode(snapshot)?;
        let sequences = fold.senders.values().map(|sender| sender.sequence);
        match sequences.chain([fold.term]).all(|number| number <= MOST) {
            true => Ok(fold),
            false => Err(Unreadable::Garbled),
        }
    }

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
                    effects.reading = Some(now);
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

#[cfg(test)]
mod tests {
    use anyqueue_core::{
        ClaimRequest, ClaimedJob, Kind, NewJob, Payload, QueueName, State, WorkerId,
    };

    use super::*;
    use crate::wire::encode;

    const HOUR: Duration = Duration::from_secs(3_600);

    /// Instances that share a ledger, and a fold of it.
    struct Ledger {
        fold: Fold,
        sequences: BTreeMap<Uuid, u64>,
        now: Timestamp,
    }

    impl Ledger {
        fn led_by(leader: Uuid) -> Self {
            let mut ledger = Self {
                fold: Fold::default(),
                sequences: BTreeMap::new(),
                now: Timestamp::from_micros(1_000_000),
            };
            ledger.say(leader, Entry::Elect { term: 1 });
            ledger.tick(leader, 1, Duration::ZERO);
            ledger
        }

        fn say(&mut self, session: Uuid, entry: Entry) -> Reply {
            let sequence = self.sequences.entry(session).or_default();
            *sequence += 1;
            let header = header(session, 1, *sequence);
            assert_eq!(self.fold.admit(&header), Standing::Next);
            let mut effects = Effects::default();
            self.fold.apply(session, entry, &mut effects, &mut |_| {})
        }

        fn tick(&mut self, session: Uuid, term: u64, span: Duration) {
            self.now = self.now.after(span);
            let now = self.now;
            self.say(session, Entry::Tick { term, now });
        }

        /// A job that this instance has claimed for an hour.
        fn claimed_by(&mut self, session: Uuid) -> ClaimedJob {
            let kind = Kind::new("kind").unwrap();
            let payload = Payload::parse("0", 1).unwrap();
            let job = NewJob::new(QueueName::default(), kind, payload);
            self.say(session, Entry::Store(Command::Enqueue(vec![job])));
            let request = ClaimRequest {
                queues: vec![QueueName::default()],
                limit: 1,
                lease: HOUR,
                worker: WorkerId::random(),
            };
            match self.say(session, Entry::Store(Command::Claim(request))) {
                Reply::Answer(Answer::Claimed(mut jobs)) => jobs.remove(0),
                other => panic!("{other:?}"),
            }
        }

        fn state(&self, job: &ClaimedJob) -> State {
            let found = self.fold.machine.get(&[job.token.id]);
            found[0].as_ref().unwrap().state
        }
    }

    fn header(session: Uuid, epoch: u32, sequence: u64) -> Header {
        Header {
            session,
            epoch,
            sequence,
            body: Body::Batch,
        }
    }

    fn instances() -> [Uuid; 3] {
        [1, 2, 3].map(Uuid::from_u128)
    }

    #[test]
    fn each_message_counts_once_and_in_turn() {
        let [a, b, _] = instances();
        let mut fold = Fold::default();
        let mut admit = |epoch, sequence| fold.admit(&header(a, epoch, sequence));
        assert_eq!(admit(1, 2), Standing::TooEarly);
        assert_eq!(admit(1, 1), Standing::Next);
        assert_eq!(admit(1, 1), Standing::Repeated);
        assert_eq!(admit(1, 3), Standing::TooEarly);
        assert_eq!(admit(1, 2), Standing::Next);
        assert_eq!(admit(2, 1), Standing::Next);
        assert_eq!(admit(1, 3), Standing::Repeated, "its epoch is over");
        assert_eq!(fold.admit(&header(b, 1, 1)), Standing::Next);
    }

    #[test]
    fn an_instance_that_is_challenged_and_silent_loses_its_leases() {
        let [leader, holder, other] = instances();
        let mut ledger = Ledger::led_by(leader);
        let ticket = Uuid::from_u128(9);
        ledger.say(holder, Entry::Hold { ticket });
        let (lost, kept) = (ledger.claimed_by(holder), ledger.claimed_by(other));
        let session = holder;
        ledger.say(other, Entry::Challenge { ticket, session });
        ledger.tick(leader, 1, GRACE - Duration::from_millis(1));
        assert_eq!(ledger.state(&lost), State::Running);
        ledger.tick(leader, 1, Duration::from_millis(1));
        assert_eq!(ledger.state(&lost), State::Ready);
        assert_eq!(ledger.state(&kept), State::Running);
        assert_eq!(ledger.fold.holder(ticket), None);
    }

    #[test]
    fn an_instance_that_says_anything_keeps_its_leases() {
        let [leader, holder, other] = instances();
        let mut ledger = Ledger::led_by(leader);
        let ticket = Uuid::from_u128(9);
        ledger.say(holder, Entry::Hold { ticket });
        let job = ledger.claimed_by(holder);
        let session = holder;
        ledger.say(other, Entry::Challenge { ticket, session });
        ledger.say(holder, Entry::Alive);
        ledger.tick(leader, 1, HOUR / 4);
        assert_eq!(ledger.state(&job), State::Running);
    }

    #[test]
    fn a_challenge_that_comes_late_is_void() {
        let [leader, holder, other] = instances();
        let mut ledger = Ledger::led_by(leader);
        let [first, second] = [8, 9].map(Uuid::from_u128);
        ledger.say(holder, Entry::Hold { ticket: first });
        let job = ledger.claimed_by(holder);
        ledger.say(holder, Entry::Hold { ticket: second });
        ledger.say(holder, Entry::Let { ticket: first });
        let (ticket, session) = (first, holder);
        ledger.say(other, Entry::Challenge { ticket, session });
        ledger.tick(leader, 1, GRACE * 2);
        assert_eq!(ledger.state(&job), State::Running);
        // After a goodbye, too: what it claimed is left to its lease.
        ledger.say(holder, Entry::Bye);
        let ticket = second;
        ledger.say(other, Entry::Challenge { ticket, session });
        ledger.tick(leader, 1, GRACE * 2);
        assert_eq!(ledger.state(&job), State::Running);
    }

    #[test]
    fn only_the_leader_of_the_term_moves_the_clock_and_by_steps() {
        let [old, new, _] = instances();
        let mut ledger = Ledger::led_by(old);
        ledger.say(new, Entry::Elect { term: 3 });
        assert_eq!(ledger.fold.term(), 1, "a term may not be skipped");
        ledger.say(new, Entry::Elect { term: 2 });
        ledger.say(old, Entry::Elect { term: 2 });
        assert_eq!(ledger.fold.leader(), Some(new), "the first one wins");
        let before = ledger.fold.clock();
        ledger.tick(old, 1, HOUR);
        ledger.tick(old, 2, HOUR);
        assert_eq!(ledger.fold.clock(), before);
        ledger.tick(new, 2, Duration::ZERO);
        assert_eq!(ledger.fold.clock(), before.after(STEP));
        let now = Timestamp::from_micros(0);
        ledger.say(new, Entry::Tick { term: 2, now });
        let least = Duration::from_micros(1);
        assert_eq!(ledger.fold.clock(), before.after(STEP).after(least));
    }

    #[test]
    fn a_stored_fold_goes_on_as_the_one_that_was_stored() {
        let [leader, holder, other] = instances();
        let mut ledger = Ledger::led_by(leader);
        let ticket = Uuid::from_u128(9);
        ledger.say(holder, Entry::Hold { ticket });
        let job = ledger.claimed_by(holder);
        let session = holder;
        ledger.say(other, Entry::Challenge { ticket, session });
        ledger.fold = decode(&encode(&ledger.fold)).unwrap();
        ledger.tick(leader, 1, GRACE);
        assert_eq!(ledger.state(&job), State::Ready);
        assert_eq!(
            ledger.fold.admit(&header(other, 1, 1)),
            Standing::Repeated,
            "it knows who has said what"
        );
    }

    #[test]
    fn the_first_seal_of_the_leader_names_the_next_ledger() {
        let [leader, other, _] = instances();
        let mut ledger = Ledger::led_by(leader);
        for name in ["lost", "next"] {
            let ledger_name = name.to_owned();
            ledger.say(
                leader,
                Entry::Draft {
                    term: 1,
                    ledger: ledger_name,
                },
            );
        }
        let head = |name: &str| Head {
            generation: 1,
            ledger: name.to_owned(),
            first: 3,
            base: None,
        };
        let next = head("elsewhere");
        ledger.say(other, Entry::Seal { term: 1, next });
        assert_eq!(ledger.fold.sealed, None);
        let next = head("next");
        ledger.say(leader, Entry::Seal { term: 1, next });
        assert_eq!(ledger.fold.sealed, Some(head("next")));
        assert_eq!(ledger.fold.stale, ["lost"]);
    }
}
