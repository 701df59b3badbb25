//! Several processes on one file, and processes that are killed.

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyqueue_core::{Backend, JobId, Settled, State, WaitRequest};
use anyqueue_sqlite::SqliteBackend;
use anyqueue_sqlite::rusqlite::Connection;
use common::{Directory, HANG, LONG, claim, complete, count, counts, created, jobs, store};

/// Starts this test program as another process that does one of the jobs of
/// [`child`].
fn start(what: &str, file: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", "--nocapture", "child"])
        .env("ANYQUEUE_TEST_CHILD", what)
        .env("ANYQUEUE_TEST_FILE", file)
        .stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// The ids that a child printed, one a line.
fn ids(output: impl BufRead) -> Vec<JobId> {
    let lines = output.lines().map_while(Result::ok);
    lines
        .filter_map(|line| Some(line.strip_prefix("id ")?.parse::<JobId>().unwrap()))
        .collect()
}

#[tokio::test]
#[ignore = "a process that the other tests start"]
async fn child() {
    let file = std::env::var_os("ANYQUEUE_TEST_FILE").unwrap();
    let backend = store(Path::new(&file)).await;
    match std::env::var("ANYQUEUE_TEST_CHILD").unwrap().as_str() {
        "drain" => drain(&backend).await,
        "work" => work(&backend).await,
        other => panic!("no such child: {other}"),
    }
}

#[allow(clippy::print_stdout)] // The parent reads it.
fn tell(id: JobId) {
    println!("id {id}");
}

/// Takes and completes until nothing is left; tells what it completed.
async fn drain(backend: &SqliteBackend) {
    loop {
        let claimed = claim(backend, 7, LONG).await;
        if claimed.is_empty() {
            return;
        }
        let settled = backend.settle(&complete(&claimed)).await.unwrap();
        for (job, settled) in claimed.iter().zip(settled) {
            assert_eq!(settled, Settled::Accepted);
            tell(job.token.id);
        }
    }
}

/// Enqueues and completes for ever; tells of each acknowledged enqueue.
async fn work(backend: &SqliteBackend) {
    loop {
        let new = jobs(20);
        assert_eq!(backend.enqueue(&new).await.unwrap(), created(&new));
        new.iter().for_each(|job| tell(job.id));
        let claimed = claim(backend, 10, Duration::ZERO).await;
        backend.settle(&complete(&claimed)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_the_jobs_without_losing_or_doubling_one() {
    let directory = Directory::new();
    let backend = store(&directory.file()).await;
    let new = jobs(2_000);
    backend.enqueue(&new).await.unwrap();
    let children = ["drain"; 2].map(|what| start(what, &directory.file()));
    let mut done: Vec<JobId> = Vec::new();
    for mut child in children {
        done.extend(ids(BufReader::new(child.stdout.take().unwrap())));
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(done.len(), new.len(), "each job once");
    let done: BTreeSet<_> = done.into_iter().collect();
    assert_eq!(done, new.iter().map(|job| job.id).collect());
    assert_eq!(count(&backend, State::Completed).await, 2_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_s_enqueue_wakes_who_waits() {
    let directory = Directory::new();
    let backend = store(&directory.file()).await;
    let request = WaitRequest {
        queues: vec![jobs(1)[0].queue.clone()],
        timeout: HANG * 2,
        worker: anyqueue_core::WorkerId::random(),
    };
    let waiting = tokio::spawn({
        let backend = backend.clone();
        async move { backend.wait_for_work(&request).await }
    });
    let mut child = start("work", &directory.file());
    let woken = tokio::time::timeout(HANG, waiting).await;
    child.kill().unwrap();
    child.wait().unwrap();
    woken
        .expect("woken before the wait's own end")
        .unwrap()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_loses_nothing_that_was_acknowledged() {
    let directory = Directory::new();
    let mut acknowledged = 0;
    for round in 0..24 {
        let mut child = start("work", &directory.file());
        let mut output = BufReader::new(child.stdout.take().unwrap());
        // Each round ends at another place of the work.
        let mut told = Vec::new();
        while told.len() < 200 + 17 * round {
            let mut line = String::new();
            assert!(
                output.read_line(&mut line).unwrap() > 0,
                "the child goes on"
            );
            told.extend(ids(line.as_bytes()));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        told.extend(ids(output));
        acknowledged += told.len() as u64;

        let backend = store(&directory.file()).await;
        for ids in told.chunks(500) {
            let found = backend.get(ids).await.unwrap();
            assert!(
                found.iter().all(Option::is_some),
                "round {round}: none lost"
            );
        }
        assert!(counts(&backend).await.total() >= acknowledged);
    }
    // The counts that transactions kept are those of a recount, and the file
    // is whole.
    let backend = store(&directory.file()).await;
    let counted = counts(&backend).await;
    let conn = Connection::open(directory.file()).unwrap();
    for state in State::ALL {
        let recount = "SELECT count(*) FROM anyqueue_jobs WHERE state = ?1";
        let recount: u64 = conn
            .query_row(recount, [state.as_u8()], |row| row.get(0))
            .unwrap();
        assert_eq!(counted.get(state), recount, "{state}");
    }
    let check: String = conn
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(check, "ok");
    let bodies: u64 = conn
        .query_row("SELECT count(*) FROM anyqueue_bodies", [], |row| row.get(0))
        .unwrap();
    assert_eq!(bodies, counted.total());
}
