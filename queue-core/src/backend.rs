//! [`Backend`]: the storage contract.
//!
//! A backend translates, it never decides: retry policy, encoding, validation,
//! batching and spans live in core, once. Every method is batch in, batch
//! out, with one answer per item in the order of the items; where a store
//! allows it, a call is one round trip.
//!
//! The bullets on each method are its laws. `conformance-tests` has a case for
//! each; their names start with the word in bold that opens the bullet.
//!
//! # Rules for all methods
//! - **Time** is the store's clock. A store without one writes down its rule.
//! - **Cancel safety**: a future dropped at any await leaves the store
//!   consistent and its connection either clean or discarded.
//! - **Late effect**: a dropped call is an unknown one, as if its answer was
//!   lost. It takes effect once at most, each of its items as a whole or not
//!   at all, and perhaps behind calls that were made later: there it does what
//!   it would do if it was made only then.
//! - **Repeat**: every call can be asked again when its answer was lost
//!   ([`ErrorKind::Unknown`](crate::ErrorKind::Unknown)); each method says what
//!   the repetition answers.
//! - **Reads see writes**: a call begun after another was acknowledged sees
//!   its effect, in any process.
//! - **Hostile data**: names, keys and payloads are bound, never spliced.
//! - **Empty batches** are answered with an empty list and no I/O. A batch may
//!   name the same job more than once; the items act in order.
//!
//! # The life of a job
//! ```text
//!            enqueue                       claim
//!  scheduled ───────▶ ready ─────────────────────────▶ running
//!      │  ▲  promote   │ ▲                               │ complete ─▶ completed
//!      │  └────────────┼─┼──── retry, snooze ────────────┤ fail ─────▶ failed ◀─┐
//!      │               │ └──── release, lease expired ───┤ lease expired, no attempt left
//!      └──── cancel ───┴────────▶ cancelled ◀────────────┘ flagged: retry, snooze,
//!                                                          release, lease expired
//!  failed, cancelled ── retry by hand ──▶ ready
//! ```

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::capability::Capabilities;
use crate::claim::{ClaimRequest, ClaimedJob, Holding, Token, WaitRequest};
use crate::error::Error;
use crate::id::JobId;
use crate::maintain::{MaintainLimits, Maintained};
use crate::name::QueueName;
use crate::new_job::{Enqueued, NewJob};
use crate::progress::ProgressUpdate;
use crate::query::{Cancelled, Filter, Flow, Listing, Page, QueueCounts, QueueInfo, Retried};
use crate::record::JobRecord;
use crate::settle::{Settled, Settlement};

/// An implementation of storage. Used by backend authors; applications hold a
/// [`Client`](crate::Client).
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// The short name used in errors and metrics: `postgres`.
    fn name(&self) -> &'static str;

    /// What this backend can do, as configured; durability judged from the
    /// live settings once [`prepare`](Self::prepare) has run.
    fn capabilities(&self) -> Capabilities;

    /// Makes the storage ready: schema, migrations, topology, live settings.
    /// - **prepare** is safe to run from many processes at once and again at
    ///   any time; it never loses or changes jobs.
    /// - It refuses, with a text that says what to do, a store that it cannot
    ///   use safely, and one that a newer version has migrated.
    async fn prepare(&self) -> Result<(), Error>;

    /// A second handle on the same store with connections of its own, for use
    /// on the calling runtime (the heartbeat thread has its own).
    async fn reopen(&self) -> Result<Arc<dyn Backend>, Error>;

    /// Stores jobs.
    /// - **enqueue** makes each job `ready`, or `scheduled` where it is due
    ///   later, and reports `Created`. All of a call's jobs are stored, or
    ///   none and an error.
    /// - An acknowledged enqueue survives what
    ///   [`durability`](Capabilities::durability) says.
    /// - **enqueue repeat**: an id that the store knows is answered `Created`
    ///   and changes nothing.
    /// - **unique**: a key that an unfinished or still-in-period job of the
    ///   same queue holds is answered `Existing` with that job's id, and the
    ///   job is not stored. Checked and taken atomically, within a batch too:
    ///   the first item wins.
    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error>;

    /// Takes jobs atomically.
    /// - **claim exclusive**: a job is held by at most one unexpired lease,
    ///   across processes and hosts.
    /// - **claim counter**: each claim raises the job's counter by one or
    ///   more; it never falls or repeats.
    /// - **claim attempt**: each claim charges one attempt, clears the
    ///   progress values (not the sequence) and the snooze reason.
    /// - **claim order**: within a queue by priority (highest first), then due
    ///   time, then enqueue order; served by an index, without a count. Due
    ///   `scheduled` jobs are claimable; promoting them in bounded steps may
    ///   relax the order among jobs that became due just now.
    /// - **claim limit**: at most `limit` jobs, from the named queues only,
    ///   visited in the request's order. Paused queues give none. A store may
    ///   bound an answer's bytes and give fewer than it could, never none.
    /// - **lease expiry**: a job whose lease has run out is claimable again
    ///   without anyone's help, its original due time giving its place. The
    ///   error "lease expired" is kept for that attempt. Where no attempt is
    ///   left it ends `failed`, where it is flagged it ends `cancelled`, and
    ///   it is not returned.
    ///
    /// A claim whose answer was lost holds its jobs until the lease ends.
    async fn claim(&self, request: &ClaimRequest) -> Result<Vec<ClaimedJob>, Error>;

    /// Extends leases to `lease` from now.
    /// - **heartbeat**: the job stays held that much longer; a flagged job
    ///   answers `CancelRequested` and is extended all the same.
    /// - **stale**: a token that does not hold its job answers `Stale` and
    ///   changes nothing; the other items are not affected. A lease that has
    ///   run out but was neither claimed nor maintained is still held.
    async fn heartbeat(&self, tokens: &[Token], lease: Duration) -> Result<Vec<Holding>, Error>;

    /// Reports what became of held jobs.
    /// - **settle** moves each job as its [`Outcome`](crate::Outcome) says and
    ///   keeps result and errors (the last [`JobRecord::MAX_ERRORS`]).
    ///   Complete clears nothing: progress stays to be seen.
    /// - **settle once**: a token settles once. The same token with the same
    ///   kind of outcome answers `Accepted` again and changes nothing; with
    ///   another kind it is `Stale`.
    /// - **stale**: as for heartbeat. All accepted items take effect, or none
    ///   and an error.
    /// - **attempts**: retry and fail keep the charged attempt; snooze and
    ///   release give it back.
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>, Error>;

    /// Stores progress of held jobs.
    /// - **progress**: the values replace the former ones, the sequence rises;
    ///   result and errors are not touched, nor is the lease.
    /// - **stale**: as for heartbeat.
    async fn progress(&self, updates: &[ProgressUpdate]) -> Result<Vec<Holding>, Error>;

    /// Cancels jobs.
    /// - **cancel waiting**: ends `cancelled` at once and is never claimed.
    /// - **cancel running**: is flagged; a completion or failure still stands,
    ///   retry, snooze, release and expiry end `cancelled`.
    /// - **cancel repeat** changes nothing more: it answers `Done` once the job
    ///   is cancelled, `Requested` while it runs on; a job that ended otherwise
    ///   answers `Finished`.
    async fn cancel(&self, ids: &[JobId]) -> Result<Vec<Cancelled>, Error>;

    /// Runs ended jobs again, by hand.
    /// - **retry by hand**: a failed or cancelled job becomes `ready`, due
    ///   now, with attempt 0, no flag and no end time; errors stay, the
    ///   counter is never reset. A key that is held while unfinished is taken
    ///   again, or answers `Existing` where another job holds it; a key for a
    ///   period is left as it is, since its period counts from the enqueue.
    async fn retry(&self, ids: &[JobId]) -> Result<Vec<Retried>, Error>;

    /// Reads jobs.
    /// - **get** answers each id with its record, or `None`.
    async fn get(&self, ids: &[JobId]) -> Result<Vec<Option<JobRecord>>, Error>;

    /// Lists jobs.
    /// - **list order**: by id, highest (newest) first; `next` is there while
    ///   more may follow.
    /// - **list filter**: exactly the jobs that [`Filter::matches`].
    /// - **list stable**: while jobs are added, following `next` shows every
    ///   job that was there from the start exactly once.
    async fn list(&self, filter: &Filter, page: &Page) -> Result<Listing, Error>;

    /// Counts jobs by queue and state; queues that hold none are left out.
    /// - **counts** are exact while nothing changes, and never scan the whole
    ///   store. Ordered by queue name.
    async fn counts(&self) -> Result<Vec<QueueCounts>, Error>;

    /// The queues that hold a job or are paused, ordered by name.
    async fn queues(&self) -> Result<Vec<QueueInfo>, Error>;

    /// Opens or pauses a queue.
    /// - **pause** is stored: no claim begun after the answer takes from a
    ///   paused queue, in any process. Enqueues are accepted, running jobs go
    ///   on, an unknown queue can be paused beforehand.
    async fn set_flow(&self, queue: &QueueName, flow: Flow) -> Result<(), Error>;

    /// Does a bounded share of the chores: ends expired leases, promotes due
    /// jobs, purges finished jobs past their retention, frees unique keys
    /// whose period is over.
    /// - **maintain** is safe from every worker at once; nothing depends on
    ///   one process being alive. It does for expiry what claim does. `more`
    ///   says that a bound was reached, so that another call may find work.
    /// - **purge** removes a finished job once its retention is over, never
    ///   another, and never frees a unique key earlier than its policy.
    async fn maintain(&self, limits: &MaintainLimits) -> Result<Maintained, Error>;

    /// Returns when a job may be claimable, at the latest after the timeout.
    /// A hint: it may return early, and a job may come without it. What comes
    /// after the future's first poll is noticed where the backend has
    /// [`Push`](crate::Capability::Push). May be dropped at any time.
    async fn wait_for_work(&self, request: &WaitRequest) -> Result<(), Error>;

    /// Returns when one of the jobs may have changed, at the latest after the
    /// timeout. A hint, as [`wait_for_work`](Self::wait_for_work).
    async fn wait_for_change(&self, ids: &[JobId], timeout: Duration) -> Result<(), Error>;
}
