//! Settling: outcomes go to the store in natural batches. What ends while a
//! flush is in flight goes into the next one; nothing waits for company.

use std::sync::Arc;
use std::time::Duration;

use crate::claim::Token;
use crate::error::{Error, ErrorKind, Operation};
use crate::progress::ProgressUpdate;
use crate::settle::{Outcome, Settled, Settlement};
use crate::telemetry;
use crate::transient::Waits;
use crate::worker::scope::JobScope;
use crate::worker::supervise::Engine;

/// The most outcomes of one call.
const MAX_BATCH: usize = 1_000;

pub(super) struct Settling {
    push: async_channel::Sender<Ended>,
    pop: async_channel::Receiver<Ended>,
    /// Held while reports of progress are in flight, so that the last report
    /// of a job is there before the job is settled.
    pub(super) reporting: tokio::sync::Mutex<()>,
}

struct Ended {
    scope: Arc<JobScope>,
    outcome: Outcome,
}

impl Default for Settling {
    fn default() -> Self {
        let (push, pop) = async_channel::unbounded();
        Self {
            push,
            pop,
            reporting: tokio::sync::Mutex::default(),
        }
    }
}

impl Settling {
    pub(super) fn push(&self, scope: Arc<JobScope>, outcome: Outcome) {
        // Closed only after everything that pushes has ended.
        let _ = self.push.try_send(Ended { scope, outcome });
    }

    /// How many outcomes wait for the next flush.
    pub(super) fn len(&self) -> usize {
        self.pop.len()
    }

    /// Lets `run` return once everything pushed is settled.
    pub(super) fn close(&self) {
        self.push.close();
    }

    pub(super) async fn run(&self, engine: &Engine) {
        while let Ok(first) = self.pop.recv().await {
            let mut batch = vec![first];
            while batch.len() < MAX_BATCH
                && let Ok(next) = self.pop.try_recv()
            {
                batch.push(next);
            }
            self.flush(engine, batch).await;
            engine.room.notify_one();
        }
    }

    async fn flush(&self, engine: &Engine, batch: Vec<Ended>) {
        self.send_last_reports(engine, &batch).await;
        let tokens: Vec<Token> = batch.iter().map(|ended| ended.scope.job.token).collect();
        let settlements: Vec<Settlement> = batch
            .into_iter()
            .map(|ended| Settlement {
                token: ended.scope.job.token,
                outcome: ended.outcome,
            })
            .collect();
        match settle(engine, &settlements).await {
            Ok(answers) => note(&tokens, &answers),
            // One item that the store cannot take must not hold up the rest.
            Err(_) if settlements.len() > 1 => {
                for one in &settlements {
                    match settle(engine, std::slice::from_ref(one)).await {
                        Ok(answers) => note(&[one.token], &answers),
                        Err(error) => give_up(one.token, &error),
                    }
                }
            }
            Err(error) => give_up(tokens[0], &error),
        }
        engine.held.remove(tokens);
    }

    async fn send_last_reports(&self, engine: &Engine, batch: &[Ended]) {
        if !batch.iter().any(|ended| ended.scope.has_reported()) {
            return;
        }
        let _reporting = self.reporting.lock().await;
        let updates: Vec<ProgressUpdate> = batch
            .iter()
            .filter_map(|ended| ended.scope.take_unsent())
            .collect();
        if updates.is_empty() {
            return;
        }
        // A report is not worth delaying an outcome for: tried once.
        match engine.client.backend().progress(&updates).await {
            Ok(_) => engine.succeeded(Operation::Progress),
            Err(error) => engine.failed(Operation::Progress, &error),
        }
    }
}

/// Settles, again and again while the store fails: the heartbeat keeps the jobs
/// held meanwhile, and a repeated settle is answered as the first was. Ends
/// with an error only where that lies in what is settled.
async fn settle(engine: &Engine, settlements: &[Settlement]) -> Result<Vec<Settled>, Error> {
    let mut waits = Waits::new(Duration::from_millis(20), Duration::from_secs(2));
    loop {
        match engine.client.backend().settle(settlements).await {
            Ok(answers) => {
                engine.succeeded(Operation::Settle);
                return Ok(answers);
            }
            Err(error) => {
                engine.failed(Operation::Settle, &error);
                match error.kind() {
                    ErrorKind::InvalidInput
                    | ErrorKind::Unsupported
                    | ErrorKind::Corrupt
                    | ErrorKind::Internal => return Err(error),
                    // A server that is read-only for a while, or a password that
                    // is being changed, is no reason to run a job again.
                    _ => {}
                }
            }
        }
        tokio::time::sleep(waits.next()).await;
    }
}

fn note(tokens: &[Token], answers: &[Settled]) {
    for (token, answer) in tokens.iter().zip(answers) {
        if *answer == Settled::Stale {
            metrics::counter!(telemetry::LEASES_LOST).increment(1);
            tracing::warn!(id = %token.id, "lease lost; the outcome was refused");
        }
    }
}

fn give_up(token: Token, error: &Error) {
    tracing::error!(id = %token.id, %error, "not settled; it runs again when its lease is over");
}
