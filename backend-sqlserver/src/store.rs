//! [`Store`]: how a call is made, and what is remembered between calls.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyqueue_core::{Durability, Error, ErrorKind, Operation, QueueName, WorkerId};
use tiberius::{Query, Row};

use crate::args::{Param, args, json};
use crate::config::SqlServerConfig;
use crate::error::{Again, Failure};
use crate::load::{self, Loading};
use crate::poller::Key;
use crate::pool::{Connection, Pool, rows_of};
use crate::rows;
use crate::schema;
use crate::statements::{Statement, Statements};
use crate::wake::Hub;

/// The most names kept of each sort; past it the cache starts anew.
const CACHED: usize = 16_384;

/// How long a worker's row is good without being refreshed; far less than what
/// [`chores`](crate::chores) keeps it for.
const FRESH: Duration = Duration::from_secs(3_600);

/// After how many writes a fold of the counts is due.
const FOLD_EVERY: u64 = 2_000;

/// How often a call is made that the server rolled back: a deadlock, or two calls
/// that added the same row.
const TRIES: u32 = 8;

/// The rows of a call, by result.
pub(crate) type Results = Vec<Vec<Row>>;

/// A store, as one handle sees it. Handles do not share connections.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) config: Arc<SqlServerConfig>,
    statements: Statements,
    pool: Pool,
    names: Mutex<Names>,
    /// Shared by all handles on this store once it is prepared; until then, this
    /// handle's own where it is needed.
    pub(crate) hub: OnceLock<Arc<Hub>>,
    durability: AtomicU8,
    writes: AtomicU64,
}

/// Numbers that stand for names, which never change.
#[derive(Debug, Default)]
struct Names {
    queues: HashMap<QueueName, i32>,
    workers: HashMap<WorkerId, (i32, Instant)>,
}

/// A statement of a call, and what is loaded before it.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    statement: Statement,
    args: Vec<Param>,
    loading: Option<Loading<'a>>,
}

impl<'a> Step<'a> {
    pub(crate) fn new(statement: Statement, args: Vec<Param>) -> Self {
        Self {
            statement,
            args,
            loading: None,
        }
    }

    pub(crate) fn after(mut self, loading: Loading<'a>) -> Self {
        self.loading = Some(loading);
        self
    }
}

/// Whether a call changes anything: a read can be made again whenever it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Read,
    Write,
}

impl Store {
    pub(crate) fn new(config: SqlServerConfig) -> Self {
        let config = Arc::new(config);
        Self {
            statements: Statements::new(&config.schema),
            pool: Pool::new(Arc::clone(&config)),
            config,
            names: Mutex::default(),
            hub: OnceLock::new(),
            durability: AtomicU8::new(2),
            writes: AtomicU64::new(0),
        }
    }

    /// What an acknowledged write survives; known once prepared.
    pub(crate) fn durability(&self) -> Durability {
        match self.durability.load(Ordering::Relaxed) {
            0 => Durability::Process,
            _ => Durability::Host,
        }
    }

    /// Who waits in this process.
    pub(crate) fn hub(&self) -> &Arc<Hub> {
        self.hub.get_or_init(Arc::default)
    }

    /// Judges the durability from the database's live settings. With delayed
    /// durability forced, a commit is acknowledged before its log is written: a
    /// crash of the server loses the latest ones. Finds the hub of the handles
    /// that reach the store as this one does.
    pub(crate) async fn judge(&self, operation: Operation) -> Result<(), Error> {
        let found = self.read(operation, Statement::Judge, args!()).await?;
        let read = || -> Result<(), Failure> {
            let row = found.first().and_then(|rows| rows.first());
            let row = row.ok_or_else(|| Failure::corrupt("database's row"))?;
            let class = if rows::int(row, 0)? == 2 { 0 } else { 2 };
            self.durability.store(class, Ordering::Relaxed);
            let login = rows::text(row, 1)?.unwrap_or_default();
            self.hub
                .get_or_init(|| Hub::shared(Key::new(&self.config, login)));
            Ok(())
        };
        read().map_err(|failure| failure.into_error(operation))
    }

    /// Brings the tables to this version.
    pub(crate) async fn migrate(&self) -> Result<(), Error> {
        let migrate = async {
            let mut lent = self.pool.lend().await?;
            let ready = schema::is_ready(&mut lent, &self.config.schema).await;
            lent.end(&ready);
            if ready? {
                return Ok(());
            }
            // Migrations may take long, and so may those of another process.
            let mut conn = self.pool.make_patient().await?;
            schema::migrate(&mut conn, &self.config.schema).await
        };
        let done: Result<(), Failure> = migrate.await;
        done.map_err(|failure| failure.into_error(Operation::Prepare))
    }

    /// Makes a call that only reads.
    pub(crate) async fn read(
        &self,
        operation: Operation,
        statement: Statement,
        args: Vec<Param>,
    ) -> Result<Results, Error> {
        let done = self.call(Sort::Read, &[Step::new(statement, args)]).await;
        done.map(|mut answers| answers.pop().unwrap_or_default())
            .map_err(|failure| failure.into_error(operation))
    }

    /// Makes a call that writes: a statement that is a transaction of its own.
    pub(crate) async fn write(
        self: &Arc<Self>,
        operation: Operation,
        statement: Statement,
        args: Vec<Param>,
    ) -> Result<Results, Error> {
        let steps = vec![Step::new(statement, args)];
        let done = self.transaction(operation, steps).await;
        done.map(|mut answers| answers.pop().unwrap_or_default())
    }

    /// Makes several calls in one transaction.
    pub(crate) async fn transaction(
        self: &Arc<Self>,
        operation: Operation,
        steps: Vec<Step<'_>>,
    ) -> Result<Vec<Results>, Error> {
        let done = self.call(Sort::Write, &steps).await;
        self.wrote();
        done.map_err(|failure| failure.into_error(operation))
    }

    /// Makes a call, and makes it again while the server rolls it back for what
    /// other calls did beside it.
    async fn call(&self, sort: Sort, steps: &[Step<'_>]) -> Result<Vec<Results>, Failure> {
        let mut wait = Duration::from_millis(2);
        for nth in 1..TRIES {
            match self.call_once(sort, steps).await {
                Err(failure)
                    if failure.again == Again::Often
                        || (nth == 1 && failure.again == Again::Once) =>
                {
                    tracing::debug!(?failure, "rolled back, made again");
                    if failure.again == Again::Once {
                        self.pool.renew();
                    }
                    tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64())).await;
                    wait *= 2;
                }
                done => return done,
            }
        }
        self.call_once(sort, steps).await
    }

    async fn call_once(&self, sort: Sort, steps: &[Step<'_>]) -> Result<Vec<Results>, Failure> {
        let mut lent = self.pool.lend().await?;
        let done = self.steps(&mut lent, steps).await;
        let done = done.map_err(|failure| match sort {
            Sort::Read => failure,
            Sort::Write => match steps {
                [step] if step.statement.commits_first() => failure.behind_commit().after_send(),
                _ => failure.after_send(),
            },
        });
        lent.end(&done);
        done
    }

    async fn steps(
        &self,
        conn: &mut Connection,
        steps: &[Step<'_>],
    ) -> Result<Vec<Results>, Failure> {
        if let [step] = steps {
            return Ok(vec![self.step(conn, step).await?]);
        }
        conn.begin_transaction().await?;
        let mut answers = Vec::with_capacity(steps.len());
        for step in steps {
            answers.push(self.step(conn, step).await?);
        }
        conn.commit_transaction().await?;
        Ok(answers)
    }

    async fn step(&self, conn: &mut Connection, step: &Step<'_>) -> Result<Results, Failure> {
        if let Some(loading) = &step.loading {
            let table = self.statements.get(Statement::Load);
            // Rare and large: not to be part of every call's future.
            let loading = load::load(conn, table, loading, self.config.statement_timeout);
            Box::pin(loading).await?;
        }
        execute(conn, self.statements.get(step.statement), &step.args).await
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
        &self,
        operation: Operation,
        names: &[QueueName],
    ) -> Result<Vec<Option<i32>>, Error> {
        let known = || -> Vec<Option<i32>> {
            let cache = lock(&self.names);
            let number = |name| cache.queues.get(name).copied();
            names.iter().map(number).collect()
        };
        let found = known();
        if found.iter().all(Option::is_some) {
            return Ok(found);
        }
        let args = args!(missing(names, &found).map_err(|failure| failure.into_error(operation))?);
        let rows = self.read(operation, Statement::QueueFind, args).await?;
        let know = || -> Result<(), Failure> {
            let mut cache = lock(&self.names);
            for row in rows.iter().flatten() {
                let (name, queue) = (rows::queue_name(row, 0)?, rows::int(row, 1)?);
                bounded(&mut cache.queues).insert(name, queue);
            }
            Ok(())
        };
        know().map_err(|failure| failure.into_error(operation))?;
        Ok(known())
    }

    /// The numbers of these queues, which are added where they are new.
    pub(crate) async fn queues(
        self: &Arc<Self>,
        operation: Operation,
        names: &[QueueName],
    ) -> Result<Vec<i32>, Error> {
        loop {
            let found = self.find_queues(operation, names).await?;
            if found.iter().all(Option::is_some) {
                return Ok(found.into_iter().flatten().collect());
            }
            let missing =
                missing(names, &found).map_err(|failure| failure.into_error(operation))?;
            self.write(operation, Statement::QueueAdd, args!(missing))
                .await?;
        }
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
        let found = self
            .write(operation, Statement::WorkerSeen, args!(name.as_str()))
            .await?;
        let worker = match found.first().and_then(|rows| rows.first()) {
            Some(row) => rows::int(row, 0),
            None => {
                let message = "the worker got no number";
                Err(Failure::new(ErrorKind::Internal, message))
            }
        };
        let worker = worker.map_err(|failure| failure.into_error(operation))?;
        let mut cache = lock(&self.names);
        bounded(&mut cache.workers).insert(name.clone(), (worker, Instant::now()));
        Ok(worker)
    }
}

/// Makes one call on this connection.
pub(crate) async fn execute<S>(
    conn: &mut tiberius::Client<S>,
    text: &str,
    args: &[Param],
) -> Result<Results, Failure>
where
    S: futures::AsyncRead + futures::AsyncWrite + Unpin + Send,
{
    let mut query = Query::new(text);
    for arg in args {
        arg.bind(&mut query);
    }
    // The driver hands over with the first result: what fails before is the statement.
    let answer = query.query(conn).await?;
    rows_of(answer).await.map_err(Failure::while_answered)
}

/// The names without a number, for `queue_find.sql` and `queue_add.sql`.
fn missing(names: &[QueueName], found: &[Option<i32>]) -> Result<String, Failure> {
    let names = names.iter().zip(found).filter(|(_, found)| found.is_none());
    let mut missing: Vec<_> = names.map(|(name, _)| [name.as_str()]).collect();
    missing.sort_unstable();
    missing.dedup();
    json(&missing)
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
