//! Many processes' worth of pools on one store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use anyqueue_core::{Backend as _, ClaimRequest, JobId, Settled, State, WorkerId};
use anyqueue_sqlserver::SqlServerBackend;

use crate::common::{Place, complete, count, counts, created, jobs, request, tests};

tests! {
    many_claimers_of_many_pools_hold_nothing_twice
    many_prepare_at_once
}

const JOBS: usize = 3_000;
const PROCESSES: usize = 4;
const CLAIMERS: usize = 4;

/// Who was given which job, by its counters.
type Given = Arc<Mutex<HashMap<JobId, Vec<u64>>>>;

async fn work(backend: SqlServerBackend, worker: String, given: Given) {
    let request = ClaimRequest {
        worker: WorkerId::new(worker).unwrap(),
        ..request(25, crate::common::LONG)
    };
    loop {
        let claimed = backend.claim(&request).await.unwrap();
        for job in &claimed {
            let mut given = given.lock().unwrap();
            given
                .entry(job.token.id)
                .or_default()
                .push(job.token.counter);
        }
        if claimed.is_empty() {
            // Others may have taken all that it saw.
            if count(&backend, State::Ready).await == 0 {
                return;
            }
            continue;
        }
        let answers = backend.settle(&complete(&claimed)).await.unwrap();
        assert!(answers.iter().all(|answer| *answer == Settled::Accepted));
    }
}

async fn many_claimers_of_many_pools_hold_nothing_twice() {
    let place = Place::new();
    let first = place.store().await;
    let new = jobs(JOBS);
    assert_eq!(first.enqueue(&new).await.unwrap(), created(&new));
    let given = Given::default();
    let mut tasks = Vec::new();
    for process in 0..PROCESSES {
        let backend = SqlServerBackend::open(place.config.clone());
        for claimer in 0..CLAIMERS {
            let (backend, given) = (backend.clone(), Arc::clone(&given));
            tasks.push(tokio::spawn(work(
                backend,
                format!("{process}-{claimer}"),
                given,
            )));
        }
    }
    for task in tasks {
        task.await.expect("no claimer fails");
    }
    let given = std::mem::take(&mut *given.lock().unwrap());
    let twice = given.values().filter(|counters| counters.len() > 1).count();
    assert_eq!((given.len(), twice), (JOBS, 0), "all given, none twice");
    let ended = counts(&first).await;
    assert_eq!(
        (ended.get(State::Completed), ended.total()),
        (JOBS as u64, JOBS as u64)
    );
}

async fn many_prepare_at_once() {
    let place = Place::new();
    let handles = (0..6).map(|_| SqlServerBackend::open(place.config.clone()));
    let handles: Vec<_> = handles.collect();
    let all = handles.iter().map(|handle| handle.prepare());
    futures::future::try_join_all(all).await.unwrap();
    let new = jobs(2);
    assert_eq!(handles[5].enqueue(&new).await.unwrap(), created(&new));
    assert_eq!(count(&handles[0], State::Ready).await, 2);
}
