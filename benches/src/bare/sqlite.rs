//! SQLite: one table, one connection, prepared statements, synchronous=FULL.

use std::path::Path;

use anyqueue::async_trait;
use rusqlite::{Connection, Result, TransactionBehavior, params};

use super::{BATCH, Bare, Failure, Round, payload};

struct Store(Connection);

pub(super) fn open() -> Result<Round, Failure> {
    let directory = tempfile::tempdir()?;
    Ok(Round {
        url: format!("sqlite://{}/jobs.db", directory.path().display()),
        bare: Box::new(Store::open(&directory.path().join("bare.db"))?),
        _place: Box::new(directory),
    })
}

#[async_trait]
impl Bare for Store {
    async fn insert(&mut self, jobs: usize) -> Result<(), Failure> {
        Ok(self.insert_all(jobs)?)
    }

    async fn drain(&mut self, jobs: usize) -> Result<(), Failure> {
        Ok(self.drain_all(jobs)?)
    }
}

impl Store {
    fn open(path: &Path) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA temp_store = MEMORY;
             CREATE TABLE jobs (
                 seq INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, queue TEXT NOT NULL,
                 kind TEXT NOT NULL, payload TEXT NOT NULL, state INTEGER NOT NULL,
                 priority INTEGER NOT NULL, due_at INTEGER NOT NULL, attempt INTEGER NOT NULL,
                 counter INTEGER NOT NULL, lease_until INTEGER
             ) STRICT;
             CREATE INDEX ready ON jobs (queue, priority DESC, due_at, seq) WHERE state = 1;
             CREATE INDEX running ON jobs (lease_until) WHERE state = 2;",
        )?;
        Ok(Self(connection))
    }

    fn insert_all(&mut self, jobs: usize) -> Result<()> {
        for _ in 0..jobs / BATCH {
            let tx = self
                .0
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let mut insert = tx.prepare_cached(
                    "INSERT INTO jobs (id, queue, kind, payload, state, priority, due_at, attempt,
                                       counter) VALUES (?1, 'default', 'noop', ?2, 1, 1, 0, 0, 0)",
                )?;
                for _ in 0..BATCH {
                    insert.execute(params![uuid::Uuid::now_v7().as_bytes(), payload()])?;
                }
            }
            tx.commit()?;
        }
        Ok(())
    }

    fn drain_all(&mut self, jobs: usize) -> Result<()> {
        let mut done = 0;
        while done < jobs {
            let claimed = self.claim()?;
            done += claimed.len();
            let tx = self
                .0
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let mut settle = tx.prepare_cached(
                    "UPDATE jobs SET state = 3, lease_until = NULL
                      WHERE seq = ?1 AND counter = ?2 AND state = 2",
                )?;
                for (seq, counter, _) in claimed {
                    settle.execute(params![seq, counter])?;
                }
            }
            tx.commit()?;
        }
        Ok(())
    }

    fn claim(&mut self) -> Result<Vec<(i64, i64, String)>> {
        let tx = self
            .0
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let claimed = {
            let mut find = tx.prepare_cached(
                "SELECT seq, counter + 1, payload FROM jobs WHERE queue = 'default' AND state = 1
                  ORDER BY priority DESC, due_at, seq LIMIT ?1",
            )?;
            let mut take = tx.prepare_cached(
                "UPDATE jobs SET state = 2, attempt = attempt + 1, counter = counter + 1,
                                 lease_until = 1 WHERE seq = ?1",
            )?;
            let found =
                find.query_map([BATCH], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            let claimed: Vec<(i64, i64, String)> = found.collect::<Result<_>>()?;
            for (seq, ..) in &claimed {
                take.execute([seq])?;
            }
            claimed
        };
        tx.commit()?;
        Ok(claimed)
    }
}
