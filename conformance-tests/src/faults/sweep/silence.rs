//! [`silence`]: connections that stay open and say nothing any more.

use std::sync::Arc;

use futures::future::{LocalBoxFuture, try_join_all};

use super::exchanges::{Claim, Enqueue, Exchange, Settle};
use super::stage::Stage;
use super::{Remote, Start};
use crate::asserts::{Failure, Verdict, holds};
use crate::faults::{Flow, Way};
use crate::store::fresh_name;

/// Has the bytes of one way lost in the middle of an enqueue, a claim and a
/// settle, while the connection stays open: what is left when a host loses its
/// power, or a firewall forgets a connection. Nothing tells the client, and the
/// call must end with a transient error all the same, within a minute; then all
/// is as after a [cut](super::every_byte).
///
/// # Errors
/// The first breach, in words.
pub async fn silence(remote: Arc<dyn Remote>) -> Result<(), String> {
    let mut calls: Vec<LocalBoxFuture<'_, _>> = Vec::new();
    for way in Way::BOTH {
        let remote = &*remote;
        calls.push(Box::pin(silent::<Enqueue>(remote, way)));
        calls.push(Box::pin(silent::<Claim>(remote, way)));
        calls.push(Box::pin(silent::<Settle>(remote, way)));
    }
    try_join_all(calls).await.map(drop)
}

async fn silent<E: Exchange>(remote: &dyn Remote, way: Way) -> Result<(), String> {
    let store = fresh_name();
    let done = silent_in::<E>(remote, &store, way).await;
    remote.remove(&store).await;
    done.map_err(|failure| format!("{} with silence {way:?}: {failure}", E::NAME))
}

async fn silent_in<E: Exchange>(remote: &dyn Remote, store: &str, way: Way) -> Verdict {
    let mut stage = Stage::<E>::set(remote, store).await?;
    stage.ready(Start::Warm).await?;
    stage.proxy.flow(way, Flow::Swallow);
    let answered = stage.call().await?;
    // Only now: it cuts the connections that lost bytes.
    stage.proxy.pass();
    let Err(error) = &answered else {
        return Err(Failure::new("a call was answered by nobody"));
    };
    let text = format!("silence is an error that passes: {error}");
    holds(&text, error.kind().is_transient())?;
    stage.judge(answered, 1).await?;
    stage.warm().await?;
    stage.end().await
}
