//! [`Floors`]: where a claim begins to read, so that it does not walk over what
//! is long gone.
//!
//! An index entry of a claimed job stays until no transaction can see it any
//! more: behind one long transaction they pile up by the million at just the
//! place where every claim begins. So each process keeps, for each line, a due
//! time below which no job waits, and begins there.
//!
//! A floor is exact, never a guess that can hide a job:
//! - Jobs that go back to an old place (released, lease run out) are in an
//!   index of their own, `back`, and a claim begins at the first of those where
//!   that is lower.
//! - Every other job comes to wait with a due time no earlier than the clock as
//!   its statement read it. That statement held a lock on the table by then. So
//!   once a look at the clock, and then at the locks, finds no transaction that
//!   began before a moment `m`, all jobs due before `m` are stored, and a later
//!   statement sees them. The floor is the first of those it sees, or `m`.
//! - It stays a margin below `m`, and is given up where the server's clock has
//!   moved against this process's by more than half of that. Each answer that
//!   tells the server's time was made between two moments that are known here,
//!   so that a slow answer is not taken for a clock that moved.
//! - It is given up where the server may have lost what it had acknowledged
//!   (a failover to a standby that lags, a crash without synchronous commits, a
//!   restore): a job that was claimed waits again then, in a place below the
//!   floor. Each of these costs the connections, and a pooler that hides that
//!   cannot hide that the server has another beginning.
//!
//! PgQ and its kin reach the same by rotating and truncating tables; that cannot
//! keep an order by priority, and waits for every reader at each turn.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How often to look, while claims are made.
const SPAN: Duration = Duration::from_millis(250);

/// How far a floor stays behind, in microseconds.
const MARGIN: i64 = 200_000;

/// The most lines kept; past it they start anew.
const CACHED: usize = 4_096;

/// Below every moment.
pub(crate) const NONE: i64 = i64::MIN;

/// The floors of one process.
#[derive(Debug)]
pub(crate) struct Floors {
    lines: HashMap<i32, i64>,
    running: i64,
    /// All jobs due before this are stored, and when that was seen.
    stored: Option<(i64, Seen)>,
    /// When the server of the last look began.
    server: Option<i64>,
    looked: Option<Instant>,
    /// Rises whenever all is given up.
    era: u64,
}

/// What was known when a look began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Base {
    stored: Option<i64>,
    era: u64,
}

impl Default for Floors {
    fn default() -> Self {
        Self {
            lines: HashMap::new(),
            running: NONE,
            stored: None,
            server: None,
            looked: None,
            era: 0,
        }
    }
}

/// A time of the server, and between which moments here it was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) now: i64,
    pub(crate) begun: Instant,
    pub(crate) ended: Instant,
}

impl Seen {
    /// Whether the server's clock has moved against this process's from `earlier`
    /// to this, by more than so many microseconds.
    fn moved(&self, earlier: &Self, most: i64) -> bool {
        let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        let there = self.now.saturating_sub(earlier.now);
        // Calls may overlap: their order here is not that of the server.
        let least = micros(self.begun.saturating_duration_since(earlier.ended))
            .saturating_sub(micros(earlier.ended.saturating_duration_since(self.begun)));
        let longest = micros(self.ended.saturating_duration_since(earlier.begun));
        there < least.saturating_sub(most) || there > longest.saturating_add(most)
    }
}

/// What a look saw.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) seen: Seen,
    /// When the server began.
    pub(crate) server: i64,
    /// All jobs due before this are stored, for a later statement to see.
    pub(crate) stored: i64,
    /// The first row of `held`, from its floor on.
    pub(crate) running: Option<i64>,
    /// The first waiting job of each line, from its floor on.
    pub(crate) lines: Vec<(i32, Option<i64>)>,
}

impl Floors {
    /// The floor of a line.
    pub(crate) fn of(&self, line: i32) -> i64 {
        self.lines.get(&line).copied().unwrap_or(NONE)
    }

    /// The floor of `held`.
    pub(crate) fn running(&self) -> i64 {
        self.running
    }

    /// Compares the clocks after a call that told the server's; true where it
    /// is time to look again.
    pub(crate) fn observe(&mut self, seen: Seen) -> bool {
        let most = MARGIN / 2;
        if (self.stored).is_some_and(|(_, earlier)| seen.moved(&earlier, most)) {
            self.give_up();
        }
        let due = self.looked.is_none_or(|looked| looked.elapsed() >= SPAN);
        if due {
            self.looked = Some(Instant::now());
        }
        due
    }

    /// Forgets all, also for looks that are under way.
    pub(crate) fn give_up(&mut self) {
        let era = self.era + 1;
        *self = Self {
            era,
            ..Self::default()
        };
    }

    /// What is known as a look begins.
    pub(crate) fn base(&self) -> Base {
        Base {
            stored: self.stored.map(|(stored, _)| stored),
            era: self.era,
        }
    }

    /// Raises floors by what a look saw that began with this base.
    pub(crate) fn raise(&mut self, look: &Look, base: Base) {
        if base.era != self.era {
            return;
        }
        if self.server.is_some_and(|server| server != look.server) {
            self.give_up();
            return;
        }
        self.server = Some(look.server);
        if let Some(stored) = base.stored {
            let safe = stored.saturating_sub(MARGIN);
            let floor = |first: Option<i64>| first.unwrap_or(safe).min(safe);
            if self.lines.len() + look.lines.len() > CACHED {
                self.lines.clear();
            }
            for (line, first) in &look.lines {
                let kept = self.lines.entry(*line).or_insert(NONE);
                *kept = floor(*first).max(*kept);
            }
            self.running = floor(look.running).max(self.running);
        }
        self.stored = Some((look.stored, look.seen));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;

    /// Seen in an instant.
    fn seen(now: i64, at: Instant) -> Seen {
        Seen {
            now,
            begun: at,
            ended: at,
        }
    }

    fn look(now: i64, stored: i64, first: Option<i64>) -> Look {
        Look {
            seen: seen(now, Instant::now()),
            server: 1,
            stored,
            running: None,
            lines: vec![(7, first)],
        }
    }

    #[test]
    fn a_floor_is_the_first_job_or_what_was_stored_before() {
        let mut floors = Floors::default();
        let base = floors.base();
        floors.raise(&look(100 * S, 100 * S, None), base);
        assert_eq!(
            floors.of(7),
            NONE,
            "nothing is known of what was stored before"
        );
        let base = floors.base();
        floors.raise(&look(100 * S, 99 * S, Some(50 * S)), base);
        assert_eq!(floors.of(7), 50 * S, "the first job");
        let base = floors.base();
        floors.raise(&look(100 * S, 99 * S, None), base);
        let below = 99 * S - MARGIN;
        assert_eq!(
            floors.of(7),
            below,
            "a margin below what was stored by the last look"
        );
        let base = floors.base();
        floors.raise(&look(100 * S, 0, Some(60 * S)), base);
        assert_eq!(floors.of(7), below, "it never falls");
        assert_eq!(floors.of(8), NONE);
        assert_eq!(floors.running(), 100 * S - MARGIN);
    }

    #[test]
    fn a_transaction_that_may_still_store_holds_the_floor() {
        let mut floors = Floors::default();
        let base = floors.base();
        floors.raise(&look(100 * S, 0, None), base);
        let base = floors.base();
        floors.raise(&look(100 * S, 100 * S, None), base);
        assert_eq!(floors.of(7), -MARGIN);
    }

    #[test]
    fn another_server_gives_all_floors_up() {
        let mut floors = Floors::default();
        let mut raise = |server| {
            let base = floors.base();
            let look = Look {
                server,
                ..look(100 * S, 100 * S, None)
            };
            floors.raise(&look, base);
            floors.of(7)
        };
        let floor = 100 * S - MARGIN;
        assert_eq!([raise(1), raise(1)], [NONE, floor]);
        assert_eq!([raise(2), raise(2), raise(2)], [NONE, NONE, floor]);
    }

    #[test]
    fn what_is_given_up_stays_so_for_looks_under_way() {
        let mut floors = Floors::default();
        let base = floors.base();
        floors.raise(&look(100 * S, 100 * S, None), base);
        let base = floors.base();
        floors.give_up();
        floors.raise(&look(100 * S, 100 * S, None), base);
        assert_eq!(floors.of(7), NONE);
    }

    #[test]
    fn a_clock_that_moved_gives_all_floors_up() {
        let start = Instant::now();
        let seen_at_start = || Look {
            seen: seen(100 * S, start),
            ..look(100 * S, 100 * S, None)
        };
        let mut floors = Floors::default();
        let base = floors.base();
        floors.raise(&seen_at_start(), base);
        let base = floors.base();
        floors.raise(&seen_at_start(), base);
        let floor = 100 * S - MARGIN;
        assert_eq!(floors.of(7), floor);
        floors.observe(seen(100 * S + MARGIN / 4, start));
        assert_eq!(floors.of(7), floor, "within the margin");
        let slow = Seen {
            now: 101 * S,
            begun: start,
            ended: start + Duration::from_secs(2),
        };
        floors.observe(slow);
        assert_eq!(floors.of(7), floor, "an answer that took its time");
        floors.observe(seen(100 * S - MARGIN, start));
        assert_eq!(floors.of(7), NONE);
    }
}
