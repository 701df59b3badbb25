//! The cases, one table an area.

mod cancel;
mod claim;
mod concurrency;
mod counts;
mod data;
mod drops;
mod enqueue;
mod fencing;
mod heartbeat;
mod late;
mod lease;
mod list;
mod model;
mod names;
mod order;
mod pause;
mod prepare;
mod progress;
mod purge;
mod retry;
mod schedule;
mod settle;
mod unique;
mod visibility;
mod wait;

use crate::case::Case;

/// Every case, in the order of a job's life.
pub(crate) fn all() -> Vec<Case> {
    let areas = [
        prepare::cases(),
        enqueue::cases(),
        schedule::cases(),
        claim::cases(),
        order::cases(),
        lease::cases(),
        heartbeat::cases(),
        fencing::cases(),
        settle::cases(),
        progress::cases(),
        cancel::cases(),
        retry::cases(),
        unique::cases(),
        list::cases(),
        counts::cases(),
        purge::cases(),
        pause::cases(),
        data::cases(),
        names::cases(),
        wait::cases(),
        visibility::cases(),
        drops::cases(),
        late::cases(),
        concurrency::cases(),
        model::cases(),
    ];
    areas.into_iter().flatten().collect()
}
