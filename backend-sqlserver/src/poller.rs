//! One poller a process for each store: looks for all who wait at what other
//! processes change.
//!
//! It looks 20 ms after something has happened, then ever more seldom, at last
//! once a second, unless those who wait have claimed in vain within that second:
//! that was a look. Nobody waits, nobody looks: a queue under load, whose workers
//! find jobs at each claim, is not polled.
//!
//! Handles share a poller where they reach the same schema by the same connection
//! settings as the same login, so that none looks with another's rights. It looks
//! by the connections of the handle that began it. Where that handle is dropped,
//! its runtime ends or stands still, or its look fails, another one that waits
//! takes over: each of them checks once a second ([`wake`](crate::wake)).

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, Weak};
use std::time::{Duration, Instant};

use anyqueue_core::{Error, JobId, Operation, QueueName, Timestamp};
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::args::{args, ids as id_rows, json};
use crate::claim::Lines;
use crate::config::SqlServerConfig;
use crate::error::Failure;
use crate::rows;
use crate::statements::Statement;
use crate::store::{Results, Store, lock};
use crate::wake::{Hub, Look};

/// The span between two looks: at first, and at last.
pub(crate) const FIRST: Duration = Duration::from_millis(20);
pub(crate) const LAST: Duration = Duration::from_secs(1);

/// After how long without a sign of life another handle looks instead: several
/// times the longest span between two signs.
const STALLED: Duration = Duration::from_secs(4);

/// The most jobs that one look asks for; the others are looked at by those who
/// wait for them, when their time is up.
const MOST: usize = 1_000;

/// The task that looks.
#[derive(Debug)]
pub(crate) struct Poller {
    task: AbortHandle,
    /// When its runtime last gave it a turn.
    seen: Instant,
}

/// What handles share a poller by.
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// How the server is reached, as the driver shows it: without secrets.
    connection: String,
    schema: String,
    /// Who it is to the server, which the settings do not tell where tokens or
    /// the system's account do.
    login: String,
}

impl Key {
    pub(crate) fn new(config: &SqlServerConfig, login: &str) -> Self {
        Self {
            connection: format!("{:?}", config.connect),
            schema: config.schema.name().to_owned(),
            login: login.to_owned(),
        }
    }
}

/// The hubs of this process.
static HUBS: LazyLock<Mutex<HashMap<Key, Weak<Hub>>>> = LazyLock::new(Mutex::default);

impl Hub {
    /// The one hub of all handles with this key.
    pub(crate) fn shared(key: Key) -> Arc<Self> {
        let mut hubs = lock(&HUBS);
        if let Some(hub) = hubs.get(&key).and_then(Weak::upgrade) {
            return hub;
        }
        hubs.retain(|_, hub| hub.strong_count() > 0);
        let hub = Arc::new(Self::default());
        hubs.insert(key, Arc::downgrade(&hub));
        hub
    }

    /// What is waited for; `None`: nothing, and the poller has ended.
    fn wanted(&self) -> Option<(Vec<QueueName>, Vec<JobId>)> {
        // A wait that begins now finds no poller, or is seen here.
        let mut poller = lock(&self.poller);
        let (queues, jobs) = (self.waiters.queues(), self.waiters.jobs(MOST));
        if queues.is_empty() && jobs.is_empty() {
            *poller = None;
            return None;
        }
        Some((queues, jobs))
    }

    fn sign_of_life(&self) {
        if let Some(poller) = &mut *lock(&self.poller) {
            poller.seen = Instant::now();
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(poller) = lock(&self.poller).take() {
            poller.task.abort();
        }
    }
}

impl Store {
    /// Has someone look from now on; soon, where that is wanted.
    pub(crate) fn look_on(self: &Arc<Self>, soon: bool) {
        let hub = self.hub();
        let mut poller = lock(&hub.poller);
        if let Some(poller) = &*poller {
            if !poller.task.is_finished() && poller.seen.elapsed() < STALLED {
                if soon {
                    hub.sooner.notify_one();
                }
                return;
            }
            poller.task.abort();
        }
        let task = tokio::spawn(looking(Arc::downgrade(hub), Arc::downgrade(self)));
        *poller = Some(Poller {
            task: task.abort_handle(),
            seen: Instant::now(),
        });
    }

    /// One look for all who wait. Tells whether there was news, and when the next
    /// job becomes due or the next lease may run out.
    async fn look(
        &self,
        hub: &Hub,
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
        let mut news = hub.compare(jobs, seen);
        let names = &mut lock(&hub.known).names;
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
                    Some(Some(name)) => hub.waiters.wake([name], []),
                    // A lease may have run out, of whatever queue.
                    _ => hub.waiters.wake_all_queues(),
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

fn read_look(found: &Results) -> Result<(Option<Due>, HashMap<JobId, Look>), Failure> {
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
async fn looking(hub: Weak<Hub>, store: Weak<Store>) {
    // When the next job becomes due or lease may run out, by the last look.
    let mut due: Option<Instant> = None;
    while let Some(hub) = hub.upgrade() {
        hub.sign_of_life();
        let Some((queues, jobs)) = hub.wanted() else {
            return;
        };
        let Some(store) = store.upgrade() else {
            return;
        };
        let slow = lock(&hub.pace).span >= LAST;
        if slow && due.is_none_or(|due| due > Instant::now()) && hub.just_claimed(&queues, &jobs) {
            let span = due.map_or(LAST, |due| due - Instant::now());
            drop(store);
            rest(&hub, span.clamp(FIRST, LAST)).await;
            continue;
        }
        // Large: not to be part of this task's every turn.
        let look = Box::pin(store.look(&hub, &queues, &jobs));
        let (news, next) = match while_living(&hub, look).await {
            Ok(look) => look,
            Err(error) => {
                tracing::debug!(%error, "no look for those who wait");
                lock(&hub.pace).span = LAST;
                drop(store);
                // Then whoever waits looks, by connections of its own.
                sleep(LAST).await;
                return;
            }
        };
        drop(store);
        let span = {
            let mut pace = lock(&hub.pace);
            pace.span = match news {
                true => FIRST,
                false => (pace.span * 2).min(LAST),
            };
            due = next.and_then(|next| Instant::now().checked_add(next));
            next.map_or(pace.span, |next| next.clamp(FIRST, pace.span))
        };
        rest(&hub, span).await;
    }
}

/// Gives signs of life while a look takes its time.
async fn while_living<T>(hub: &Hub, look: impl Future<Output = T>) -> T {
    let mut look = std::pin::pin!(look);
    loop {
        tokio::select! {
            done = &mut look => return done,
            () = sleep(LAST) => hub.sign_of_life(),
        }
    }
}

/// Sleeps between two looks: not less than [`FIRST`], whoever comes.
async fn rest(hub: &Hub, span: Duration) {
    sleep(FIRST).await;
    tokio::select! {
        () = sleep(span.saturating_sub(FIRST)) => {}
        () = hub.sooner.notified() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(url: &str, login: &str) -> Key {
        Key::new(&SqlServerConfig::from_url(url).unwrap(), login)
    }

    /// What the driver shows of a connection names all but its secrets.
    #[test]
    fn a_key_tells_connections_apart_and_holds_no_password() {
        let url = "sqlserver://u:hunter2@db.example:14330/jobs?schema=s";
        let one = key(url, "u");
        assert!(!one.connection.contains("hunter2"));
        assert!(one == key(&url.replace("hunter2", "hunter3"), "u"));
        for (from, to) in [
            ("db.example", "db2.example"),
            ("14330", "14331"),
            ("/jobs", "/jobs2"),
            ("//u:", "//v:"),
            ("schema=s", "schema=t"),
            ("schema=s", "schema=s&encrypt=false"),
            ("schema=s", "schema=s&trust_server_certificate=true"),
        ] {
            assert!(one != key(&url.replace(from, to), "u"), "{to}");
        }
        assert!(one != key(url, "v"));
    }

    #[test]
    fn handles_share_a_hub_while_one_is_there() {
        let url = "sqlserver://shared.example/jobs";
        let one = Hub::shared(key(url, "u"));
        assert!(Arc::ptr_eq(&one, &Hub::shared(key(url, "u"))));
        assert!(!Arc::ptr_eq(&one, &Hub::shared(key(url, "v"))));
        let gone = Arc::downgrade(&one);
        drop(one);
        assert!(gone.upgrade().is_none(), "nothing else holds it");
    }
}
