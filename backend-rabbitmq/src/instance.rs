//! [`Instance`]: a thread that keeps a view of a store, and reconnects.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use anyqueue_core::{Error, ErrorKind, Operation};

use crate::config::{RabbitConfig, View};
use crate::error::Failure;
use crate::session;
use crate::shared::{Handle, Phase, Shared};

/// How long calls wait for a lost connection before they fail.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long they wait for the first one, the ledger's reading included.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// The longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The instances that the handles of this process share.
static SHARED: Mutex<Option<HashMap<String, Weak<Handle>>>> = Mutex::new(None);

/// The instance of a configuration, started where it is not running.
pub(crate) fn open(config: &RabbitConfig) -> Arc<Handle> {
    if config.view == View::Own {
        return start(config.clone());
    }
    // Holds the password: never shown.
    let key = format!("{}|{}|{:?}", config.uri, config.prefix, config.ca);
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let instances = shared.get_or_insert_default();
    instances.retain(|_, handle| handle.strong_count() > 0);
    if let Some(handle) = instances.get(&key).and_then(Weak::upgrade) {
        return handle;
    }
    let handle = start(config.clone());
    instances.insert(key, Arc::downgrade(&handle));
    handle
}

fn start(config: RabbitConfig) -> Arc<Handle> {
    let shared = Arc::new(Shared::new(config));
    let thread = std::thread::Builder::new().name("anyqueue-rabbitmq".to_owned());
    let spawned = thread.spawn({
        let shared = Arc::clone(&shared);
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => runtime.block_on(supervise(&shared)),
                Err(error) => {
                    let message = format!("no runtime for the instance: {error}");
                    stop(&shared, &Failure::new(ErrorKind::Unavailable, message));
                }
            }
        }
    });
    if let Err(error) = spawned {
        let message = format!("no thread for the instance: {error}");
        stop(&shared, &Failure::new(ErrorKind::Unavailable, message));
    }
    Arc::new(Handle(shared))
}

fn stop(shared: &Shared, failure: &Failure) {
    shared.phase.send_replace(Phase::Down(failure.clone()));
    shared.give_up(failure);
}

/// Returns when the instance is ready for calls.
///
/// # Errors
/// Why it cannot be, where waiting would not help or took too long.
pub(crate) async fn ready(shared: &Shared, operation: Operation) -> Result<(), Error> {
    let mut phase = shared.phase.subscribe();
    let decided = phase.wait_for(|phase| match phase {
        Phase::Ready | Phase::Closed => true,
        Phase::Down(failure) => !failure.kind.is_transient(),
        Phase::Starting => false,
    });
    let decided = tokio::time::timeout(START_PATIENCE, decided).await;
    let decided = decided.map(|phase| phase.map(|phase| phase.clone()));
    match decided {
        Ok(Ok(Phase::Ready)) => Ok(()),
        Ok(Ok(Phase::Down(failure))) => Err(failure.of(operation)),
        Ok(_) => Err(Failure::new(ErrorKind::Unavailable, "the instance ended").of(operation)),
        Err(_) => Err(reason(shared).of(operation)),
    }
}

fn reason(shared: &Shared) -> Failure {
    match &*shared.phase.borrow() {
        Phase::Down(failure) => failure.clone(),
        _ => Failure::new(ErrorKind::Unavailable, "the broker is not reached yet"),
    }
}

/// Connects again and again, until all handles are gone.
async fn supervise(shared: &Shared) {
    tokio::select! {
        () = reconnect(shared) => {}
        () = watchdog(shared) => {}
    }
    let failure = Failure::new(ErrorKind::Unavailable, "all handles of the store are gone");
    shared.give_up(&failure);
    shared.phase.send_replace(Phase::Closed);
}

async fn reconnect(shared: &Shared) {
    let mut pause = Duration::from_millis(20);
    loop {
        if *shared.closing.borrow() {
            return;
        }
        let was_ready = shared.phase.borrow().is_ready();
        let ended = tokio::select! {
            ended = session::run(shared) => ended,
            () = given_up(shared) => return,
        };
        let Err(failure) = ended else { return };
        if failure.displaced {
            // Start from the newest snapshot.
            shared.view().place = None;
        }
        if shared.phase.borrow().is_ready() || was_ready {
            tracing::warn!(
                reason = &*failure.message,
                "the broker is lost; reconnecting"
            );
            pause = Duration::from_millis(20);
        } else {
            tracing::debug!(reason = &*failure.message, "not connected; trying again");
        }
        shared.phase.send_replace(Phase::Down(failure));
        tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Returns a while after all handles are gone, where no connection is ready
/// then: one that is being made is left the time to end, since lapin's thread
/// panics when its runtime ends meanwhile.
async fn given_up(shared: &Shared) {
    session::gone_unready(shared).await;
    tokio::time::sleep(session::LAST_WORDS).await;
}

/// Fails the calls of an instance that is not ready for long.
async fn watchdog(shared: &Shared) {
    let mut phase = shared.phase.subscribe();
    let mut patience = START_PATIENCE;
    loop {
        // The sender is this instance's own.
        let _ = phase.wait_for(|phase| !phase.is_ready()).await;
        let ready = phase.wait_for(Phase::is_ready);
        if tokio::time::timeout(patience, ready).await.is_err() {
            shared.give_up(&reason(shared));
            let _ = phase.wait_for(Phase::is_ready).await;
        }
        patience = PATIENCE;
    }
}
