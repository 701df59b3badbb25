//! [`Hub`]: who waits in this process, and the one task that looks for all of
//! them at what other processes change.
//!
//! SQL Server cannot push to a plain connection. A change made by this process
//! wakes at its commit those whom it concerns. For what others change there is
//! one look for all waits of a handle: 20 ms after something has happened, then
//! ever more seldom, at last once a second, unless those who wait have claimed
//! in vain within that second: that was a look. Nobody waits, nobody looks: a
//! queue under load, whose workers find jobs at each claim, is not polled.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use anyqueue_core::support::{Wait, Waiters};
use anyqueue_core::{Error, JobId, Operation, QueueName, Timestamp};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::args::{args, ids as id_rows, json};
use crate::claim::Lines;
use crate::error::Failure;
use crate::rows;
use crate::statements::Statement;
use crate::store::{Store, lock};

/// The span between two looks: at first, and at last.
const FIRST: Duration = Duration::from_millis(20);
const LAST: Duration = Duration::from_secs(1);

/// A claim in vain is as good as a look for this long: somewhat more than what
/// passes between two claims of an idle worker.
const CLAIMED: Duration = Duration::from_millis(1_250);

/// How long it is remembered what a job looked like to those who waited for it.
const KEPT: Duration = Duration::from_secs(60);

/// The most jobs that one look asks for; the others are looked at by those who
/// wait for them, when their time is up.
const MOST: usize = 1_000;

/// The waits of one handle.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    waiters: Waiters,
    known: Mutex<Known>,
    pace: Mutex<Pace>,
    /// Ends a sleep between two looks.
    sooner: Notify,
    looker: Mutex<Option<AbortHandle>>,
}

/// What is known of what others change.
#[derive(Debug, Default)]
struct Known {
    looks: HashMap<JobId, (Look, Instant)>,
    /// When a claim last found a queue, which is waited for, without work.
    claimed: HashMap<QueueName, Instant>,
    /// The numbers of queues that someone waits for or waited for.
    names: HashMap<i32, QueueName>,
}

/// What a job looks like: state, counter, settled counter, sequence, flag; `None`
/// where it is not there.
type Look = Option<(i64, i64, i64, i64, bool)>;

/// When to look.
#[derive(Debug)]
struct Pace {
    span: Duration,
    /// Whether something has happened since it was slowed down.
    active: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            span: FIRST,
            active: false,
        }
    }
}

/// What a call changed.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Queues, by number, that may give a job now, or have a new time to give one.
    pub(crate) queues: Vec<i32>,
    /// Jobs that look different.
    pub(crate) jobs: Vec<JobId>,
    /// Whether the store is in use: jobs came or were taken.
    pub(crate) active: bool,
}

impl Changes {
    /// The queue of this line may give a job now, or has a new time to give one.
    pub(crate) fn line(&mut self, line: i32) {
        if self.queues.last() != Some(&(line / 4)) {
            self.queues.push(line / 4);
        }
        self.active = true;
    }
}

impl Hub {
    /// Wakes those in this process whom a change concerns.
    pub(crate) fn tell(&self, changes: &Changes) {
        if changes.active {
            lock(&self.pace).active = true;
        }
        let known = lock(&self.known);
        for queue in &changes.queues {
            match known.names.get(queue) {
                Some(name) => self.waiters.wake([name], []),
                // Not met by its number yet.
                None => self.waiters.wake_all_queues(),
            }
        }
        self.waiters.wake([], &changes.jobs);
    }

    /// A claim has found nothing in these queues.
    pub(crate) fn claimed_in_vain(&self, queues: &[QueueName]) {
        let mut known = lock(&self.known);
        for queue in queues {
            if self.waiters.awaits(queue) {
                known.claimed.insert(queue.clone(), Instant::now());
            }
        }
    }

    /// Whether claims have just looked at all that is waited for.
    fn just_claimed(&self, queues: &[QueueName], jobs: &[JobId]) -> bool {
        let claimed = &mut lock(&self.known).claimed;
        claimed.retain(|queue, at| at.elapsed() < CLAIMED && queues.contains(queue));
        jobs.is_empty() && queues.iter().all(|queue| claimed.contains_key(queue))
    }

    /// What is waited for.
    fn wanted(&self) -> (Vec<QueueName>, Vec<JobId>) {
        (self.waiters.queues(), self.waiters.jobs(MOST))
    }

    /// Notes what jobs look like, and wakes those who have seen them different or
    /// not at all. True where any was.
    fn compare(&self, asked: &[JobId], mut seen: HashMap<JobId, Look>) -> bool {
        let looks = &mut lock(&self.known).looks;
        let now = Instant::now();
        looks.retain(|_, (_, at)| at.elapsed() < KEPT);
        let mut changed = false;
        for id in asked {
            let look = seen.remove(id).flatten();
            let before = looks.insert(*id, (look, now));
            match before {
                // A row that is locked is passed by, and may be seen next time.
                Some((Some(before), _)) if look.is_none() => {
                    looks.insert(*id, (Some(before), now));
                }
                Some((before, _)) if before == look => {}
                before => {
                    // To those who have not seen it, this is no news of others.
                    changed |= before.is_some();
                    self.waiters.wake([], [id]);
                }
            }
        }
        changed
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(looker) = lock(&self.looker).take() {
            looker.abort();
        }
    }
}

impl Store {
    /// Waits for work in these queues.
    pub(crate) fn await_work<'a>(self: &'a Arc<Self>, queues: &'a [QueueName]) -> Wait<'a> {
        let wait = self.hub.waiters.begin(queues, &[]);
        let again = {
            let mut pace = lock(&self.hub.pace);
            let again = std::mem::take(&mut pace.active);
            if again {
                pace.span = FIRST;
            }
            again
        };
        self.look_on(again);
        wait
    }

    /// Waits for changes of these jobs. The first wait for a job ends as soon as it
    /// was looked at: what it looked like before is not known.
    pub(crate) fn await_change<'a>(self: &'a Arc<Self>, jobs: &'a [JobId]) -> Wait<'a> {
        let wait = self.hub.waiters.begin(&[], jobs);
        let unknown = {
            let known = lock(&self.hub.known);
            jobs.iter().any(|id| !known.looks.contains_key(id))
        };
        self.look_on(unknown);
        wait
    }

    /// Has someone look from now on; soon, where that is wanted.
    fn look_on(self: &Arc<Self>, soon: bool) {
        let mut looker = lock(&self.hub.looker);
        if looker.as_ref().is_none_or(AbortHandle::is_finished) {
            let task = tokio::spawn(looking(Arc::downgrade(self)));
            *looker = Some(task.abort_handle());
        } else if soon {
            self.hub.sooner.notify_one();
        }
    }

    /// One look for all who wait. Tells whether there was news, and when the next
    /// job becomes due or the next lease may run out.
    async fn look(
        &self,
        queues: &[QueueName],
        jobs: &[JobId],
    ) -> Result<(bool, Option<Duration>), Error> {
        let operation = Operation::Wait;
        let failed = |failure: Failure| failure.into_error(operation);
        let lines = Lines::find(self, operation, queues).await?;
        let rows: Vec<_> = lines.numbers.iter().map(|line| [line]).collect();
        let args = args!(json(&rows).map_err(failed)?, id_rows(jobs).map_err(failed)?);
        let found = self.read(operation, Statement::Poll, args).await?;
        let (due, seen) = read_look(&found).map_err(failed)?;
        let mut news = self.hub.compare(jobs, seen);
        let names = &mut lock(&self.hub.known).names;
        names.extend(lines.names);
        let Some(due) = due else {
            return Ok((news, None));
        };
        let mut next: Option<Duration> = None;
        for (line, wait) in due {
            let name = line.map(|line| names.get(&(line / 4)));
            if wait.is_zero() {
                news = true;
                match name {
                    Some(Some(name)) => self.hub.waiters.wake([name], []),
                    // A lease may have run out, of whatever queue.
                    _ => self.hub.waiters.wake_all_queues(),
                }
            } else {
                next = Some(next.map_or(wait, |next| next.min(wait)));
            }
        }
        Ok((news, next))
    }
}

/// Spans until something is due, by line (`None`: a lease).
type Due = Vec<(Option<i32>, Duration)>;

fn read_look(
    found: &crate::store::Results,
) -> Result<(Option<Due>, HashMap<JobId, Look>), Failure> {
    let mut seen = HashMap::new();
    for row in found.iter().skip(2).flatten() {
        let look = (
            rows::big(row, 1)?,
            rows::big(row, 2)?,
            rows::big(row, 3)?,
            rows::big(row, 4)?,
            rows::flag(row, 5)?,
        );
        seen.insert(rows::id(row, 0)?, Some(look));
    }
    let Some(first) = found.first().and_then(|rows| rows.first()) else {
        return Ok((None, seen));
    };
    let now = rows::time(first, 0)?;
    let span = |due: Timestamp| due.since(now);
    let mut due: Due = Vec::new();
    due.extend(rows::optional_time(first, 1)?.map(|at| (None, span(at))));
    for row in found.iter().skip(1).take(1).flatten() {
        let line = rows::int(row, 0)?;
        due.extend(rows::optional_time(row, 1)?.map(|at| (Some(line), span(at))));
    }
    Ok((Some(due), seen))
}

/// Looks while anyone waits.
async fn looking(store: Weak<Store>) {
    // When the next job becomes due or lease may run out, by the last look.
    let mut due: Option<Instant> = None;
    loop {
        let Some(strong) = store.upgrade() else {
            return;
        };
        let (queues, jobs) = strong.hub.wanted();
        if queues.is_empty() && jobs.is_empty() {
            // A wait that begins now finds this task finished, or is seen here.
            let mut looker = lock(&strong.hub.looker);
            let (queues, jobs) = strong.hub.wanted();
            if queues.is_empty() && jobs.is_empty() {
                *looker = None;
                return;
            }
            continue;
        }
        let slow = lock(&strong.hub.pace).span >= LAST;
        if slow
            && due.is_none_or(|due| due > Instant::now())
            && strong.hub.just_claimed(&queues, &jobs)
        {
            let span = due.map_or(LAST, |due| due - Instant::now());
            rest(&strong.hub, span.clamp(FIRST, LAST)).await;
            continue;
        }
        let look = strong.look(&queues, &jobs).await;
        let span = {
            let mut pace = lock(&strong.hub.pace);
            pace.span = match look {
                Ok((true, _)) => FIRST,
                Ok((false, _)) => (pace.span * 2).min(LAST),
                Err(_) => LAST,
            };
            let next = match look {
                Ok((_, next)) => next,
                Err(error) => {
                    tracing::debug!(%error, "no look for those who wait");
                    None
                }
            };
            due = next.and_then(|next| Instant::now().checked_add(next));
            next.map_or(pace.span, |next| next.clamp(FIRST, pace.span))
        };
        rest(&strong.hub, span).await;
    }
}

/// Sleeps between two looks: not less than [`FIRST`], whoever comes.
async fn rest(hub: &Hub, span: Duration) {
    tokio::time::sleep(FIRST).await;
    tokio::select! {
        () = tokio::time::sleep(span.saturating_sub(FIRST)) => {}
        () = hub.sooner.notified() => {}
    }
}
