//! The store's clock: the host's, which never falls within a process.

use std::sync::atomic::{AtomicI64, Ordering};

use anyqueue_core::Timestamp;

/// The latest moment that this process has used. A host clock that is set
/// back makes the process's time stand still until it has caught up; other
/// processes of the host read the same clock, but keep marks of their own.
static LATEST: AtomicI64 = AtomicI64::new(i64::MIN);

/// The moment now.
pub(crate) fn now() -> Timestamp {
    let host = Timestamp::host_now().as_micros();
    Timestamp::from_micros(LATEST.fetch_max(host, Ordering::Relaxed).max(host))
}
