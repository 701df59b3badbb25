//! [`every_byte`]: the connection cut at every byte of a call.

use std::collections::BTreeSet;
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
    /// Of an exchange that makes its connection, which is much longer: at each
    /// of this many at the beginning.
    pub cold_start: u64,
    /// And then at one of so many, and after each piece of it: what was said in
    /// one go, the steps of the protocol. 0: at none of such an exchange.
    pub cold_stride: u64,
}

impl Cuts {
    /// At every byte.
    pub const ALL: Self = Self {
        ends: 0,
        stride: 1,
        cold_start: 0,
        cold_stride: 1,
    };

    /// At every byte, but of what follows the first 2,000 of an exchange that
    /// makes its connection at one of so many.
    const fn most(cold_stride: u64) -> Self {
        Self {
            cold_start: 2_000,
            cold_stride,
            ..Self::ALL
        }
    }

    /// These, or what `ANYQUEUE_SWEEP` says: `all`, or the number for
    /// [`most`](Self::most).
    #[must_use]
    pub(super) fn or_as_told(self) -> Self {
        let told = std::env::var("ANYQUEUE_SWEEP").unwrap_or_default();
        match (told.as_str(), told.parse()) {
            ("all", _) => Self::ALL,
            (_, Ok(stride)) => Self::most(stride),
            _ => self,
        }
    }

    /// The numbers of bytes behind which an exchange of this length is cut:
    /// from none of them up to all.
    fn of(self, seen: &Seen, start: Start) -> Vec<u64> {
        let before_an_end = |n: u64| {
            let end = seen.lengths.range(n..).next();
            end.is_some_and(|end| end - n < self.ends)
        };
        let chosen = |n: &u64| match start {
            Start::Warm => {
                *n < self.ends || before_an_end(*n) || n.is_multiple_of(self.stride.max(1))
            }
            Start::Cold => {
                *n < self.cold_start
                    || seen.pieces.contains(n)
                    || n.is_multiple_of(self.cold_stride.max(1))
            }
        };
        (0..=seen.longest()).filter(chosen).collect()
    }
}

/// Exchanges that were not cut.
#[derive(Debug, Default)]
struct Seen {
    /// Their bytes.
    lengths: BTreeSet<u64>,
    /// After how many bytes the pieces of one of them ended.
    pieces: BTreeSet<u64>,
}

impl Seen {
    fn longest(&self) -> u64 {
        self.lengths.last().copied().unwrap_or(0)
    }

    fn shortest(&self) -> u64 {
        self.lengths.first().copied().unwrap_or(0)
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

    /// In exchanges like these. The longest counts; it may have been so for
    /// what a server says of its own accord in between.
    fn of(cuts: Cuts, seen: &Seen, start: Start) -> Self {
        Self {
            bytes: cuts.of(seen, start).into_iter(),
            shortest: seen.shortest(),
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
            cold_start,
            cold_stride,
        } = self;
        match stride {
            1 => f.write_str("cut at every byte")?,
            _ => write!(
                f,
                "cut at each of the first and last {ends} bytes and at one of {stride} between"
            )?,
        }
        match cold_stride {
            0 | 1 => Ok(()),
            _ => write!(
                f,
                "; connection and all: at each of the first {cold_start}, at one of \
                 {cold_stride} and after each piece"
            ),
        }
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

/// How many cuts are made on a store, before there is a new one: what a backend
/// reads where it connects may grow with them.
const OF_A_STORE: u64 = 200;

async fn sweep<E: Exchange>(
    remote: &dyn Remote,
    cuts: Cuts,
    way: Way,
    start: Start,
) -> Result<Swept, String> {
    let mut places = None;
    let mut at = None;
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
    let wrong = |failure, at| format!("{} cut {way:?} {start:?} at {at:?}: {failure}", E::NAME);
    loop {
        let store = fresh_name();
        let went_on = sweep_on::<E>(remote, &store, cuts, &mut places, &mut swept, &mut at).await;
        remote.remove(&store).await;
        if !went_on.map_err(|failure| wrong(failure, at))? {
            break;
        }
    }
    let text = format!("most cuts are made: {swept}");
    holds(&text, swept.cuts * 2 >= swept.calls).map_err(|failure| wrong(failure, None))?;
    Ok(swept)
}

/// Goes on with a sweep on this store; false where that was the end.
async fn sweep_on<E: Exchange>(
    remote: &dyn Remote,
    store: &str,
    cuts: Cuts,
    places: &mut Option<Places>,
    swept: &mut Swept,
    at: &mut Option<u64>,
) -> Result<bool, Failure> {
    let (way, start) = (swept.way, swept.start);
    let mut stage = Stage::<E>::set(remote, store).await?;
    let mut seen = Seen::default();
    for round in 0..8 {
        stage.ready(start).await?;
        let before = stage.proxy.carried();
        stage.proxy.note_pieces(way);
        let answered = stage.call().await?;
        let length = stage.proxy.carried().since(before).of(way);
        let pieces = stage.proxy.pieces(way).into_iter().collect();
        // The first ones make what later ones find.
        if round >= 4 {
            seen.lengths.insert(length);
            seen.pieces = pieces;
        }
        stage.judge(answered, 0).await?;
    }
    holds("a call is bytes", seen.shortest() > 0)?;
    let places = places.get_or_insert_with(|| Places::of(cuts, &seen, start));

    let mut ended = false;
    for _ in 0..OF_A_STORE {
        let Some(bytes) = places.next() else {
            ended = true;
            break;
        };
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
    Ok(!ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(lengths: &[u64], pieces: &[u64]) -> Seen {
        Seen {
            lengths: lengths.iter().copied().collect(),
            pieces: pieces.iter().copied().collect(),
        }
    }

    #[test]
    fn bytes_are_all_or_those_at_the_ends_and_some_between() {
        let ten = seen(&[10], &[2, 7, 10]);
        assert_eq!(
            Cuts::ALL.of(&seen(&[4], &[4]), Start::Warm),
            [0, 1, 2, 3, 4]
        );
        let some = Cuts {
            ends: 2,
            stride: 4,
            cold_start: 1,
            cold_stride: 5,
        };
        assert_eq!(some.of(&ten, Start::Warm), [0, 1, 4, 8, 9, 10]);
        assert_eq!(some.of(&ten, Start::Cold), [0, 2, 5, 7, 10]);
        let two = seen(&[7, 14], &[]);
        assert_eq!(some.of(&two, Start::Warm), [0, 1, 4, 6, 7, 8, 12, 13, 14]);
        assert_eq!(some.of(&seen(&[], &[]), Start::Warm), [0]);
    }

    #[test]
    fn a_sweep_ends_where_exchanges_do_though_one_was_longer() {
        // One of them had 400 bytes of something else in it.
        let seen_four = seen(&[100, 102, 500, 100], &[]);
        let mut places = Places::of(Cuts::ALL, &seen_four, Start::Warm);
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
        let mut places = Places::of(Cuts::ALL, &seen(&[3, 3], &[]), Start::Warm);
        for bytes in 0..=3 {
            assert_eq!(places.next(), Some(bytes));
            places.tell(bytes, true);
        }
        assert_eq!(places.next(), None);
    }
}
