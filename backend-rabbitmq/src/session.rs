//! A session: one connection, from the handshake to its loss.

use std::pin::pin;
use std::time::Duration;

use anyqueue_core::ErrorKind;
use futures::{Stream, StreamExt as _};
use lapin::tcp::OwnedTLSConfig;
use lapin::{Connection, ConnectionProperties, Event};

use crate::clock::Clock;
use crate::config::RabbitConfig;
use crate::error::{Failure, alarm};
use crate::fold::Fold;
use crate::outbox::Urgency;
use crate::shared::{Phase, Place, Shared};
use crate::topology::{self, Queue};
use crate::wire::Entry;
use crate::{append, follow, lead, roots, snapshot, ticket};

/// How long the broker may refuse messages because of an alarm before calls
/// are told so.
const ALARM_PATIENCE: Duration = Duration::from_secs(2);

/// How long a connection may take, its handshake included.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// How long the last words may take, and so may the end of what is not ready.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(2);

/// Connects, follows and serves until the connection is lost (an error) or
/// all handles are gone.
pub(crate) async fn run(shared: &Shared) -> Result<(), Failure> {
    let connection = connect(&shared.config).await?;
    let serving = Box::pin(serve(&connection, shared));
    let served = attended(&connection, serving).await;
    // Where it is lost already there is nothing to close.
    let closing = connection.close(200, "done".into());
    let _ = tokio::time::timeout(LAST_WORDS, closing).await;
    served
}

/// Opens a connection. TLS verifies the broker's certificate.
pub(crate) async fn connect(config: &RabbitConfig) -> Result<Connection, Failure> {
    let mut tls = OwnedTLSConfig::default();
    if let Some(path) = &config.ca {
        let pem = std::fs::read_to_string(path).map_err(|error| {
            let message = format!("the file of `ca` cannot be read: {error}");
            Failure::new(ErrorKind::InvalidInput, message)
        })?;
        tls.cert_chain = Some(pem);
    }
    let properties = ConnectionProperties::default()
        .with_connection_name(format!("anyqueue {}", config.prefix).into());
    let runtime = lapin::runtime::default_runtime()?;
    let connecting =
        Connection::connect_uri_with_config(config.uri.clone(), properties, tls, runtime);
    // The limit in the URI ends with the TCP connection: one to a broker that
    // dies in the handshake, or says nothing, would never be given up.
    let connected = tokio::time::timeout(CONNECT_PATIENCE, connecting).await;
    let silent = |_| Failure::new(ErrorKind::Unavailable, "the broker does not answer");
    Ok(connected.map_err(silent)??)
}

/// What is done on a connection, given up once that is lost. lapin answers no
/// call that is made while it takes note of the loss.
async fn attended<T>(
    connection: &Connection,
    done: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    // A loss before this is in the connection's state, and fails the first call.
    let lost = listen(connection.events_listener());
    tokio::select! {
        ended = done => ended,
        failure = lost => Err(failure),
    }
}

async fn serve(connection: &Connection, shared: &Shared) -> Result<(), Failure> {
    let served = async {
        find(connection, shared).await?;
        shared.outbox().send_again();
        tokio::select! {
            ended = follow::run(connection, shared) => ended,
            ended = append::run(connection, shared) => ended,
            ended = lead::run(connection, shared) => ended,
            ended = ticket::run(connection, shared) => ended,
            ended = snapshot::run(connection, shared) => ended,
            () = become_ready(shared) => Ok(()),
            () = closed(shared) => Ok(()),
        }
    };
    tokio::select! {
        ended = served => ended,
        () = gone_unready(shared) => Ok(()),
    }
}

/// Returns once all handles are gone.
async fn gone(shared: &Shared) {
    // The sender is this instance's own.
    let mut closing = shared.closing.subscribe();
    let _ = closing.wait_for(|closing| *closing).await;
}

/// Returns once all handles are gone and what they would have known is said.
async fn closed(shared: &Shared) {
    gone(shared).await;
    say_goodbye(shared).await;
}

/// Returns once all handles are gone while the instance is not ready: nobody
/// needs a farewell.
pub(crate) async fn gone_unready(shared: &Shared) {
    gone(shared).await;
    if shared.phase.borrow().is_ready() {
        std::future::pending::<()>().await;
    }
}

/// Finds the ledger and the place to go on from.
async fn find(connection: &Connection, shared: &Shared) -> Result<(), Failure> {
    let known = shared.view().place.clone();
    if let Some(place) = known
        && roots::is_there(connection, &place.ledger).await?
    {
        return Ok(());
    }
    let head = roots::find(connection, &shared.config.prefix).await?;
    match &head.base {
        None => {
            let place = Place::at(&head.ledger, head.first);
            shared.load(Fold::default(), place, head.generation, Some(head));
        }
        Some(base) => {
            let fold = snapshot::load(connection, &head).await?;
            let place = Place::at(&base.ledger, base.offset);
            shared.load(fold, place, head.generation - 1, None);
        }
    }
    Ok(())
}

/// Says that the instance is ready once it is at the end of the ledger and
/// knows the time; never returns.
async fn become_ready(shared: &Shared) {
    loop {
        // Accepted also while calls are refused.
        let answered = shared.barrier().await;
        if matches!(answered, Ok(Ok(_))) {
            break;
        }
    }
    let mut clock = shared.clock.subscribe();
    let _ = clock.wait_for(Clock::is_known).await;
    shared.accept();
    shared.phase.send_replace(Phase::Ready);
    tracing::debug!(prefix = shared.config.prefix, "follows the ledger");
    std::future::pending::<()>().await;
}

/// Listens for what the broker says of the connection; why it is of no use any
/// more.
async fn listen(events: impl Stream<Item = Event>) -> Failure {
    let mut events = pin!(events);
    let mut blocked: Option<String> = None;
    loop {
        let event = match &blocked {
            None => events.next().await,
            Some(reason) => {
                let wait = tokio::time::timeout(ALARM_PATIENCE, events.next()).await;
                let Ok(event) = wait else {
                    return alarm(reason);
                };
                event
            }
        };
        match event {
            Some(Event::ConnectionBlocked(reason)) => blocked = Some(reason),
            Some(Event::ConnectionUnblocked) => blocked = None,
            // Those of a channel are its user's.
            Some(Event::Error(error)) if error.is_amqp_soft_error() => {}
            Some(Event::Error(error)) => return error.into(),
            Some(_) => {}
            None => {
                let message = "the connection ended";
                return Failure::new(ErrorKind::Unavailable, message);
            }
        }
    }
}

/// Says goodbye, so that what this instance holds is left to its leases.
async fn say_goodbye(shared: &Shared) {
    if let Ok(answered) = shared.append(Some(Entry::Bye), Urgency::InTurn) {
        let _ = tokio::time::timeout(LAST_WORDS, answered).await;
    }
    ticket::give_back(shared).await;
}

/// Deletes a store's queues: the roots last, so that a deletion that was cut
/// short can be made again.
pub(crate) async fn destroy(config: &RabbitConfig, ledgers: &[String]) -> Result<(), Failure> {
    let connection = connect(config).await?;
    let deleted = async {
        for ledger in ledgers {
            topology::delete(&connection, ledger).await?;
        }
        for queue in [Queue::Leader, Queue::Tickets, Queue::Roots] {
            topology::delete(&connection, &queue.name(&config.prefix)).await?;
        }
        Ok(())
    };
    attended(&connection, deleted).await?;
    let _ = connection.close(200, "done".into()).await;
    Ok(())
}

/// Whether a store has been made.
pub(crate) async fn exists(config: &RabbitConfig) -> Result<bool, Failure> {
    let connection = connect(config).await?;
    let roots = Queue::Roots.name(&config.prefix);
    let exists = attended(&connection, topology::exists(&connection, &roots)).await?;
    let _ = connection.close(200, "done".into()).await;
    Ok(exists)
}
