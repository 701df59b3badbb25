//! Asking again: the one policy for calls that failed in passing.

use std::time::Duration;

use crate::error::Error;

/// Waits that grow and are jittered, from `first` to `longest`.
pub(crate) struct Waits {
    next: Duration,
    longest: Duration,
}

impl Waits {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            next: first,
            longest,
        }
    }

    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.next;
        self.next = wait.saturating_mul(3).min(self.longest);
        wait.mul_f64(0.5 + fastrand::f64())
    }
}

/// How often a client asks before it reports a transient error.
const TRIES: u32 = 5;

/// Makes a call, and makes it again while it fails in passing: up to 5 times
/// within about a second. Every call of the contract may be repeated.
pub(crate) async fn repeat<T, F>(mut call: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut waits = Waits::new(Duration::from_millis(10), Duration::from_millis(500));
    for _ in 1..TRIES {
        match call().await {
            Err(error) if error.kind().is_transient() => {
                tracing::debug!(%error, "asking again");
                tokio::time::sleep(waits.next()).await;
            }
            answer => return answer,
        }
    }
    call().await
}
