//! Progress: sends the latest report of each job, a few times a second.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::Operation;
use crate::worker::supervise::Engine;

/// The shortest span between two flushes. A first report goes out at once.
const SPAN: Duration = Duration::from_millis(200);

/// Sends reports for ever; ended by its owner.
pub(super) async fn run(engine: Arc<Engine>) {
    loop {
        engine.reports.arrived.notified().await;
        let begun = Instant::now();
        flush(&engine).await;
        tokio::time::sleep_until(begun + SPAN).await;
    }
}

async fn flush(engine: &Engine) {
    let _reporting = engine.settling.reporting.lock().await;
    let scopes = engine.reports.take();
    // Some were sent with their jobs' outcomes.
    let (scopes, updates): (Vec<_>, Vec<_>) = scopes
        .into_iter()
        .filter_map(|scope| scope.take_unsent().map(|update| (scope, update)))
        .unzip();
    if updates.is_empty() {
        return;
    }
    match engine.client.backend().progress(&updates).await {
        Ok(answers) => {
            engine.succeeded(Operation::Progress);
            for (scope, holding) in scopes.iter().zip(answers) {
                scope.observe(holding);
            }
        }
        Err(error) => {
            engine.failed(Operation::Progress, &error);
            for scope in &scopes {
                engine.reports.put_back(scope);
            }
        }
    }
}
