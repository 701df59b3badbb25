//! The writer: one thread, one connection, natural group commit.
//!
//! What waits when a transaction begins goes into it: urgent calls first, then
//! the others up to [`ROWS`]. A call is answered after the commit. A call that
//! fails takes the others' work with it; the transaction is then undone and
//! each call made again in one of its own, so that only the one that fails
//! fails. Nothing was answered until then, so that this cannot be seen.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyqueue_core::support::Waiters;
use anyqueue_core::{Error, Operation};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::clock;
use crate::config::SqliteConfig;
use crate::connection::{Opened, Role};
use crate::error::Failure;
use crate::lane::{Lane, Next};
use crate::tx::{Cache, Changes, Tx};

/// How many rows a transaction changes, about, before it is committed: tens of
/// milliseconds at most, so that heartbeats and other processes get their turn.
const ROWS: usize = 4_000;

/// How often other processes' commits are looked for while someone waits.
const LOOK: Duration = Duration::from_millis(15);

/// A write on its way. Made once or, after a rollback, once more.
pub(crate) trait Write: Send {
    /// About how many rows it changes.
    fn rows(&self) -> usize;
    /// Does it in the open transaction.
    fn make(&mut self, tx: &mut Tx<'_>) -> Result<(), Failure>;
    /// Answers the caller: after the commit, or with why there is none.
    fn answer(self: Box<Self>, committed: Result<(), Failure>);
}

/// A [`Write`] made of a closure.
pub(crate) struct Call<F, T> {
    pub(crate) operation: Operation,
    pub(crate) rows: usize,
    pub(crate) work: F,
    pub(crate) value: Option<T>,
    pub(crate) caller: oneshot::Sender<Result<T, Error>>,
}

impl<F, T> Write for Call<F, T>
where
    F: FnMut(&mut Tx<'_>) -> Result<T, Failure> + Send,
    T: Send,
{
    fn rows(&self) -> usize {
        self.rows
    }

    fn make(&mut self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        self.value = Some((self.work)(tx)?);
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), Failure>) {
        let Self {
            operation,
            value,
            caller,
            ..
        } = *self;
        let value = committed.and_then(|()| value.ok_or_else(Failure::gone));
        // A caller that is gone needs no answer.
        let _ = caller.send(value.map_err(|failure| failure.into_error(operation)));
    }
}

/// The thread's state.
pub(crate) struct Writer {
    config: SqliteConfig,
    lane: Arc<Lane<Box<dyn Write>>>,
    waiters: Arc<Waiters>,
    pace: Pace,
    open: Option<Open>,
}

/// The connection with what was read through it.
struct Open {
    opened: Opened,
    cache: Cache,
    /// Changes when another connection commits, in this process or another.
    version: i64,
}

impl Writer {
    pub(crate) fn new(
        config: SqliteConfig,
        lane: Arc<Lane<Box<dyn Write>>>,
        waiters: Arc<Waiters>,
    ) -> Self {
        Self {
            config,
            lane,
            waiters,
            pace: Pace::default(),
            open: None,
        }
    }

    /// Makes the calls that come, until the lane is closed and empty.
    pub(crate) fn run(mut self) {
        loop {
            let mut rows = 0;
            let lane = Arc::clone(&self.lane);
            let next = lane.next(
                || self.waiters.any().then_some(LOOK),
                |call| {
                    rows += call.rows();
                    rows <= ROWS
                },
            );
            match next {
                Next::Calls(calls) => {
                    self.pace.begin();
                    self.make(calls);
                    self.look();
                }
                Next::Idle => {
                    self.pace.rest();
                    self.leave_what_is_gone();
                    self.look();
                }
                Next::Closed => break,
            }
        }
        // Best effort: what stays in the log is found there at the next open.
        if let Some(open) = self.open {
            let checkpoint = "PRAGMA wal_checkpoint(PASSIVE)";
            let conn = open.opened.conn;
            let _ = conn.query_row(checkpoint, [], |_| Ok(()));
            let _ = conn.close();
        }
    }

    /// Makes calls in one transaction, or each in one of its own.
    fn make(&mut self, mut calls: Vec<Box<dyn Write>>) {
        // A call that panics is a defect, and is its own caller's only.
        let committed = catch_unwind(AssertUnwindSafe(|| self.commit(&mut calls)));
        let committed = committed.unwrap_or_else(|_| {
            self.open = None;
            Err(Undone::one(Failure::panicked()))
        });
        match committed {
            Ok(changes) => {
                for call in calls {
                    call.answer(Ok(()));
                }
                self.waiters.wake(&changes.queues, &changes.jobs);
            }
            Err(failure) if calls.len() == 1 || failure.of_all => {
                for call in calls {
                    call.answer(Err(failure.why.clone()));
                }
            }
            Err(_) => {
                for call in calls {
                    self.make(vec![call]);
                }
            }
        }
    }

    /// Gives up the connection to a file that is gone from its place.
    fn leave_what_is_gone(&mut self) {
        let config = &self.config;
        self.open.take_if(|open| !open.opened.is_in_place(config));
    }

    fn commit(&mut self, calls: &mut [Box<dyn Write>]) -> Result<Changes, Undone> {
        self.leave_what_is_gone();
        let open = match &mut self.open {
            Some(open) => open,
            none => none.insert(Open::new(&self.config).map_err(Undone::all)?),
        };
        let Open { opened, cache, .. } = open;
        let conn = &mut opened.conn;
        execute(conn, "BEGIN IMMEDIATE").map_err(Undone::all)?;
        let mut tx = Tx::new(conn, cache, clock::now());
        let made = calls.iter_mut().try_for_each(|call| call.make(&mut tx));
        let committed = match made.and_then(|()| tx.finish()).map_err(Undone::one) {
            Ok(changes) => execute(conn, "COMMIT")
                .map(|()| changes)
                .map_err(|failure| Undone::all(failure.of_commit())),
            Err(undone) => Err(undone),
        };
        if committed.is_err() {
            *cache = Cache::default();
            // Some errors have ended the transaction already. A connection
            // that cannot be brought back to rest is replaced.
            if !conn.is_autocommit() && execute(conn, "ROLLBACK").is_err() {
                self.open = None;
            }
        }
        committed
    }

    /// Looks for commits made through other connections, for those who wait.
    fn look(&mut self) {
        let Some(open) = &mut self.open else {
            // What was committed until now was not looked for: it may be news.
            if self.config.path.exists() {
                self.open = Open::new(&self.config).ok();
                self.waiters.wake_all();
            }
            return;
        };
        let version = data_version(&open.opened.conn);
        if version.is_ok_and(|version| std::mem::replace(&mut open.version, version) != version) {
            self.pace.others_write();
            self.waiters.wake_all();
        }
    }
}

impl Open {
    fn new(config: &SqliteConfig) -> Result<Self, Failure> {
        let opened = Opened::new(config, Role::Writer)?;
        let version = data_version(&opened.conn)?;
        Ok(Self {
            opened,
            cache: Cache::default(),
            version,
        })
    }
}

/// Why a transaction was undone.
struct Undone {
    why: Failure,
    /// Whether it would have ended so for any of the calls.
    of_all: bool,
}

impl Undone {
    fn all(why: Failure) -> Self {
        Self { why, of_all: true }
    }

    fn one(why: Failure) -> Self {
        Self { why, of_all: false }
    }
}

fn execute(conn: &Connection, text: &str) -> Result<(), Failure> {
    conn.prepare_cached(text)?.execute([])?;
    Ok(())
}

fn data_version(conn: &Connection) -> Result<i64, Failure> {
    let mut version = conn.prepare_cached("PRAGMA data_version")?;
    Ok(version.query_row([], |row| row.get(0))?)
}

/// Leaves gaps for other processes while they write too: SQLite's lock goes to
/// whoever asks when it is free, and a waiting process asks now and then.
#[derive(Debug, Default)]
struct Pace {
    /// Since when transactions follow each other without a gap.
    busy_since: Option<Instant>,
    others_wrote: Option<Instant>,
}

impl Pace {
    const BUSY: Duration = Duration::from_millis(5);
    const GAP: Duration = Duration::from_micros(500);
    const MEMORY: Duration = Duration::from_secs(1);

    fn begin(&mut self) {
        let busy_since = *self.busy_since.get_or_insert_with(Instant::now);
        let recent = |wrote: Instant| wrote.elapsed() < Self::MEMORY;
        if busy_since.elapsed() > Self::BUSY && self.others_wrote.is_some_and(recent) {
            std::thread::sleep(Self::GAP);
            self.busy_since = Some(Instant::now());
        }
    }

    fn rest(&mut self) {
        self.busy_since = None;
    }

    fn others_write(&mut self) {
        self.others_wrote = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use anyqueue_core::ErrorKind;
    use rusqlite::params;

    use super::*;
    use crate::lane::Urgency;

    /// A file that goes away, and a lane to a writer that does not run yet.
    struct Bench {
        directory: std::path::PathBuf,
        lane: Arc<Lane<Box<dyn Write>>>,
        order: Arc<Mutex<Vec<i64>>>,
    }

    type Answer = oneshot::Receiver<Result<i64, Error>>;

    impl Bench {
        fn new(name: &str) -> Self {
            let name = format!("anyqueue-writer-{name}-{}", std::process::id());
            let directory = std::env::temp_dir().join(name);
            std::fs::create_dir(&directory).unwrap();
            let bench = Self {
                directory,
                lane: Arc::default(),
                order: Arc::default(),
            };
            let table = "CREATE TABLE calls (number INTEGER UNIQUE, batch INTEGER)";
            bench.open().execute_batch(table).unwrap();
            bench
        }

        fn open(&self) -> Connection {
            Connection::open(self.directory.join("jobs.db")).unwrap()
        }

        /// Sends a call that adds a row; the same number twice fails.
        fn add(&self, number: i64, rows: usize, urgency: Urgency) -> Answer {
            let order = Arc::clone(&self.order);
            self.send(rows, urgency, move |tx| {
                order.lock().unwrap().push(number);
                let now = tx.now.as_micros();
                tx.sql("INSERT INTO calls VALUES (?1, ?2)")?
                    .execute(params![number, now])?;
                Ok(number)
            })
        }

        fn send(
            &self,
            rows: usize,
            urgency: Urgency,
            work: impl FnMut(&mut Tx<'_>) -> Result<i64, Failure> + Send + 'static,
        ) -> Answer {
            let (caller, answer) = oneshot::channel();
            let call = Call {
                operation: Operation::Enqueue,
                rows,
                work,
                value: None,
                caller,
            };
            self.lane.send(Box::new(call), urgency);
            answer
        }

        /// Makes all calls, as one thread would that finds them waiting.
        fn run(&self) {
            self.lane.close();
            let config = SqliteConfig::new(self.directory.join("jobs.db"));
            Writer::new(config, Arc::clone(&self.lane), Arc::default()).run();
        }

        fn stored(&self) -> Vec<i64> {
            let conn = self.open();
            let mut stored = conn.prepare("SELECT number FROM calls ORDER BY 1").unwrap();
            let stored = stored.query_map([], |row| row.get(0)).unwrap();
            stored.map(Result::unwrap).collect()
        }

        /// How many transactions added rows: each has a moment of its own.
        fn transactions(&self) -> i64 {
            let count = "SELECT count(DISTINCT batch) FROM calls";
            self.open().query_row(count, [], |row| row.get(0)).unwrap()
        }
    }

    impl Drop for Bench {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }

    #[test]
    fn what_waits_shares_a_transaction_and_urgent_calls_go_first() {
        let bench = Bench::new("shares");
        let mut answers = [1, 2, 3].map(|number| bench.add(number, 1, Urgency::Normal));
        let mut urgent = bench.add(9, 1, Urgency::Urgent);
        bench.run();
        assert_eq!(urgent.try_recv().unwrap().unwrap(), 9);
        let answers = answers
            .each_mut()
            .map(|answer| answer.try_recv().unwrap().unwrap());
        assert_eq!(answers, [1, 2, 3]);
        assert_eq!(*bench.order.lock().unwrap(), [9, 1, 2, 3]);
        assert_eq!(bench.transactions(), 1);
    }

    #[test]
    fn a_transaction_takes_a_bounded_number_of_rows() {
        let bench = Bench::new("bounded");
        let answers: Vec<_> = (0..4)
            .map(|number| bench.add(number, ROWS / 2, Urgency::Normal))
            .collect();
        let huge = bench.add(4, ROWS * 9, Urgency::Normal);
        bench.run();
        assert_eq!(bench.stored(), [0, 1, 2, 3, 4]);
        assert_eq!(bench.transactions(), 3);
        drop((answers, huge));
    }

    #[test]
    fn a_call_that_fails_fails_alone() {
        let bench = Bench::new("fails");
        let mut first = bench.add(1, 1, Urgency::Normal);
        let mut again = bench.add(1, 1, Urgency::Normal);
        let mut last = bench.add(2, 1, Urgency::Normal);
        bench.run();
        assert_eq!(first.try_recv().unwrap().unwrap(), 1);
        let error = again.try_recv().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert_eq!(last.try_recv().unwrap().unwrap(), 2);
        assert_eq!(bench.stored(), [1, 2]);
    }

    #[test]
    fn a_call_that_panics_is_undone_alone() {
        let bench = Bench::new("panics");
        let mut before = bench.add(1, 1, Urgency::Normal);
        let mut panics = bench.send(1, Urgency::Normal, |tx| {
            tx.sql("INSERT INTO calls VALUES (7, 0)")?.execute([])?;
            panic!("a defect")
        });
        let mut after = bench.add(2, 1, Urgency::Normal);
        bench.run();
        assert_eq!(before.try_recv().unwrap().unwrap(), 1);
        let error = panics.try_recv().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert_eq!(after.try_recv().unwrap().unwrap(), 2);
        assert_eq!(bench.stored(), [1, 2]);
    }

    #[test]
    fn a_caller_that_is_gone_leaves_its_call_to_be_made() {
        let bench = Bench::new("gone");
        drop(bench.add(1, 1, Urgency::Normal));
        bench.run();
        assert_eq!(bench.stored(), [1]);
    }

    #[test]
    fn a_lock_that_is_freed_in_time_is_waited_for() {
        let bench = Bench::new("waits");
        let other = bench.open();
        other
            .execute_batch("PRAGMA journal_mode=WAL; BEGIN IMMEDIATE")
            .unwrap();
        let mut answer = bench.add(1, 1, Urgency::Normal);
        std::thread::scope(|scope| {
            scope.spawn(|| bench.run());
            scope.spawn(move || other.execute_batch("COMMIT").unwrap());
        });
        assert_eq!(answer.try_recv().unwrap().unwrap(), 1);
    }
}
