//! [`Stage`]: a store behind a proxy, and a call that is made on it again and
//! again.

use std::time::Duration;

use anyqueue_core::Error;

use super::exchanges::Exchange;
use super::{Remote, Start};
use crate::asserts::{Failure, Verdict, eventually};
use crate::faults::Proxy;
use crate::handle::Handle;

/// What only tells a hang from an answer.
const HANG: Duration = Duration::from_secs(60);

/// A store behind a proxy, and a call that is made on it again and again.
pub(super) struct Stage<'a, E> {
    remote: &'a dyn Remote,
    store: &'a str,
    pub(super) proxy: Proxy,
    /// By the proxy.
    pub(super) near: Handle,
    /// Past it: what is there.
    pub(super) other: Handle,
    pub(super) exchange: E,
}

impl<'a, E: Exchange> Stage<'a, E> {
    pub(super) async fn set(remote: &'a dyn Remote, store: &'a str) -> Result<Self, Failure> {
        let proxy = Proxy::to(remote.port())
            .await
            .map_err(|error| Failure::new(format!("no proxy: {error}")))?;
        let other = handle(remote, store, remote.port()).await?;
        repeated("the store is prepared", async || other.prepare().await).await?;
        let near = handle(remote, store, proxy.port()).await?;
        repeated("a handle is prepared", async || near.prepare().await).await?;
        let exchange = E::begin(&near, &other).await?;
        Ok(Self {
            remote,
            store,
            proxy,
            near,
            other,
            exchange,
        })
    }

    /// Makes what the next call is about, and its connection or none.
    pub(super) async fn ready(&mut self, start: Start) -> Verdict {
        self.exchange.ready(&self.near, &self.other).await?;
        match start {
            Start::Warm => self.warm().await,
            Start::Cold => {
                // What the former handle would say at its end is not counted.
                self.proxy.cut();
                self.near = handle(self.remote, self.store, self.proxy.port()).await?;
                Ok(())
            }
        }
    }

    /// Makes calls that change nothing until one is answered: the connection
    /// is there again.
    pub(super) async fn warm(&self) -> Verdict {
        repeated("a cut connection is replaced", async || {
            self.exchange.warm(&self.near).await
        })
        .await
    }

    pub(super) async fn call(&self) -> Result<Result<E::Answer, Error>, Failure> {
        in_time(E::NAME, self.exchange.call(&self.near)).await
    }

    /// Whether the answer, or the error, is true and can be lived with.
    pub(super) async fn judge(&mut self, answer: Result<E::Answer, Error>, bytes: u64) -> Verdict {
        let judging = self.exchange.judge(answer, &self.near, &self.other, bytes);
        in_time("what follows", judging).await?
    }

    /// What is true after all calls.
    pub(super) async fn end(&mut self) -> Verdict {
        in_time("the end", self.exchange.end(&self.near, &self.other)).await?
    }
}

async fn handle(remote: &dyn Remote, store: &str, port: u16) -> Result<Handle, Failure> {
    Ok(Handle::new(remote.open_by(store, port).await?, 1))
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

pub(super) async fn in_time<T>(what: &str, call: impl Future<Output = T>) -> Result<T, Failure> {
    let late = |_| Failure::new(format!("no end within {HANG:?}: {what}"));
    tokio::time::timeout(HANG, call).await.map_err(late)
}
