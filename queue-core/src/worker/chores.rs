//! Chores: each worker does a bounded share of the store's maintenance.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Operation;
use crate::worker::supervise::Engine;

/// The mean span between two rounds.
const SPAN: Duration = Duration::from_secs(5);

/// The most calls of one round while there is more to do.
const MOST_CALLS: usize = 20;

/// Does chores for ever; ended by its owner.
pub(super) async fn run(engine: Arc<Engine>) {
    loop {
        // Jittered, so that workers started together do not stay together.
        tokio::time::sleep(SPAN.mul_f64(0.5 + fastrand::f64())).await;
        for _ in 0..MOST_CALLS {
            match engine.client.maintain().await {
                Ok(done) => {
                    engine.succeeded(Operation::Maintain);
                    if !done.more {
                        break;
                    }
                }
                Err(error) => {
                    engine.failed(Operation::Maintain, &error);
                    break;
                }
            }
        }
    }
}
