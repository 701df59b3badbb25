//! [`Job`]: the moving part of a job, and its moves from state to state. The
//! moves are those of the memory backend's `machine/job.rs`.

use anyqueue_core::{ErrorText, JobId, JobRecord, OutcomeKind, State, Timestamp};
use rusqlite::{Row, params};

use crate::error::Failure;
use crate::rows;
use crate::tx::Tx;

/// A row of `anyqueue_jobs`, read to be changed.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) seq: i64,
    pub(crate) id: JobId,
    pub(crate) queue: i64,
    pub(crate) state: State,
    pub(crate) due_at: Timestamp,
    pub(crate) max_attempts: u32,
    pub(crate) keyed: i64,
    pub(crate) attempt: u32,
    pub(crate) counter: u64,
    pub(crate) cancel_requested: bool,
    /// Counter and outcome of its last settle.
    pub(crate) settled: (u64, u8),
    /// The lease's end while running, its own end once finished.
    pub(crate) ends_at: Option<Timestamp>,
    pub(crate) snooze_reason: Option<ErrorText>,
}

impl Job {
    /// The job with this id, where the store knows it.
    pub(crate) fn by_id(tx: &Tx<'_>, id: JobId) -> Result<Option<Self>, Failure> {
        let mut found = tx.sql(include_str!("sql/job_by_id.sql"))?;
        let mut found = found.query([id.as_bytes()])?;
        found.next()?.map(Self::read).transpose()
    }

    /// The job that an index named.
    pub(crate) fn by_seq(tx: &Tx<'_>, seq: i64) -> Result<Self, Failure> {
        let mut found = tx.sql(include_str!("sql/job_by_seq.sql"))?;
        let mut found = found.query([seq])?;
        let row = found.next()?;
        Self::read(row.ok_or_else(|| Failure::corrupt("job without a body"))?)
    }

    pub(crate) fn read(row: &Row<'_>) -> Result<Self, Failure> {
        Ok(Self {
            seq: row.get(0)?,
            id: rows::id(row, 1)?,
            queue: row.get(2)?,
            state: rows::state(row, 3)?,
            due_at: rows::time(row, 4)?,
            max_attempts: row.get(5)?,
            keyed: row.get(6)?,
            attempt: row.get(7)?,
            counter: row.get(8)?,
            cancel_requested: row.get(9)?,
            settled: (row.get(10)?, row.get(11)?),
            ends_at: rows::optional_time(row, 12)?,
            snooze_reason: rows::error_text(row, 13)?,
        })
    }

    /// Writes it back after moves that began in state `from`, counts it, frees
    /// its key where that ended it, and tells those who wait.
    pub(crate) fn save(&self, tx: &mut Tx<'_>, from: State) -> Result<(), Failure> {
        tx.sql(include_str!("sql/job_save.sql"))?.execute(params![
            self.seq,
            self.state.as_u8(),
            self.due_at.as_micros(),
            self.attempt,
            self.cancel_requested,
            self.settled.0,
            self.settled.1,
            self.ends_at.map(Timestamp::as_micros),
            self.snooze_reason.as_ref().map(ErrorText::as_str),
        ])?;
        tx.count_move(self.queue, from, self.state);
        if self.keyed != 0 && self.state.is_finished() && !from.is_finished() {
            free_key(tx, self.queue, self.seq, self.id)?;
        }
        tx.changed(self.id, self.queue, self.state)
    }

    /// Whether this counter's token holds it. A lease that has run out but was
    /// not ended still holds.
    pub(crate) fn is_held_by(&self, counter: u64) -> bool {
        self.state == State::Running && self.counter == counter
    }

    pub(crate) fn settled_as(&mut self, counter: u64, outcome: OutcomeKind) {
        self.settled = (counter, outcome.as_u8());
    }

    /// Lets it wait for this moment: `ready` where that has come.
    pub(crate) fn wait_until(&mut self, due: Timestamp, now: Timestamp) {
        self.due_at = due;
        self.leave(if due > now {
            State::Scheduled
        } else {
            State::Ready
        });
    }

    /// Puts it back where it was before the claim: `ready`, its due time
    /// giving its place.
    pub(crate) fn put_back(&mut self) {
        self.leave(State::Ready);
    }

    /// Ends it.
    pub(crate) fn end(&mut self, state: State, now: Timestamp) {
        self.state = state;
        self.ends_at = Some(now);
    }

    /// Ends its lease: `cancelled` where it is flagged, `failed` where no
    /// attempt is left, else `ready`. The error is kept in each case.
    pub(crate) fn expire(&mut self, tx: &Tx<'_>) -> Result<(), Failure> {
        self.keep_error(tx, &ErrorText::lease_expired())?;
        if self.cancel_requested {
            self.end(State::Cancelled, tx.now);
        } else if self.attempt >= self.max_attempts {
            self.end(State::Failed, tx.now);
        } else {
            self.put_back();
        }
        Ok(())
    }

    /// Keeps the error of the attempt under way, and the latest before it.
    pub(crate) fn keep_error(&self, tx: &Tx<'_>, message: &ErrorText) -> Result<(), Failure> {
        tx.sql(include_str!("sql/error_add.sql"))?.execute(params![
            self.seq,
            self.counter,
            self.attempt,
            tx.now.as_micros(),
            message.as_str()
        ])?;
        // Each claim adds at most one: fewer claims, nothing to trim.
        if self.counter > JobRecord::MAX_ERRORS as u64 {
            tx.sql(include_str!("sql/errors_trim.sql"))?
                .execute(params![self.seq, JobRecord::MAX_ERRORS])?;
        }
        Ok(())
    }

    pub(crate) fn give_attempt_back(&mut self) {
        self.attempt = self.attempt.saturating_sub(1);
    }

    fn leave(&mut self, state: State) {
        self.state = state;
        self.ends_at = None;
    }
}

/// Frees the key that a job held while it was unfinished.
pub(crate) fn free_key(tx: &Tx<'_>, queue: i64, seq: i64, id: JobId) -> Result<(), Failure> {
    tx.sql(include_str!("sql/key_free.sql"))?
        .execute(params![queue, seq, id.as_bytes()])?;
    Ok(())
}
