//! Every target's seeds, and random bytes: on any toolchain, at every run.

#![allow(
    clippy::print_stdout,
    reason = "says which seed it was, where one fails"
)]

use std::path::{Path, PathBuf};

use anyqueue_fuzz_bodies::TARGETS;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

fn folder(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(of)
}

fn names(of: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder(of)).expect("the folder is there");
    let names = entries.map(|entry| entry.expect("an entry").path());
    let mut names: Vec<String> = names
        .map(|path| {
            path.file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

#[test]
fn every_target_has_a_program_and_seeds() {
    let mut known: Vec<_> = TARGETS
        .iter()
        .map(|target| target.name.to_owned())
        .collect();
    known.sort();
    assert_eq!(names("fuzz_targets"), known);
    assert_eq!(names("seeds"), known);
}

#[test]
fn seeds_find_nothing() {
    for target in TARGETS {
        let folder = folder("seeds").join(target.name);
        let seeds: Vec<_> = std::fs::read_dir(folder).expect("seeds").collect();
        assert!(!seeds.is_empty(), "{} has no seed", target.name);
        for seed in seeds {
            let path = seed.expect("an entry").path();
            println!("{}", path.display());
            (target.body)(&std::fs::read(&path).expect("a seed"));
        }
    }
}

/// Random bytes, and seeds with some bytes changed: what a fuzzer does first.
#[test]
fn random_bytes_find_nothing() {
    let config = ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    for target in TARGETS {
        let folder = folder("seeds").join(target.name);
        let seeds = std::fs::read_dir(folder).expect("seeds");
        let seeds: Vec<Vec<u8>> = seeds
            .map(|seed| std::fs::read(seed.expect("an entry").path()).expect("a seed"))
            .collect();
        let changed = (
            proptest::sample::select(seeds),
            proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        );
        let changed = changed.prop_map(|(mut seed, changes)| {
            for (at, byte) in changes {
                if !seed.is_empty() {
                    let at = at.index(seed.len());
                    seed[at] = byte;
                }
            }
            seed
        });
        let random = proptest::collection::vec(any::<u8>(), 0..300);
        let bytes = prop_oneof![3 => changed, 1 => random];
        let mut runner = TestRunner::new(config.clone());
        let found = runner.run(&bytes, |bytes| {
            (target.body)(&bytes);
            Ok(())
        });
        if let Err(found) = found {
            panic!("{}: {found}", target.name);
        }
    }
}
