//! [`RetryPolicy`]: how often a job runs and how long it waits in between.
//! Stored with the job, decided in core.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How many attempts a job has, and the wait before each next one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Attempts, the first included; at least 1. Counted at claim.
    pub max_attempts: u32,
    /// The wait after a failed attempt.
    pub backoff: Backoff,
}

impl RetryPolicy {
    /// Attempts of the default policy.
    pub const DEFAULT_ATTEMPTS: u32 = 10;

    /// A policy with this many attempts (0 is taken as 1) and this backoff.
    pub fn new(max_attempts: u32, backoff: Backoff) -> Self {
        Self {
            // Stores keep it as a signed 32-bit number.
            max_attempts: max_attempts.clamp(1, i32::MAX as u32),
            backoff,
        }
    }

    /// One attempt: the first failure is final.
    pub fn never() -> Self {
        Self::new(1, Backoff::default())
    }

    /// This many attempts with a fixed wait in between.
    pub fn fixed(max_attempts: u32, delay: Duration) -> Self {
        Self::new(max_attempts, Backoff::Fixed { delay })
    }

    /// The default backoff with this many attempts.
    pub fn attempts(max_attempts: u32) -> Self {
        Self::new(max_attempts, Backoff::default())
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::attempts(Self::DEFAULT_ATTEMPTS)
    }
}

/// The wait after a failed attempt.
///
/// The handler can overrule it for one failure with
/// [`JobError::retry_after`](crate::JobError::retry_after).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Backoff {
    /// `base · 2^(attempt − 1)`, spread evenly by ± `jitter_percent`, at most
    /// `max`. Jitter keeps jobs that failed together from coming back together
    /// (M. Brooker, "Exponential Backoff And Jitter", 2015).
    Exponential {
        /// The wait after the first attempt.
        base: Duration,
        /// The longest wait.
        max: Duration,
        /// Half the spread, in percent of the wait, 0 to 100.
        jitter_percent: u8,
    },
    /// Always the same wait.
    Fixed {
        /// The wait.
        delay: Duration,
    },
    /// The nth wait after the nth attempt, the last one from then on; none
    /// where the list is empty.
    Custom {
        /// The waits.
        delays: Vec<Duration>,
    },
}

/// 2 s doubling to 1 h, ± 20 %.
impl Default for Backoff {
    fn default() -> Self {
        Self::Exponential {
            base: Duration::from_secs(2),
            max: Duration::from_secs(3_600),
            jitter_percent: 20,
        }
    }
}

impl Backoff {
    /// The wait after the attempt with this number (from 1).
    pub fn delay_after(&self, attempt: u32) -> Duration {
        let nth = attempt.max(1) - 1;
        match self {
            Self::Exponential {
                base,
                max,
                jitter_percent,
            } => {
                let wait = base.saturating_mul(1_u32.checked_shl(nth).unwrap_or(u32::MAX));
                let spread = f64::from((*jitter_percent).min(100)) / 100.0;
                let factor = 1.0 + spread * (2.0 * fastrand::f64() - 1.0);
                let wait = wait.min(*max).as_secs_f64() * factor;
                // The longest spans have no longer one.
                Duration::try_from_secs_f64(wait).map_or(*max, |wait| wait.min(*max))
            }
            Self::Fixed { delay } => *delay,
            Self::Custom { delays } => {
                let last = delays.len().saturating_sub(1);
                let at = usize::try_from(nth).unwrap_or(last).min(last);
                delays.get(at).copied().unwrap_or_default()
            }
        }
    }

    /// The text that stores keep: `None` for the default, so that most rows
    /// carry nothing.
    pub fn to_stored(&self) -> Option<String> {
        (*self != Self::default())
            .then(|| serde_json::to_string(self).expect("durations and numbers are JSON"))
    }

    /// The backoff in a stored text.
    ///
    /// # Errors
    /// Where the text was not made by [`Backoff::to_stored`].
    pub fn from_stored(text: Option<&str>) -> Result<Self, serde_json::Error> {
        text.map_or_else(|| Ok(Self::default()), serde_json::from_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn the_default_doubles_within_its_jitter_up_to_an_hour() {
        let backoff = Backoff::default();
        for attempt in 1..=40 {
            let plain = S(2_u64.saturating_pow(attempt)).min(S(3_600)).as_secs_f64();
            let wait = backoff.delay_after(attempt).as_secs_f64();
            assert!(
                wait >= plain * 0.8 && wait <= (plain * 1.2).min(3_600.0),
                "{attempt}: {wait}"
            );
        }
    }

    #[test]
    fn the_longest_wait_has_no_jitter_upwards() {
        let backoff = Backoff::Exponential {
            base: Duration::MAX,
            max: Duration::MAX,
            jitter_percent: 100,
        };
        for attempt in [1, 2, 40, u32::MAX] {
            let _ = backoff.delay_after(attempt);
        }
    }

    #[test]
    fn fixed_and_custom_waits() {
        let custom = Backoff::Custom {
            delays: vec![S(1), S(5)],
        };
        assert_eq!(
            [1, 2, 3, 99].map(|n| custom.delay_after(n)),
            [S(1), S(5), S(5), S(5)]
        );
        assert_eq!(Backoff::Custom { delays: vec![] }.delay_after(1), S(0));
        assert_eq!(Backoff::Fixed { delay: S(7) }.delay_after(3), S(7));
    }

    #[test]
    fn stored_text_round_trips_and_the_default_is_nothing() {
        assert_eq!(Backoff::default().to_stored(), None);
        for backoff in [
            Backoff::Fixed { delay: S(7) },
            Backoff::Custom { delays: vec![S(1)] },
        ] {
            let text = backoff.to_stored();
            assert_eq!(Backoff::from_stored(text.as_deref()).unwrap(), backoff);
        }
    }
}
