//! Calls beside calls, in an order that a test chooses: what one changes after
//! another has taken its snapshot and before that one takes its locks.

mod common;

use std::time::Duration;

use anyqueue_core::{
    Backend as _, Cancelled, Enqueued, Error, Holding, JobId, MaintainLimits, NewJob, Outcome,
    Schedule, Settled, State, Unique, UniqueKey, UniquePolicy,
};
use anyqueue_postgres::sqlx::{
    AssertSqlSafe, Connection as _, PgConnection, query_scalar, raw_sql,
};
use anyqueue_postgres::{Pooler, PostgresBackend};
use common::{HANG, LONG, Place, claim, complete, count, created, jobs, request};

/// A lease that is over at once.
const SHORT: Duration = Duration::from_millis(1);

/// Parts of the statements that end leases, and that mark due jobs as ready.
const EXPIRE: &str = "AS goes_on";
const PROMOTE: &str = "SET state = 1, later = false";

/// A store, and a second handle on it of which one statement stops where it
/// reads the clock: it has its snapshot by then, and no lock yet.
struct Race {
    place: Place,
    backend: PostgresBackend,
    stopped: PostgresBackend,
    conn: PgConnection,
}

impl Race {
    async fn new(statement: &str) -> Self {
        let place = Place::new();
        let backend = place.store().await;
        let mut conn = place.connection().await;
        let name = place.config.schema.name();
        let clock = format!(
            "CREATE FUNCTION {name}.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$
             BEGIN
                 IF position('{statement}' IN current_query()) > 0 THEN
                     PERFORM pg_advisory_xact_lock_shared(hashtext('{name}'));
                 END IF;
                 RETURN pg_catalog.clock_timestamp();
             END $$"
        );
        execute(&mut conn, clock).await;
        let mut config = place.config.clone();
        config.connect = config
            .connect
            .application_name(name)
            .options([("search_path", format!("{name},pg_catalog"))]);
        let stopped = PostgresBackend::open(config);
        Self {
            place,
            backend,
            stopped,
            conn,
        }
    }

    fn name(&self) -> String {
        self.place.config.schema.name().to_owned()
    }

    /// From now on the second handle's statement stops.
    async fn stop(&mut self) {
        let lock = format!("SELECT pg_advisory_lock(hashtext('{}'))", self.name());
        execute(&mut self.conn, lock).await;
    }

    /// Returns once it has stopped.
    async fn until_stopped(&mut self) {
        until_waiting(&mut self.conn, &self.place).await;
    }

    async fn go_on(&mut self) {
        let unlock = format!("SELECT pg_advisory_unlock(hashtext('{}'))", self.name());
        execute(&mut self.conn, unlock).await;
    }

    /// Has the second handle do the chores, and this happen once the statement
    /// has taken its snapshot.
    async fn during_chores<T>(&mut self, call: impl AsyncFnOnce(&PostgresBackend) -> T) -> T {
        self.stop().await;
        let chores = {
            let stopped = self.stopped.clone();
            tokio::spawn(async move { stopped.maintain(&MaintainLimits::default()).await })
        };
        self.until_stopped().await;
        let answer = call(&self.backend).await;
        self.go_on().await;
        chores.await.unwrap().unwrap();
        answer
    }
}

async fn execute(conn: &mut PgConnection, statement: String) {
    let done = raw_sql(AssertSqlSafe(statement)).execute(conn).await;
    done.unwrap();
}

/// Returns once a connection that is named after the test's schema waits for a
/// lock.
async fn until_waiting(conn: &mut PgConnection, place: &Place) {
    let look = "SELECT EXISTS (SELECT FROM pg_stat_activity
                WHERE application_name = $1 AND wait_event_type = 'Lock')";
    let waits = async {
        loop {
            let found = query_scalar::<_, bool>(look).bind(place.config.schema.name());
            if found.fetch_one(&mut *conn).await.unwrap() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waits = tokio::time::timeout(HANG, waits).await;
    waits.expect("a statement waits for a lock");
}

/// Does the chores until the job is in this state.
async fn until_state(backend: &PostgresBackend, id: JobId, state: State) {
    let reached = async {
        loop {
            let record = backend.get(&[id]).await.unwrap().remove(0).unwrap();
            if record.state == state {
                break;
            }
            backend.maintain(&MaintainLimits::default()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let reached = tokio::time::timeout(HANG, reached).await;
    assert!(reached.is_ok(), "it never becomes {state}");
}

#[tokio::test]
async fn a_lease_extended_during_a_look_at_it_is_looked_at_again() {
    let mut race = Race::new(EXPIRE).await;
    race.backend.enqueue(&jobs(1)).await.unwrap();
    let claimed = race.backend.claim(&request(1, SHORT)).await.unwrap();
    let token = claimed[0].token;
    let beat = race.during_chores(async |backend| {
        let lease = Duration::from_millis(500);
        backend.heartbeat(&[token], lease).await.unwrap()
    });
    assert_eq!(beat.await, [Holding::Held]);
    // Its worker dies now.
    until_state(&race.backend, token.id, State::Ready).await;
    assert_eq!(claim(&race.backend, 1).await[0].token.id, token.id);
    assert_eq!(count(&race.backend, State::Running).await, 1);
}

#[tokio::test]
async fn a_job_cancelled_while_its_lease_is_ended_ends_once() {
    let mut race = Race::new(EXPIRE).await;
    race.backend.enqueue(&jobs(1)).await.unwrap();
    let claimed = race.backend.claim(&request(1, SHORT)).await.unwrap();
    let id = claimed[0].token.id;
    let cancel = race.during_chores(async |backend| backend.cancel(&[id]).await.unwrap());
    assert_eq!(cancel.await, [Cancelled::Requested]);
    until_state(&race.backend, id, State::Cancelled).await;
    let counts = common::counts(&race.backend).await;
    assert_eq!((counts.total(), counts.get(State::Cancelled)), (1, 1));
}

#[tokio::test]
async fn a_job_snoozed_while_it_becomes_ready_is_counted_once() {
    let mut race = Race::new(PROMOTE).await;
    let instant = Duration::from_micros(1);
    let mut new = jobs(1);
    new[0].schedule = Schedule::After(instant);
    race.backend.enqueue(&new).await.unwrap();
    let snoozed = race.during_chores(async |backend| {
        let mut batch = complete(&claim(backend, 1).await);
        batch[0].outcome = Outcome::Snooze {
            delay: instant,
            reason: None,
        };
        backend.settle(&batch).await.unwrap()
    });
    assert_eq!(snoozed.await, [Settled::Accepted]);
    until_state(&race.backend, new[0].id, State::Ready).await;
    let counts = common::counts(&race.backend).await;
    assert_eq!((counts.total(), counts.get(State::Ready)), (1, 1));
}

/// A store whose connections are named after its schema.
async fn named(place: &Place) -> PostgresBackend {
    let mut config = place.config.clone();
    config.connect = config.connect.application_name(config.schema.name());
    let backend = PostgresBackend::open(config);
    backend.prepare().await.unwrap();
    backend
}

#[tokio::test]
async fn the_default_isolation_of_a_database_does_not_matter() {
    for pooler in [Pooler::None, Pooler::Transaction] {
        let mut place = Place::new();
        place.config.pooler = pooler;
        let connect = place.config.connect.clone();
        place.config.connect =
            connect.options([("default_transaction_isolation", "repeatable read")]);
        let backend = named(&place).await;
        let (mut conn, mut look) = (place.connection().await, place.connection().await);
        backend.enqueue(&jobs(1)).await.unwrap();
        let batch = complete(&claim(&backend, 1).await);
        // Another changes the row after the settle has taken its snapshot.
        let name = place.config.schema.name();
        execute(
            &mut conn,
            format!("BEGIN; UPDATE {name}.live SET flagged = true"),
        )
        .await;
        let settling = tokio::spawn(async move { backend.settle(&batch).await });
        until_waiting(&mut look, &place).await;
        execute(&mut conn, "COMMIT".to_owned()).await;
        assert_eq!(settling.await.unwrap().unwrap(), [Settled::Accepted]);
    }
}

/// Jobs in the order of their ids; the keys of the first two are in the other.
fn keyed() -> Vec<NewJob> {
    let mut new = jobs(3);
    for (job, key) in new.iter_mut().zip(["b", "a"]) {
        let key = UniqueKey::new(key).unwrap();
        let policy = UniquePolicy::WhileUnfinished;
        job.unique = Some(Unique { key, policy });
        job.retry.max_attempts = 1;
    }
    new
}

/// Has this end keyed jobs beside an application's transaction that enqueues
/// jobs with their keys, one call after the other.
async fn ends_beside_an_enqueue<T: Future<Output = Result<(), Error>> + Send + 'static>(
    end: impl FnOnce(PostgresBackend, Vec<JobId>) -> T,
) {
    let place = Place::new();
    let backend = named(&place).await;
    let (mut conn, mut look) = (place.connection().await, place.connection().await);
    let new = keyed();
    backend.enqueue(&new).await.unwrap();
    let again = keyed();
    let schema = &place.config.schema;
    let mut tx = conn.begin().await.unwrap();
    let a = schema.enqueue_in(&mut tx, &again[1..2]).await.unwrap();
    assert_eq!(a, [Enqueued::Existing(new[1].id)]);
    let ending = end(backend.clone(), new.iter().map(|job| job.id).collect());
    let ending = tokio::spawn(ending);
    until_waiting(&mut look, &place).await;
    let b = schema.enqueue_in(&mut tx, &again[..1]).await.unwrap();
    assert_eq!(b, [Enqueued::Existing(new[0].id)]);
    tx.commit().await.unwrap();
    ending.await.unwrap().unwrap();
    assert_eq!(backend.enqueue(&again).await.unwrap(), created(&again));
}

#[tokio::test]
async fn completions_take_keys_in_the_order_of_enqueues() {
    let end = |backend: PostgresBackend, _| async move {
        let claimed = backend.claim(&request(3, LONG)).await?;
        backend.settle(&complete(&claimed)).await.map(drop)
    };
    ends_beside_an_enqueue(end).await;
}

#[tokio::test]
async fn other_outcomes_take_keys_in_the_order_of_enqueues() {
    let end = |backend: PostgresBackend, _| async move {
        let claimed = backend.claim(&request(3, LONG)).await?;
        let mut batch = complete(&claimed);
        batch[2].outcome = Outcome::Release;
        backend.settle(&batch).await.map(drop)
    };
    ends_beside_an_enqueue(end).await;
}

#[tokio::test]
async fn cancels_take_keys_in_the_order_of_enqueues() {
    let end = |backend: PostgresBackend, ids: Vec<JobId>| async move {
        backend.cancel(&ids).await.map(drop)
    };
    ends_beside_an_enqueue(end).await;
}

#[tokio::test]
async fn lost_leases_take_keys_in_the_order_of_enqueues() {
    let end = |backend: PostgresBackend, _| async move {
        backend.claim(&request(3, SHORT)).await?;
        backend.maintain(&MaintainLimits::default()).await.map(drop)
    };
    ends_beside_an_enqueue(end).await;
}
