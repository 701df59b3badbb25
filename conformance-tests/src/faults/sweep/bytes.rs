//! [`every_byte`]: the connection cut at every byte of a call.

use std::fmt;
use std::sync::Arc;

use futures::TryFutureExt as _;
use futures::future::{LocalBoxFuture, try_join_all};

use super::exchanges::{Claim, Enqueue, Exchange, Settle};
use super::stage::{Stage, in_time};
use super::{Remote, Start, Swept};
use crate::asserts::{Failure, holds, same};
use crate::faults::Way;
use crate::store::fresh_name;

/// At which bytes of an exchange the connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cuts {
    /// At each of this many at the beginning, and at the end.
    pub ends: u64,
    /// In between, at one of so many.
    pub stride: u64,
    /// At one of so many of an exchange that makes its connection, which is
    /// much longer; 0: at none.
    pub cold_stride: u64,
}

impl Cuts {
    /// At every byte.
    pub const ALL: Self = Self {
        ends: u64::MAX,
        stride: 1,
        cold_stride: 1,
    };

    /// [`ALL`](Self::ALL) where `ANYQUEUE_SWEEP` is `all`, else these.
    #[must_use]
    pub(super) fn or_all(self) -> Self {
        match std::env::var("ANYQUEUE_SWEEP").is_ok_and(|value| value == "all") {
            true => Self::ALL,
            false => self,
        }
    }

    /// The numbers of bytes behind which an exchange of this length is cut:
    /// from none of them up to all.
    fn of(self, length: u64, start: Start) -> Vec<u64> {
        let (ends, stride) = match start {
            Start::Warm => (self.ends, self.stride.max(1)),
            Start::Cold => (0, self.cold_stride.max(1)),
        };
        let last = length.saturating_sub(ends);
        (0..=length)
            .filter(|n| *n < ends || *n > last || n % stride == 0)
            .collect()
    }
}

/// Where the exchanges of a sweep are cut, one after the other, until they are
/// over before it.
struct Places {
    bytes: std::vec::IntoIter<u64>,
    /// Bytes of the shortest exchange seen.
    shortest: u64,
    /// Exchanges of at least so many that were over before their cut, the last
    /// ones without a break.
    missed: u32,
}

impl Places {
    /// How often an exchange must be over before its cut: they vary by what a
    /// number in them is long.
    const MISSES: u32 = 4;

    /// Of exchanges that had these lengths. The longest counts; it may have
    /// been so for what a server says of its own accord in between.
    fn of(cuts: Cuts, lengths: &[u64], start: Start) -> Self {
        let of = |length: Option<u64>| length.unwrap_or(0);
        let longest = of(lengths.iter().copied().max());
        Self {
            bytes: cuts.of(longest, start).into_iter(),
            shortest: of(lengths.iter().copied().min()),
            missed: 0,
        }
    }

    /// After how many bytes the next one is cut.
    fn next(&mut self) -> Option<u64> {
        match self.missed < Self::MISSES {
            true => self.bytes.next(),
            false => None,
        }
    }

    /// Whether the cut after so many came to pass.
    const fn tell(&mut self, bytes: u64, cut: bool) {
        if cut {
            self.missed = 0;
        } else if bytes > self.shortest {
            self.missed += 1;
        }
    }
}

impl fmt::Display for Cuts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            ends,
            stride,
            cold_stride,
        } = self;
        if *self == Self::ALL {
            return f.write_str("cut at every byte");
        }
        write!(
            f,
            "cut at each of the first and last {ends} bytes and at one of {stride} between; \
             connection and all: at one of {cold_stride}; ANYQUEUE_SWEEP=all cuts at every byte"
        )
    }
}

/// Cuts the connection at bytes of an enqueue, a claim and a settle, counted
/// one way and then the other, and each time sees to it that
/// - the call is answered, or ends with a transient error within a minute;
/// - an error that says so has done nothing, and an answer tells what was done;
/// - the same call can be made again: the enqueue makes no second job, the
///   settle is accepted and counts once;
/// - a batch is stored as a whole or not at all;
/// - a job whose claim was lost comes back once its lease is over;
/// - the handle goes on, with all its connections.
///
/// What was done is given to `done`, call by call; all of it can take long.
///
/// # Errors
/// The first breach, in words.
pub async fn every_byte(
    remote: Arc<dyn Remote>,
    cuts: Cuts,
    done: impl Fn(&Swept),
) -> Result<(), String> {
    let mut sweeps: Vec<LocalBoxFuture<'_, _>> = Vec::new();
    for start in [Start::Warm, Start::Cold] {
        if start == Start::Cold && cuts.cold_stride == 0 {
            continue;
        }
        for way in Way::BOTH {
            let remote = &*remote;
            sweeps.push(Box::pin(sweep::<Enqueue>(remote, cuts, way, start)));
            sweeps.push(Box::pin(sweep::<Claim>(remote, cuts, way, start)));
            sweeps.push(Box::pin(sweep::<Settle>(remote, cuts, way, start)));
        }
    }
    let told = sweeps
        .into_iter()
        .map(|sweep| sweep.map_ok(|swept| done(&swept)));
    try_join_all(told).await.map(drop)
}

async fn sweep<E: Exchange>(
    remote: &dyn Remote,
    cuts: Cuts,
    way: Way,
    start: Start,
) -> Result<Swept, String> {
    let store = fresh_name();
    let mut at = None;
    let swept = sweep_of::<E>(remote, &store, cuts, way, start, &mut at).await;
    remote.remove(&store).await;
    let wrong = |failure| format!("{} cut {way:?} {start:?} at {at:?}: {failure}", E::NAME);
    swept.map_err(wrong)
}

async fn sweep_of<E: Exchange>(
    remote: &dyn Remote,
    store: &str,
    cuts: Cuts,
    way: Way,
    start: Start,
    at: &mut Option<u64>,
) -> Result<Swept, Failure> {
    let mut stage = Stage::<E>::set(remote, store).await?;
    let mut lengths = Vec::new();
    for round in 0..8 {
        stage.ready(start).await?;
        let before = stage.proxy.carried();
        let answered = stage.call().await?;
        // The first ones make what later ones find.
        if round >= 4 {
            lengths.push(stage.proxy.carried().since(before).of(way));
        }
        stage.judge(answered, 0).await?;
    }
    let mut places = Places::of(cuts, &lengths, start);
    holds("a call is bytes", places.shortest > 0)?;

    let mut swept = Swept {
        exchange: E::NAME,
        way,
        start,
        length: 0,
        calls: 0,
        cuts: 0,
        answered: 0,
        unknown: 0,
        undone: 0,
    };
    while let Some(bytes) = places.next() {
        *at = Some(bytes);
        stage.ready(start).await?;
        stage.proxy.cut_after(way, bytes);
        let answered = stage.call().await?;
        swept.calls += 1;
        let cut = !stage.proxy.disarm(way);
        places.tell(bytes, cut);
        if cut {
            swept.cuts += 1;
            swept.length = bytes;
        }
        match &answered {
            Ok(_) => swept.answered += 1,
            Err(error) => {
                let text = format!("a cut is an error that passes: {error}");
                holds(&text, error.kind().is_transient())?;
                if error.kind().may_have_happened() {
                    swept.unknown += 1;
                } else {
                    swept.undone += 1;
                }
            }
        }
        stage.judge(answered, bytes).await?;
    }
    *at = None;
    stage.end().await?;
    // None of its connections is lost or in the middle of something.
    stage.warm().await?;
    let reads = (0..16).map(|_| stage.near.counts());
    let reads = in_time("the reads of a healed handle", try_join_all(reads)).await??;
    let counts = stage.other.counts().await?;
    for found in reads {
        same("the counts read at last", found, counts.clone())?;
    }
    let text = format!("most cuts are made: {swept}");
    holds(&text, swept.cuts * 2 >= swept.calls)?;
    Ok(swept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_all_or_those_at_the_ends_and_some_between() {
        assert_eq!(Cuts::ALL.of(4, Start::Warm), [0, 1, 2, 3, 4]);
        let some = Cuts {
            ends: 2,
            stride: 4,
            cold_stride: 5,
        };
        assert_eq!(some.of(10, Start::Warm), [0, 1, 4, 8, 9, 10]);
        assert_eq!(some.of(10, Start::Cold), [0, 5, 10]);
        assert_eq!(some.of(0, Start::Warm), [0]);
    }

    #[test]
    fn a_sweep_ends_where_exchanges_do_though_one_was_longer() {
        // One of them had 400 bytes of something else in it.
        let mut places = Places::of(Cuts::ALL, &[100, 102, 500, 100], Start::Warm);
        let (mut made, mut missed) = (0, 0);
        while let Some(bytes) = places.next() {
            // Some end before the shortest that was seen: that says nothing.
            let cut = bytes <= 102 && bytes % 10 < 5;
            places.tell(bytes, cut);
            match cut {
                true => made = bytes,
                false => missed = bytes,
            }
        }
        assert_eq!((made, missed), (102, 106));
        let mut places = Places::of(Cuts::ALL, &[3, 3], Start::Warm);
        for bytes in 0..=3 {
            assert_eq!(places.next(), Some(bytes));
            places.tell(bytes, true);
        }
        assert_eq!(places.next(), None);
    }
}
