//! Calls inside the application's own transaction.

use std::collections::HashMap;

use anyqueue_core::{
    Enqueued, Error, ErrorKind, NewJob, Operation, Outcome, Payload, QueueName, Settled,
    Settlement, Token,
};
use tiberius::Client;

use crate::args::{Param, args, json};
use crate::enqueue::{STATEMENT, answers, enqueue_args, parts, queue_names};
use crate::error::Failure;
use crate::rows;
use crate::schema::Schema;
use crate::settle;
use crate::statements::{Statement, sql};
use crate::store::execute;
use crate::wake::Changes;

/// Enqueues jobs inside the application's own transaction: they are there when
/// it commits, and never were when it rolls back. The store is that of the
/// default [`Schema`] in the connection's database; see [`Schema::enqueue_in`].
///
/// # Errors
/// As [`Schema::enqueue_in`].
///
/// ```no_run
/// # async fn run(
/// #     client: &mut tiberius::Client<tokio_util::compat::Compat<tokio::net::TcpStream>>,
/// #     job: anyqueue_core::NewJob,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// client.begin_transaction().await?;
/// // … the application's own statements …
/// anyqueue_sqlserver::enqueue_in(client, &[job]).await?;
/// client.commit_transaction().await?;
/// # Ok(())
/// # }
/// ```
pub async fn enqueue_in<S>(client: &mut Client<S>, jobs: &[NewJob]) -> Result<Vec<Enqueued>, Error>
where
    S: futures::AsyncRead + futures::AsyncWrite + Unpin + Send,
{
    Schema::default().enqueue_in(client, jobs).await
}

/// Completes a job inside its handler's own transaction; see
/// [`Schema::complete_in`]. The store is that of the default [`Schema`].
///
/// # Errors
/// As [`Schema::complete_in`].
///
/// ```no_run
/// # async fn run(
/// #     client: &mut tiberius::Client<tokio_util::compat::Compat<tokio::net::TcpStream>>,
/// #     token: anyqueue_core::Token, result: anyqueue_core::Payload,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// client.begin_transaction().await?;
/// // … the handler's own statements …
/// match anyqueue_sqlserver::complete_in(client, token, &result).await? {
///     anyqueue_core::Settled::Accepted => client.commit_transaction().await?,
///     _ => client.rollback_transaction().await?, // The lease was lost.
/// }
/// # Ok(())
/// # }
/// ```
pub async fn complete_in<S>(
    client: &mut Client<S>,
    token: Token,
    result: &Payload,
) -> Result<Settled, Error>
where
    S: futures::AsyncRead + futures::AsyncWrite + Unpin + Send,
{
    Schema::default().complete_in(client, token, result).await
}

impl Schema {
    /// Enqueues jobs inside the transaction that is open on this connection:
    /// they are there when it commits, and never were when it rolls back. With
    /// no transaction open, each statement commits by itself.
    ///
    /// The schema must be that of a prepared store in the connection's database,
    /// whose user may select, insert, update and delete in its tables. Workers
    /// notice the jobs by their next look, at most a second after the commit.
    ///
    /// Keep the transaction short: until its end, other enqueues of the same
    /// ids or unique keys wait for it. Those of queues that the store knows go on
    /// beside it. Where it adds a queue, the first enqueues of this one and of
    /// other new ones wait. Two round trips, four where a queue is new, and one
    /// more for each further 1,000 jobs or 8 MiB: nothing is loaded in bulk here,
    /// which would leave a table on the connection where the caller goes on after
    /// an error.
    ///
    /// # Errors
    /// As [`Backend::enqueue`](anyqueue_core::Backend::enqueue). The transaction is
    /// of no more use then: roll back, ignoring an error, and begin again. (The
    /// server has mostly rolled the whole of it back, by `XACT_ABORT`, and then
    /// refuses to do so again. It is still open where this crate, not the server,
    /// found the error.) A deadlock is `Conflict`. What core checks before a client's enqueue (the
    /// payload's limit, the number of tags) is up to the caller;
    /// `JobBuilder::build` does it.
    pub async fn enqueue_in<S>(
        &self,
        client: &mut Client<S>,
        jobs: &[NewJob],
    ) -> Result<Vec<Enqueued>, Error>
    where
        S: futures::AsyncRead + futures::AsyncWrite + Unpin + Send,
    {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let done = self.enqueue(client, jobs).await;
        done.map_err(|failure| failure.after_send().into_error(Operation::Enqueue))
    }

    /// Completes a job inside its handler's own transaction, so that what the
    /// handler wrote and the job's end are there together or not at all: an
    /// effect that happens exactly once, within one database.
    ///
    /// Commit only where the answer is `Accepted`. `Stale` says that the lease
    /// was lost and another worker may run the job: roll back. After the commit
    /// the handler returns `Ok` as always; the result given here stands. The
    /// token is [`JobContext::token`](anyqueue_core::JobContext::token). One round
    /// trip.
    ///
    /// **Call it last, then commit at once.** Until then the job's row is locked,
    /// and a heartbeat is one statement for all jobs that its worker holds: it
    /// waits there, and the worker's other jobs may lose their leases meanwhile.
    /// Who reads the job waits too.
    ///
    /// # Errors
    /// As [`Backend::settle`](anyqueue_core::Backend::settle). The transaction is of
    /// no more use then, as after an error of [`enqueue_in`](Self::enqueue_in): roll
    /// back, ignoring an error, and begin again.
    pub async fn complete_in<S>(
        &self,
        client: &mut Client<S>,
        token: Token,
        result: &Payload,
    ) -> Result<Settled, Error>
    where
        S: futures::AsyncRead + futures::AsyncWrite + Unpin + Send,
    {
        let result = result.clone();
        let outcome = Outcome::Complete { result };
        let done = self.end(client, Settlement { token, outcome }).await;
        done.map_err(|failure| failure.after_send().into_error(Operation::Settle))
    }

    async fn enqueue<S>(
        &self,
        client: &mut Client<S>,
        jobs: &[NewJob],
    ) -> Result<Vec<Enqueued>, Failure>
    where
        S: futures::AsyncRead + futures::AsyncWrite + Unpin + Send,
    {
        let names = queue_names(jobs);
        let mut queues = self.find(client, &names).await?;
        // Adding locks a queue's place until the application's commit, also where the
        // queue is there: only for those that are not.
        let is_new = |name: &&QueueName| !queues.contains_key(*name);
        let new: Vec<QueueName> = names.iter().filter(is_new).cloned().collect();
        if !new.is_empty() {
            let args = name_args(&new)?;
            execute(client, &sql(Statement::QueueAdd, self), &args).await?;
            queues.extend(self.find(client, &new).await?);
        }
        if queues.len() < names.len() {
            let message = "a queue's row is not visible in this transaction; begin it again";
            return Err(Failure::new(ErrorKind::Conflict, message));
        }
        let number = |name: &QueueName| queues.get(name).copied().unwrap_or_default();
        let text = sql(Statement::Enqueue, self);
        let mut all = Vec::with_capacity(jobs.len());
        for part in parts(jobs, STATEMENT) {
            let args = enqueue_args(part, number)?;
            all.extend(answers(part, &execute(client, &text, &args).await?)?);
        }
        Ok(all)
    }

    /// The numbers of those queues that this transaction sees.
    async fn find<S>(
        &self,
        client: &mut Client<S>,
        names: &[QueueName],
    ) -> Result<HashMap<QueueName, i32>, Failure>
    where
        S: futures::AsyncRead + futures::AsyncWrite + Unpin + Send,
    {
        let text = sql(Statement::QueueFind, self);
        let found = execute(client, &text, &name_args(names)?).await?;
        let number = |row| Ok((rows::queue_name(row, 0)?, rows::int(row, 1)?));
        found.iter().flatten().map(number).collect()
    }

    async fn end<S>(
        &self,
        client: &mut Client<S>,
        settlement: Settlement,
    ) -> Result<Settled, Failure>
    where
        S: futures::AsyncRead + futures::AsyncWrite + Unpin + Send,
    {
        let settlements = [settlement];
        let args = settle::settle_args(&settlements, &[0])?;
        let found = execute(client, &sql(Statement::Settle, self), &args).await?;
        let (mut answers, mut changes) = ([Settled::Stale], Changes::default());
        settle::answer(&mut answers, &settlements, &[0], &found, &mut changes)?;
        Ok(answers[0])
    }
}

/// The parameter of `queue_find.sql` and `queue_add.sql`.
fn name_args(names: &[QueueName]) -> Result<Vec<Param>, Failure> {
    let rows: Vec<_> = names.iter().map(|name| [name.as_str()]).collect();
    Ok(args!(json(&rows)?))
}
