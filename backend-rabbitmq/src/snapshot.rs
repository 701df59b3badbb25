//! Snapshots.

use anyqueue_core::ErrorKind;
use lapin::Connection;

use crate::error::Failure;
use crate::fold::Fold;
use crate::shared::Shared;
use crate::wire::Head;

pub(crate) async fn run(_connection: &Connection, _shared: &Shared) -> Result<(), Failure> {
    std::future::pending().await
}

pub(crate) async fn load(_connection: &Connection, _head: &Head) -> Result<Fold, Failure> {
    Err(Failure::new(ErrorKind::Corrupt, "unknown"))
}
