//! A Cluster's nodes, and URLs that take them or one server for the other.

use anyqueue_conformance_tests::faults::servers::RedisCluster;
use anyqueue_core::{
    Backend, ClaimRequest, Error, ErrorKind, MaintainLimits, NewJob, QueueName, Settled, State,
    WorkerId,
};
use anyqueue_redis::RedisBackend;

use super::{LONG, claim, complete, job, open, queue, refusal};
use crate::common::Server;

/// Jobs of so many queues that no node has the slots of all.
fn jobs_of_many_queues() -> Vec<NewJob> {
    let of_queue = |number| {
        let queue = QueueName::new(format!("q{number}")).expect("a name");
        let NewJob { kind, payload, .. } = job();
        NewJob::new(queue, kind, payload)
    };
    (0..64).map(of_queue).collect()
}

/// The URL for one server of each node.
fn single(cluster: &RedisCluster) -> Vec<String> {
    let url = cluster.url();
    let (_, nodes) = url.split_once("://").expect("a URL");
    nodes
        .split(',')
        .map(|node| format!("redis://{node}"))
        .collect()
}

pub(crate) async fn a_node_by_a_url_for_one_server_is_refused() {
    let cluster = RedisCluster::start().await.expect("a Cluster");
    for url in single(&cluster) {
        // By every node: also by the one that has the slot of the version.
        let (kind, text) = refusal(&url).await;
        assert_eq!(kind, ErrorKind::InvalidInput, "{text}");
        assert!(text.contains("`redis-cluster:`"), "{text}");
        // Who did not prepare is told by each job that belongs elsewhere.
        let backend = RedisBackend::connect(&url).expect("a URL");
        let mut refused = 0;
        for job in jobs_of_many_queues() {
            let Err(error) = backend.enqueue(&[job]).await else {
                continue;
            };
            refused += 1;
            assert!(error.to_string().contains("`redis-cluster:`"), "{error}");
        }
        assert!(refused > 0, "no node has all slots");
    }
}

pub(crate) async fn one_server_by_a_url_for_a_cluster_is_refused() {
    let server = Server::start(&[]).await.expect("a server");
    let url = format!("redis-cluster://127.0.0.1:{}", server.port());
    let (kind, text) = refusal(&url).await;
    assert_eq!(kind, ErrorKind::InvalidInput, "{text}");
    assert!(text.contains("`redis:`"), "{text}");
}

pub(crate) async fn any_one_node_leads_to_all() {
    let cluster = RedisCluster::start().await.expect("a Cluster");
    let jobs = jobs_of_many_queues();
    for (at, url) in single(&cluster).into_iter().enumerate() {
        let url = url.replace("redis:", "redis-cluster:");
        let backend = open(&format!("{url}?prefix=by{at}:")).await;
        let answers = backend.enqueue(&jobs).await.expect("an enqueue");
        assert_eq!(answers.len(), jobs.len());
        assert_eq!(backend.counts().await.expect("counts").len(), jobs.len());
    }
}

/// The list of shards was on a node that failed, whose replica lacked the latest.
pub(crate) async fn a_forgotten_shard_is_known_again() {
    let cluster = RedisCluster::start().await.expect("a Cluster");
    let backend = open(&cluster.url()).await;
    backend.enqueue(&[job()]).await.expect("an enqueue");
    cluster.forget("anyqueue:shards").expect("it is deleted");
    assert!(backend.counts().await.expect("counts").is_empty());
    // By any process that works on it.
    let worker = open(&cluster.url()).await;
    assert_eq!(claim(&worker, 1, LONG).await.len(), 1);
    worker
        .maintain(&MaintainLimits::default())
        .await
        .expect("chores");
    assert_eq!(backend.counts().await.expect("counts").len(), 1);
}

/// A server that has some keys of a script and not others would stop it midway.
pub(crate) async fn nothing_is_done_by_halves_while_a_slot_moves() {
    let cluster = RedisCluster::start().await.expect("a Cluster");
    let backend = open(&cluster.url()).await;
    let key = RedisBackend::hash_tag(&queue());
    let first: Vec<NewJob> = (0..50).map(|_| job()).collect();
    backend.enqueue(&first).await.expect("an enqueue");
    let mut acknowledged: Vec<_> = first.iter().map(|job| job.id).collect();
    let mut held = claim(&backend, 10, LONG).await;
    let request = ClaimRequest {
        queues: vec![queue()],
        limit: 1,
        lease: LONG,
        worker: WorkerId::new("worker").expect("a name"),
    };
    let refused = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    };
    let moved = cluster.move_slot(&key, async || {
        let one = [job()];
        let done = held.pop().map(|job| (complete(job.token), job));
        let done: Vec<_> = done.into_iter().collect();
        let settlements: Vec<_> = done
            .iter()
            .map(|(settlement, _)| settlement.clone())
            .collect();
        // Each is refused after some seconds.
        let (enqueued, claimed, settled) = tokio::join!(
            backend.enqueue(&one),
            backend.claim(&request),
            backend.settle(&settlements),
        );
        match enqueued {
            Ok(_) => acknowledged.push(one[0].id),
            Err(error) => refused(error),
        }
        match settled {
            Ok(settled) => assert!(settled.iter().all(|one| *one == Settled::Accepted)),
            Err(error) => {
                refused(error);
                held.extend(done.into_iter().map(|(_, job)| job));
            }
        }
        match claimed {
            Ok(claimed) => held.extend(claimed),
            Err(error) => refused(error),
        }
    });
    moved.await.expect("the slot moves");
    // Its new node is asked.
    held.extend(claim(&backend, 1_000, LONG).await);
    let settlements: Vec<_> = held.iter().map(|job| complete(job.token)).collect();
    let settled = backend.settle(&settlements).await.expect("answers");
    assert!(settled.iter().all(|settled| *settled == Settled::Accepted));
    let records = backend.get(&acknowledged).await.expect("records");
    for record in records {
        assert_eq!(record.expect("it is there").state, State::Completed);
    }
    let counts = backend.counts().await.expect("counts")[0].counts;
    assert_eq!(counts.total(), acknowledged.len() as u64);
    assert_eq!(counts.get(State::Completed), counts.total());
}
