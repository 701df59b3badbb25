//! What happens with time alone: leases end, jobs become due, finished jobs
//! are purged, unique keys are freed.

use anyqueue_core::{MaintainLimits, Maintained};

use crate::connection::{int, list, unexpected};
use crate::error::Failure;
use crate::script::MAINTAIN;
use crate::store::{Shard, Store};
use crate::wire::micros;

/// How many jobs one script touches in each chore.
const SHARE: u64 = 500;

/// Does a share of the chores; the law is
/// [`Backend::maintain`](anyqueue_core::Backend). Shard by shard, starting
/// with another one each time, in scripts of at most [`SHARE`] jobs a chore.
pub(crate) async fn maintain(
    store: &Store,
    limits: &MaintainLimits,
) -> Result<Maintained, Failure> {
    store.register_used().await?;
    let mut shards = store.shards().await?;
    if !shards.is_empty() {
        let first = fastrand::usize(..shards.len());
        shards.rotate_left(first);
    }
    let bound = u64::from(limits.jobs);
    // Expired, promoted, purged, keys freed.
    let mut left = [bound; 4];
    let mut more = false;
    for shard in shards {
        loop {
            let share = left.map(|left| left.min(SHARE));
            let (did, stale) = part(store, shard, share, limits).await?;
            let full = (0..4).any(|chore| share[chore] > 0 && did[chore] == share[chore]);
            for (left, did) in left.iter_mut().zip(did) {
                *left = left.saturating_sub(did);
            }
            let moved = did.iter().any(|did| *did > 0) || stale;
            if !(full || stale) || !moved || left == [0; 4] {
                break;
            }
        }
        more = left.contains(&0);
        if left == [0; 4] {
            break;
        }
    }
    Ok(Maintained {
        expired: bound - left[0],
        promoted: bound - left[1],
        purged: bound - left[2],
        more,
    })
}

async fn part(
    store: &Store,
    shard: Shard,
    share: [u64; 4],
    limits: &MaintainLimits,
) -> Result<([u64; 4], bool), Failure> {
    let kept = limits.retention;
    let spans = [kept.completed, kept.failed, kept.cancelled].map(micros);
    let arguments: Vec<String> = share.iter().chain(&spans).map(u64::to_string).collect();
    let arguments: Vec<&[u8]> = arguments.iter().map(|text| text.as_bytes()).collect();
    let answer = list(store.run(shard, &MAINTAIN, &arguments).await?)?;
    let numbers = answer.iter().map(int).collect::<Result<Vec<_>, _>>()?;
    match numbers[..] {
        [expired, promoted, purged, freed, stale] => {
            let did = [expired, promoted, purged, freed];
            Ok((did.map(|did| u64::try_from(did).unwrap_or(0)), stale != 0))
        }
        _ => Err(unexpected()),
    }
}
