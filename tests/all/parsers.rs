//! Every parser of foreign texts: seeds, texts made from them and from words, and texts made to hurt.
//!
//! The parsers and what must hold of them are in `testkit/src/parsers`; the seeds in `fuzz/corpus` are
//! those that cargo-fuzz starts from (`scripts/fuzz`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use testkit::parsers::{Entry, all};
use testkit::programs::built;
use testkit::torture::{rounds, tally};

/// Texts for each parser in a round.
const CASES: u32 = 200;

fn directory(entry: &Entry) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(entry.name)
}

/// The seeds by their files' names.
fn seeds(entry: &Entry) -> BTreeMap<String, Vec<u8>> {
    let directory = directory(entry);
    let files =
        std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    files
        .map(|file| file.expect("a file"))
        .map(|file| {
            (file.file_name().to_string_lossy().into_owned(), std::fs::read(file.path()).expect("a seed"))
        })
        .collect()
}

// invariant parsers: What is accepted of a foreign text is safe and comes back the same; broken by:
//   `crates/model/src/reference.rs`: a port is whatever Rust reads as a number; `src/release/notes.rs`: the
//   first start counts, not the nearest
#[test]
fn seeds_hold() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let directories: BTreeSet<String> = std::fs::read_dir(corpus)
        .expect("the corpus")
        .map(|directory| directory.expect("a directory").file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(
        directories,
        all().map(|entry| entry.name.to_owned()).collect(),
        "a directory for each parser"
    );
    for entry in all() {
        let seeds = seeds(entry);
        assert!(seeds.len() >= 3, "{}: a few seeds", entry.name);
        for (name, seed) in seeds {
            println!("{}: {name}", entry.name);
            (entry.check)(&seed);
        }
    }
}

#[test]
fn no_text_breaks_a_parser() {
    // All of them are tried before the test fails, so that one run shows everything.
    let mut broken = Vec::new();
    for seed in rounds("fuzzing", 2) {
        for entry in all() {
            match try_out(entry, seed) {
                Ok(()) => tally("fuzzing: texts in property tests", u64::from(CASES)),
                Err(TestError::Fail(why, text)) => {
                    let shown = String::from_utf8_lossy(&text).into_owned();
                    broken.push(format!("{}, seed {seed}: {why}\n{shown:?}\n{text:?}", entry.name));
                }
                Err(other) => broken.push(format!("{}, seed {seed}: {other}", entry.name)),
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
}

/// So many texts; the shortest one that breaks the parser, if there is any.
fn try_out(entry: &'static Entry, seed: u64) -> Result<(), TestError<Vec<u8>>> {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    runner.run(&texts(entry), |text| {
        (entry.check)(&text);
        Ok(())
    })
}

// invariant parsers: A short text needs no large memory; broken by:
//   `crates/receiver/src/config/app_file/reading/quantity.rs`: a size is allocated when it is read
/// A short text that says how much is to come must not be believed. The texts go to a program of their own,
/// which has no more memory than that.
#[test]
fn no_short_text_needs_much_memory() {
    let directory = tempfile::tempdir().expect("a directory");
    for seed in rounds("fuzzing, memory", 1) {
        let mut runner = TestRunner::new_with_rng(
            Config::default(),
            TestRng::from_seed(RngAlgorithm::ChaCha, &[seed.to_le_bytes(); 4].concat()),
        );
        for entry in all() {
            let strategy = texts(entry);
            let paths: Vec<PathBuf> = (0..CASES)
                .map(|case| {
                    let path = directory.path().join(case.to_string());
                    let text = strategy.new_tree(&mut runner).expect("a text").current();
                    std::fs::write(&path, text).expect("a file");
                    path
                })
                .collect();
            let output =
                Command::new(built("parsers")).arg(entry.name).args(&paths).output().expect("it runs");
            let last = String::from_utf8_lossy(&output.stdout).lines().last().map(ToOwned::to_owned);
            let text =
                last.as_deref().and_then(|line| line.split_once(": ")).map(|(_, path)| std::fs::read(path));
            assert!(
                output.status.success(),
                "{}, seed {seed}: {text:?}: {}",
                entry.name,
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
}

/// A change of a text, at a place.
#[derive(Debug, Clone)]
enum Edit {
    Insert(&'static str),
    Byte(u8),
    Remove(usize),
    /// The part that begins there, once more.
    Double(usize),
    Cut,
}

/// Seeds with some changes, words of the grammar in a row, and bytes.
fn texts(entry: &'static Entry) -> BoxedStrategy<Vec<u8>> {
    let seeds: Vec<Vec<u8>> = seeds(entry).into_values().collect();
    let edit = prop_oneof![
        4 => select(entry.words).prop_map(Edit::Insert),
        2 => any::<u8>().prop_map(Edit::Byte),
        2 => (1..20_usize).prop_map(Edit::Remove),
        2 => (1..40_usize).prop_map(Edit::Double),
        1 => Just(Edit::Cut),
    ];
    let edits = proptest::collection::vec((any::<Index>(), edit), 0..6);
    let changed = (select(seeds), edits).prop_map(|(seed, edits)| edits.into_iter().fold(seed, changed));
    let words =
        proptest::collection::vec(select(entry.words), 0..40).prop_map(|words| words.concat().into_bytes());
    let bytes = proptest::collection::vec(any::<u8>(), 0..200);
    prop_oneof![5 => changed, 4 => words, 1 => bytes].boxed()
}

fn changed(mut text: Vec<u8>, (place, edit): (Index, Edit)) -> Vec<u8> {
    let at = place.index(text.len() + 1);
    let end = |length: usize| (at + length).min(text.len());
    match edit {
        Edit::Insert(word) => drop(text.splice(at..at, word.bytes())),
        Edit::Byte(byte) => drop(text.splice(at..end(1), [byte])),
        Edit::Remove(length) => drop(text.drain(at..end(length))),
        Edit::Double(length) => {
            let part = text[at..end(length)].to_vec();
            text.splice(at..at, part);
        }
        Edit::Cut => text.truncate(at),
    }
    text
}

// invariant parsers: A foreign text costs what it is long; broken by:
//   `crates/receiver/src/config/app_file/reading/reader.rs`: a place is looked for for every fault;
//   `crates/build-context/src/dockerfile/mod.rs`: each instruction holds its stage's name
/// Ten times the text may take ten times the time and memory, not a hundred times.
#[test]
fn large_texts_cost_what_they_are_long() {
    let output = Command::new(built("parsers")).arg("measure").output().expect("the program runs");
    let reported = String::from_utf8_lossy(&output.stdout);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "after {:?}: {words}", reported.lines().last());
    let mut costs: BTreeMap<(&str, &str), Vec<[u64; 3]>> = BTreeMap::new();
    for line in reported.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let numbers = [2, 3, 4].map(|at: usize| fields[at].parse().expect("a number"));
        costs.entry((fields[0], fields[1])).or_default().push(numbers);
    }
    assert!(costs.len() > 100, "{} texts were measured", costs.len());
    for ((name, number), costs) in costs {
        let [[_, _, before], [length, memory, after]] = costs[..] else {
            panic!("{name} {number}: {costs:?}")
        };
        assert!(memory <= 60 * length + (16 << 20), "{name} {number}: {memory} bytes for {length}");
        // Grows a hundredfold where the work is quadratic. The clock has steps of 10 ms.
        assert!(
            after <= 30 * before + 250,
            "{name} {number}: {before} ms, and {after} ms for ten times as much"
        );
    }
}
