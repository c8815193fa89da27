//! Which schedules are played.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// How many are played where nobody says how many.
const SCHEDULES: u64 = 40;

/// Plays schedules, names the seed of one that fails, and gives what each came to.
pub(crate) fn play<T>(what: &str, found: &[u64], one: impl Fn(u64) -> T) -> Vec<T> {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse().expect("a number"))
    };
    let seeds: Vec<u64> = match number("TWZRD_CHAOS_SEED") {
        Some(seed) => vec![seed],
        None => {
            let from: u64 = number("TWZRD_CHAOS_FROM").unwrap_or(1);
            let many: u64 = number("TWZRD_CHAOS_SCHEDULES").unwrap_or(SCHEDULES);
            found.iter().copied().chain(from..from + many).collect()
        }
    };
    println!(
        "{what}: {} schedules, seeds {:?} to {:?}",
        seeds.len(),
        seeds.first(),
        seeds.last()
    );
    let mut ends = Vec::with_capacity(seeds.len());
    for seed in seeds {
        match catch_unwind(AssertUnwindSafe(|| one(seed))) {
            Ok(end) => ends.push(end),
            Err(panic) => {
                println!("{what}: the schedule of TWZRD_CHAOS_SEED={seed} fails");
                std::panic::resume_unwind(panic);
            }
        }
    }
    ends
}
