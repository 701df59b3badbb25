//! [`Item`]: a command on its way, and [`Gate`]: whether it may go yet.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::clock::{Clock, FRESH};
use crate::error::Failure;
use crate::fold::Reply;
use crate::span;
use crate::wire::{Entry, encode};

/// Where an item's answer comes.
pub(crate) type Answered = oneshot::Receiver<Result<Reply, Failure>>;

/// A command on its way, or a barrier: the place of a read.
#[derive(Debug)]
pub(crate) struct Item {
    entry: Option<Entry>,
    bytes: Vec<u8>,
    reply: oneshot::Sender<Result<Reply, Failure>>,
    timing: Timing,
    asked: Instant,
}

/// What the ledger's time is to an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timing {
    /// Nothing.
    Free,
    /// The leader is to say it.
    Tick,
    /// The command is stamped with it.
    Stamp,
    /// A delay or a lease begins with it.
    Span,
}

impl Item {
    /// An item, and where its answer comes. Encodes: not to be called under a
    /// lock.
    pub(crate) fn new(entry: Option<Entry>) -> (Self, Answered) {
        let timing = match &entry {
            Some(Entry::Store(command)) if span::begins(command) => Timing::Span,
            // A challenge with an old stamp would leave no time to answer.
            Some(Entry::Store(_) | Entry::Challenge { .. }) => Timing::Stamp,
            _ => Timing::Free,
        };
        Self::timed(entry, timing)
    }

    /// A barrier with the leader's tick before it.
    pub(crate) fn tick() -> (Self, Answered) {
        Self::timed(None, Timing::Tick)
    }

    fn timed(entry: Option<Entry>, timing: Timing) -> (Self, Answered) {
        let (reply, answered) = oneshot::channel();
        let bytes = entry.as_ref().map(encode).unwrap_or_default();
        let item = Self {
            entry,
            bytes,
            reply,
            timing,
            asked: Instant::now(),
        };
        (item, answered)
    }

    /// Whether the leader says the time before it.
    pub(crate) fn is_timed(&self) -> bool {
        self.timing != Timing::Free
    }

    pub(crate) fn is_barrier(&self) -> bool {
        self.entry.is_none()
    }

    /// The entry's bytes, until they are sent.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn forget_bytes(&mut self) {
        self.bytes = Vec::new();
    }

    /// The entry and where its answer goes.
    pub(crate) fn take(self) -> (Option<Entry>, oneshot::Sender<Result<Reply, Failure>>) {
        (self.entry, self.reply)
    }

    fn lengthen(&mut self, by: Duration) {
        if let Some(Entry::Store(command)) = &mut self.entry {
            span::lengthen(command, by);
            self.bytes = self.entry.as_ref().map(encode).unwrap_or_default();
        }
    }
}

/// Which items may go, by what is known of the time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gate {
    pub(crate) clock: Clock,
    pub(crate) now: Instant,
    /// Whether this instance leads.
    pub(crate) leads: bool,
    /// Whether a tick was asked for in vain, just now.
    pub(crate) unheard: bool,
}

impl Gate {
    /// Whether it may go: no tick would be of use to it, or none is to be had.
    pub(crate) fn lets(&self, item: &Item) -> bool {
        match item.timing {
            Timing::Free | Timing::Tick => true,
            _ if !self.clock.is_known() => false,
            _ if self.unheard => true,
            // The leader's own tick goes before it.
            Timing::Stamp => self.leads || self.now <= self.clock.heard + FRESH,
            Timing::Span => self.clock.serves(item.asked),
        }
    }

    /// Makes an item's spans longer where the ledger's time is behind: they count
    /// from there, and are to end no earlier than was asked for.
    pub(crate) fn lengthen(&self, item: &mut Item) {
        if item.timing == Timing::Span {
            let lag = self.clock.lag(item.asked);
            if lag > FRESH {
                item.lengthen(lag);
            }
        }
    }
}
