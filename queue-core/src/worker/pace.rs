//! [`Pace`]: how many jobs to claim ahead, from how fast handlers prove to be.

use std::time::{Duration, Instant};

/// What is claimed ahead is about this much work, so that quick jobs keep
/// their slots busy during a claim, and slow ones are left to other workers.
const AHEAD: f64 = 0.1;

/// The most jobs claimed ahead.
const MOST: usize = 2_000;

/// The shortest span that a rate is taken over.
const SPAN: Duration = Duration::from_millis(5);

/// In this time a rate that is no longer reached falls to half.
const HALF_LIFE: Duration = Duration::from_millis(100);

pub(super) struct Pace {
    since: Instant,
    ended: u64,
    per_second: f64,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            ended: 0,
            per_second: 0.0,
        }
    }

    /// How many jobs to hold beyond the running ones, when `ended` attempts
    /// have ended in all.
    pub(super) fn prefetch(&mut self, ended: u64, now: Instant) -> usize {
        let span = now.saturating_duration_since(self.since);
        if span >= SPAN {
            let rate = (ended - self.ended) as f64 / span.as_secs_f64();
            // Up at once, down by and by: a pause in the supply says nothing
            // about the handlers.
            let left = 0.5_f64.powf(span.as_secs_f64() / HALF_LIFE.as_secs_f64());
            self.per_second = rate.max(self.per_second * left);
            self.since = now;
            self.ended = ended;
        }
        // Truncation is meant: below one job, nothing is claimed ahead.
        ((self.per_second * AHEAD) as usize).min(MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_jobs_are_claimed_ahead_and_slow_ones_are_not() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut pace = Pace::new(start);
        assert_eq!(pace.prefetch(0, at(0)), 0);
        assert!((319..=320).contains(&pace.prefetch(32, at(10))));
        assert_eq!(pace.prefetch(100_000, at(20)), MOST);
        // From here on one job a second.
        assert!(pace.prefetch(100_000, at(50)) > MOST / 2);
        assert_eq!(pace.prefetch(100_001, at(4_000)), 0);
    }
}
