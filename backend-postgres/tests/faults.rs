//! The server is killed, and connections are cut, in the middle of the work.

mod common;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyqueue_conformance_tests::faults::servers::Postgres;
use anyqueue_conformance_tests::faults::{Flow, Proxy, Way};
use anyqueue_core::{
    Backend, ClaimedJob, Error, ErrorKind, JobId, NewJob, Settled, State, Timestamp,
};
use anyqueue_postgres::sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, query_scalar, raw_sql,
};
use anyqueue_postgres::{PostgresBackend, PostgresConfig};
use common::{Place, claim, complete, counts, created, jobs, request};

const KILLS: usize = 20;
const LEASE: Duration = Duration::from_secs(2);

/// What the application knows.
#[derive(Default)]
struct Known {
    acknowledged: Mutex<HashSet<JobId>>,
    /// Each job's claims, as they were answered.
    claims: Mutex<HashMap<JobId, Vec<(u64, Timestamp)>>>,
    /// Which token's completion was accepted.
    completed: Mutex<HashMap<JobId, u64>>,
    lost_answers: AtomicUsize,
    stop: AtomicBool,
}

impl Known {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Only what a lost server explains.
    fn failed(&self, error: &Error) {
        assert!(error.kind().is_transient(), "{error}");
        if error.kind() == ErrorKind::Unknown {
            self.lost_answers.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Makes a call again until it is answered.
macro_rules! repeat {
    ($known:expr, $call:expr) => {
        loop {
            match $call.await {
                Ok(answer) => break answer,
                Err(error) => $known.failed(&error),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
}

async fn enqueue(backend: PostgresBackend, known: Arc<Known>) {
    while !known.stopped() {
        let new: Vec<NewJob> = jobs(10);
        let answers = repeat!(known, backend.enqueue(&new));
        assert_eq!(answers, created(&new));
        known
            .acknowledged
            .lock()
            .unwrap()
            .extend(new.iter().map(|job| job.id));
    }
}

async fn work(backend: PostgresBackend, known: Arc<Known>) {
    let mut idle = 0;
    while idle < 3 {
        let claimed = match backend.claim(&request(20, LEASE)).await {
            Ok(claimed) => claimed,
            Err(error) => {
                known.failed(&error);
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        if claimed.is_empty() {
            // Claims whose answers were lost hold their jobs until the lease ends.
            idle += usize::from(known.stopped());
            tokio::time::sleep(LEASE / 2 + Duration::from_millis(200)).await;
            continue;
        }
        idle = 0;
        note_claims(&known, &claimed);
        let batch = complete(&claimed);
        let answers = repeat!(known, backend.settle(&batch));
        let mut completed = known.completed.lock().unwrap();
        for (job, answer) in claimed.iter().zip(answers) {
            if answer == Settled::Accepted {
                let before = completed.insert(job.token.id, job.token.counter);
                assert_eq!(before, None, "completed twice");
            }
        }
    }
}

/// No two leases of a job overlap, on the server's clock.
fn note_claims(known: &Known, claimed: &[ClaimedJob]) {
    let mut claims = known.claims.lock().unwrap();
    for job in claimed {
        let of_job = claims.entry(job.token.id).or_default();
        let begun = job.lease_until.before(LEASE);
        for (counter, until) in of_job.iter() {
            assert!(job.token.counter != *counter, "one token twice");
            assert!(begun >= *until, "held twice: {begun:?} before {until:?}");
        }
        of_job.push((job.token.counter, job.lease_until));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_kills_of_the_server_lose_and_double_nothing() {
    let mut server = Postgres::new().unwrap();
    server.start().await.unwrap();
    let open = || PostgresBackend::open(PostgresConfig::from_url(&server.url()).unwrap());
    let (first, second) = (open(), open());
    first.prepare().await.unwrap();
    let known = Arc::new(Known::default());
    let enqueuers: Vec<_> = [&first, &second]
        .map(|backend| tokio::spawn(enqueue(backend.clone(), Arc::clone(&known))))
        .into();
    let workers: Vec<_> = [&first, &second, &second]
        .map(|backend| tokio::spawn(work(backend.clone(), Arc::clone(&known))))
        .into();
    for _ in 0..KILLS {
        // Something was done since the last kill.
        let before = known.completed.lock().unwrap().len();
        let progress = async {
            while known.completed.lock().unwrap().len() < before + 50 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let progress = tokio::time::timeout(common::HANG, progress).await;
        progress.expect("the work goes on after a restart");
        server.kill();
        server.start().await.unwrap();
    }
    known.stop.store(true, Ordering::SeqCst);
    for task in enqueuers.into_iter().chain(workers) {
        task.await.expect("no task panics");
    }
    let acknowledged = known.acknowledged.lock().unwrap().clone();
    let found = counts(&first).await;
    assert_eq!(
        found.total(),
        acknowledged.len() as u64,
        "none lost, none doubled"
    );
    assert_eq!(found.get(State::Completed), found.total());
    let ids: Vec<JobId> = acknowledged.into_iter().collect();
    for ids in ids.chunks(500) {
        for (id, record) in ids.iter().zip(first.get(ids).await.unwrap()) {
            let record = record.unwrap_or_else(|| panic!("{id} is lost"));
            assert_eq!(record.state, State::Completed);
            let accepted = known.completed.lock().unwrap().get(id).copied();
            assert_eq!(
                accepted,
                Some(record.counter),
                "the token that completed it"
            );
        }
    }
    assert!(
        known.lost_answers.load(Ordering::SeqCst) > 0,
        "no kill hit a call"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_unknown_and_a_repetition_makes_no_second_job() {
    let mut server = Postgres::new().unwrap();
    server.start().await.unwrap();
    let proxy = Proxy::to(server.port()).await.unwrap();
    let url = format!(
        "postgres://anyqueue@127.0.0.1:{}/postgres?sslmode=disable&pool=1",
        proxy.port()
    );
    let backend = PostgresBackend::connect(&url).unwrap();
    backend.prepare().await.unwrap();
    let old = jobs(1);
    backend.enqueue(&old).await.unwrap();
    let other = PostgresBackend::connect(&server.url()).unwrap();
    let rest = claim(&*backend, 9).await;
    let settled = complete(&rest);
    backend.settle(&settled).await.unwrap();

    let new = jobs(3);
    lost(
        &proxy,
        async || backend.enqueue(&old).await.map(drop),
        async || backend.enqueue(&new).await.map(drop),
        async || counts(&*other).await.get(State::Ready) == 3,
    )
    .await;
    assert_eq!(backend.enqueue(&new).await.unwrap(), created(&new));
    assert_eq!(counts(&*other).await.total(), 4);

    let claimed = claim(&*backend, 9).await;
    assert_eq!(claimed.len(), 3);
    let batch = complete(&claimed);
    lost(
        &proxy,
        async || backend.settle(&settled).await.map(drop),
        async || backend.settle(&batch).await.map(drop),
        async || counts(&*other).await.get(State::Completed) == 4,
    )
    .await;
    let answers = backend.settle(&batch).await.unwrap();
    assert_eq!(answers, [Settled::Accepted; 3]);
    assert_eq!(counts(&*other).await.get(State::Completed), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terminated_connections_cost_calls_and_no_jobs() {
    let mut server = Postgres::new().unwrap();
    server.start().await.unwrap();
    let backend = PostgresBackend::connect(&server.url()).unwrap();
    backend.prepare().await.unwrap();
    let connect = PostgresConfig::from_url(&server.url()).unwrap().connect;
    let stop = Arc::new(AtomicBool::new(false));
    let cutting = {
        let stop = Arc::clone(&stop);
        tokio::spawn(async move {
            let mut conn = PgConnection::connect_with(&connect).await.unwrap();
            let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                       WHERE application_name = 'anyqueue' AND pid <> pg_backend_pid()";
            while !stop.load(Ordering::SeqCst) {
                raw_sql(cut).execute(&mut conn).await.unwrap();
                tokio::time::sleep(Duration::from_millis(7)).await;
            }
        })
    };
    let known = Known::default();
    let (mut all, mut failed) = (Vec::new(), 0);
    while failed < 40 {
        let new = jobs(5);
        loop {
            match backend.enqueue(&new).await {
                Ok(answers) => break assert_eq!(answers, created(&new)),
                Err(error) => {
                    known.failed(&error);
                    failed += 1;
                }
            }
        }
        all.extend(new);
    }
    stop.store(true, Ordering::SeqCst);
    cutting.await.unwrap();
    let found = repeat!(known, backend.counts());
    assert_eq!(found[0].counts.get(State::Ready), all.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_hears_nothing_is_replaced() {
    let mut server = Postgres::new().unwrap();
    server.start().await.unwrap();
    let proxy = Proxy::to(server.port()).await.unwrap();
    let backend = PostgresBackend::connect(&proxy.url(&server.url())).unwrap();
    backend.prepare().await.unwrap();
    let connect = PostgresConfig::from_url(&server.url()).unwrap().connect;
    let mut conn = PgConnection::connect_with(&connect).await.unwrap();
    let listening = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN %'";
    // The first wait has it listen; from then on no call is made.
    backend
        .wait_for_change(&[jobs(1)[0].id], Duration::from_millis(1))
        .await
        .unwrap();
    let listens = async {
        while query_scalar::<_, i64>(listening)
            .fetch_one(&mut conn)
            .await
            .unwrap()
            == 0
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(common::HANG, listens)
        .await
        .expect("it listens");
    let before = proxy.accepted();
    for way in Way::BOTH {
        proxy.flow(way, Flow::Swallow);
    }
    let replaced = async {
        while proxy.accepted() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(common::HANG, replaced)
        .await
        .expect("it is missed");
}

/// As after a failover, where the address leads to another server now.
#[tokio::test]
async fn a_connection_to_a_read_only_server_is_given_up() {
    let mut server = Postgres::new().unwrap();
    server.start().await.unwrap();
    let mut config = PostgresConfig::from_url(&server.url()).unwrap();
    let prepared = PostgresBackend::open(config.clone());
    prepared.prepare().await.unwrap();
    let mut conn = PgConnection::connect_with(&config.connect).await.unwrap();
    // Of connections made from now on.
    raw_sql("ALTER DATABASE postgres SET default_transaction_read_only = on")
        .execute(&mut conn)
        .await
        .unwrap();
    config.pool = 1;
    let backend = PostgresBackend::open(config);
    let error = backend.enqueue(&jobs(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("primary"), "{error}");
    raw_sql("ALTER DATABASE postgres RESET default_transaction_read_only")
        .execute(&mut conn)
        .await
        .unwrap();
    backend.enqueue(&jobs(1)).await.unwrap();
}

/// As after a failover to a standby that had not got everything yet.
#[tokio::test]
async fn a_claim_that_the_server_no_longer_knows_is_made_again() {
    let mut place = Place::new();
    let mut conn = place.connection().await;
    let name = place.config.schema.name().to_owned();
    place.config.connect = place.config.connect.clone().application_name(&name);
    let backend = place.store().await;
    backend.enqueue(&jobs(1)).await.unwrap();
    let lost = claim(&backend, 1).await;
    common::let_others_through(&backend).await;
    let back = "UPDATE {s}.live SET state = 1, attempt = 0, counter = 0, worker = NULL,
                    claimed_at = NULL, lease_until = NULL, look_at = NULL;
                DELETE FROM {s}.held;
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE application_name = '{s}'";
    let back = back.replace("{s}", &name);
    raw_sql(AssertSqlSafe(back))
        .execute(&mut conn)
        .await
        .unwrap();
    let found = async {
        loop {
            match backend.claim(&request(1, LEASE)).await {
                Ok(claimed) if claimed.is_empty() => {}
                Ok(claimed) => break claimed,
                Err(error) => assert!(error.kind().is_transient(), "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(common::HANG, found).await;
    let found = found.expect("the job is found again");
    assert_eq!(found[0].token.id, lost[0].token.id);
}

/// Makes a call whose answer is lost, until one was that took effect all the
/// same. Each time a repetition of an earlier call comes first: it opens a
/// connection and prepares the statement, so that the call is one round trip
/// (unless something else took that connection in between).
async fn lost(
    proxy: &Proxy,
    earlier: impl AsyncFn() -> Result<(), Error>,
    call: impl AsyncFn() -> Result<(), Error>,
    happened: impl AsyncFn() -> bool,
) {
    let losing = async {
        loop {
            while let Err(error) = earlier().await {
                assert!(error.kind().is_transient(), "{error}");
            }
            proxy.flow(Way::ToClient, Flow::Cut);
            let error = call().await.expect_err("the answer is lost");
            proxy.flow(Way::ToClient, Flow::Pass);
            if happened().await {
                break assert_eq!(error.kind(), ErrorKind::Unknown, "{error}");
            }
            assert!(error.kind().is_transient(), "{error}");
        }
    };
    tokio::time::timeout(common::HANG, losing)
        .await
        .expect("a call takes effect without its answer");
}
