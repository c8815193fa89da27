//! The fuzz targets without libFuzzer: over their committed corpus, and over mutations of it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

/// What the targets know of the program.
mod program {
    pub(crate) use twzrd::settings;
}

#[path = "fuzz/mutate.rs"]
mod mutate;
#[path = "fuzz/seeds.rs"]
mod seeds;
#[path = "../fuzz/targets/mod.rs"]
mod targets;

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use mutate::Mutations;

/// The name under which an input is kept that `fuzz/seed` makes.
const MADE: &str = "seed-";

/// The most bytes of the whole corpus.
const MOST_BYTES: usize = 300_000;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The inputs of a target by name.
fn corpus(target: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(fuzz().join("corpus").join(target)).unwrap();
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read(entry.path()).unwrap())
    };
    entries.map(file).collect()
}

fn replay(target: &str, check: fn(&[u8]), mutations: u32) {
    let corpus = corpus(target);
    assert!(corpus.len() > 4, "{} inputs", corpus.len());
    for (name, input) in &corpus {
        held(target, check, input, name);
    }
    let inputs = corpus.into_values().collect();
    let mut mutations_of = Mutations::new(2026, inputs, seeds::tokens(target));
    for number in 0..mutations {
        held(
            target,
            check,
            &mutations_of.make(),
            &format!("mutation {number}"),
        );
    }
}

/// Runs a target, and keeps the input where it breaks a promise.
fn held(target: &str, check: fn(&[u8]), input: &[u8], name: &str) {
    if catch_unwind(AssertUnwindSafe(|| check(input))).is_err() {
        let kept = std::env::temp_dir().join(format!("twzrd-fuzz-{target}-broken"));
        fs::write(&kept, input).unwrap();
        panic!(
            "{target} does not hold for {name}, kept as {}",
            kept.display()
        );
    }
}

#[test]
fn lines_of_the_corpus_are_judged_within_bounds() {
    replay("line", targets::line::check, 4_000);
}

#[test]
fn segments_of_the_corpus_are_opened_or_refused() {
    replay("journal", targets::journal::check, 500);
}

#[test]
fn settings_of_the_corpus_hold_or_are_refused() {
    replay("settings", targets::settings::check, 300);
}

#[test]
fn proofs_of_the_corpus_prove_what_is_true() {
    replay("proof", targets::proof::check, 3_000);
}

/// With TWZRD_TEST_FUZZ_SEED set it writes them instead: see `fuzz/seed`.
#[test]
fn the_corpus_is_what_the_tests_make_of_it() {
    let writes = std::env::var_os("TWZRD_TEST_FUZZ_SEED").is_some();
    let mut bytes = 0;
    for target in seeds::TARGETS {
        let folder = fuzz().join("corpus").join(target);
        let seeds = seeds::of(target);
        let dictionary = fuzz().join("dictionaries").join(format!("{target}.dict"));
        let words = seeds::dictionary(target);
        if writes {
            fs::create_dir_all(&folder).unwrap();
            for name in corpus(target).keys().filter(|name| name.starts_with(MADE)) {
                fs::remove_file(folder.join(name)).unwrap();
            }
            for (name, bytes) in &seeds {
                fs::write(folder.join(format!("{MADE}{name}")), bytes).unwrap();
            }
            fs::create_dir_all(dictionary.parent().unwrap()).unwrap();
            fs::write(&dictionary, &words).unwrap();
        }
        let mut kept = corpus(target);
        bytes += kept.values().map(Vec::len).sum::<usize>();
        kept.retain(|name, _| name.starts_with(MADE));
        let names: Vec<String> = kept.keys().cloned().collect();
        let made = seeds
            .into_iter()
            .map(|(name, bytes)| (format!("{MADE}{name}"), bytes));
        let made: BTreeMap<_, _> = made.collect();
        assert_eq!(
            names,
            made.keys().cloned().collect::<Vec<_>>(),
            "run fuzz/seed"
        );
        for (name, bytes) in kept {
            assert!(
                bytes == made[&name],
                "{target}/{name} is stale: run fuzz/seed"
            );
        }
        let found = fs::read_to_string(&dictionary).unwrap_or_default();
        assert!(
            found == words,
            "the words of {target} are stale: run fuzz/seed"
        );
    }
    assert!(bytes <= MOST_BYTES, "{bytes} bytes");
}
