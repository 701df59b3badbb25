//! PostgreSQL: one table with the two indexes that a queue cannot do without,
//! four connections. A claim deletes the jobs: nothing is kept of them.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyqueue::async_trait;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, raw_sql};

use super::{BATCH, Bare, Failure, Round, payload};

/// Connections of the loop.
const CONNECTIONS: usize = 4;

/// Jobs of an insert.
pub(crate) const INSERTED: usize = 1_000;

const TABLE: &str = "
    DROP SCHEMA IF EXISTS bare CASCADE;
    CREATE SCHEMA bare;
    CREATE TABLE bare.jobs (
        id uuid PRIMARY KEY, queue text NOT NULL, kind text NOT NULL, payload text NOT NULL,
        priority int2 NOT NULL, due_at timestamptz NOT NULL, attempt int4 NOT NULL
    );
    CREATE INDEX ready ON bare.jobs (queue, priority DESC, due_at, id);";

const INSERT: &str = "
    INSERT INTO bare.jobs (id, queue, kind, payload, priority, due_at, attempt)
    SELECT id, 'default', 'noop', payload, 1, now(), 0
    FROM unnest($1::uuid[], $2::text[]) AS new (id, payload)";

const CLAIM: &str = "
    WITH taken AS MATERIALIZED (
        SELECT id FROM bare.jobs WHERE queue = 'default' AND due_at <= now()
        ORDER BY priority DESC, due_at, id LIMIT $1 FOR UPDATE SKIP LOCKED
    )
    DELETE FROM bare.jobs AS jobs USING taken WHERE jobs.id = taken.id
    RETURNING jobs.id, jobs.kind, jobs.payload, jobs.attempt";

struct Store {
    pool: PgPool,
    singles: PgPool,
}

/// Drops what a round made.
struct Schemas(PgConnectOptions);

impl Drop for Schemas {
    fn drop(&mut self) {
        let options = self.0.clone();
        let drop = async move {
            let mut conn = PgConnection::connect_with(&options).await?;
            raw_sql("DROP SCHEMA IF EXISTS bare CASCADE; DROP SCHEMA IF EXISTS bench CASCADE")
                .execute(&mut conn)
                .await
        };
        let thread = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            // The next round drops them before it begins.
            runtime.ok().map(|runtime| runtime.block_on(drop).is_ok())
        });
        let _ = thread.join();
    }
}

pub(super) async fn open() -> Result<Round, Failure> {
    let url = std::env::var("ANYQUEUE_TEST_POSTGRES_URL")
        .map_err(|_| "ANYQUEUE_TEST_POSTGRES_URL is not set; see scripts/servers")?;
    let options: PgConnectOptions = url.parse().map_err(|_| "the URL cannot be read")?;
    let mut conn = PgConnection::connect_with(&options).await?;
    raw_sql("DROP SCHEMA IF EXISTS bench CASCADE")
        .execute(&mut conn)
        .await?;
    raw_sql(TABLE).execute(&mut conn).await?;
    // A round begins with what the last one left written out.
    raw_sql("CHECKPOINT").execute(&mut conn).await?;
    let pool = |connections: usize| {
        PgPoolOptions::new()
            .max_connections(u32::try_from(connections).unwrap_or(u32::MAX))
            .acquire_timeout(Duration::from_secs(60))
            .test_before_acquire(false)
            .connect_lazy_with(options.clone())
    };
    Ok(Round {
        url: format!("{url}?schema=bench"),
        bare: Box::new(Store {
            pool: pool(CONNECTIONS),
            singles: pool(8),
        }),
        _place: Box::new(Schemas(options.clone())),
    })
}

async fn insert(pool: &PgPool, jobs: usize) -> Result<(), Failure> {
    let ids: Vec<_> = (0..jobs).map(|_| uuid::Uuid::now_v7()).collect();
    let payloads: Vec<_> = (0..jobs).map(|_| payload()).collect();
    let insert = sqlx::query(AssertSqlSafe(INSERT)).bind(ids).bind(payloads);
    insert.execute(pool).await?;
    Ok(())
}

#[async_trait]
impl Bare for Store {
    /// From one task, a thousand at a time.
    async fn insert(&mut self, jobs: usize) -> Result<(), Failure> {
        for _ in 0..jobs / INSERTED {
            insert(&self.pool, INSERTED).await?;
        }
        Ok(())
    }

    /// Over as many connections as a client of ours has.
    async fn insert_singly(&mut self, jobs: usize, tasks: usize) -> Option<Result<(), Failure>> {
        let tasks: Vec<_> = (0..tasks)
            .map(|task| {
                let pool = self.singles.clone();
                tokio::spawn(async move {
                    for _ in (task..jobs).step_by(tasks) {
                        insert(&pool, 1).await?;
                    }
                    Ok::<(), Failure>(())
                })
            })
            .collect();
        for task in tasks {
            if let Err(error) = task.await.expect("no task panics") {
                return Some(Err(error));
            }
        }
        Some(Ok(()))
    }

    /// A transaction with a snapshot that it keeps.
    async fn pin_horizon(&mut self) -> Result<Box<dyn Any + Send>, Failure> {
        let mut conn = self.pool.acquire().await?.detach();
        raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM bare.jobs")
            .execute(&mut conn)
            .await?;
        Ok(Box::new(conn))
    }

    /// Over [`CONNECTIONS`] connections.
    async fn drain(&mut self, jobs: usize) -> Result<(), Failure> {
        // Other jobs may wait beside these.
        let batches = Arc::new(AtomicUsize::new(jobs.div_ceil(BATCH)));
        let loops: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let (pool, batches) = (self.pool.clone(), Arc::clone(&batches));
                tokio::spawn(async move {
                    let mut done = 0;
                    let less = |left: usize| left.checked_sub(1);
                    let order = Ordering::Relaxed;
                    while batches.fetch_update(order, order, less).is_ok() {
                        let claim = sqlx::query(CLAIM).bind(i64::try_from(BATCH)?);
                        done += claim.fetch_all(&pool).await?.len();
                    }
                    Ok::<usize, Failure>(done)
                })
            })
            .collect();
        let mut done = 0;
        for task in loops {
            done += task.await.expect("no task panics")?;
        }
        match done == jobs {
            true => Ok(()),
            false => Err(format!("the loop found {done} jobs").into()),
        }
    }
}
