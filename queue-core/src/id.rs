//! [`JobId`]: made by the client, so that an enqueue can be repeated safely.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::name::QueueName;

/// A job's id: a UUID v7 whose last 14 bits are
/// [the hash of its queue's name](QueueName::hash14).
///
/// Ids sort by the time they were made (RFC 9562, section 5.7). The client
/// makes them, so an enqueue whose answer was lost is repeated under the same
/// id and makes no second job.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(Uuid);

impl JobId {
    const HASH_BITS: u128 = 0x3fff;

    /// A new id for a job of this queue.
    pub fn new(queue: &QueueName) -> Self {
        let random = Uuid::now_v7().as_u128() & !Self::HASH_BITS;
        Self(Uuid::from_u128(random | u128::from(queue.hash14())))
    }

    /// The id with these 16 bytes, as a store gave them back.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The 16 bytes, big-endian: their order is the ids' order.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The hash of the queue's name that the id carries: a store's shard.
    pub const fn queue_hash(&self) -> u16 {
        (self.0.as_u128() & Self::HASH_BITS) as u16
    }
}

impl From<Uuid> for JobId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl From<JobId> for Uuid {
    fn from(id: JobId) -> Self {
        id.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The text is not a job's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidId;

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid job id: give a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057")
    }
}

impl std::error::Error for InvalidId {}

impl FromStr for JobId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        text.parse().map(Self).map_err(|_| InvalidId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_and_carry_the_queue() {
        let queue = QueueName::new("reports").unwrap();
        let ids: Vec<JobId> = (0..1_000).map(|_| JobId::new(&queue)).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(ids.iter().all(|id| id.queue_hash() == queue.hash14()));
        assert_eq!(Uuid::from(ids[0]).get_version_num(), 7);
        assert_eq!(ids[0].to_string().parse(), Ok(ids[0]));
    }
}
