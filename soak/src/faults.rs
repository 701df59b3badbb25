//! What goes wrong, and in which order.

use std::time::Duration;

/// Something to do to processes, server or network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    KillServer,
    KillWorker,
    KillProducer,
    /// SIGSTOP for longer than a lease, then SIGCONT: a zombie.
    StopWorker,
    CutAll,
    Cut,
    Stall,
    HalfOpen,
    /// Calls arrive and their answers do not.
    LoseAnswers,
    Refuse,
    Delay,
}

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::KillServer => "kills of the server",
            Self::KillWorker => "kills of workers",
            Self::KillProducer => "kills of producers",
            Self::StopWorker => "stops",
            Self::CutAll | Self::Cut => "cuts",
            Self::Stall => "stalls",
            Self::HalfOpen => "half-open connections",
            Self::LoseAnswers => "lost answers",
            Self::Refuse => "refusals",
            Self::Delay => "delays",
        }
    }

    /// The faults of a store; those that hurt most come first, and the server's
    /// kill after one of the others: its start takes long with some.
    pub(crate) fn of(network: bool, server: bool, processes: bool) -> Vec<Self> {
        use Kind::*;
        let mut kinds = vec![KillWorker];
        if network {
            kinds.push(Cut);
        }
        if server {
            kinds.push(KillServer);
        }
        if network {
            kinds.extend([Stall, HalfOpen, LoseAnswers, CutAll]);
        }
        if processes {
            kinds.extend([StopWorker, KillProducer, KillWorker]);
        }
        if network {
            kinds.extend([Refuse, Delay]);
        }
        kinds
    }

    /// For how long it lasts.
    pub(crate) fn time(self, random: &mut fastrand::Rng, lease: Duration) -> Duration {
        let millis = match self {
            Self::KillServer => random.u64(..500),
            Self::KillWorker | Self::KillProducer | Self::CutAll | Self::Cut => 0,
            Self::StopWorker => random.u64(500..2_500),
            // Some shorter than a lease, some longer.
            Self::Stall | Self::HalfOpen => random.u64(200..5_000),
            Self::LoseAnswers | Self::Refuse | Self::Delay => random.u64(200..2_000),
        };
        let least = if self == Self::StopWorker {
            lease
        } else {
            Duration::ZERO
        };
        least + Duration::from_millis(millis)
    }
}

/// Faults without end: every kind once in each round, in an order of chance but
/// for the first round's.
pub(crate) struct Deck {
    kinds: Vec<Kind>,
    next: usize,
}

impl Deck {
    pub(crate) fn new(kinds: Vec<Kind>) -> Self {
        Self { kinds, next: 0 }
    }

    pub(crate) fn draw(&mut self, random: &mut fastrand::Rng) -> Kind {
        if self.next == self.kinds.len() {
            random.shuffle(&mut self.kinds);
            self.next = 0;
        }
        self.next += 1;
        self.kinds[self.next - 1]
    }
}
