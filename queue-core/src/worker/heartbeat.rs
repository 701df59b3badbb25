//! The heartbeat: extends the lease of everything held, in batches, on a
//! thread with a runtime and connection of its own. A handler that blocks the
//! application's runtime keeps its lease all the same.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::backend::Backend;
use crate::error::{Error, ErrorKind, Operation};
use crate::transient::Waits;
use crate::worker::scope::JobScope;
use crate::worker::supervise::Engine;

/// Beats in one lease: two may be lost before the lease is.
const BEATS: u32 = 3;

/// The most tokens of one call.
const MAX_BATCH: usize = 1_000;

/// The least that a call may take; else it may take until the next beat. One
/// that is not answered by then, on a connection that fell silent, is given up,
/// while there is time to ask again on another.
const LEAST_PATIENCE: Duration = Duration::from_secs(2);

/// Starts the thread; it ends after `stop` was raised. The answer comes then.
pub(super) fn spawn(engine: Arc<Engine>, stop: CancellationToken) -> oneshot::Receiver<()> {
    let (ended, answer) = oneshot::channel();
    let thread = std::thread::Builder::new().name("anyqueue-heartbeat".to_owned());
    let spawned = thread.spawn({
        let engine = Arc::clone(&engine);
        let stop = stop.clone();
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => runtime.block_on(beat(&engine, &stop)),
                Err(error) => tracing::error!(%error, "no runtime for the heartbeat"),
            }
            let _ = ended.send(());
        }
    });
    if let Err(error) = spawned {
        // Better a heartbeat that a handler can block than none.
        tracing::error!(%error, "no thread for the heartbeat; it runs beside the handlers");
        tokio::spawn(async move { beat(&engine, &stop).await });
    }
    answer
}

async fn beat(engine: &Engine, stop: &CancellationToken) {
    let span = engine.settings.lease / BEATS;
    let mut own: Option<Arc<dyn Backend>> = None;
    let mut wait = Duration::ZERO;
    let mut errors = error_waits(span);
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return,
        }
        let beaten = async {
            if own.is_none() {
                own = open(engine).await;
            }
            let shared = engine.client.shared_backend();
            extend(engine, &**own.as_ref().unwrap_or(shared), span).await
        };
        let beaten = tokio::select! {
            beaten = beaten => beaten,
            () = stop.cancelled() => return,
        };
        wait = match beaten {
            Beaten::Well => {
                errors = error_waits(span);
                span
            }
            Beaten::Ill => errors.next(),
            Beaten::Silent => {
                // Its connection may never say anything again.
                own = None;
                errors.next()
            }
        };
    }
}

fn error_waits(span: Duration) -> Waits {
    Waits::new(Duration::from_millis(20), span)
}

async fn open(engine: &Engine) -> Option<Arc<dyn Backend>> {
    match engine.client.backend().reopen().await {
        Ok(backend) => {
            engine.succeeded(Operation::Connect);
            Some(backend)
        }
        Err(error) => {
            engine.failed(Operation::Connect, &error);
            None
        }
    }
}

/// How the calls of one beat went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beaten {
    Well,
    /// One failed.
    Ill,
    /// One was not answered.
    Silent,
}

/// Extends everything held.
async fn extend(engine: &Engine, backend: &dyn Backend, span: Duration) -> Beaten {
    let patience = span.max(LEAST_PATIENCE);
    let scopes = engine.held.all();
    let mut beaten = Beaten::Well;
    for batch in scopes.chunks(MAX_BATCH) {
        let tokens: Vec<_> = batch.iter().map(|scope| scope.job.token).collect();
        let call = backend.heartbeat(&tokens, engine.settings.lease);
        let answered = tokio::time::timeout(patience, call).await;
        match answered {
            Ok(Ok(answers)) => {
                engine.succeeded(Operation::Heartbeat);
                observe(engine, batch, &answers);
            }
            Ok(Err(error)) => {
                engine.failed(Operation::Heartbeat, &error);
                beaten = Beaten::Ill;
            }
            Err(_) => {
                engine.failed(Operation::Heartbeat, &silent(backend, patience));
                return Beaten::Silent;
            }
        }
    }
    beaten
}

fn silent(backend: &dyn Backend, patience: Duration) -> Error {
    let message = format!("no answer within {patience:?}");
    Error::new(
        ErrorKind::Unknown,
        Operation::Heartbeat,
        backend.name(),
        message,
    )
}

fn observe(engine: &Engine, batch: &[Arc<JobScope>], answers: &[crate::Holding]) {
    // What was settled while the call was in flight answers stale, rightly.
    for (scope, holding) in batch.iter().zip(answers) {
        if engine.held.contains(scope.job.token) {
            scope.observe(*holding);
        }
    }
}
