//! [`Watch`]: a stream of a job's changes.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::stream::{self, BoxStream, Stream, StreamExt};

use crate::client::Client;
use crate::client::handle::not_found;
use crate::error::Error;
use crate::id::JobId;
use crate::record::JobRecord;
use crate::transient::Waits;

/// The waits between two reads while nothing changes; a store that pushes
/// ends them early.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);

/// How long a store may be unreadable before the stream ends with the error.
const PATIENCE: Duration = Duration::from_secs(30);

/// A stream of a job's changes: the present record first, then one whenever
/// state, attempt, progress, errors or the cancellation flag are new. It ends
/// after the record of a finished job, or after an error. Changes in quick
/// succession may be seen as one.
pub struct Watch(BoxStream<'static, Result<JobRecord, Error>>);

impl Watch {
    pub(super) fn new(client: Client, id: JobId) -> Self {
        let start = Some(Watching {
            client,
            id,
            seen: None,
        });
        Self(
            stream::unfold(start, |watching| async {
                let mut watching = watching?;
                match watching.next_change().await {
                    Ok(job) if job.state.is_finished() => Some((Ok(job), None)),
                    Ok(job) => Some((Ok(job), Some(watching))),
                    Err(error) => Some((Err(error), None)),
                }
            })
            .boxed(),
        )
    }

    /// The next change, as [`StreamExt::next`] for those who need no more of a
    /// stream; `None` after the job's end.
    pub async fn next(&mut self) -> Option<Result<JobRecord, Error>> {
        self.0.next().await
    }
}

impl Stream for Watch {
    type Item = Result<JobRecord, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

struct Watching {
    client: Client,
    id: JobId,
    seen: Option<Look>,
}

/// What makes a record a new one to a watcher.
type Look = (crate::State, u32, u64, u64, usize, bool, crate::Timestamp);

fn look(job: &JobRecord) -> Look {
    let sequence = job.progress.sequence;
    let errors = job.errors.len();
    (
        job.state,
        job.attempt,
        job.counter,
        sequence,
        errors,
        job.cancel_requested,
        job.due_at,
    )
}

impl Watching {
    async fn next_change(&mut self) -> Result<JobRecord, Error> {
        let mut wait = SHORTEST;
        loop {
            let ids = [self.id];
            let backend = self.client.backend();
            // Begun before the read, so that a change after it is noticed.
            let mut change = backend.wait_for_change(&ids, wait);
            let noticed = self.seen.is_some() && futures::poll!(&mut change).is_ready();
            let job = self.read().await?;
            let new = look(&job);
            if self.seen.as_ref() != Some(&new) {
                self.seen = Some(new);
                return Ok(job);
            }
            // A failed wait only costs time: the next read tells.
            if !noticed && change.await.is_err() {
                tokio::time::sleep(wait).await;
            }
            wait = wait.saturating_mul(2).min(LONGEST);
        }
    }

    async fn read(&self) -> Result<JobRecord, Error> {
        let begun = Instant::now();
        let mut waits = Waits::new(Duration::from_millis(100), Duration::from_secs(2));
        loop {
            match self.client.get(self.id).await {
                Ok(found) => return found.ok_or_else(|| not_found(&self.client, self.id)),
                Err(error) if error.kind().is_transient() && begun.elapsed() < PATIENCE => {
                    tokio::time::sleep(waits.next()).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
