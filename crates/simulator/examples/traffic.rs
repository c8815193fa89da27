//! Writes seeded Twitch traffic to standard output: `traffic [LINES] [SEED]`.

use std::io::{self, BufWriter};

use twzrd_simulator::traffic::{Profile, Traffic};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let lines = numbers.next().transpose()?.unwrap_or(100_000);
    let seed = numbers.next().transpose()?.unwrap_or(1);
    let profile = Profile {
        seed,
        lines,
        ..Profile::default()
    };
    Traffic::new(profile).write_to(BufWriter::new(io::stdout().lock()), lines)?;
    Ok(())
}
