//! Trees and proofs in a second on one core, beside plain merkle_light over the same leaves.
//!
//! What the domain's tree does more is to look for a leaf that stands twice, to verify each proof
//! that it gives out, and, where asked, to verify all of them at once. The plain tree hashes pairs
//! by the same function.
//!
//! `cargo bench -p twzrd-domain --bench trees` prints a table; without `--bench` each row runs once
//! over a small tree, to see that it does run.
#![allow(clippy::disallowed_methods, reason = "a bench measures real time")]
#![allow(clippy::print_stdout, clippy::expect_used, clippy::cast_precision_loss)]

use std::hash::Hasher;
use std::hint::black_box;
use std::time::Duration;

use merkle_light::hash::Algorithm;
use tokio::time::Instant;
use twzrd_domain::identity::{Wallet, keccak256};
use twzrd_domain::leaf;
use twzrd_domain::merkle::{MerkleTree, parent};

type PlainTree = merkle_light::merkle::MerkleTree<[u8; 32], SortedPairs>;

/// Leaves of a tree, and how often each row is run.
const SIZES: [(u32, usize); 2] = [(8_192, 101), (1_000_000, 9)];

/// How many leaves, spread over the tree, are proven in one run.
const PROOFS: usize = 8_000;

/// The hashing of the domain's tree, for the plain one.
#[derive(Clone, Default)]
struct SortedPairs;

impl Hasher for SortedPairs {
    fn finish(&self) -> u64 {
        0
    }
    fn write(&mut self, _: &[u8]) {}
}

impl Algorithm<[u8; 32]> for SortedPairs {
    fn hash(&mut self) -> [u8; 32] {
        [0; 32]
    }
    fn reset(&mut self) {}
    fn leaf(&mut self, leaf: [u8; 32]) -> [u8; 32] {
        leaf
    }
    fn node(&mut self, left: [u8; 32], right: [u8; 32]) -> [u8; 32] {
        parent(&left, &right)
    }
}

fn main() {
    let is_bench = std::env::args().any(|arg| arg == "--bench");
    let sizes = if is_bench { &SIZES[..] } else { &[(1_000, 1)] };
    for &(leaves, runs) in sizes {
        measure(leaves, runs);
    }
}

fn measure(leaves: u32, runs: usize) {
    println!(
        "\n{:<40}{:>10}{:>10}{:>12}{:>9}",
        format!("{leaves} claim leaves"),
        "median ms",
        "least ms",
        "per second",
        "of plain"
    );
    let hash_leaves = || (0..leaves).map(claim_leaf).collect::<Vec<_>>();
    let times = time(runs, || (), |()| hash_leaves());
    let hashed = hash_leaves();
    row("leaves: hashed", hashed.len(), &times, None);
    trees(&hashed, runs);
    proofs(&hashed, runs);
}

fn trees(leaves: &[[u8; 32]], runs: usize) {
    let copy = || leaves.to_vec();
    let plain = time(runs, copy, PlainTree::new);
    row("tree: plain merkle_light", leaves.len(), &plain, None);
    let build = |leaves| MerkleTree::new(leaves).expect("distinct leaves");
    let times = time(runs, copy, build);
    row("tree: built", leaves.len(), &times, Some(&plain));
    let build_and_verify = |leaves| {
        let tree = build(leaves);
        tree.verify_all_proofs().expect("a tree of sound nodes");
        tree
    };
    let times = time(runs, copy, build_and_verify);
    let name = "tree: built, all proofs verified";
    row(name, leaves.len(), &times, Some(&plain));
}

fn proofs(leaves: &[[u8; 32]], runs: usize) {
    let indices = spread(leaves.len());
    let tree = MerkleTree::new(leaves.to_vec()).expect("distinct leaves");
    let plain_tree = PlainTree::new(leaves.to_vec());
    assert_eq!(tree.root(), plain_tree.root());
    let prove_plainly = |()| {
        for &index in &indices {
            let proof = black_box(plain_tree.gen_proof(index));
            assert!(proof.validate::<SortedPairs>());
        }
    };
    let plain = time(runs, || (), prove_plainly);
    let name = "proofs: plain merkle_light, validated";
    row(name, indices.len(), &plain, None);
    let prove = |()| {
        for &index in &indices {
            black_box(tree.proof(index).expect("a leaf of the tree"));
        }
    };
    let times = time(runs, || (), prove);
    row("proofs: verified", indices.len(), &times, Some(&plain));
}

/// Prints a row of the table: the rate, and its share of the plain library's where there is one.
fn row(name: &str, done: usize, times: &Times, plain: Option<&Times>) {
    let median = times.median.as_secs_f64();
    let share = plain.map(|plain| 100.0 * plain.median.as_secs_f64() / median);
    println!(
        "{name:<40}{:>10.2}{:>10.2}{:>12.0}{:>9}",
        median * 1e3,
        times.least.as_secs_f64() * 1e3,
        done as f64 / median,
        share.map_or_else(String::new, |share| format!("{share:.0}%")),
    );
}

/// The leaf of one of many claimers, with an id as long as is usual.
fn claim_leaf(index: u32) -> [u8; 32] {
    let claimer = Wallet(keccak256(&[&index.to_le_bytes()]));
    let id = format!("twitch:channel_0042:user_{index:06}");
    leaf::claim(claimer, index, 80_000_000_000, &id)
}

/// Indices all over a tree, in no order that a cache could foresee.
fn spread(leaves: usize) -> Vec<usize> {
    // A prime step visits every leaf of a tree whose size it does not divide.
    (0..PROOFS.min(leaves))
        .map(|n| n * 611_953 % leaves)
        .collect()
}

struct Times {
    median: Duration,
    least: Duration,
}

/// Times the work alone: neither what prepares it nor the drop of what it gives.
fn time<I, O>(runs: usize, prepare: impl Fn() -> I, work: impl Fn(I) -> O) -> Times {
    let mut times: Vec<Duration> = (0..runs)
        .map(|_| {
            let input = black_box(prepare());
            let begun = Instant::now();
            let output = black_box(work(input));
            let took = begun.elapsed();
            drop(output);
            took
        })
        .collect();
    times.sort();
    Times {
        median: times[times.len() / 2],
        least: times[0],
    }
}
