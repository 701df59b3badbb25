//! [`ClientOptions`].

use crate::capability::Durability;
use crate::maintain::Retention;
use crate::payload::DEFAULT_PAYLOAD_LIMIT;

/// How a client behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientOptions {
    /// The largest payload or result, in bytes of JSON; by default 1 MiB.
    pub payload_limit: usize,
    /// How long finished jobs are kept by the maintenance of this client's
    /// workers. Give all processes the same.
    pub retention: Retention,
    /// What acknowledged writes must survive; where the store's live settings
    /// promise less, connecting fails.
    pub require_durability: Option<Durability>,
    /// Whether connecting prepares the store.
    pub preparation: Preparation,
}

/// Whether connecting prepares the store (schema, migrations, topology).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preparation {
    /// It does.
    #[default]
    Run,
    /// It does not: someone else has, and this process may lack the rights.
    Skip,
}

impl ClientOptions {
    /// Sets the largest payload or result, in bytes of JSON.
    #[must_use]
    pub fn payload_limit(mut self, bytes: usize) -> Self {
        self.payload_limit = bytes;
        self
    }

    /// Sets how long finished jobs are kept.
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Requires acknowledged writes to survive at least this.
    #[must_use]
    pub fn require_durability(mut self, durability: Durability) -> Self {
        self.require_durability = Some(durability);
        self
    }

    /// Sets whether connecting prepares the store.
    #[must_use]
    pub fn preparation(mut self, preparation: Preparation) -> Self {
        self.preparation = preparation;
        self
    }
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            payload_limit: DEFAULT_PAYLOAD_LIMIT,
            retention: Retention::default(),
            require_durability: None,
            preparation: Preparation::default(),
        }
    }
}
