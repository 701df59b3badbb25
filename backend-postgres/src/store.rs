//! [`Store`]: the pool, and how a call is made so that dropping its future
//! leaves every connection clean.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyqueue_core::{Durability, Error, ErrorKind, Operation, QueueName, WorkerId};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow, PgSslMode};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres, Row as _, Transaction};

use crate::args::args;
use crate::config::{Pooler, PostgresConfig};
use crate::error::Failure;
use crate::floors::Floors;
use crate::statements::{Statement, Statements};
use crate::wake::{Hub, queue_hash};

/// How long a call waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(5);

/// How long after the server gave a statement up an answer is still waited for.
/// TCP alone tells of a host that has lost its power after a quarter of an hour,
/// and never where all that was sent had arrived.
const GRACE: Duration = Duration::from_secs(5);

/// How long a connection may lie idle before it is tried before it is used.
const TRUSTED: Duration = Duration::from_secs(60);

/// How long such a trial may take: several of them are to fit into `ACQUIRE`.
const TRIAL: Duration = Duration::from_millis(500);

/// The most names kept of each sort; past it the cache starts anew.
const CACHED: usize = 16_384;

/// How long a worker's row is good without being refreshed; far less than what
/// [`chores`](crate::chores) keeps it for.
const FRESH: Duration = Duration::from_secs(3_600);

/// After how many writes a fold of the counts is due.
const FOLD_EVERY: u64 = 2_000;

/// How connections isolate transactions, whatever the database's default is:
/// calls wait for each other's rows and go on with what these are then.
const ISOLATION: (&str, &str) = ("default_transaction_isolation", "read committed");

/// How the transactions that are made here begin: behind a pooler a connection
/// may have any default.
pub(crate) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// How connections plan. Every statement is made to be served by indexes, row by
/// row. The planner's statistics of a queue are worth nothing: a table that was
/// empty at the last look holds a million jobs now.
const PLANNER: [(&str, &str); 6] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
    ("max_parallel_workers_per_gather", "0"),
];

/// A store, as one handle sees it. Handles do not share connections.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) config: PostgresConfig,
    pub(crate) statements: Statements,
    pool: OnceLock<PgPool>,
    suspicion: Arc<Suspicion>,
    names: Mutex<Names>,
    pub(crate) floors: Arc<Mutex<Floors>>,
    pub(crate) hub: Hub,
    durability: AtomicU8,
    writes: AtomicU64,
}

/// Numbers that stand for names, which never change.
#[derive(Debug, Default)]
struct Names {
    queues: HashMap<QueueName, i32>,
    hashes: HashMap<i32, u64>,
    workers: HashMap<WorkerId, (i32, Instant)>,
}

/// A connection was found broken: those that have been idle since before that
/// are likely broken too, and are tried before they are used.
#[derive(Debug)]
struct Suspicion {
    base: Instant,
    /// Milliseconds after `base`; 0: none.
    at: AtomicU64,
}

impl Suspicion {
    fn now(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn raise(&self) {
        self.at.store(self.now(), Ordering::Relaxed);
    }

    fn holds(&self, idle: Duration) -> bool {
        let idle_since = self
            .now()
            .saturating_sub(u64::try_from(idle.as_millis()).unwrap_or(0));
        idle > TRUSTED || idle_since <= self.at.load(Ordering::Relaxed)
    }
}

impl Store {
    pub(crate) fn new(config: PostgresConfig) -> Self {
        let suspicion = Suspicion {
            base: Instant::now(),
            at: AtomicU64::new(0),
        };
        Self {
            statements: Statements::new(&config.schema),
            config,
            pool: OnceLock::new(),
            suspicion: Arc::new(suspicion),
            names: Mutex::default(),
            floors: Arc::default(),
            hub: Hub::new(),
            durability: AtomicU8::new(2),
            writes: AtomicU64::new(0),
        }
    }

    /// What an acknowledged write survives; known once prepared.
    pub(crate) fn durability(&self) -> Durability {
        match self.durability.load(Ordering::Relaxed) {
            0 => Durability::Process,
            1 => Durability::Crash,
            _ => Durability::Host,
        }
    }

    /// Judges the durability from the server's live settings, as a connection
    /// of this user to this database has them.
    pub(crate) async fn judge(self: &Arc<Self>, operation: Operation) -> Result<(), Error> {
        let rows = self.read(operation, Statement::Durability, args!()).await?;
        let setting = |at: usize| -> Result<String, Error> {
            let value = rows.first().map(|row| row.try_get(at)).transpose();
            let value = value.map_err(|e| Failure::from(e).into_error(operation))?;
            Ok(value.unwrap_or_default())
        };
        let (fsync, commit, pages) = (setting(0)?, setting(1)?, setting(2)?);
        // Without a flush at commit a crash of the server loses the latest
        // commits; without fsync or whole pages only a crash of the host can.
        let class = match (commit.as_str(), fsync.as_str(), pages.as_str()) {
            ("off", _, _) => 0,
            (_, "on", "on") => 2,
            _ => 1,
        };
        self.durability.store(class, Ordering::Relaxed);
        Ok(())
    }

    /// The options that every connection starts with.
    pub(crate) fn connect_options(&self) -> PgConnectOptions {
        let config = &self.config;
        let mut options = config.connect.clone();
        // The one mode in which the driver has no cryptography of its own choice.
        if matches!(options.get_ssl_mode(), PgSslMode::VerifyCa) {
            anyqueue_core::support::choose_cryptography();
        }
        if options.get_application_name().is_none() {
            options = options.application_name("anyqueue");
        }
        if config.pooler == Pooler::Transaction {
            // The pooler refuses settings that it does not know of; see `begin`.
            return options.statement_cache_capacity(0).extra_float_digits(None);
        }
        let timeout = self.timeout().to_string();
        let timeouts = [
            ("statement_timeout", timeout.as_str()),
            ("lock_timeout", timeout.as_str()),
        ];
        options.options(timeouts.into_iter().chain([ISOLATION]).chain(PLANNER))
    }

    pub(crate) fn pool(&self) -> &PgPool {
        self.pool.get_or_init(|| {
            let suspicion = Arc::clone(&self.suspicion);
            let floors = Arc::clone(&self.floors);
            PgPoolOptions::new()
                .max_connections(self.config.pool)
                .acquire_timeout(ACQUIRE)
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
                .after_connect(move |_, _| {
                    // Where others were lost, so may be what the floors go by.
                    lock(&floors).give_up();
                    Box::pin(async { Ok(()) })
                })
                .before_acquire(move |conn, meta| {
                    let suspected = suspicion.holds(meta.idle_for);
                    Box::pin(async move {
                        if !suspected {
                            return Ok(true);
                        }
                        let ping = tokio::time::timeout(TRIAL, conn.ping());
                        Ok(matches!(ping.await, Ok(Ok(()))))
                    })
                })
                .connect_lazy_with(self.connect_options())
        })
    }

    /// Makes a call that only reads.
    pub(crate) async fn read(
        self: &Arc<Self>,
        operation: Operation,
        statement: Statement,
        args: PgArguments,
    ) -> Result<Vec<PgRow>, Error> {
        self.try_read(statement, args)
            .await
            .map_err(|failure| failure.into_error(operation))
    }

    /// Makes a call that writes: a statement that is a transaction of its own.
    pub(crate) async fn write(
        self: &Arc<Self>,
        operation: Operation,
        statement: Statement,
        args: PgArguments,
    ) -> Result<Vec<PgRow>, Error> {
        self.try_write(statement, args)
            .await
            .map_err(|failure| failure.into_error(operation))
    }

    /// As [`write`](Self::write), its failure not yet judged.
    pub(crate) async fn try_write(
        self: &Arc<Self>,
        statement: Statement,
        args: PgArguments,
    ) -> Result<Vec<PgRow>, Failure> {
        let rows = self.call_sent(statement, args).await?;
        self.wrote();
        Ok(rows)
    }

    /// Makes several calls in one transaction.
    pub(crate) async fn transaction(
        self: &Arc<Self>,
        operation: Operation,
        steps: Vec<(Statement, PgArguments)>,
    ) -> Result<Vec<Vec<PgRow>>, Error> {
        let store = Arc::clone(self);
        let work = async move {
            let mut conn = store.acquire().await?;
            let done = store.steps(&mut conn, steps).await;
            store.judge_connection(conn, done)
        };
        let done = finish(work).await.map_err(Failure::after_send);
        self.wrote();
        done.map_err(|failure| failure.into_error(operation))
    }

    async fn steps(
        &self,
        conn: &mut PgConnection,
        steps: Vec<(Statement, PgArguments)>,
    ) -> Result<Vec<Vec<PgRow>>, Failure> {
        let mut tx = self.begin(conn).await?;
        let mut answers = Vec::with_capacity(steps.len());
        for (statement, args) in steps {
            match self.execute(&mut tx, statement, args).await {
                Ok(rows) => answers.push(rows),
                Err(failure) => {
                    if !failure.broken {
                        self.answered(tx.rollback()).await?;
                    }
                    return Err(failure);
                }
            }
        }
        self.answered(tx.commit()).await?;
        Ok(answers)
    }

    async fn begin<'a>(
        &self,
        conn: &'a mut PgConnection,
    ) -> Result<Transaction<'a, Postgres>, Failure> {
        if self.config.pooler == Pooler::None {
            return self.answered(conn.begin()).await;
        }
        // What a connection of ours has from its start on, for this transaction.
        let timeout = self.timeout();
        let mut begin = format!(
            "{BEGIN}; SET LOCAL statement_timeout = {timeout}; SET LOCAL lock_timeout = {timeout}"
        );
        for (name, value) in PLANNER {
            begin.push_str("; SET LOCAL ");
            begin.push_str(name);
            begin.push_str(" = ");
            begin.push_str(value);
        }
        self.answered(conn.begin_with(AssertSqlSafe(begin))).await
    }

    /// Waits for the server's answer to one statement.
    async fn answered<T>(
        &self,
        statement: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, Failure> {
        let Some(limit) = self.config.statement_timeout else {
            return Ok(statement.await?);
        };
        let answer = tokio::time::timeout(limit.saturating_add(GRACE), statement).await;
        Ok(answer.map_err(|_| Failure::silent())??)
    }

    /// When the server gives a statement up, in milliseconds; 0: never.
    fn timeout(&self) -> u128 {
        let timeout = self.config.statement_timeout;
        timeout.map_or(0, |timeout| timeout.as_millis())
    }

    /// As [`read`](Self::read), its failure not yet judged.
    pub(crate) async fn try_read(
        self: &Arc<Self>,
        statement: Statement,
        args: PgArguments,
    ) -> Result<Vec<PgRow>, Failure> {
        let store = Arc::clone(self);
        finish(async move {
            let mut conn = store.acquire().await?;
            let done = store.alone(&mut conn, statement, args).await;
            store.judge_connection(conn, done)
        })
        .await
    }

    async fn call_sent(
        self: &Arc<Self>,
        statement: Statement,
        args: PgArguments,
    ) -> Result<Vec<PgRow>, Failure> {
        let store = Arc::clone(self);
        finish(async move {
            let mut conn = store.acquire().await?;
            let done = store.alone(&mut conn, statement, args).await;
            store.judge_connection(conn, done.map_err(Failure::after_send))
        })
        .await
    }

    /// Makes one call that is a transaction of its own.
    ///
    /// The driver has a statement parsed in one step and executed in another.
    /// Between the two a pooler could give the connection's server to another
    /// client, whose statement would then be executed: there the two are one
    /// transaction by name.
    async fn alone(
        &self,
        conn: &mut PgConnection,
        statement: Statement,
        args: PgArguments,
    ) -> Result<Vec<PgRow>, Failure> {
        if self.config.pooler == Pooler::None {
            return self.execute(conn, statement, args).await;
        }
        let answers = self.steps(conn, vec![(statement, args)]).await?;
        Ok(answers.into_iter().next().unwrap_or_default())
    }

    /// Makes one call on this connection.
    async fn execute(
        &self,
        conn: &mut PgConnection,
        statement: Statement,
        args: PgArguments,
    ) -> Result<Vec<PgRow>, Failure> {
        let named = self.config.pooler == Pooler::None;
        let query = sqlx::query_with(self.statements.get(statement), args).persistent(named);
        self.answered(query.fetch_all(conn)).await
    }

    pub(crate) async fn acquire(&self) -> Result<PoolConnection<Postgres>, Failure> {
        let conn = self.pool().acquire().await;
        conn.map_err(|error| {
            let mut failure = Failure::from(error);
            failure.broken = false; // Nothing was sent.
            failure
        })
    }

    /// Gives the connection back, or closes it where it may not be clean or leads
    /// to the wrong server.
    fn judge_connection<T>(
        &self,
        mut conn: PoolConnection<Postgres>,
        done: Result<T, Failure>,
    ) -> Result<T, Failure> {
        let bad = |failure: &Failure| failure.broken || failure.read_only;
        if done.as_ref().is_err_and(bad) {
            self.suspicion.raise();
            conn.close_on_drop();
        }
        done
    }

    /// Brings the tables to this version.
    pub(crate) async fn migrate(self: &Arc<Self>) -> Result<(), Error> {
        let store = Arc::clone(self);
        let done = finish(async move {
            let mut conn = store.acquire().await?;
            let done = crate::schema::migrate(&mut conn, &store.config.schema).await;
            store.judge_connection(conn, done)
        });
        done.await
            .map_err(|failure| failure.into_error(Operation::Prepare))
    }

    /// Notes a write; after many of them the counts are folded, beside the call.
    fn wrote(self: &Arc<Self>) {
        if self.writes.fetch_add(1, Ordering::Relaxed) % FOLD_EVERY == FOLD_EVERY - 1 {
            let store = Arc::clone(self);
            // Put off to the next time where it fails.
            tokio::spawn(async move { crate::chores::fold(&store).await.map(drop) });
        }
    }

    /// The numbers of those queues that the store knows, in the given order.
    pub(crate) async fn find_queues(
        self: &Arc<Self>,
        operation: Operation,
        names: &[QueueName],
    ) -> Result<Vec<Option<i32>>, Error> {
        let known = |store: &Self| -> Vec<Option<i32>> {
            let cache = lock(&store.names);
            names
                .iter()
                .map(|name| cache.queues.get(name).copied())
                .collect()
        };
        let found = known(self);
        if found.iter().all(Option::is_some) {
            return Ok(found);
        }
        let missing = missing(names, &found);
        let rows = self
            .read(operation, Statement::QueueFind, args!(missing))
            .await?;
        self.know_queues(&rows)
            .map_err(|failure| failure.into_error(operation))?;
        Ok(known(self))
    }

    /// The numbers of these queues, which are added where they are new.
    pub(crate) async fn queues(
        self: &Arc<Self>,
        operation: Operation,
        names: &[QueueName],
    ) -> Result<Vec<i32>, Error> {
        loop {
            let found = self.find_queues(operation, names).await?;
            let missing = missing(names, &found);
            if missing.is_empty() {
                return Ok(found.into_iter().flatten().collect());
            }
            let rows = self
                .write(operation, Statement::QueueAdd, args!(missing))
                .await?;
            self.know_queues(&rows)
                .map_err(|failure| failure.into_error(operation))?;
        }
    }

    fn know_queues(&self, rows: &[PgRow]) -> Result<(), Failure> {
        let mut cache = lock(&self.names);
        for row in rows {
            let name = crate::rows::queue_name(row.try_get(0)?)?;
            let queue: i32 = row.try_get(1)?;
            bounded(&mut cache.hashes).insert(queue, queue_hash(&name));
            bounded(&mut cache.queues).insert(name, queue);
        }
        Ok(())
    }

    /// What those who wait for a queue's jobs go by; `None` where this process
    /// has not met the queue.
    pub(crate) fn queue_hash(&self, queue: i32) -> Option<u64> {
        lock(&self.names).hashes.get(&queue).copied()
    }

    /// The number of a worker.
    pub(crate) async fn worker(self: &Arc<Self>, name: &WorkerId) -> Result<i32, Error> {
        let known = lock(&self.names).workers.get(name).copied();
        if let Some((worker, seen)) = known
            && seen.elapsed() < FRESH
        {
            return Ok(worker);
        }
        let operation = Operation::Claim;
        let rows = self
            .write(operation, Statement::WorkerSeen, args!(name.as_str()))
            .await?;
        let worker = rows.first().map(|row| row.try_get(0)).transpose();
        let worker: Option<i32> = worker.map_err(|e| Failure::from(e).into_error(operation))?;
        let worker = worker.ok_or_else(|| {
            Failure::new(ErrorKind::Internal, "the worker got no number").into_error(operation)
        })?;
        let mut cache = lock(&self.names);
        bounded(&mut cache.workers).insert(name.clone(), (worker, Instant::now()));
        Ok(worker)
    }
}

fn missing<'a>(names: &'a [QueueName], found: &[Option<i32>]) -> Vec<&'a str> {
    let names = names.iter().zip(found).filter(|(_, found)| found.is_none());
    let mut missing: Vec<_> = names.map(|(name, _)| name.as_str()).collect();
    missing.sort_unstable();
    missing.dedup();
    missing
}

/// Runs the work on a task of its own: it goes on to its end where the caller
/// drops its future, so that no connection is given back in the middle.
async fn finish<T: Send + 'static>(
    work: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => Err(Failure::panicked()),
        Err(_) => Err(Failure::gone()),
    }
}

fn bounded<K: Eq + Hash, V>(map: &mut HashMap<K, V>) -> &mut HashMap<K, V> {
    if map.len() >= CACHED {
        map.clear();
    }
    map
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
