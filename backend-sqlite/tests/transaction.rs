//! Enqueue inside the application's own transaction.

mod common;

use anyqueue_core::{
    Backend, Enqueued, ErrorKind, QueueName, State, Unique, UniqueKey, UniquePolicy, WaitRequest,
    WorkerId,
};
use anyqueue_sqlite::enqueue_in;
use anyqueue_sqlite::rusqlite::{Connection, TransactionBehavior};
use common::{Directory, HANG, LONG, claim, complete, count, created, jobs, store};

fn application(directory: &Directory) -> Connection {
    let conn = Connection::open(directory.file()).unwrap();
    conn.execute_batch("CREATE TABLE IF NOT EXISTS orders (number INTEGER)")
        .unwrap();
    conn
}

fn orders(conn: &Connection) -> i64 {
    let count = conn.query_row("SELECT count(*) FROM orders", [], |row| row.get(0));
    count.unwrap()
}

#[tokio::test]
async fn jobs_are_there_when_the_transaction_commits() {
    let directory = Directory::new();
    let backend = store(&directory.file()).await;
    let mut conn = application(&directory);
    let tx = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .unwrap();
    tx.execute("INSERT INTO orders VALUES (1)", []).unwrap();
    let new = jobs(3);
    assert_eq!(enqueue_in(&tx, &new).unwrap(), created(&new));
    assert_eq!(count(&backend, State::Ready).await, 0, "not committed yet");
    tx.commit().unwrap();
    assert_eq!(count(&backend, State::Ready).await, 3);
    let claimed = claim(&backend, 9, LONG).await;
    let ids: Vec<_> = claimed.iter().map(|job| job.token.id).collect();
    assert_eq!(ids, new.iter().map(|job| job.id).collect::<Vec<_>>());
    backend.settle(&complete(&claimed)).await.unwrap();
    assert_eq!(count(&backend, State::Completed).await, 3);
    assert_eq!(orders(&conn), 1);
}

#[tokio::test]
async fn jobs_never_were_when_it_rolls_back() {
    let directory = Directory::new();
    let backend = store(&directory.file()).await;
    let mut conn = application(&directory);
    let mut new = jobs(2);
    new[0].queue = QueueName::new("elsewhere").unwrap();
    let key = UniqueKey::new("nightly").unwrap();
    let policy = UniquePolicy::WhileUnfinished;
    new[1].unique = Some(Unique { key, policy });
    let tx = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .unwrap();
    tx.execute("INSERT INTO orders VALUES (1)", []).unwrap();
    assert_eq!(enqueue_in(&tx, &new).unwrap(), created(&new));
    tx.rollback().unwrap();
    assert_eq!(orders(&conn), 0);
    assert!(backend.counts().await.unwrap().is_empty());
    assert!(backend.queues().await.unwrap().is_empty());
    let found = backend.get(&[new[0].id, new[1].id]).await.unwrap();
    assert_eq!(found, [None, None]);
    // The key is free, and the ids are not known.
    assert_eq!(backend.enqueue(&new).await.unwrap(), created(&new));
}

#[tokio::test]
async fn the_contract_of_enqueue_holds_inside_a_transaction() {
    let directory = Directory::new();
    let backend = store(&directory.file()).await;
    let mut conn = application(&directory);
    let mut new = jobs(2);
    for job in &mut new {
        let key = UniqueKey::new("nightly").unwrap();
        let policy = UniquePolicy::WhileUnfinished;
        job.unique = Some(Unique { key, policy });
    }
    let tx = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .unwrap();
    let first = Enqueued::Created(new[0].id);
    let second = Enqueued::Existing(new[0].id);
    assert_eq!(enqueue_in(&tx, &new).unwrap(), [first, second]);
    assert_eq!(enqueue_in(&tx, &new[..1]).unwrap(), [first], "a repeat");
    assert_eq!(enqueue_in(&tx, &[]).unwrap(), []);
    tx.commit().unwrap();
    assert_eq!(count(&backend, State::Ready).await, 1);
}

#[tokio::test]
async fn the_commit_wakes_who_waits_for_work() {
    let directory = Directory::new();
    let backend = store(&directory.file()).await;
    let mut conn = application(&directory);
    let request = WaitRequest {
        queues: vec![QueueName::default()],
        timeout: HANG * 2,
        worker: WorkerId::random(),
    };
    let waiting = {
        let backend = backend.clone();
        tokio::spawn(async move { backend.wait_for_work(&request).await })
    };
    let tx = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .unwrap();
    enqueue_in(&tx, &jobs(1)).unwrap();
    tx.commit().unwrap();
    let woken = tokio::time::timeout(HANG, waiting).await;
    woken
        .expect("woken before the wait's own end")
        .unwrap()
        .unwrap();
}

#[test]
fn a_file_without_the_tables_is_refused_and_the_transaction_goes_on() {
    let directory = Directory::new();
    let mut conn = application(&directory);
    let tx = conn
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .unwrap();
    tx.execute("INSERT INTO orders VALUES (1)", []).unwrap();
    let error = enqueue_in(&tx, &jobs(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("call `prepare`"), "{error}");
    tx.commit().unwrap();
    assert_eq!(orders(&conn), 1);
}
