//! Large payloads do not make transactions large.

mod common;

use anyqueue_core::{Backend, JobId, MaintainLimits, NewJob, Payload, Retention, State};
use common::{Directory, LONG, claim, count, jobs, store};

const MIB: usize = 1024 * 1024;

fn large(count: usize) -> Vec<NewJob> {
    let payload = Payload::parse(format!("\"{}\"", "x".repeat(MIB - 2)), MIB).unwrap();
    let mut jobs = jobs(count);
    for job in &mut jobs {
        job.payload = payload.clone();
    }
    jobs
}

#[tokio::test]
async fn a_claim_stops_short_of_its_limit_and_the_next_goes_on() {
    let directory = Directory::new();
    let backend = store(&directory.file()).await;
    backend.enqueue(&large(70)).await.unwrap();
    assert_eq!(claim(&backend, 100, LONG).await.len(), 64);
    assert_eq!(claim(&backend, 100, LONG).await.len(), 6);
}

#[tokio::test]
async fn a_purge_stops_early_and_says_that_there_is_more() {
    let directory = Directory::new();
    let backend = store(&directory.file()).await;
    let new = large(20);
    backend.enqueue(&new).await.unwrap();
    let ids: Vec<JobId> = new.iter().map(|job| job.id).collect();
    backend.cancel(&ids).await.unwrap();
    let limits = MaintainLimits {
        retention: Retention::all(std::time::Duration::ZERO),
        ..MaintainLimits::default()
    };
    let mut purges = Vec::new();
    loop {
        let done = backend.maintain(&limits).await.unwrap();
        purges.push(done.purged);
        if !done.more {
            break;
        }
    }
    assert_eq!(purges, [8, 8, 4]);
    assert_eq!(count(&backend, State::Cancelled).await, 0);
}
