//! [`every_byte`]: the connection cut at every byte of a call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyqueue_core::Error;
use futures::future::{LocalBoxFuture, try_join_all};

use super::exchanges::{Claim, Enqueue, Exchange, Settle};
use super::{Remote, Start, Swept};
use crate::asserts::{Failure, eventually, holds, same};
use crate::faults::{Proxy, Way};
use crate::handle::Handle;
use crate::store::fresh_name;

/// What only tells a hang from an answer.
const HANG: Duration = Duration::from_secs(60);

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
/// # Errors
/// The first breach, in words.
pub async fn every_byte(remote: Arc<dyn Remote>, cuts: Cuts) -> Result<Vec<Swept>, String> {
    let mut sweeps: Vec<LocalBoxFuture<'_, _>> = Vec::new();
    for start in [Start::Warm, Start::Cold] {
        if start == Start::Cold && cuts.cold_stride == 0 {
            continue;
        }
        for way in Way::BOTH {
            let remote = &remote;
            sweeps.push(Box::pin(sweep::<Enqueue>(remote, cuts, way, start)));
            sweeps.push(Box::pin(sweep::<Claim>(remote, cuts, way, start)));
            sweeps.push(Box::pin(sweep::<Settle>(remote, cuts, way, start)));
        }
    }
    try_join_all(sweeps).await
}

async fn sweep<E: Exchange>(
    remote: &Arc<dyn Remote>,
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
    remote: &Arc<dyn Remote>,
    store: &str,
    cuts: Cuts,
    way: Way,
    start: Start,
    at: &mut Option<u64>,
) -> Result<Swept, Failure> {
    let proxy = Proxy::to(remote.port())
        .await
        .map_err(|error| of_proxy(&error))?;
    let handle = async |port| Ok::<_, Failure>(Handle::new(remote.open_by(store, port).await?, 1));
    // The same store past the proxy: what is there.
    let other = handle(remote.port()).await?;
    repeated("the store is prepared", async || other.prepare().await).await?;
    let mut near = handle(proxy.port()).await?;
    repeated("a handle is prepared", async || near.prepare().await).await?;
    let mut exchange = E::begin(&near, &other).await?;

    // A handle whose next call has such a start.
    let started = async |near: Handle, exchange: &E| {
        if start == Start::Cold {
            // What the former handle would say at its end is not counted.
            proxy.cut();
            return handle(proxy.port()).await;
        }
        warm(exchange, &near).await?;
        Ok(near)
    };

    let mut length = 0;
    for round in 0..6 {
        exchange.ready(&near, &other).await?;
        near = started(near, &exchange).await?;
        let before = proxy.carried();
        let answered = exchange.call(&near).await;
        // The first ones make what later ones find.
        if round >= 4 {
            length = length.max(proxy.carried().since(before).of(way));
        }
        exchange.judge(answered, &near, &other, 0).await?;
    }
    holds("a call is bytes", length > 0)?;

    let mut swept = Swept {
        exchange: E::NAME,
        way,
        start,
        length,
        calls: 0,
        cuts: 0,
        answered: 0,
        unknown: 0,
        undone: 0,
    };
    for bytes in cuts.of(length, start) {
        *at = Some(bytes);
        exchange.ready(&near, &other).await?;
        near = started(near, &exchange).await?;
        proxy.cut_after(way, bytes);
        let answered = in_time(E::NAME, exchange.call(&near)).await?;
        swept.calls += 1;
        swept.cuts += u64::from(!proxy.disarm(way));
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
        in_time(
            "what follows",
            exchange.judge(answered, &near, &other, bytes),
        )
        .await??;
    }
    *at = None;
    in_time("the end", exchange.end(&near, &other)).await??;
    // None of its connections is lost or in the middle of something.
    warm(&exchange, &near).await?;
    let reads = (0..16).map(|_| near.counts());
    let reads = in_time("the reads of a healed handle", try_join_all(reads)).await??;
    let counts = other.counts().await?;
    for found in reads {
        same("the counts read at last", found, counts.clone())?;
    }
    let text = format!("most cuts are made: {swept}");
    holds(&text, swept.cuts * 2 >= swept.calls)?;
    Ok(swept)
}

/// Makes calls that change nothing until one is answered: the connection is
/// there again.
async fn warm<E: Exchange>(exchange: &E, near: &Handle) -> Result<(), Failure> {
    repeated("a cut connection is replaced", async || {
        exchange.warm(near).await
    })
    .await
}

/// Repeats a call until it is answered.
pub(super) async fn repeated<T>(
    what: &str,
    call: impl AsyncFn() -> Result<T, Error>,
) -> Result<T, Failure> {
    let mut last = None;
    let answer = eventually(what, async || match in_time(what, call()).await? {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.kind().is_transient() => {
            last = Some(error);
            Ok(None)
        }
        Err(error) => Err(error.into()),
    });
    let answer = answer.await;
    answer.map_err(|failure| match last {
        Some(error) => Failure::new(format!("{failure}; the last time: {error}")),
        None => failure,
    })
}

async fn in_time<T>(what: &str, call: impl Future<Output = T>) -> Result<T, Failure> {
    let late = |_| Failure::new(format!("no end within {HANG:?}: {what}"));
    tokio::time::timeout(HANG, call).await.map_err(late)
}

fn of_proxy(error: &std::io::Error) -> Failure {
    Failure::new(format!("no proxy: {error}"))
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
}
