//! Data: payloads, results, texts and hostile names come back as they went in.

use std::time::Duration;

use anyqueue_core::{
    Backoff, Enqueued, ErrorText, Filter, JobId, NewJob, Outcome, Payload, RetryPolicy, State, Tag,
    TraceContext,
};

use crate::asserts::{Failure, Verdict, same, same_payload, same_set};
use crate::case::cases;
use crate::handle::Handle;
use crate::samples::{FAR, HOSTILE, complete, job, kind, payload, queue, tag, unique};
use crate::store::Store;

cases! { "data";
    law payload "payloads are JSON up to a limit; every byte round-trips" {
        unicode;
        escapes_of_nul_and_surrogates;
        numbers_of_64_bits_and_beyond;
        white_space_key_order_and_double_keys;
        empty_values;
        text_that_looks_like_code;
        nesting_of_two_thousand_levels;
        of_one_mebibyte;
        a_batch_of_large_ones;
    }
    law result "a result is a payload" {
        every_byte_round_trips [Results];
        of_one_mebibyte_is_kept [Results];
        a_batch_of_large_results [Results];
    }
    law error_text "the errors of a job are kept as they were reported" {
        of_eight_kibibytes;
        of_any_characters;
        a_snooze_reason_of_any_characters;
    }
    law retry_policy "the retry policy comes back as it was enqueued" {
        of_every_kind;
        of_the_largest_number_of_attempts;
    }
    law tags "tags and trace context travel with a job" {
        of_the_longest_kind_and_number;
        in_their_order;
        none_at_all;
    }
    law hostile_data "names, keys and payloads are bound, never spliced" {
        names_of_queues;
        names_of_kinds;
        unique_keys [Unique];
        tags_and_traces;
        names_of_workers;
        counts_and_queues_show_names_as_they_are [Counts];
        filters_match_exactly [List];
        a_pause_is_of_one_name_exactly [Pause];
        many_hostile_queues_in_one_claim;
    }
}

/// The payload comes back from get and from claim as it was enqueued.
async fn round_trips(a: &Handle, json: impl Into<String>) -> Verdict {
    let sent = payload(json);
    let id = a.put(&NewJob { payload: sent.clone(), ..job("q") }).await?;
    same_payload("the payload got", &a.record(id).await?.payload, &sent)?;
    let claimed = a.take("q").await?;
    same("the claimed job", claimed.token.id, id)?;
    same_payload("the payload claimed", &claimed.payload, &sent)
}

async fn all_round_trip(store: Store, all: &[&str]) -> Verdict {
    let a = store.open().await?;
    for json in all {
        round_trips(&a, *json).await?;
    }
    Ok(())
}

const UNICODE: [&str; 4] = [
    r#""☃ ünïcødé 漢字 العربية 😀 👩‍👩‍👧‍👦""#,
    "\"\u{e9} e\u{301}\"",
    "\"\u{2028}\u{2029}\u{feff}\u{202e}\u{7f}\u{85}\"",
    "{\"ключ\":\"\u{10ffff}\"}",
];
const ESCAPES: [&str; 4] =
    [r#""\u0000""#, r#"{"a\u0000b":"\u0001\u001f\u007f"}"#, r#""\ud83d\ude00""#, r#""\/\"\\\b\f""#];
const NUMBERS: [&str; 3] = [
    "[18446744073709551615,-9223372036854775808,9007199254740993]",
    "[1.0,1e400,-0,0.1000,1E+2,123456789012345678901234567890]",
    "3.141592653589793238462643383279502884197",
];
const SPACES: [&str; 4] = [
    "{ \"b\" : 1 ,\n\t\"a\" : [ ] , \"b\" : 2 }",
    "  {}",
    "[1,\r\n2]\n",
    r#"{"z":0,"a":0,"Z":0,"":0}"#,
];
const EMPTY: [&str; 6] = [r#""""#, "null", "[]", "{}", "0", "false"];

async fn unicode(store: Store) -> Verdict {
    all_round_trip(store, &UNICODE).await
}

async fn escapes_of_nul_and_surrogates(store: Store) -> Verdict {
    all_round_trip(store, &ESCAPES).await
}

async fn numbers_of_64_bits_and_beyond(store: Store) -> Verdict {
    all_round_trip(store, &NUMBERS).await
}

async fn white_space_key_order_and_double_keys(store: Store) -> Verdict {
    all_round_trip(store, &SPACES).await
}

async fn empty_values(store: Store) -> Verdict {
    all_round_trip(store, &EMPTY).await
}

async fn text_that_looks_like_code(store: Store) -> Verdict {
    let a = store.open().await?;
    for text in HOSTILE {
        round_trips(&a, encoded(text)).await?;
    }
    Ok(())
}

fn encoded(text: &str) -> String {
    let encoded = Payload::encode(text, usize::MAX).expect("a text is JSON");
    encoded.as_str().to_owned()
}

async fn nesting_of_two_thousand_levels(store: Store) -> Verdict {
    let a = store.open().await?;
    const LEVELS: usize = 2_000;
    round_trips(&a, "[".repeat(LEVELS) + &"]".repeat(LEVELS)).await?;
    round_trips(&a, "{\"a\":".repeat(LEVELS) + "1" + &"}".repeat(LEVELS)).await
}

/// A JSON text of exactly this many bytes.
fn large(bytes: usize) -> String {
    let mut text = String::from("\"");
    while text.len() + 4 < bytes {
        text.push('☃');
    }
    text.push_str(&"x".repeat(bytes - 1 - text.len()));
    text + "\""
}

const MEBIBYTE: usize = 1024 * 1024;

async fn of_one_mebibyte(store: Store) -> Verdict {
    let a = store.open().await?;
    round_trips(&a, large(MEBIBYTE)).await
}

async fn a_batch_of_large_ones(store: Store) -> Verdict {
    let a = store.open().await?;
    let sent = payload(large(MEBIBYTE / 4));
    let batch: Vec<_> = (0..20).map(|_| NewJob { payload: sent.clone(), ..job("q") }).collect();
    let ids = a.put_all(&batch).await?;
    let claimed = a.claim_many("q", 100).await?;
    same_set("the claimed jobs", claimed.iter().map(|job| job.token.id), ids)?;
    claimed.iter().try_for_each(|job| same_payload("the payload", &job.payload, &sent))
}

async fn results_round_trip(a: &Handle, results: &[Payload]) -> Verdict {
    for result in results {
        let id = a.run("q", Outcome::Complete { result: result.clone() }).await?.id;
        let kept = a.record(id).await?.result;
        let kept = kept.ok_or_else(|| Failure::new("the record has no result"))?;
        same_payload("the result", &kept, result)?;
    }
    Ok(())
}

async fn every_byte_round_trips(store: Store) -> Verdict {
    let a = store.open().await?;
    let all = [&UNICODE[..], &ESCAPES[..], &NUMBERS[..], &SPACES[..], &EMPTY[..]].concat();
    let all: Vec<_> = all.into_iter().map(payload).collect();
    results_round_trip(&a, &all).await
}

async fn of_one_mebibyte_is_kept(store: Store) -> Verdict {
    let a = store.open().await?;
    results_round_trip(&a, &[payload(large(MEBIBYTE))]).await
}

async fn a_batch_of_large_results(store: Store) -> Verdict {
    let a = store.open().await?;
    let result = payload(large(MEBIBYTE / 4));
    let ids = a.put_all(&crate::samples::jobs("q", 20)).await?;
    let claimed = a.claim_many("q", 20).await?;
    let batch: Vec<_> = claimed
        .iter()
        .map(|job| anyqueue_core::Settlement {
            token: job.token,
            outcome: Outcome::Complete { result: result.clone() },
        })
        .collect();
    a.settle(&batch).await?;
    let none = payload("0");
    a.records(&ids).await?.iter().try_for_each(|record| {
        same_payload("the result", record.result.as_ref().unwrap_or(&none), &result)
    })
}

/// The texts come back as errors of an attempt.
async fn errors_round_trip(store: Store, texts: Vec<ErrorText>) -> Verdict {
    let a = store.open().await?;
    for error in texts {
        let id = a.run("q", Outcome::Fail { error: error.clone() }).await?.id;
        let kept = a.record(id).await?.errors;
        let kept: Vec<_> = kept.into_iter().map(|error| error.message).collect();
        same("the errors", kept, vec![error])?;
    }
    Ok(())
}

async fn of_eight_kibibytes(store: Store) -> Verdict {
    let texts = ["x".repeat(9_000), "☃".repeat(9_000), "\n".repeat(9_000)];
    errors_round_trip(store, texts.iter().map(ErrorText::new).collect()).await
}

async fn of_any_characters(store: Store) -> Verdict {
    let mut texts: Vec<_> = HOSTILE.iter().map(ErrorText::new).collect();
    texts.extend(["", " ends in spaces  ", "\u{1}\u{7f}\t\r\n", "a\0b"].map(ErrorText::new));
    errors_round_trip(store, texts).await
}

async fn a_snooze_reason_of_any_characters(store: Store) -> Verdict {
    let a = store.open().await?;
    for text in HOSTILE {
        let reason = Some(ErrorText::new(text));
        let snooze = Outcome::Snooze { delay: FAR, reason: reason.clone() };
        let id = a.run("q", snooze).await?.id;
        same("the reason", a.record(id).await?.snooze_reason, reason)?;
    }
    Ok(())
}

async fn policies_round_trip(store: Store, policies: Vec<RetryPolicy>) -> Verdict {
    let a = store.open().await?;
    for retry in policies {
        let id = a.put(&NewJob { retry: retry.clone(), ..job("q") }).await?;
        same("the record's policy", &a.record(id).await?.retry, &retry)?;
        same("the claimed job's policy", a.take("q").await?.retry, retry)?;
    }
    Ok(())
}

async fn of_every_kind(store: Store) -> Verdict {
    let waits = |millis: &[u64]| millis.iter().copied().map(Duration::from_millis).collect();
    let max = Duration::from_secs(77);
    let base = Duration::new(1, 5);
    let policies = vec![
        RetryPolicy::default(),
        RetryPolicy::never(),
        RetryPolicy::fixed(3, Duration::from_nanos(1)),
        RetryPolicy::new(4, Backoff::Exponential { base, max, jitter_percent: 0 }),
        RetryPolicy::new(5, Backoff::Custom { delays: waits(&[1, 5_000, 60_000, 3_600_000]) }),
        RetryPolicy::new(6, Backoff::Custom { delays: vec![] }),
    ];
    policies_round_trip(store, policies).await
}

async fn of_the_largest_number_of_attempts(store: Store) -> Verdict {
    policies_round_trip(store, vec![RetryPolicy::attempts(u32::MAX)]).await
}

async fn tags_round_trip(a: &Handle, tags: Vec<Tag>, trace: Option<TraceContext>) -> Verdict {
    let id = a.put(&NewJob { tags: tags.clone(), trace: trace.clone(), ..job("q") }).await?;
    let (record, claimed) = (a.record(id).await?, a.take("q").await?);
    same("the record's tags", &record.tags, &tags)?;
    same("the record's trace", &record.trace, &trace)?;
    same("the claimed job's tags", claimed.tags, tags)?;
    same("the claimed job's trace", claimed.trace, trace)
}

async fn of_the_longest_kind_and_number(store: Store) -> Verdict {
    let a = store.open().await?;
    let tags = (0..NewJob::MAX_TAGS).map(|n| tag(&format!("{n}{}", "☃".repeat(21)))).collect();
    tags_round_trip(&a, tags, TraceContext::new("x".repeat(TraceContext::MAX_LEN)).ok()).await
}

async fn in_their_order(store: Store) -> Verdict {
    let a = store.open().await?;
    let tags = ["b", "a", "c", "B", "aa"].map(tag).to_vec();
    tags_round_trip(&a, tags, None).await
}

async fn none_at_all(store: Store) -> Verdict {
    let a = store.open().await?;
    tags_round_trip(&a, vec![], None).await
}

/// A job in each queue with a hostile name.
async fn one_in_each_queue(a: &Handle) -> Result<Vec<JobId>, Failure> {
    a.put_all(&HOSTILE.map(job)).await
}

async fn names_of_queues(store: Store) -> Verdict {
    let a = store.open().await?;
    let ids = one_in_each_queue(&a).await?;
    for (id, name) in ids.into_iter().zip(HOSTILE) {
        same("the queue of the record", a.record(id).await?.queue, queue(name))?;
        same(&format!("the jobs of {name:?}"), a.claim_ids(name, 100).await?, vec![id])?;
    }
    Ok(())
}

async fn names_of_kinds(store: Store) -> Verdict {
    let a = store.open().await?;
    for name in HOSTILE {
        let id = a.put(&NewJob { kind: kind(name), ..job("q") }).await?;
        same("the kind of the record", a.record(id).await?.kind, kind(name))?;
        same("the kind claimed", a.take("q").await?.kind, kind(name))?;
    }
    Ok(())
}

async fn unique_keys(store: Store) -> Verdict {
    let a = store.open().await?;
    let first = a.put_all(&HOSTILE.map(|key| unique("q", key))).await?;
    let answers = a.enqueue(&HOSTILE.map(|key| unique("q", key))).await?;
    let expected: Vec<_> = first.iter().copied().map(Enqueued::Existing).collect();
    same("the answers while all are held", answers, expected)?;
    for (id, key) in first.into_iter().zip(HOSTILE) {
        let shown = a.record(id).await?.unique.map(|unique| unique.key.as_str().to_owned());
        same("the key of the record", shown.as_deref(), Some(key))?;
        let token = a.take("q").await?.token;
        a.accepted(token, complete()).await?;
    }
    a.put_all(&HOSTILE.map(|key| unique("q", key))).await.map(drop)
}

async fn tags_and_traces(store: Store) -> Verdict {
    let a = store.open().await?;
    for text in HOSTILE.into_iter().filter(|text| text.len() <= Tag::MAX_LEN) {
        tags_round_trip(&a, vec![tag(text), tag("x")], TraceContext::new(text).ok()).await?;
    }
    Ok(())
}

async fn names_of_workers(store: Store) -> Verdict {
    let a = store.open().await?;
    for name in HOSTILE {
        let worker = anyqueue_core::WorkerId::new(name).ok();
        let id = a.put(&job("q")).await?;
        a.named(name).take("q").await?;
        same("the worker of the record", a.record(id).await?.worker, worker)?;
    }
    Ok(())
}

async fn counts_and_queues_show_names_as_they_are(store: Store) -> Verdict {
    let a = store.open().await?;
    one_in_each_queue(&a).await?;
    let mut names = HOSTILE.map(str::to_owned);
    names.sort();
    let counted: Vec<_> = a.counts().await?.iter().map(|c| c.queue.to_string()).collect();
    same("the queues counted, by their bytes", counted, names.to_vec())?;
    let known: Vec<_> = a.queues().await?.iter().map(|info| info.name.to_string()).collect();
    same("the queues known, by their bytes", known, names.to_vec())
}

async fn filters_match_exactly(store: Store) -> Verdict {
    let a = store.open().await?;
    let tagged = |text: &str| Tag::new(text).ok().into_iter().collect();
    let batch = HOSTILE.map(|text| NewJob { kind: kind(text), tags: tagged(text), ..job(text) });
    let ids = a.put_all(&batch).await?;
    for (id, text) in ids.into_iter().zip(HOSTILE) {
        let mut filters = vec![Filter::any().queue(queue(text)), Filter::any().kind(kind(text))];
        filters.extend(Tag::new(text).ok().map(|tag| Filter::any().tag(tag)));
        for filter in filters {
            let found = a.list_all(&filter, 100).await?;
            let found: Vec<_> = found.iter().map(|record| record.id).collect();
            same(&format!("the jobs listed by {filter:?}"), found, vec![id])?;
        }
    }
    Ok(())
}

async fn a_pause_is_of_one_name_exactly(store: Store) -> Verdict {
    use anyqueue_core::Flow::{Open, Paused};
    let a = store.open().await?;
    let ids = one_in_each_queue(&a).await?;
    for (place, name) in HOSTILE.into_iter().enumerate() {
        a.flow(name, Paused).await?;
        a.claims_none(name).await?;
        let next = (place + 1) % HOSTILE.len();
        a.in_state(ids[next], if next == 0 { State::Running } else { State::Ready }).await?;
        a.flow(name, Open).await?;
        same("the jobs once opened", a.claim_ids(name, 9).await?, vec![ids[place]])?;
    }
    Ok(())
}

async fn many_hostile_queues_in_one_claim(store: Store) -> Verdict {
    let a = store.open().await?;
    let ids = one_in_each_queue(&a).await?;
    let claimed = a.claim_from(&HOSTILE, 100, FAR).await?;
    let found: Vec<_> = claimed.iter().map(|job| job.token.id).collect();
    same("the claimed jobs, in the order of the queues", found, ids)
}
