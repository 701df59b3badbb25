//! [`Clock`]: what an instance knows of the time, and how far the ledger's may
//! be behind.
//!
//! A tick tells what the leader's clock said, not when: it may have been held up
//! on its way, or be the past's, read by an instance that catches up. What an
//! instance said before a tick was made tells: a leader's message says up to
//! which place it had read ([`Mark`]), so where that is behind a message of this
//! instance, the reading was made after that message was.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyqueue_core::Timestamp;

/// How far the ledger's time may be behind when commands are stamped with it.
/// Leases and delays are that much shorter at most.
pub(crate) const FRESH: Duration = Duration::from_millis(30);

/// A leader's clock that is further ahead of the ledger's is taken to be wrong
/// rather than the ledger to have rested.
pub(crate) const FAR: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Two clocks that are set right may differ by so much in how fast they go: one
/// part of so many.
const DRIFT: u32 = 1_000;

/// Own messages that are remembered for the ticks to come.
const REMEMBERED: usize = 1_024;

/// How far a message's sender had read when it made it: a ledger's generation,
/// and the offset of the next message. Beside the message, in its properties:
/// no fold depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) generation: u64,
    pub(crate) next: u64,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.generation, self.next)
    }
}

impl FromStr for Mark {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (generation, next) = text.split_once('.').unwrap_or_default();
        Ok(Self {
            generation: generation.parse()?,
            next: next.parse()?,
        })
    }
}

/// Where this instance's latest messages were seen, and when they were made.
#[derive(Debug, Default)]
pub(crate) struct Said(VecDeque<(Mark, Instant)>);

impl Said {
    /// Notes one: the mark of who has read it, and it as the last.
    pub(crate) fn push(&mut self, mark: Mark, made: Instant) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((mark, made));
    }

    /// When the latest one was made that the maker of a message had read. Forgets
    /// those before it.
    pub(crate) fn read_by(&mut self, mark: Mark) -> Option<Instant> {
        while self.0.get(1).is_some_and(|(next, _)| *next <= mark) {
            self.0.pop_front();
        }
        let (first, made) = self.0.front()?;
        (*first <= mark).then_some(*made)
    }

    /// When the latest one was made.
    pub(crate) fn last(&self) -> Option<Instant> {
        self.0.back().map(|(_, made)| *made)
    }
}

/// What an instance knows of the time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// The ledger's time.
    pub(crate) time: Timestamp,
    /// When this instance heard the last tick, however old that was.
    pub(crate) heard: Instant,
    /// What the leader's clock said in it: later than the ledger's time while that
    /// catches up.
    reading: Timestamp,
    /// The closest bound of the leader's clock.
    bound: Option<Bound>,
    /// Whether that is the present leader's, and its clock was not set since.
    sure: bool,
    /// The latest moment after which a reading is known to have been made.
    proven: Option<Instant>,
}

/// The leader's clock said this, and not before then.
#[derive(Debug, Clone, Copy)]
struct Bound {
    reading: Timestamp,
    since: Instant,
}

impl Bound {
    /// The latest that the leader's clock can say at a moment.
    fn at(self, moment: Instant) -> Timestamp {
        let passed = moment.saturating_duration_since(self.since);
        self.reading.after(passed + passed / DRIFT)
    }
}

impl Clock {
    /// Of an instance that has heard nothing.
    pub(crate) fn new() -> Self {
        Self {
            time: Timestamp::default(),
            heard: Instant::now(),
            reading: Timestamp::default(),
            bound: None,
            sure: false,
            proven: None,
        }
    }

    /// Takes a tick in: the ledger's time after it, what the leader read, and the
    /// moment after which that is known to have been, where one is known.
    pub(crate) fn hear(&mut self, time: Timestamp, reading: Timestamp, since: Option<Instant>) {
        let now = Instant::now();
        (self.time, self.reading, self.heard) = (time, reading, now);
        // A clock that was set forward, or another leader's.
        self.sure &= self.bound.is_some_and(|bound| reading <= bound.at(now));
        let Some(since) = since else { return };
        self.proven = self.proven.max(Some(since));
        let found = Bound { reading, since };
        let closer = |bound: Bound| found.at(now) <= bound.at(now);
        if !self.sure || self.bound.is_none_or(closer) {
            (self.bound, self.sure) = (Some(found), true);
        }
    }

    /// Takes over the time of a state from elsewhere.
    pub(crate) fn load(&mut self, time: Timestamp) {
        (self.time, self.reading, self.heard) = (time, time, Instant::now());
        self.sure = false;
    }

    /// Another leader's clock is not bound by what the former's said.
    pub(crate) fn doubt(&mut self) {
        self.sure = false;
    }

    /// Whether the leader's clock was ever read after this instance had spoken.
    pub(crate) fn is_known(&self) -> bool {
        self.bound.is_some()
    }

    /// Whether a reading is known to have been made after this moment.
    pub(crate) fn is_proven_since(&self, moment: Instant) -> bool {
        self.proven.is_some_and(|proven| proven >= moment)
    }

    /// By how much the ledger's time can be behind the leader's clock of a moment.
    pub(crate) fn lag(&self, moment: Instant) -> Duration {
        let passed = moment.saturating_duration_since(self.heard);
        let bound = self.bound.map(|bound| bound.at(moment));
        let latest = bound.max(Some(self.reading.after(passed)));
        latest.unwrap_or_default().since(self.time).min(FAR)
    }

    /// Whether a span that was asked for at this moment can begin with the
    /// ledger's time, and with what is known of that: no tick would tell more.
    pub(crate) fn serves(&self, asked: Instant) -> bool {
        let proven = self.proven.is_some_and(|proven| proven + FRESH >= asked);
        self.sure && (proven || self.lag(asked) <= FRESH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::default().after(SECOND * u32::try_from(seconds).unwrap())
    }

    fn mark(next: u64) -> Mark {
        let generation = 3;
        Mark { generation, next }
    }

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let text = mark(7).to_string();
        assert_eq!(text.parse(), Ok(mark(7)));
        for garbled in ["", ".", "1", "1.", "1.-2", "1.2.3"] {
            assert!(garbled.parse::<Mark>().is_err(), "{garbled}");
        }
    }

    #[test]
    fn a_reading_is_dated_by_what_its_maker_had_read() {
        let now = Instant::now();
        let moments = [1, 2, 3].map(|n| now + SECOND * n);
        let mut said = Said::default();
        for (made, next) in moments.into_iter().zip([5, 6, 9]) {
            said.push(mark(next), made);
        }
        assert_eq!(said.read_by(mark(4)), None);
        assert_eq!(said.read_by(mark(5)), Some(moments[0]));
        assert_eq!(said.read_by(mark(8)), Some(moments[1]));
        let later = Mark {
            generation: 4,
            next: 0,
        };
        assert_eq!(said.read_by(later), Some(moments[2]));
        assert_eq!(said.read_by(mark(8)), None, "those before are forgotten");
        assert_eq!(said.last(), Some(moments[2]));
    }

    #[test]
    fn a_tick_that_nobody_can_date_proves_nothing() {
        let mut clock = Clock::new();
        clock.hear(at(100), at(100), None);
        assert!(!clock.is_known());
        assert!(!clock.serves(Instant::now()));
        let begun = Instant::now();
        clock.hear(at(101), at(101), Some(begun));
        assert!(clock.is_proven_since(begun) && clock.serves(Instant::now()));
    }

    #[test]
    fn the_time_since_the_last_tick_is_what_it_is_behind() {
        let asked = Instant::now();
        let before = asked.checked_sub(SECOND * 10).unwrap();
        let mut clock = Clock::new();
        clock.hear(at(100), at(100), Some(before));
        assert!(!clock.serves(asked));
        assert!(clock.lag(asked) >= SECOND * 10);
        // Held up on its way: what was known before tells by how much.
        clock.hear(at(102), at(102), None);
        assert!(!clock.serves(asked));
        assert!(clock.lag(asked) >= SECOND * 8);
        clock.hear(at(110), at(110), None);
        assert!(clock.serves(asked));
    }

    #[test]
    fn a_ledger_that_catches_up_is_behind_by_what_is_left() {
        let now = Instant::now();
        let mut clock = Clock::new();
        clock.hear(at(100), at(160), Some(now));
        assert!(clock.serves(now), "no tick would tell more");
        assert_eq!(clock.lag(now), SECOND * 60);
        clock.hear(at(160), at(160), Some(now));
        assert!(clock.lag(now) <= FRESH);
        // One whose clock is wrong does bounded harm.
        clock.hear(at(160), at(4_000_000_000), Some(now));
        assert_eq!(clock.lag(now), FAR);
    }

    #[test]
    fn a_clock_that_was_set_or_changed_hands_is_asked_anew() {
        let now = Instant::now();
        let mut clock = Clock::new();
        clock.hear(at(100), at(100), Some(now));
        clock.hear(at(105), at(105), None);
        assert!(!clock.serves(Instant::now()), "it was set forward");
        let now = Instant::now();
        clock.hear(at(105), at(105), Some(now));
        assert!(clock.serves(now));
        clock.doubt();
        clock.hear(at(106), at(106), None);
        assert!(!clock.serves(now), "it may be another's");
        clock.hear(at(106), at(106), Some(now));
        assert!(clock.serves(now));
    }

    #[test]
    fn the_closest_bound_is_kept() {
        let now = Instant::now();
        let early = now.checked_sub(SECOND).unwrap();
        let mut clock = Clock::new();
        clock.hear(at(100), at(100), Some(now));
        // Made at some time in the last second.
        clock.hear(at(100), at(100), Some(early));
        assert!(clock.lag(Instant::now()) < SECOND);
        // Set back: the ledger's time is ahead, and stands still.
        clock.hear(at(100), at(90), Some(now));
        assert_eq!(clock.lag(now), Duration::ZERO);
    }
}
