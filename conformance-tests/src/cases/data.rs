//! Data: payloads, results, texts and policies come back as they went in.

use std::time::Duration;

use anyqueue_core::{Backoff, ErrorText, NewJob, Outcome, Payload, RetryPolicy};

use crate::asserts::{Failure, Verdict, same, same_payload, same_set};
use crate::case::cases;
use crate::handle::Handle;
use crate::samples::{FAR, HOSTILE, job, payload};
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
}

/// The payload comes back from get and from claim as it was enqueued.
async fn round_trips(a: &Handle, json: impl Into<String>) -> Verdict {
    let sent = payload(json);
    let id = a
        .put(&NewJob {
            payload: sent.clone(),
            ..job("q")
        })
        .await?;
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
const ESCAPES: [&str; 4] = [
    r#""\u0000""#,
    r#"{"a\u0000b":"\u0001\u001f\u007f"}"#,
    r#""\ud83d\ude00""#,
    r#""\/\"\\\b\f""#,
];
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
    let batch: Vec<_> = (0..20)
        .map(|_| NewJob {
            payload: sent.clone(),
            ..job("q")
        })
        .collect();
    let ids = a.put_all(&batch).await?;
    let claimed = a.claim_many("q", 100).await?;
    same_set(
        "the claimed jobs",
        claimed.iter().map(|job| job.token.id),
        ids,
    )?;
    claimed
        .iter()
        .try_for_each(|job| same_payload("the payload", &job.payload, &sent))
}

async fn results_round_trip(a: &Handle, results: &[Payload]) -> Verdict {
    for result in results {
        let id = a
            .run(
                "q",
                Outcome::Complete {
                    result: result.clone(),
                },
            )
            .await?
            .id;
        let kept = a.record(id).await?.result;
        let kept = kept.ok_or_else(|| Failure::new("the record has no result"))?;
        same_payload("the result", &kept, result)?;
    }
    Ok(())
}

async fn every_byte_round_trips(store: Store) -> Verdict {
    let a = store.open().await?;
    let all = [
        &UNICODE[..],
        &ESCAPES[..],
        &NUMBERS[..],
        &SPACES[..],
        &EMPTY[..],
    ]
    .concat();
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
            outcome: Outcome::Complete {
                result: result.clone(),
            },
        })
        .collect();
    a.settle(&batch).await?;
    let none = payload("0");
    a.records(&ids).await?.iter().try_for_each(|record| {
        same_payload(
            "the result",
            record.result.as_ref().unwrap_or(&none),
            &result,
        )
    })
}

/// The texts come back as errors of an attempt.
async fn errors_round_trip(store: Store, texts: Vec<ErrorText>) -> Verdict {
    let a = store.open().await?;
    for error in texts {
        let id = a
            .run(
                "q",
                Outcome::Fail {
                    error: error.clone(),
                },
            )
            .await?
            .id;
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
        let snooze = Outcome::Snooze {
            delay: FAR,
            reason: reason.clone(),
        };
        let id = a.run("q", snooze).await?.id;
        same("the reason", a.record(id).await?.snooze_reason, reason)?;
    }
    Ok(())
}

async fn policies_round_trip(store: Store, policies: Vec<RetryPolicy>) -> Verdict {
    let a = store.open().await?;
    for retry in policies {
        let id = a
            .put(&NewJob {
                retry: retry.clone(),
                ..job("q")
            })
            .await?;
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
        RetryPolicy::new(
            4,
            Backoff::Exponential {
                base,
                max,
                jitter_percent: 0,
            },
        ),
        RetryPolicy::new(
            5,
            Backoff::Custom {
                delays: waits(&[1, 5_000, 60_000, 3_600_000]),
            },
        ),
        RetryPolicy::new(6, Backoff::Custom { delays: vec![] }),
    ];
    policies_round_trip(store, policies).await
}

async fn of_the_largest_number_of_attempts(store: Store) -> Verdict {
    policies_round_trip(store, vec![RetryPolicy::attempts(u32::MAX)]).await
}
