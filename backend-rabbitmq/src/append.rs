//! Appending to the ledger: takes from the outbox and publishes with confirms.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyqueue_core::{ErrorKind, Timestamp};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection, PublisherConfirm};

use crate::error::Failure;
use crate::outbox::{Parcel, Wish};
use crate::shared::Shared;
use crate::topology::confirmed;
use crate::wire::Entry;

/// How old the ledger's time may be when commands are stamped with it. Leases
/// and delays are that much shorter at most.
const FRESH: Duration = Duration::from_millis(30);

/// How long commands wait for a tick that was asked for.
const TICK_PATIENCE: Duration = Duration::from_millis(100);

/// How long nobody is asked for a tick after nobody gave one.
const TICK_PAUSE: Duration = Duration::from_secs(1);

/// Publishes what the outbox has; ends with an error only.
pub(crate) async fn run(connection: &Connection, shared: &Shared) -> Result<(), Failure> {
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let mut sender = Sender {
        shared,
        channel,
        confirms: FuturesUnordered::new(),
        unanswered: None,
    };
    loop {
        let wish = shared.outbox().ready();
        match wish {
            Some(wish) => sender.send(wish).await?,
            None => {
                let more = pin!(shared.to_send.notified());
                tokio::select! {
                    () = more => {}
                    Some(confirm) = sender.confirms.next() => sender.check(confirm)?,
                }
            }
        }
    }
}

struct Sender<'a> {
    shared: &'a Shared,
    channel: Channel,
    confirms: FuturesUnordered<PublisherConfirm>,
    /// When nobody gave a tick that was asked for.
    unanswered: Option<Instant>,
}

impl Sender<'_> {
    async fn send(&mut self, wish: Wish) -> Result<(), Failure> {
        let mut tick = None;
        if wish == Wish::Timed {
            match self.shared.leads() {
                // The leader needs nobody's tick.
                Some(term) => {
                    let now = Timestamp::host_now();
                    tick = Some(Entry::Tick { term, now });
                }
                None if self.is_stale() => self.touch().await?,
                None => {}
            }
        }
        let parcel = self.shared.outbox().next(tick);
        match parcel {
            Some(parcel) => self.publish(&parcel).await,
            None => Ok(()),
        }
    }

    fn is_stale(&self) -> bool {
        let asked = self.unanswered.is_some_and(|at| at.elapsed() < TICK_PAUSE);
        !asked && self.shared.staleness() > FRESH
    }

    /// Asks the leader for a tick, and waits for it a little.
    async fn touch(&mut self) -> Result<(), Failure> {
        let mut clock = self.shared.clock.subscribe();
        clock.mark_unchanged();
        let parcel = self.shared.outbox().alone(Entry::Touch);
        if let Some(parcel) = parcel {
            self.publish(&parcel).await?;
        }
        let ticked = tokio::time::timeout(TICK_PATIENCE, clock.changed()).await;
        self.unanswered = ticked.is_err().then(Instant::now);
        if ticked.is_err() {
            self.shared.unheard.store(true, Ordering::Release);
        }
        Ok(())
    }

    async fn publish(&mut self, parcel: &Parcel) -> Result<(), Failure> {
        let ledger = self
            .shared
            .view()
            .place
            .as_ref()
            .map(|place| place.ledger.clone());
        let ledger =
            ledger.ok_or_else(|| Failure::new(ErrorKind::Internal, "no ledger was found"))?;
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        for message in parcel.messages.iter() {
            let confirm = self
                .channel
                .basic_publish(
                    "".into(),
                    ledger.as_str().into(),
                    options,
                    message,
                    BasicProperties::default(),
                )
                .await?;
            self.confirms.push(confirm);
        }
        Ok(())
    }

    /// A message is done with once it was seen in the ledger; a confirm only
    /// tells when that will not happen.
    fn check(&self, confirm: lapin::Result<Confirmation>) -> Result<(), Failure> {
        confirmed(&confirm?)
    }
}
