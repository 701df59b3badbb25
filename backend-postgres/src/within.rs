//! Calls inside the application's own transaction.

use anyqueue_core::{
    Enqueued, Error, NewJob, Operation, Outcome, Payload, Settled, Settlement, Token,
};
use sqlx::PgConnection;
use sqlx::postgres::{PgArguments, PgRow};

use crate::args::args;
use crate::config::Pooler;
use crate::enqueue::{Batch, answers, parts, queue_names};
use crate::error::Failure;
use crate::rows;
use crate::schema::Schema;
use crate::settle;
use crate::statements::{Statement, text};
use crate::wake::{ANY_QUEUE, MOST_NAMES, TRANSACTION, queue_hash};

/// Enqueues jobs inside the application's own transaction: they are there when
/// it commits, and never were when it rolls back. The store is that of the
/// default [`Schema`] in the connection's database; see [`Schema::enqueue_in`].
///
/// # Errors
/// As [`Schema::enqueue_in`].
pub async fn enqueue_in(conn: &mut PgConnection, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error> {
    Schema::default().enqueue_in(conn, jobs).await
}

/// Completes a job inside its handler's own transaction; see
/// [`Schema::complete_in`]. The store is that of the default [`Schema`].
///
/// # Errors
/// As [`Schema::complete_in`].
pub async fn complete_in(
    conn: &mut PgConnection,
    token: Token,
    result: &Payload,
) -> Result<Settled, Error> {
    Schema::default().complete_in(conn, token, result).await
}

impl Schema {
    /// Enqueues jobs inside the transaction that is open on this connection:
    /// they are there when it commits, and never were when it rolls back. A
    /// `&mut Transaction` is given as `&mut *tx`.
    ///
    /// The schema must be that of a prepared store. Through a pooler in
    /// transaction mode give [`behind`](Self::behind). Workers are notified by the
    /// commit. NOTIFY takes a lock of the whole server for its length, so that
    /// commits of many such transactions queue up.
    ///
    /// Call it last, then commit: until the transaction's end, other enqueues
    /// of the same ids or unique keys, ends of jobs that hold those keys, and
    /// the first enqueues of a queue that is new to the store wait for it.
    /// Three round trips.
    ///
    /// # Errors
    /// As [`Backend::enqueue`](anyqueue_core::Backend::enqueue). PostgreSQL
    /// then refuses all but a rollback: set a savepoint to go on. What core
    /// checks before a client's enqueue (the payload's limit, the number of
    /// tags) is up to the caller; `JobBuilder::build` does it.
    pub async fn enqueue_in(
        &self,
        conn: &mut PgConnection,
        jobs: &[NewJob],
    ) -> Result<Vec<Enqueued>, Error> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let done = self.enqueue(conn, jobs).await;
        done.map_err(|failure| failure.after_send().into_error(Operation::Enqueue))
    }

    /// Completes a job inside its handler's own transaction, so that what the
    /// handler wrote and the job's end are there together or not at all: an
    /// effect that happens exactly once, within one database.
    ///
    /// Commit only where the answer is `Accepted`. `Stale` says that the lease
    /// was lost and another worker may run the job: roll back. After the commit
    /// the handler returns `Ok` as always; the result given here stands. The
    /// token is [`JobContext::token`](anyqueue_core::JobContext::token).
    ///
    /// Call it last, then commit. While the transaction is open the job's lease
    /// is not extended and does not end either, and whoever cancels the job or
    /// settles it otherwise waits. One round trip, two where the job is not
    /// held.
    ///
    /// # Errors
    /// As [`Backend::settle`](anyqueue_core::Backend::settle). In a transaction
    /// that is `REPEATABLE READ` or `SERIALIZABLE`, `Conflict` (40001) where the
    /// job had a heartbeat since the transaction's first statement: use `READ
    /// COMMITTED`, or repeat the whole transaction.
    pub async fn complete_in(
        &self,
        conn: &mut PgConnection,
        token: Token,
        result: &Payload,
    ) -> Result<Settled, Error> {
        let outcome = Outcome::Complete {
            result: result.clone(),
        };
        let done = self.end(conn, Settlement { token, outcome }).await;
        done.map_err(|failure| failure.after_send().into_error(Operation::Settle))
    }

    async fn enqueue(
        &self,
        conn: &mut PgConnection,
        jobs: &[NewJob],
    ) -> Result<Vec<Enqueued>, Failure> {
        let names = queue_names(jobs);
        let mut queues = std::collections::HashMap::new();
        loop {
            let known = |name: &&str| !queues.contains_key(*name);
            let missing: Vec<&str> = names
                .iter()
                .map(|name| name.as_str())
                .filter(known)
                .collect();
            if missing.is_empty() {
                break;
            }
            for statement in [Statement::QueueFind, Statement::QueueAdd] {
                for row in self
                    .call(conn, statement, args!(missing.as_slice()))
                    .await?
                {
                    queues.insert(rows::get::<String>(&row, 0)?, rows::get::<i32>(&row, 1)?);
                }
                if names.iter().all(|name| queues.contains_key(name.as_str())) {
                    break;
                }
            }
        }
        let number = |name: &anyqueue_core::QueueName| {
            queues.get(name.as_str()).copied().unwrap_or_default()
        };
        let mut all = Vec::with_capacity(jobs.len());
        for part in parts(jobs) {
            let args = Batch::new(part, number).args_known()?;
            let rows = self.call(conn, Statement::EnqueueKnown, args).await?;
            all.extend(answers(part, &rows)?);
        }
        let hashes: Vec<u64> = match names.len() <= MOST_NAMES {
            true => names.iter().map(queue_hash).collect(),
            false => vec![ANY_QUEUE],
        };
        let words = hashes.iter().map(|hash| format!(" q{hash:x}"));
        let payload: String = std::iter::once(TRANSACTION.to_owned())
            .chain(words)
            .collect();
        self.notify(conn, payload).await?;
        Ok(all)
    }

    async fn end(
        &self,
        conn: &mut PgConnection,
        settlement: Settlement,
    ) -> Result<Settled, Failure> {
        let one = [settlement];
        let args = settle::settle_args(&one, &[0], Statement::End);
        let found = self.call(conn, Statement::End, args).await?;
        if let Some(row) = found.first() {
            if rows::get(row, 1)? {
                let id = uuid::Uuid::from(rows::id(row, 0)?);
                self.notify(conn, format!("{TRANSACTION} j{}", id.simple()))
                    .await?;
            }
            return Ok(Settled::Accepted);
        }
        let args = settle::settled_args(&one, &[0]);
        let known = self.call(conn, Statement::Settled, args).await?;
        let mut answers = [Settled::Stale];
        settle::repeated(&mut answers, &one, &[0], &known)?;
        Ok(answers[0])
    }

    async fn notify(&self, conn: &mut PgConnection, payload: String) -> Result<(), Failure> {
        let query = sqlx::query("SELECT pg_notify($1, $2)")
            .bind(self.channel())
            .bind(payload)
            .persistent(self.pooler() == Pooler::None);
        query.execute(conn).await?;
        Ok(())
    }

    async fn call(
        &self,
        conn: &mut PgConnection,
        statement: Statement,
        args: PgArguments,
    ) -> Result<Vec<PgRow>, Failure> {
        let query = sqlx::query_with(text(statement, self), args);
        let query = query.persistent(self.pooler() == Pooler::None);
        Ok(query.fetch_all(conn).await?)
    }
}
