//! The store's clock: the host's, without its small steps back.

use std::sync::atomic::{AtomicI64, Ordering};

use anyqueue_core::Timestamp;

/// The latest moment that this process has used.
static LATEST: AtomicI64 = AtomicI64::new(i64::MIN);

/// How far the host's clock may be set back, in microseconds, with this process's
/// time standing still until it has caught up. Where it is set back by more, the
/// process goes with it: to stand still for an hour would end no lease and start
/// no delayed job for that long, and a process that was started meanwhile would
/// have the host's time all the same.
const STANDING: i64 = 5_000_000;

/// The moment now.
pub(crate) fn now() -> Timestamp {
    let mut latest = LATEST.load(Ordering::Relaxed);
    loop {
        // Read behind the latest: a thread that was held up in between would take
        // its own delay for a step of the clock.
        let now = after(latest, Timestamp::host_now().as_micros());
        let taken = LATEST.compare_exchange(latest, now, Ordering::Relaxed, Ordering::Relaxed);
        match taken {
            Ok(_) => return Timestamp::from_micros(now),
            Err(other) => latest = other,
        }
    }
}

/// The moment that follows the latest one where the host's clock says this.
fn after(latest: i64, host: i64) -> i64 {
    if latest.saturating_sub(host) > STANDING {
        host
    } else {
        latest.max(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stands_still_over_small_steps_back_and_goes_with_large_ones() {
        let second = 1_000_000;
        assert_eq!(after(i64::MIN, 7), 7);
        assert_eq!(after(100 * second, 101 * second), 101 * second);
        assert_eq!(after(100 * second, 95 * second), 100 * second);
        assert_eq!(after(3_600 * second, second), second);
        let first = now();
        assert!(now() >= first);
    }
}
