//! What holds after any commands at any moments: random ones are applied, and
//! a full scan of the jobs is compared with what the indexes say.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyqueue_core::{
    ClaimRequest, Flow, JobId, Kind, MaintainLimits, NewJob, Payload, Priority, ProgressUpdate,
    ProgressValues, QueueName, Retention, RetryPolicy, Schedule, Settlement, State, Timestamp,
    Token, Unique, UniqueKey, UniquePolicy, WorkerId,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::index::Queue;
use super::testing::{outcomes, retry, secs, snooze};
use super::{Answer, Command, Machine};

fn queue() -> impl Strategy<Value = QueueName> {
    select(vec!["a", "b"]).prop_map(|name| QueueName::new(name).unwrap())
}

/// Few ids, so that commands meet.
fn id() -> impl Strategy<Value = JobId> {
    (0..12_u8).prop_map(|n| JobId::from_bytes([n; 16]))
}

fn span() -> impl Strategy<Value = Duration> {
    (0..4_u64).prop_map(secs)
}

fn token() -> impl Strategy<Value = Token> {
    (id(), 1..4_u64).prop_map(|(id, counter)| Token { id, counter })
}

fn unique() -> impl Strategy<Value = Unique> {
    let policy =
        prop_oneof![Just(UniquePolicy::WhileUnfinished), span().prop_map(UniquePolicy::ForPeriod)];
    (select(vec!["x", "y"]), policy)
        .prop_map(|(key, policy)| Unique { key: UniqueKey::new(key).unwrap(), policy })
}

fn new_job() -> impl Strategy<Value = NewJob> {
    let priority = select(Priority::ALL.to_vec());
    (id(), queue(), priority, span(), 1..3_u32, option::of(unique())).prop_map(
        |(id, queue, priority, delay, attempts, unique)| NewJob {
            id,
            priority,
            schedule: Schedule::After(delay),
            retry: RetryPolicy::attempts(attempts),
            unique,
            ..NewJob::new(queue, Kind::new("k").unwrap(), Payload::parse("0", 1).unwrap())
        },
    )
}

fn settlement() -> impl Strategy<Value = Settlement> {
    let outcomes = [&outcomes()[..], &[retry(secs(2)), snooze(secs(2))]].concat();
    (token(), select(outcomes)).prop_map(|(token, outcome)| Settlement { token, outcome })
}

fn claim() -> impl Strategy<Value = ClaimRequest> {
    (vec(queue(), 0..3), 0..4_u32, span()).prop_map(|(queues, limit, lease)| ClaimRequest {
        queues,
        limit,
        lease,
        worker: WorkerId::new("w").unwrap(),
    })
}

fn update() -> impl Strategy<Value = ProgressUpdate> {
    token().prop_map(|token| ProgressUpdate { token, values: ProgressValues::default().step(1) })
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        4 => vec(new_job(), 0..4).prop_map(Command::Enqueue),
        4 => claim().prop_map(Command::Claim),
        1 => (vec(token(), 0..3), span())
            .prop_map(|(tokens, lease)| Command::Heartbeat { tokens, lease }),
        4 => vec(settlement(), 0..4).prop_map(Command::Settle),
        1 => vec(update(), 0..3).prop_map(Command::Progress),
        1 => vec(id(), 0..3).prop_map(Command::Cancel),
        1 => vec(id(), 0..3).prop_map(Command::Retry),
        1 => (queue(), select(vec![Flow::Open, Flow::Paused]))
            .prop_map(|(queue, flow)| Command::SetFlow { queue, flow }),
        1 => (0..4_u32, span()).prop_map(|(jobs, kept)| {
            Command::Maintain(MaintainLimits { jobs, retention: Retention::all(kept) })
        }),
    ]
}

/// The queues as a full scan of the jobs says they are.
fn scan(machine: &Machine) -> BTreeMap<QueueName, Queue> {
    let paused = machine.index.queues.iter().filter(|(_, queue)| queue.flow == Flow::Paused);
    let mut queues: BTreeMap<_, _> = paused
        .map(|(name, _)| (name.clone(), Queue { flow: Flow::Paused, ..Queue::default() }))
        .collect();
    for job in machine.jobs.values() {
        let record = &job.record;
        let queue = queues.entry(record.queue.clone()).or_default();
        *queue.counts.get_mut(record.state) += 1;
        match record.state {
            State::Scheduled => {
                queue.scheduled.insert((record.due_at, job.seq), record.id);
            }
            State::Ready => {
                let place = (Reverse(record.priority), record.due_at, job.seq);
                queue.ready.insert(place, record.id);
            }
            State::Running => {
                queue.running.insert((record.lease_until.unwrap(), record.id));
            }
            _ => {}
        }
    }
    queues
}

/// What a full scan says of finished jobs; outcomes without any left out.
fn scan_finished(machine: &Machine) -> BTreeMap<State, BTreeSet<(Timestamp, JobId)>> {
    let mut finished = BTreeMap::<_, BTreeSet<_>>::new();
    let records = machine.jobs.values().map(|job| &job.record);
    for record in records.filter(|record| record.state.is_finished()) {
        finished.entry(record.state).or_default().insert((record.finished_at.unwrap(), record.id));
    }
    finished
}

fn check_state(machine: &Machine) {
    assert_eq!(machine.index.queues, scan(machine));
    let mut finished = machine.index.finished.clone();
    finished.retain(|_, jobs| !jobs.is_empty());
    assert_eq!(finished, scan_finished(machine));
    for job in machine.jobs.values() {
        let record = &job.record;
        let running = record.state == State::Running;
        assert_eq!(record.worker.is_some(), running);
        assert_eq!(record.lease_until.is_some(), running);
        assert_eq!(record.finished_at.is_some(), record.state.is_finished());
        assert_eq!(record.result.is_some(), record.state == State::Completed);
        let unfinished = record.unique.as_ref().is_some_and(|unique| {
            unique.policy == UniquePolicy::WhileUnfinished && !record.state.is_finished()
        });
        if unfinished {
            assert_eq!(machine.index.keys.holder(record), Some(record.id));
        }
    }
}

/// Jobs go by purge only, counters and sequences never fall, claims raise the
/// counter, and whatever looks different is among the changes.
fn check_step(before: &Machine, machine: &Machine, answer: &Answer) {
    let mut gone = 0;
    for (id, old) in &before.jobs {
        let Some(new) = machine.jobs.get(id) else {
            // Maintenance may end a lease and purge the job in one call.
            let state = old.record.state;
            assert!(state.is_finished() || state == State::Running, "a waiting job was lost");
            assert!(machine.changes().jobs.contains(id));
            gone += 1;
            continue;
        };
        assert!(new.record.counter >= old.record.counter);
        assert!(new.record.progress.sequence >= old.record.progress.sequence);
        let mut shown = new.record.clone();
        shown.lease_until = old.record.lease_until;
        assert!(shown == old.record || machine.changes().jobs.contains(id));
    }
    match answer {
        Answer::Maintained(done) => assert_eq!(done.purged, gone),
        _ => assert_eq!(gone, 0),
    }
    match answer {
        Answer::Enqueued(jobs) => {
            for id in jobs.iter().map(|job| job.id()) {
                // The holder of a key may have been purged before its period
                // was over.
                assert!(machine.jobs.contains_key(&id) || machine.index.keys.is_holder(id));
            }
        }
        Answer::Claimed(jobs) => {
            for job in jobs {
                let old = &before.jobs[&job.token.id].record;
                assert!(job.token.counter > old.counter);
                assert_eq!(before.index.queues[&job.queue].flow, Flow::Open);
            }
        }
        _ => {}
    }
}

fn reload(machine: &Machine) -> Machine {
    serde_json::from_str(&serde_json::to_string(machine).unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn indexes_and_records_agree(steps in vec((command(), -2..4_i64), 1..60)) {
        let mut machine = Machine::new();
        let mut time = 0;
        for (command, seconds) in steps {
            time += seconds * 1_000_000;
            let before = reload(&machine);
            let command: Command =
                serde_json::from_str(&serde_json::to_string(&command).unwrap()).unwrap();
            let answer = machine.apply(command.clone(), Timestamp::from_micros(time));
            check_state(&machine);
            check_step(&before, &machine, &answer);

            // A loaded machine does as the stored one would have done.
            let mut twin = before;
            prop_assert_eq!(twin.apply(command, Timestamp::from_micros(time)), answer);
            prop_assert_eq!(&twin.jobs, &machine.jobs);
            prop_assert_eq!(&twin.index.queues, &machine.index.queues);
            prop_assert_eq!(&twin.index.keys, &machine.index.keys);
        }
    }
}
