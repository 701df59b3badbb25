//! Writes the seeds that are not made by hand: what this version stores.

use std::path::Path;
use std::time::Duration;

use anyqueue_core::{
    ClaimRequest, Filter, Flow, JobId, Kind, MaintainLimits, NewJob, Outcome, Page, Payload,
    ProgressUpdate, ProgressValues, QueueName, Retention, RetryPolicy, Schedule, Settlement, Tag,
    Timestamp, Token, Unique, UniqueKey, UniquePolicy, WorkerId,
};
use anyqueue_memory::{Command, Machine};
use anyqueue_rabbitmq::fuzzing::{Ledger, body};

const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

fn write(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../seeds")
        .join(target);
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join(name), bytes).expect("a file");
}

fn json(name: &str, value: &impl serde::Serialize) {
    write("records", name, &serde_json::to_vec(value).expect("JSON"));
}

/// Parts with their length in front.
fn parts(parts: &[Vec<u8>]) -> Vec<u8> {
    let with_length = |part: &Vec<u8>| {
        let length = u16::try_from(part.len()).expect("a short part");
        [&length.to_be_bytes()[..], part].concat()
    };
    parts.iter().flat_map(with_length).collect()
}

fn token(number: u8) -> Token {
    Token {
        id: JobId::from_bytes([number; 16]),
        counter: 1,
    }
}

fn job(number: u8) -> NewJob {
    let kind = Kind::new("kind").expect("a name");
    let payload = Payload::parse(r#"{"n":1}"#, 99).expect("JSON");
    NewJob {
        id: token(number).id,
        ..NewJob::new(QueueName::default(), kind, payload)
    }
}

/// A life of several jobs, a batch of commands each step.
fn life() -> Vec<Vec<Command>> {
    let claim = ClaimRequest {
        queues: vec![QueueName::default()],
        limit: 4,
        lease: Duration::from_secs(15),
        worker: WorkerId::new("worker").expect("a name"),
    };
    let keyed = |number, policy| NewJob {
        unique: Some(Unique {
            key: UniqueKey::new("key").expect("a name"),
            policy,
        }),
        ..job(number)
    };
    let jobs = vec![
        job(1),
        keyed(2, UniquePolicy::ForPeriod(Duration::from_secs(60))),
        keyed(3, UniquePolicy::WhileUnfinished),
        NewJob {
            schedule: Schedule::After(Duration::from_secs(9)),
            tags: vec![Tag::new("mine").expect("a name")],
            retry: RetryPolicy::fixed(3, Duration::from_secs(1)),
            ..job(4)
        },
        job(5),
        job(6),
        job(7),
    ];
    let outcomes = [
        Outcome::Complete {
            result: Payload::parse("3", 9).expect("JSON"),
        },
        Outcome::Retry {
            delay: Duration::ZERO,
            error: "again".into(),
        },
        Outcome::Fail {
            error: "no use".into(),
        },
    ];
    let settlements = [1, 2, 5].map(token).into_iter().zip(outcomes);
    let settlements = settlements.map(|(token, outcome)| Settlement { token, outcome });
    let update = ProgressUpdate {
        token: token(6),
        values: ProgressValues::default()
            .percent(40)
            .step(2)
            .message("half"),
    };
    vec![
        vec![Command::Enqueue(jobs)],
        vec![Command::Claim(claim.clone())],
        vec![
            Command::Progress(vec![update]),
            Command::Heartbeat {
                tokens: vec![token(6)],
                lease: Duration::from_secs(9),
            },
            Command::Settle(settlements.collect()),
        ],
        vec![
            Command::Cancel(vec![token(4).id, token(6).id]),
            Command::Retry(vec![token(5).id]),
            Command::SetFlow {
                queue: QueueName::new("paused").expect("a name"),
                flow: Flow::Paused,
            },
            Command::EndLeases(vec![token(6)]),
        ],
        vec![
            Command::Maintain(MaintainLimits {
                jobs: 9,
                retention: Retention::all(Duration::ZERO),
            }),
            Command::Claim(claim),
        ],
    ]
}

fn main() {
    let mut machine = Machine::new();
    let mut ledger = Ledger::default();
    let (mut bodies, mut messages) = (Vec::new(), Vec::new());
    for (step, commands) in life().into_iter().enumerate() {
        for command in commands.clone() {
            machine.apply(command, NOW);
        }
        let body = body(NOW, commands);
        write(
            "rabbitmq_commands",
            &format!("step_{step}"),
            &parts(&[[&[1][..], &body].concat()]),
        );
        let message = ledger.message(1, &body);
        ledger.fold(&message);
        bodies.push([&[1][..], &body].concat());
        messages.push(message);
        write(
            "rabbitmq_snapshot",
            &format!("step_{step}"),
            &ledger.store(),
        );
        json(&format!("machine_{step}"), &machine);
    }
    write("rabbitmq_commands", "life", &parts(&bodies));
    write("rabbitmq_messages", "life", &parts(&messages));
    write(
        "rabbitmq_messages",
        "garbled",
        &parts(&[
            b"hello".to_vec(),
            messages[0][..20].to_vec(),
            // A whole header, and a body that ends in its first command.
            [&messages[0][..23], &[3, 200]].concat(),
        ]),
    );
    let listing = machine.list(&Filter::any(), &Page::first(2));
    json("listing", &listing);
    json("record", &listing.jobs[0]);
    json("new_job", &job(1));
    json("token", &token(1));
    json("filter", &Filter::any().queue(QueueName::default()));
    json("page", &Page::first(2));
}
