//! What is read of RabbitMQ's streams.

use anyqueue_rabbitmq::fuzzing::{Ledger, entries, root};

use crate::parts;

/// The parts are the messages of a ledger.
pub(crate) fn messages(bytes: &[u8]) {
    let _ = root(bytes);
    let mut ledger = Ledger::default();
    for message in parts(bytes) {
        ledger.fold(message);
    }
    used(ledger);
}

/// The parts are the bodies of well-formed messages, behind a byte that names
/// the instance.
pub(crate) fn commands(bytes: &[u8]) {
    let mut ledger = Ledger::default();
    for part in parts(bytes) {
        let Some((instance, body)) = part.split_first() else {
            continue;
        };
        if let Some(again) = entries(body) {
            assert!(entries(&again).is_some_and(|twice| twice == again));
        }
        let message = ledger.message(instance % 4, body);
        ledger.fold(&message);
    }
    used(ledger);
}

/// The bytes are a snapshot: it is refused, or goes on as any other state.
pub(crate) fn snapshot(bytes: &[u8]) {
    if let Some(ledger) = Ledger::load(bytes) {
        used(ledger);
    }
}

/// What was folded can be used, and stored and loaded.
fn used(mut ledger: Ledger) {
    let stored = ledger.store();
    assert!(Ledger::load(&stored).is_some(), "it loads what it stored");
    ledger.exercise();
    assert!(Ledger::load(&ledger.store()).is_some(), "and later too");
}
