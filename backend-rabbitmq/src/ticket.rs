//! Tickets.

use lapin::Connection;

use crate::error::Failure;
use crate::shared::Shared;

pub(crate) async fn run(_connection: &Connection, _shared: &Shared) -> Result<(), Failure> {
    std::future::pending().await
}
