//! Proves that the checker of histories can tell: recorded histories that
//! break a law, each named after it, and ones that are tricky and break none.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyqueue_conformance_tests::faults::history::{Asked, History, Log};
use anyqueue_conformance_tests::faults::{Law, check};

/// The law that the name of a bad history begins with.
fn law(name: &str) -> Law {
    match name.split_once("__").expect("law__what").0 {
        "lost" => Law::Lost,
        "overlapping_leases" => Law::OverlappingLeases,
        "stale_write" => Law::StaleWrite,
        "doubled_completion" => Law::DoubledCompletion,
        "unexplained_start" => Law::UnexplainedStart,
        "unique_breach" => Law::UniqueBreach,
        "phantom" => Law::Phantom,
        "counter" => Law::Counter,
        other => panic!("{other} is no law"),
    }
}

fn histories(which: &str) -> Vec<(String, History)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/histories");
    let files = std::fs::read_dir(folder.join(which)).expect("the folder");
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.file_stem().expect("a name").to_string_lossy();
        let history = History::read([&path]).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!history.calls.is_empty(), "{name} is empty");
        (name.into_owned(), history)
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn bad_histories_are_rejected_by_the_right_law() {
    let mut laws = BTreeSet::new();
    for (name, history) in histories("bad") {
        let law = law(&name);
        laws.insert(law);
        let verdict = check(&history);
        assert!(verdict.count(law) > 0, "{name}: {:?}", verdict.breaches);
        assert!(verdict.report().contains(law.as_str()), "{name}");
    }
    assert_eq!(laws.len(), Law::ALL.len(), "a bad history for each law");
}

#[test]
fn what_is_shown_of_them_is_the_least_that_breaks_the_law() {
    for (name, history) in histories("bad") {
        let law = law(&name);
        let verdict = check(&history);
        let shown = &verdict.shortest(law).expect("rejected").history;
        assert!(shown.calls.len() <= history.calls.len());
        // What is printed is a history, and as bad as the whole.
        let printed = verdict.shortest(law).expect("rejected").to_string();
        let printed = History::parse(&printed).expect("lines of a history");
        assert_eq!(printed, *shown, "{name}");
        assert!(check(&printed).count(law) > 0, "{name}: {printed:?}");
        for without in 0..shown.calls.len() {
            let mut less = shown.clone();
            less.calls.remove(without);
            let found = check(&less).count(law);
            assert_eq!(found, 0, "{name}: without call {without} of {shown:?}");
        }
    }
}

#[test]
fn good_histories_are_accepted() {
    let good = histories("good");
    assert!(good.len() >= 20);
    for (name, history) in good {
        let verdict = check(&history);
        assert!(verdict.breaches.is_empty(), "{name}: {}", verdict.report());
    }
}

/// The same histories, told by other processes that know nothing of it, and in
/// the midst of other jobs: the judgement stays.
#[test]
fn other_jobs_change_no_judgement() {
    let all = histories("good").into_iter().chain(histories("bad"));
    let mut crowd = History::default();
    let mut expected = 0;
    for (at, (_, history)) in all.enumerate() {
        if history.rules != crowd.rules || history.drained.is_some() {
            continue;
        }
        expected += check(&history).breaches.len();
        let text = history.write(&(0..history.calls.len()).collect::<Vec<_>>());
        // Every job and key gets names of its own.
        let text = text.replace("\"job\":\"", &format!("\"job\":\"{at}"));
        let text = text.replace("existing\":\"", &format!("existing\":\"{at}"));
        let text = text.replace("\"key\":\"", &format!("\"key\":\"{at}"));
        let mut renamed = History::parse(&text).expect("lines of a history");
        for call in &mut renamed.calls {
            if let Asked::Cancel(ids) | Asked::Retry(ids) | Asked::Read(ids) = &mut call.asked {
                ids.iter_mut().for_each(|id| *id = format!("{at}{id}"));
            }
        }
        crowd.calls.append(&mut renamed.calls);
    }
    assert!(expected > 15);
    crowd.calls.sort_by_key(|call| call.began);
    assert_eq!(check(&crowd).breaches.len(), expected);
}

#[test]
fn a_killed_process_leaves_a_history_that_can_be_read() {
    let log = Log::in_memory(7);
    drop(log.begin(Asked::Claim { lease: 5 }));
    // Still under way when the process ends; its last line is cut off.
    let under_way = log.begin(Asked::Cancel(vec!["a".to_owned()]));
    let text = log.text() + "{\"begin\":{\"process\":7,\"ca";
    let history = History::parse(&text).expect("lines of a history");
    assert_eq!(history.calls.len(), 2);
    assert!(history.calls[0].ended.is_some() && history.calls[1].ended.is_none());
    assert_eq!(check(&history).unknown, 2);
    drop(under_way);
    let cut_off_early = text.replacen("\"process\":7", "\"proc", 1);
    assert!(
        History::parse(&cut_off_early).is_err(),
        "only the last line may be"
    );
}
