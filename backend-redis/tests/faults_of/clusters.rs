//! A Cluster's nodes, and URLs that take them or one server for the other.

use anyqueue_conformance_tests::faults::servers::RedisCluster;
use anyqueue_core::{Backend, ErrorKind, NewJob, QueueName};
use anyqueue_redis::RedisBackend;

use super::{job, open, refusal};
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
