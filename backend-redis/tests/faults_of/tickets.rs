//! Tickets: between `BLMOVE` and claim.

use std::time::Duration;

use anyqueue_core::{Backend, Settled};
use anyqueue_redis::redis::{Value, from_redis_value};

use super::{claim, complete, job, open, until, wait};
use crate::common::{Server, command};

/// The child: waits for work, and dies the moment it is told of some, with
/// the ticket in its inbox.
pub(crate) async fn die_with_a_ticket(url: &str) {
    let a = open(url).await;
    a.wait_for_work(&wait(Duration::from_secs(600)))
        .await
        .expect("a wait");
    // The end of a process that is killed: nothing is run down.
    std::process::abort();
}

fn keys(server: &Server, pattern: &str) -> Vec<String> {
    from_redis_value(command(server, &["KEYS", pattern])).expect("keys")
}

fn is_blocked(server: &Server) -> bool {
    let clients: String = from_redis_value(command(server, &["CLIENT", "LIST"])).expect("a text");
    clients.contains("cmd=blmove")
}

pub(crate) async fn a_worker_killed_with_a_ticket_loses_no_job() {
    let server = Server::start(&[]).await.expect("a server");
    let url = server.url();
    let b = open(&url).await;
    let mut child = crate::child("die-with-a-ticket", &url)
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("a child");
    until("the child waits", async || is_blocked(&server)).await;
    let id = b.enqueue(&[job()]).await.expect("an enqueue")[0].id();
    child.wait().expect("the child has died");
    let inboxes = keys(&server, "anyqueue:*:i:*");
    assert_eq!(inboxes.len(), 1, "the ticket is in the dead one's inbox");
    // The ticket is gone, the job is not: whoever looks finds it, at once here
    // and within core's second where someone waits.
    b.wait_for_work(&wait(Duration::from_secs(600)))
        .await
        .expect("a wait");
    let claimed = claim(&b, 1, Duration::from_secs(60)).await;
    assert_eq!(claimed[0].token.id, id);
    assert_eq!(
        b.settle(&[complete(claimed[0].token)])
            .await
            .expect("a settle"),
        [Settled::Accepted]
    );
    // And the ticket comes back into use, once the dead one was silent long
    // enough for someone who listens.
    let request = wait(Duration::from_secs(600));
    let waiting = tokio::spawn(async move { b.wait_for_work(&request).await });
    until("the dead one's inbox is emptied", async || {
        !keys(&server, "anyqueue:*:i:*").contains(&inboxes[0])
    })
    .await;
    waiting.await.expect("no panic").expect("a wait");
}

pub(crate) async fn wake_lists_and_inboxes_stay_short() {
    let server = Server::start(&["--appendfsync", "no"])
        .await
        .expect("a server");
    let a = open(&server.url()).await;
    for round in 0..200_u32 {
        let jobs: Vec<_> = (0..10).map(|_| job()).collect();
        a.enqueue(&jobs).await.expect("an enqueue");
        let _ = tokio::time::timeout(
            Duration::from_millis(u64::from(round % 3)),
            a.wait_for_work(&wait(Duration::from_secs(1))),
        )
        .await;
        if round % 2 == 0 {
            claim(&a, 3, Duration::from_secs(60)).await;
        }
        for key in keys(&server, "anyqueue:*:[wi]:*") {
            let length = command(&server, &["LLEN", &key]);
            assert!(matches!(length, Value::Int(0..=2)), "{key}: {length:?}");
        }
    }
}
