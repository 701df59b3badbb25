//! The cases, one table an area.

mod claim;
mod enqueue;
mod fencing;
mod heartbeat;
mod lease;
mod order;
mod prepare;
mod settle;

use crate::case::Case;

/// Every case, in the order of a job's life.
pub(crate) fn all() -> Vec<Case> {
    let areas = [
        prepare::cases(),
        enqueue::cases(),
        claim::cases(),
        order::cases(),
        lease::cases(),
        heartbeat::cases(),
        fencing::cases(),
        settle::cases(),
    ];
    areas.into_iter().flatten().collect()
}
