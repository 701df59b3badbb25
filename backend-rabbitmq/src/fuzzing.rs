//! What is read of a broker's streams, for the fuzz targets: nothing in here
//! panics, whatever the bytes.

use anyqueue_core::{Filter, Page, QueueName, Retention, WorkerId};
use anyqueue_memory::Command;
use uuid::Uuid;

use crate::fold::{Effects, Fold, Standing};
use crate::roots::Root;
use crate::wire::{self, Body, Entry, Header};

/// A ledger's fold, as every instance keeps one.
#[derive(Debug, Default)]
pub struct Ledger(Fold);

impl Ledger {
    /// What a snapshot of these bytes holds, where it can be loaded.
    pub fn load(snapshot: &[u8]) -> Option<Self> {
        Fold::load(snapshot).ok().map(Self)
    }

    /// The bytes of a snapshot.
    pub fn store(&self) -> Vec<u8> {
        wire::encode(&self.0)
    }

    /// Folds a message of the stream; whether it was read.
    pub fn fold(&mut self, message: &[u8]) -> bool {
        let Ok((header, body)) = wire::open(message) else {
            return false;
        };
        if self.0.sealed.is_some() || self.0.admit(&header) != Standing::Next {
            return false;
        }
        let Ok(Some(entries)) = self.0.entries(&header, body) else {
            return false;
        };
        let mut effects = Effects::default();
        for entry in entries {
            self.0
                .apply(header.session, entry, &mut effects, &mut |_| {});
        }
        true
    }

    /// The next message of one of a few instances, with this body.
    pub fn message(&self, instance: u8, body: &[u8]) -> Vec<u8> {
        let session = Uuid::from_u128(u128::from(instance));
        let header = Header {
            session,
            epoch: 1,
            sequence: self.0.folded(session, 1).saturating_add(1),
            body: Body::Batch,
        };
        wire::message(&header, &[body])
    }

    /// Does with it what clients may do with any store: claims, chores, reads.
    pub fn exercise(&mut self) {
        let session = Uuid::from_u128(1);
        let term = self.0.term().saturating_add(1);
        let now = self.0.clock().after(crate::fold::STEP);
        let queues: Vec<QueueName> = self
            .0
            .machine
            .queues()
            .into_iter()
            .map(|q| q.name)
            .collect();
        let claim = anyqueue_core::ClaimRequest {
            queues,
            limit: 3,
            lease: crate::fold::STEP,
            worker: WorkerId::new("w").expect("a valid name"),
        };
        let chores = anyqueue_core::MaintainLimits {
            jobs: 100,
            retention: Retention::default(),
        };
        let listing = self.0.machine.list(&Filter::any(), &Page::default());
        let ids: Vec<_> = listing.jobs.iter().map(|job| job.id).collect();
        let entries = [
            Entry::Elect { term },
            Entry::Tick { term, now },
            Entry::Store(Command::Claim(claim.clone())),
            Entry::Store(Command::Cancel(ids.clone())),
            Entry::Store(Command::Retry(ids.clone())),
            Entry::Store(Command::Maintain(chores)),
            Entry::Store(Command::Claim(claim)),
        ];
        let mut effects = Effects::default();
        for entry in entries {
            self.0.apply(session, entry, &mut effects, &mut |_| {});
        }
        let _ = (self.0.next_event(), self.0.machine.get(&ids));
        let _ = (self.0.machine.counts(), self.store());
    }
}

/// A body that makes its sender the leader of the first term, reads this time
/// off its clock, and does these commands.
pub fn body(now: anyqueue_core::Timestamp, commands: Vec<Command>) -> Vec<u8> {
    let mut entries = vec![Entry::Elect { term: 1 }, Entry::Tick { term: 1, now }];
    entries.push(Entry::Hold {
        ticket: Uuid::from_u128(9),
    });
    entries.extend(commands.into_iter().map(Entry::Store));
    wire::encode(&entries)
}

/// Whether the bytes are a root.
pub fn root(bytes: &[u8]) -> bool {
    wire::decode::<Root>(bytes).is_ok()
}

/// The commands that the bytes are, encoded again.
pub fn entries(bytes: &[u8]) -> Option<Vec<u8>> {
    let entries: Vec<Entry> = wire::decode(bytes).ok()?;
    Some(wire::encode(&entries))
}
