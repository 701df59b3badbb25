//! Appending to the ledger: takes from the outbox and publishes with confirms.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyqueue_core::{ErrorKind, Timestamp};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection, PublisherConfirm};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::clock::{Clock, FAR};
use crate::error::Failure;
use crate::fold::STEP;
use crate::item::{Answered, Gate};
use crate::outbox::{Packing, Parcel, Wish};
use crate::shared::Shared;
use crate::topology::confirmed;
use crate::wire::Entry;

/// How long commands wait for a tick, once the leader can have read that one is
/// asked for.
const TICK_PATIENCE: Duration = Duration::from_millis(100);

/// How long nobody is asked for a tick after nobody gave one.
const TICK_PAUSE: Duration = Duration::from_secs(1);

/// Which part of a rest the leader's message makes good: so long ones take some
/// hundred messages.
const PART: u32 = 60;

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
        clock: shared.clock.subscribe(),
        asking: None,
        unheard: None,
    };
    loop {
        let gate = sender.gate();
        let look = shared.outbox().look(&gate);
        let wanted = look.held || !gate.clock.is_known();
        if wanted && sender.may_ask() && look.wish != Some(Wish::Again) {
            sender.ask(gate).await?;
        } else if let Some(wish) = look.wish {
            sender.send(wish, gate).await?;
        } else {
            sender.wait().await?;
        }
    }
}

struct Sender<'a> {
    shared: &'a Shared,
    channel: Channel,
    confirms: FuturesUnordered<PublisherConfirm>,
    clock: watch::Receiver<Clock>,
    asking: Option<Asking>,
    /// When a tick was asked for that nobody gave, and until when no other is.
    unheard: Option<(Instant, Instant)>,
}

/// A tick is asked for.
struct Asking {
    /// When the question was made.
    at: Instant,
    /// Told when it is in the ledger.
    answered: Answered,
    /// Until when it is waited for, once it is there.
    until: Option<Instant>,
}

impl Sender<'_> {
    /// What may go, by what is known by now.
    fn gate(&mut self) -> Gate {
        let (now, clock) = (Instant::now(), *self.clock.borrow_and_update());
        let in_vain =
            |(at, until): &(Instant, Instant)| now < *until && !clock.is_proven_since(*at);
        self.unheard = self.unheard.filter(in_vain);
        if let Some(asking) = &self.asking {
            if clock.is_proven_since(asking.at) {
                self.asking = None;
            } else if asking.until.is_some_and(|until| until <= now) {
                self.unheard = Some((asking.at, now + TICK_PAUSE));
                self.asking = None;
                self.shared.unheard.store(true, Ordering::Release);
            }
        }
        Gate {
            clock,
            now,
            leads: self.shared.leads().is_some(),
            unheard: self.unheard.is_some(),
        }
    }

    fn may_ask(&self) -> bool {
        self.asking.is_none() && self.unheard.is_none()
    }

    /// Asks the leader for a tick; where that is this instance, it ticks.
    async fn ask(&mut self, gate: Gate) -> Result<(), Failure> {
        let packing = self.packing(gate);
        let touch = packing.ticks.is_empty().then_some(Entry::Touch);
        let at = packing.at;
        let asked = self.shared.outbox().alone(touch, packing);
        let Some((parcel, answered)) = asked else {
            return Ok(());
        };
        self.asking = Some(Asking {
            at,
            answered,
            until: None,
        });
        self.publish(&parcel).await
    }

    async fn send(&mut self, wish: Wish, gate: Gate) -> Result<(), Failure> {
        let mut packing = self.packing(gate);
        if wish != Wish::Timed {
            packing.ticks.clear();
        }
        let parcel = self.shared.outbox().next(packing);
        match parcel {
            Some(parcel) => self.publish(&parcel).await,
            None => Ok(()),
        }
    }

    fn packing(&self, gate: Gate) -> Packing {
        let at = Instant::now();
        // Before the clock is read.
        let mark = self.shared.view().mark();
        let term = self.shared.leads();
        let ticks = term.map(|term| {
            let now = Timestamp::host_now();
            let behind = now.since(gate.clock.time);
            vec![Entry::Tick { term, now }; ticks(behind)]
        });
        Packing {
            gate,
            at,
            mark,
            ticks: ticks.unwrap_or_default(),
        }
    }

    /// Returns when there may be something to do.
    async fn wait(&mut self) -> Result<(), Failure> {
        let more = pin!(self.shared.to_send.notified());
        let until = match &self.asking {
            Some(asking) => asking.until,
            None => self.unheard.map(|(_, until)| until),
        };
        let asking = self.asking.as_mut().filter(|asking| asking.until.is_none());
        let folded = async {
            match asking {
                Some(asking) => (&mut asking.answered).await,
                None => std::future::pending().await,
            }
        };
        let over = async {
            match until {
                Some(until) => sleep(until.saturating_duration_since(Instant::now())).await,
                None => std::future::pending().await,
            }
        };
        let folded = tokio::select! {
            folded = folded => folded,
            () = more => return Ok(()),
            () = over => return Ok(()),
            // The sender is this instance's own.
            _ = self.clock.changed() => return Ok(()),
            Some(confirm) = self.confirms.next() => return self.check(confirm),
        };
        match (folded, &mut self.asking) {
            (Ok(Ok(_)), Some(asking)) => asking.until = Some(Instant::now() + TICK_PATIENCE),
            // The question was given up, with all that was under way.
            _ => self.asking = None,
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
        let properties = match parcel.mark {
            Some(mark) => BasicProperties::default().with_correlation_id(mark.to_string().into()),
            None => BasicProperties::default(),
        };
        for message in parcel.messages.iter() {
            let confirm = self
                .channel
                .basic_publish(
                    "".into(),
                    ledger.as_str().into(),
                    options,
                    message,
                    properties.clone(),
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

/// How many ticks make good a part of what the ledger's time is behind.
fn ticks(behind: Duration) -> usize {
    let steps = behind.as_secs() / (STEP.as_secs() * u64::from(PART));
    match behind <= FAR {
        true => usize::try_from(steps).unwrap_or(1).max(1),
        false => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rest_is_made_good_by_parts_and_a_wrong_clock_by_single_ticks() {
        let hours = |n: u64| Duration::from_secs(n * 3_600);
        assert_eq!(ticks(Duration::ZERO), 1);
        assert_eq!(ticks(hours(1)), 6);
        assert_eq!(ticks(hours(60)), 360);
        assert_eq!(ticks(FAR * 2), 1);
    }
}
