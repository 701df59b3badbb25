//! [`Clock`]: where the store's time comes from.

use std::sync::Arc;
use std::time::Duration;

use anyqueue_core::Timestamp;
use tokio::sync::watch;

/// The store's clock. The machine never lets time fall: a host clock that is
/// set back makes the store's time stand still until it has caught up.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Clock {
    /// The host's clock.
    #[default]
    Host,
    /// A clock that only its owner moves, for tests.
    Manual(ManualClock),
}

impl Clock {
    /// The moment it shows.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::Host => Timestamp::host_now(),
            Self::Manual(clock) => clock.now(),
        }
    }

    /// Returns when the clock shows this moment; never where there is none.
    pub(crate) async fn sleep_until(&self, moment: Option<Timestamp>) {
        let Some(moment) = moment else {
            return std::future::pending().await;
        };
        match self {
            Self::Host => tokio::time::sleep(moment.since(self.now())).await,
            Self::Manual(clock) => clock.sleep_until(moment).await,
        }
    }
}

/// A clock that stands still until it is moved. Clones share their time.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<watch::Sender<Timestamp>>);

impl ManualClock {
    /// A clock that shows this moment.
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(watch::Sender::new(now)))
    }

    /// The moment it shows.
    pub fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    /// Moves it forward, and wakes those who waited for what is due by then.
    pub fn advance(&self, span: Duration) {
        self.0.send_modify(|now| *now = now.after(span));
    }

    async fn sleep_until(&self, moment: Timestamp) {
        // The sender is alive: it is `self`.
        let _ = self.0.subscribe().wait_for(|now| *now >= moment).await;
    }
}

impl From<ManualClock> for Clock {
    fn from(clock: ManualClock) -> Self {
        Self::Manual(clock)
    }
}
