//! sqlx versus rusqlite as the base of a SQLite job-queue backend.
//!
//! One async caller repeats the cycle "claim 100 jobs, settle those 100 by id and
//! counter". Claim and settle are each one durable transaction. Both drivers link
//! the very same SQLite (one `libsqlite3-sys` in the build), use the same file
//! layout, pragmas and SQL, and hand the caller the same owned `Job` values.
//!
//! * `rusqlite/*`: one `Connection` on a dedicated thread, fed by a channel of
//!   closures, each answered through a oneshot; statements from `prepare_cached`.
//! * `sqlx/*`: one `SqliteConnection` (it runs its own worker thread), persistent
//!   prepared statements, a row buffer that holds a whole batch.
//! * `begin`: BEGIN IMMEDIATE … COMMIT. `auto`: the lone statement in autocommit, which
//!   takes the write lock just the same.
//! * `batch`: UPDATE … RETURNING for the claim and one `json_each` UPDATE for the settle.
//!   `rows`: a SELECT and one prepared UPDATE per row, and one prepared UPDATE per row.
//!
//! Rounds are interleaved: every round runs every contestant once, on a fresh file,
//! in an order that rotates. Usage:
//!
//! ```text
//! cargo run --release -- [--dir DIR] [--rounds 7] [--cycles 300] [--batch 100] [--sync full|normal|off]
//! ```

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection as Rusqlite, params};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row};
use tokio::sync::oneshot;
use uuid::Uuid;

const SCHEMA: &str = "
CREATE TABLE jobs (
    seq         INTEGER PRIMARY KEY,
    id          BLOB    NOT NULL UNIQUE,
    queue       TEXT    NOT NULL,
    state       INTEGER NOT NULL,
    priority    INTEGER NOT NULL,
    due_at      INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    counter     INTEGER NOT NULL,
    lease_until INTEGER,
    payload     TEXT    NOT NULL
) STRICT;
CREATE INDEX jobs_ready   ON jobs (queue, priority DESC, due_at, seq) WHERE state = 0;
CREATE INDEX jobs_running ON jobs (lease_until) WHERE state = 1;
";

const CLAIM: &str = "
UPDATE jobs
   SET state = 1, attempt = attempt + 1, counter = counter + 1, lease_until = ?2
 WHERE seq IN (SELECT seq FROM jobs
                WHERE queue = ?1 AND state = 0 AND due_at <= ?3
                ORDER BY priority DESC, due_at, seq LIMIT ?4)
RETURNING seq, id, attempt, counter, payload";

/// `?1` is a JSON array of `[hex id, counter]` pairs.
const SETTLE_MANY: &str = "
UPDATE jobs SET state = 2, lease_until = NULL
  FROM json_each(?1) AS e
 WHERE jobs.id = unhex(e.value ->> 0) AND jobs.counter = e.value ->> 1 AND jobs.state = 1";

const PICK: &str = "
SELECT seq, id, attempt + 1, counter + 1, payload FROM jobs
 WHERE queue = ?1 AND state = 0 AND due_at <= ?2
 ORDER BY priority DESC, due_at, seq LIMIT ?3";

const CLAIM_ONE: &str = "
UPDATE jobs SET state = 1, attempt = attempt + 1, counter = counter + 1, lease_until = ?2
 WHERE seq = ?1";

const SETTLE_ONE: &str = "
UPDATE jobs SET state = 2, lease_until = NULL WHERE id = ?1 AND counter = ?2 AND state = 1";

const QUEUE: &str = "default";
const NOW: i64 = 1_800_000_000_000;
const LEASE: i64 = NOW + 30_000;

struct Job {
    seq: i64,
    id: Uuid,
    attempt: i64,
    counter: i64,
    payload: String,
}

type Key = (Uuid, i64);

fn json_keys(keys: &[Key]) -> String {
    let mut out = String::with_capacity(2 + keys.len() * 40);
    out.push('[');
    for (i, (id, counter)) in keys.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        write!(out, "{comma}[\"{}\",{counter}]", id.simple()).unwrap();
    }
    out.push(']');
    out
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Transaction {
    Begin,
    Auto,
}

/// One statement for a whole batch, or one per row.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Batch,
    Rows,
}

// ---------------------------------------------------------------- rusqlite

type Work = Box<dyn FnOnce(&mut Rusqlite) + Send>;

/// A connection on its own thread. The thread ends when the handle is dropped.
struct Writer {
    work: std::sync::mpsc::Sender<Work>,
}

impl Writer {
    fn open(path: &Path, sync: &str) -> Self {
        let mut conn = open_rusqlite(path, sync);
        let (work, jobs) = std::sync::mpsc::channel::<Work>();
        std::thread::spawn(move || {
            for job in jobs {
                job(&mut conn);
            }
        });
        Self { work }
    }

    async fn call<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Rusqlite) -> rusqlite::Result<T> + Send + 'static,
    ) -> rusqlite::Result<T> {
        let (reply, answer) = oneshot::channel();
        self.work
            .send(Box::new(move |conn| {
                let _ = reply.send(f(conn));
            }))
            .expect("writer thread is alive");
        answer.await.expect("writer thread answers")
    }
}

fn open_rusqlite(path: &Path, sync: &str) -> Rusqlite {
    let conn = Rusqlite::open(path).unwrap();
    conn.pragma_update(None, "journal_mode", "WAL").unwrap();
    conn.pragma_update(None, "synchronous", sync).unwrap();
    conn.pragma_update(None, "temp_store", "MEMORY").unwrap();
    conn
}

/// Runs `f` in BEGIN IMMEDIATE … COMMIT with cached statements, or bare.
fn in_transaction<T>(
    conn: &Rusqlite,
    transaction: Transaction,
    f: impl FnOnce(&Rusqlite) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    if transaction == Transaction::Auto {
        return f(conn);
    }
    conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    match f(conn) {
        Ok(value) => conn.prepare_cached("COMMIT")?.execute([]).map(|_| value),
        Err(error) => {
            conn.execute_batch("ROLLBACK")?;
            Err(error)
        }
    }
}

fn rusqlite_job(row: &rusqlite::Row<'_>) -> rusqlite::Result<Job> {
    Ok(Job {
        seq: row.get(0)?,
        id: Uuid::from_bytes(row.get(1)?),
        attempt: row.get(2)?,
        counter: row.get(3)?,
        payload: row.get(4)?,
    })
}

fn rusqlite_claim(conn: &Rusqlite, limit: i64, shape: Shape) -> rusqlite::Result<Vec<Job>> {
    if shape == Shape::Batch {
        let mut claim = conn.prepare_cached(CLAIM)?;
        return claim
            .query_map(params![QUEUE, LEASE, NOW, limit], rusqlite_job)?
            .collect();
    }
    let mut pick = conn.prepare_cached(PICK)?;
    let jobs: Vec<Job> = pick
        .query_map(params![QUEUE, NOW, limit], rusqlite_job)?
        .collect::<Result<_, _>>()?;
    let mut one = conn.prepare_cached(CLAIM_ONE)?;
    for job in &jobs {
        one.execute([job.seq, LEASE])?;
    }
    Ok(jobs)
}

fn rusqlite_settle(conn: &Rusqlite, keys: &[Key], shape: Shape) -> rusqlite::Result<usize> {
    if shape == Shape::Batch {
        return conn.prepare_cached(SETTLE_MANY)?.execute([json_keys(keys)]);
    }
    let mut one = conn.prepare_cached(SETTLE_ONE)?;
    keys.iter().try_fold(0, |n, (id, counter)| {
        Ok(n + one.execute(params![id.as_bytes(), counter])?)
    })
}

async fn run_rusqlite(
    path: &Path,
    config: &Config,
    transaction: Transaction,
    shape: Shape,
) -> Sample {
    let writer = Writer::open(path, &config.sync);
    let batch = config.batch;
    measure(config, async || {
        let jobs = writer
            .call(move |c| in_transaction(c, transaction, |c| rusqlite_claim(c, batch, shape)))
            .await
            .unwrap();
        let keys = keys_of(&jobs);
        let settled = writer
            .call(move |c| in_transaction(c, transaction, |c| rusqlite_settle(c, &keys, shape)))
            .await
            .unwrap();
        (jobs.len(), settled)
    })
    .await
}

// -------------------------------------------------------------------- sqlx

async fn open_sqlx(path: &Path, config: &Config) -> SqliteConnection {
    let sync = match config.sync.as_str() {
        "full" => SqliteSynchronous::Full,
        "normal" => SqliteSynchronous::Normal,
        "off" => SqliteSynchronous::Off,
        other => panic!("unknown --sync {other}"),
    };
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(sync)
        .pragma("temp_store", "MEMORY")
        .row_buffer_size(config.batch as usize + 8)
        .connect()
        .await
        .unwrap()
}

fn sqlx_job(row: sqlx::sqlite::SqliteRow) -> sqlx::Result<Job> {
    let id = Uuid::from_slice(row.try_get::<&[u8], _>(1)?);
    Ok(Job {
        seq: row.try_get(0)?,
        id: id.map_err(|error| sqlx::Error::Decode(error.into()))?,
        attempt: row.try_get(2)?,
        counter: row.try_get(3)?,
        payload: row.try_get(4)?,
    })
}

async fn sqlx_claim(
    conn: &mut SqliteConnection,
    limit: i64,
    shape: Shape,
) -> sqlx::Result<Vec<Job>> {
    if shape == Shape::Batch {
        let claim = sqlx::query(CLAIM)
            .bind(QUEUE)
            .bind(LEASE)
            .bind(NOW)
            .bind(limit);
        return claim.try_map(sqlx_job).fetch_all(conn).await;
    }
    let pick = sqlx::query(PICK).bind(QUEUE).bind(NOW).bind(limit);
    let jobs = pick.try_map(sqlx_job).fetch_all(&mut *conn).await?;
    for job in &jobs {
        sqlx::query(CLAIM_ONE)
            .bind(job.seq)
            .bind(LEASE)
            .execute(&mut *conn)
            .await?;
    }
    Ok(jobs)
}

async fn sqlx_settle(
    conn: &mut SqliteConnection,
    keys: &[Key],
    shape: Shape,
) -> sqlx::Result<usize> {
    if shape == Shape::Batch {
        let done = sqlx::query(SETTLE_MANY)
            .bind(json_keys(keys))
            .execute(conn)
            .await?;
        return Ok(done.rows_affected() as usize);
    }
    let mut settled = 0;
    for (id, counter) in keys {
        let one = sqlx::query(SETTLE_ONE)
            .bind(&id.as_bytes()[..])
            .bind(counter);
        settled += one.execute(&mut *conn).await?.rows_affected() as usize;
    }
    Ok(settled)
}

async fn run_sqlx(path: &Path, config: &Config, transaction: Transaction, shape: Shape) -> Sample {
    let mut conn = open_sqlx(path, config).await;
    let sample = measure(config, async || match transaction {
        Transaction::Auto => {
            let jobs = sqlx_claim(&mut conn, config.batch, shape).await.unwrap();
            let settled = sqlx_settle(&mut conn, &keys_of(&jobs), shape)
                .await
                .unwrap();
            (jobs.len(), settled)
        }
        Transaction::Begin => {
            let mut tx = conn.begin_with("BEGIN IMMEDIATE").await.unwrap();
            let jobs = sqlx_claim(&mut tx, config.batch, shape).await.unwrap();
            tx.commit().await.unwrap();
            let mut tx = conn.begin_with("BEGIN IMMEDIATE").await.unwrap();
            let settled = sqlx_settle(&mut tx, &keys_of(&jobs), shape).await.unwrap();
            tx.commit().await.unwrap();
            (jobs.len(), settled)
        }
    })
    .await;
    conn.close().await.unwrap();
    sample
}

// ----------------------------------------------------------------- harness

struct Config {
    dir: PathBuf,
    rounds: usize,
    cycles: usize,
    batch: i64,
    sync: String,
}

#[derive(Clone, Copy)]
struct Sample {
    cycles_per_second: f64,
    cpu_micros_per_cycle: f64,
}

fn keys_of(jobs: &[Job]) -> Vec<Key> {
    jobs.iter()
        .map(|job| {
            std::hint::black_box((job.seq, job.attempt, &job.payload));
            (job.id, job.counter)
        })
        .collect()
}

async fn measure(config: &Config, mut cycle: impl AsyncFnMut() -> (usize, usize)) -> Sample {
    let batch = config.batch as usize;
    for _ in 0..WARM_UP {
        assert_eq!(cycle().await, (batch, batch));
    }
    let (started, cpu) = (Instant::now(), process_cpu());
    for _ in 0..config.cycles {
        assert_eq!(cycle().await, (batch, batch));
    }
    let cycles = config.cycles as f64;
    Sample {
        cycles_per_second: cycles / started.elapsed().as_secs_f64(),
        cpu_micros_per_cycle: (process_cpu() - cpu).as_secs_f64() * 1e6 / cycles,
    }
}

const WARM_UP: usize = 5;

/// User and system time of the whole process, all threads.
fn process_cpu() -> Duration {
    // SAFETY: `usage` is a valid out-pointer and getrusage fills it.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &mut usage), 0);
        usage
    };
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// A fresh database holding exactly the jobs that one run consumes.
fn prepare(path: &Path, config: &Config) {
    for suffix in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        let _ = std::fs::remove_file(file);
    }
    let mut conn = open_rusqlite(path, "off");
    conn.execute_batch(SCHEMA).unwrap();
    let tx = conn.transaction().unwrap();
    let payload = "x".repeat(100);
    for i in 0..(config.cycles + WARM_UP) as i64 * config.batch {
        tx.prepare_cached("INSERT INTO jobs VALUES (NULL, ?1, ?2, 0, ?3, ?4, 0, 0, NULL, ?5)")
            .unwrap()
            .execute(params![
                Uuid::now_v7().as_bytes(),
                QUEUE,
                i % 3,
                NOW - 1000 + i / 100,
                payload
            ])
            .unwrap();
    }
    tx.execute("UPDATE jobs SET due_at = min(due_at, ?1)", [NOW])
        .unwrap();
    tx.commit().unwrap();
    conn.close().unwrap(); // checkpoints and removes the write-ahead log
    std::fs::File::open(path).unwrap().sync_all().unwrap();
}

fn config() -> Config {
    let mut config = Config {
        dir: std::env::temp_dir(),
        rounds: 7,
        cycles: 300,
        batch: 100,
        sync: "full".into(),
    };
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let value = args
            .next()
            .unwrap_or_else(|| panic!("{flag} needs a value"));
        match flag.as_str() {
            "--dir" => config.dir = value.into(),
            "--rounds" => config.rounds = value.parse().unwrap(),
            "--cycles" => config.cycles = value.parse().unwrap(),
            "--batch" => config.batch = value.parse().unwrap(),
            "--sync" => config.sync = value,
            other => panic!("unknown flag {other}"),
        }
    }
    config
}

/// Median, minimum and maximum.
fn spread(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    (
        values[values.len() / 2],
        values[0],
        values[values.len() - 1],
    )
}

#[derive(Clone, Copy, Debug)]
enum Driver {
    Rusqlite,
    Sqlx,
}

const CONTESTANTS: [(Driver, Transaction, Shape); 6] = [
    (Driver::Rusqlite, Transaction::Begin, Shape::Batch),
    (Driver::Rusqlite, Transaction::Auto, Shape::Batch),
    (Driver::Rusqlite, Transaction::Begin, Shape::Rows),
    (Driver::Sqlx, Transaction::Begin, Shape::Batch),
    (Driver::Sqlx, Transaction::Auto, Shape::Batch),
    (Driver::Sqlx, Transaction::Begin, Shape::Rows),
];

#[tokio::main]
async fn main() {
    let config = config();
    let path = config
        .dir
        .join(format!("claim-settle-{}.db", std::process::id()));
    let mut samples = CONTESTANTS.map(|_| Vec::new());
    for round in 0..config.rounds {
        for turn in 0..CONTESTANTS.len() {
            let who = (round + turn) % CONTESTANTS.len();
            prepare(&path, &config);
            let (driver, transaction, shape) = CONTESTANTS[who];
            samples[who].push(match driver {
                Driver::Rusqlite => run_rusqlite(&path, &config, transaction, shape).await,
                Driver::Sqlx => run_sqlx(&path, &config, transaction, shape).await,
            });
        }
    }
    println!(
        "SQLite {}, synchronous={}, {} rounds of {} cycles of {} jobs",
        rusqlite::version(),
        config.sync,
        config.rounds,
        config.cycles,
        config.batch
    );
    println!(
        "{:<20} {:>28} {:>8} {:>28}",
        "", "cycles/s (min-max)", "ratio", "CPU us/cycle (min-max)"
    );
    let samples_of_base = samples[0].clone();
    for ((driver, transaction, shape), samples) in CONTESTANTS.iter().zip(&samples) {
        let (rate, low, high) = spread(samples.iter().map(|s| s.cycles_per_second));
        // Runs of the same round are neighbours in time, so their ratio is steadier
        // than the ratio of two medians.
        let pairs = samples.iter().zip(&samples_of_base);
        let ratio = spread(pairs.map(|(s, b)| s.cycles_per_second / b.cycles_per_second)).0;
        let (cpu, least, most) = spread(samples.iter().map(|s| s.cpu_micros_per_cycle));
        println!(
            "{:<20} {:>28} {:>8.2} {:>28}",
            format!("{driver:?}/{transaction:?}/{shape:?}").to_lowercase(),
            format!("{rate:.0} ({low:.0}-{high:.0})"),
            ratio,
            format!("{cpu:.0} ({least:.0}-{most:.0})")
        );
    }
    for suffix in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        let _ = std::fs::remove_file(file);
    }
}
