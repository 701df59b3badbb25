//! What a worker keeps of each job that it holds: the signals to its handler
//! and the progress that its handler reported.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::claim::{ClaimedJob, Holding};
use crate::progress::{ProgressUpdate, ProgressValues};

/// One held job; shared by its handler, the heartbeat and the settling.
pub(crate) struct JobScope {
    pub(crate) job: ClaimedJob,
    pub(crate) signal: Signal,
    progress: Mutex<Reported>,
}

#[derive(Default)]
struct Reported {
    latest: ProgressValues,
    /// Whether `latest` is still to be sent.
    unsent: bool,
    /// Whether there ever was a report.
    any: bool,
}

impl JobScope {
    pub(crate) fn new(job: ClaimedJob) -> Self {
        Self {
            job,
            signal: Signal::default(),
            progress: Mutex::default(),
        }
    }

    /// Takes in what the store says of the job.
    pub(crate) fn observe(&self, holding: Holding) {
        match holding {
            Holding::Held => {}
            Holding::CancelRequested => self.signal.raise(Signal::CANCEL),
            Holding::Stale => self.signal.raise(Signal::LOST),
        }
    }

    pub(crate) fn latest_report(&self) -> ProgressValues {
        self.lock().latest.clone()
    }

    pub(super) fn has_reported(&self) -> bool {
        self.lock().any
    }

    /// The report that is still to be sent, now taken as sent.
    pub(super) fn take_unsent(&self) -> Option<ProgressUpdate> {
        let mut progress = self.lock();
        std::mem::take(&mut progress.unsent).then(|| ProgressUpdate {
            token: self.job.token,
            values: progress.latest.clone(),
        })
    }

    /// Marks the latest report as to be sent (again).
    fn mark_unsent(&self) -> bool {
        !std::mem::replace(&mut self.lock().unsent, true)
    }

    fn lock(&self) -> MutexGuard<'_, Reported> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The jobs of a worker with reports still to be sent.
#[derive(Default)]
pub(crate) struct Reports {
    jobs: Mutex<Vec<Arc<JobScope>>>,
    pub(super) arrived: Notify,
}

impl Reports {
    pub(crate) fn report(&self, scope: &Arc<JobScope>, values: ProgressValues) {
        let first = {
            let mut progress = scope.lock();
            progress.latest = values;
            progress.any = true;
            !std::mem::replace(&mut progress.unsent, true)
        };
        if first {
            self.push(Arc::clone(scope));
        }
    }

    /// Puts back a report that could not be sent.
    pub(super) fn put_back(&self, scope: &Arc<JobScope>) {
        if scope.mark_unsent() {
            self.push(Arc::clone(scope));
        }
    }

    pub(super) fn take(&self) -> Vec<Arc<JobScope>> {
        std::mem::take(&mut *self.jobs.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn push(&self, scope: Arc<JobScope>) {
        self.jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(scope);
        self.arrived.notify_one();
    }
}

/// Tells a handler to stop: on request (it may finish all the same), or
/// because its lease is lost (it is dropped).
#[derive(Default)]
pub(crate) struct Signal {
    raised: AtomicU8,
    changed: Notify,
}

impl Signal {
    const CANCEL: u8 = 1;
    const LOST: u8 = 2;

    fn raise(&self, bit: u8) {
        if self.raised.fetch_or(bit, Ordering::AcqRel) & bit == 0 {
            self.changed.notify_waiters();
        }
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.is_raised(Self::CANCEL | Self::LOST)
    }

    pub(super) fn is_lost(&self) -> bool {
        self.is_raised(Self::LOST)
    }

    pub(super) fn cancel_was_requested(&self) -> bool {
        self.is_raised(Self::CANCEL)
    }

    /// Whether one of these is.
    fn is_raised(&self, bits: u8) -> bool {
        self.raised.load(Ordering::Acquire) & bits != 0
    }

    pub(crate) async fn cancelled(&self) {
        self.any_of(Self::CANCEL | Self::LOST).await;
    }

    pub(super) async fn lost(&self) {
        self.any_of(Self::LOST).await;
    }

    async fn any_of(&self, bits: u8) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.is_raised(bits) {
                return;
            }
            changed.await;
        }
    }
}
