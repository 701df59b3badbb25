//! Chores: each worker does a bounded share of the store's maintenance.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Operation;
use crate::worker::supervise::Engine;

/// The mean span between two rounds.
const SPAN: Duration = Duration::from_secs(5);

/// The most calls of one round while there is more to do.
const MOST_CALLS: usize = 20;

/// The span to the next round where this one did not do all: the jobs that are
/// over must not come faster than they go.
const BREATH: Duration = Duration::from_millis(100);

/// Does chores for ever; ended by its owner.
pub(super) async fn run(engine: Arc<Engine>) {
    let mut more = false;
    loop {
        let span = if more { BREATH } else { SPAN };
        // Jittered, so that workers started together do not stay together.
        tokio::time::sleep(span.mul_f64(0.5 + fastrand::f64())).await;
        for _ in 0..MOST_CALLS {
            match engine.client.maintain().await {
                Ok(done) => {
                    engine.succeeded(Operation::Maintain);
                    more = done.more;
                }
                Err(error) => {
                    engine.failed(Operation::Maintain, &error);
                    more = false;
                }
            }
            if !more {
                break;
            }
        }
    }
}
