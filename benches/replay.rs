//! Lines a second through the whole process, and the memory that it takes.
//!
//! Each row is the real program: it starts, makes its database, replays a file of generated lines
//! into an empty folder, seals, builds the trees, prints, and stops; all of that is in the time.
//! The baseline reads the same file and only judges its lines, on one core. Where the machine has
//! other work too, processor time a line is steadier than lines a second; neither it nor the memory
//! includes the server of Postgres.
//!
//! `cargo bench --bench replay -- [LINES]…`; without `--bench` a few lines, to see that it runs.
//! `BENCH_FOLDER` names the disk, else the folder for temporary files. A server named by
//! `TWZRD_TEST_POSTGRES_URL` is measured too.
#![allow(clippy::disallowed_methods, reason = "a bench measures real time")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    missing_docs
)]

use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead, BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;
use twzrd_simulator::traffic::{Profile, Traffic};
use twzrd_testkit::postgres::{Postgres, SERVER_URL};
use twzrd_twitch::line::{Arrival, read};

/// How many lines there are in a file. The process remembers the ids of a million messages, so
/// its memory may grow up to the second size and not from there to the third.
const LINES: [u64; 3] = [200_000, 1_000_000, 3_000_000];

/// How often a file is replayed: more often the shorter it is.
const RUNS: [(u64, usize); 2] = [(500_000, 5), (2_000_000, 3)];

/// How often the program is looked at. The kernel keeps the peak of its memory and the sum of its
/// processor time, so only what comes in the last moment before its end can be missed.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The unit in which Linux tells processor time, in a second.
const TICKS: f64 = 100.0;

fn main() {
    let is_bench = std::env::args().any(|arg| arg == "--bench");
    let given = std::env::args().filter_map(|arg| arg.parse().ok());
    let sizes: Vec<u64> = match given.collect::<Vec<_>>() {
        _ if !is_bench => vec![1_000],
        given if given.is_empty() => LINES.to_vec(),
        given => given,
    };
    let disk = std::env::var_os("BENCH_FOLDER").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(disk).unwrap();
    let has_postgres = std::env::var_os(SERVER_URL).is_some_and(|url| !url.is_empty());
    let head = [
        "median s",
        "lines/s",
        "best/s",
        "of base",
        "CPU µs/line",
        "peak MiB",
    ];
    let [median, rate, best, share, cpu, peak] = head;
    println!(
        "{:<26}{:>9}{median:>10}{rate:>11}{best:>11}{share:>9}{cpu:>13}{peak:>10}",
        "", "lines"
    );
    for lines in sizes {
        let file = folder.path().join("lines.irc");
        let profile = Profile {
            lines,
            ..Profile::default()
        };
        let out = BufWriter::new(File::create(&file).unwrap());
        assert_eq!(Traffic::new(profile).write_to(out, lines).unwrap(), lines);
        let runs = RUNS
            .iter()
            .find(|(most, _)| is_bench && lines <= *most)
            .map_or(1, |(_, runs)| *runs);
        let measure = |work: &mut dyn FnMut() -> Run| -> Vec<Run> {
            let mut measured: Vec<Run> = (0..runs).map(|_| work()).collect();
            measured.sort_by_key(|run| run.took);
            measured
        };
        let base = measure(&mut || only_judge(&file, lines));
        row("read and judge, one core", lines, &base, &base);
        let sqlite = measure(&mut || replay(&file, lines, folder.path(), None));
        row("replay on SQLite", lines, &sqlite, &base);
        if has_postgres {
            let postgres = measure(&mut || {
                let database = Postgres::start().unwrap();
                replay(&file, lines, folder.path(), Some(&database.url()))
            });
            row("replay on Postgres", lines, &postgres, &base);
        }
    }
}

/// One measured run.
struct Run {
    took: Duration,
    /// What the process used of all processors together.
    cpu_seconds: f64,
    peak_kib: Option<u64>,
}

/// Prints a row of the table from runs in order of their time.
fn row(name: &str, lines: u64, runs: &[Run], base: &[Run]) {
    let rate = |run: &Run| lines as f64 / run.took.as_secs_f64();
    let median = &runs[runs.len() / 2];
    let peak = runs.iter().filter_map(|run| run.peak_kib).max();
    let peak = peak.map_or_else(String::new, |kib| format!("{:.0}", kib as f64 / 1024.0));
    println!(
        "{name:<26}{lines:>9}{:>10.2}{:>11.0}{:>11.0}{:>8.1}%{:>13.2}{peak:>10}",
        median.took.as_secs_f64(),
        rate(median),
        rate(&runs[0]),
        100.0 * rate(median) / rate(&base[base.len() / 2]),
        1e6 * median.cpu_seconds / lines as f64,
    );
}

fn only_judge(file: &Path, lines: u64) -> Run {
    let cpu_before = cpu_seconds("self").unwrap();
    let begun = Instant::now();
    let mut input = BufReader::with_capacity(1 << 16, File::open(file).unwrap());
    let (mut line, mut judged) = (Vec::new(), 0);
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line).unwrap() == 0 {
            break;
        }
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        black_box(read(black_box(line), Arrival::Recorded, false));
        judged += 1;
    }
    assert_eq!(judged, lines);
    Run {
        took: begun.elapsed(),
        cpu_seconds: cpu_seconds("self").unwrap() - cpu_before,
        peak_kib: None,
    }
}

/// Replays the file into an empty folder and an empty database.
fn replay(file: &Path, lines: u64, folder: &Path, database_url: Option<&str>) -> Run {
    let data = tempfile::tempdir_in(folder).unwrap();
    let printed = data.path().join("printed");
    let mut command = Command::new(env!("CARGO_BIN_EXE_twzrd"));
    command
        .current_dir(data.path())
        .args(["replay", "--json", "--log-level", "error", "--data"])
        .args([&data.path().join("data"), file])
        .env_remove("DATABASE_URL")
        .stdin(Stdio::null())
        .stdout(File::create(&printed).unwrap());
    if let Some(url) = database_url {
        command.env("DATABASE_URL", url);
    }
    let begun = Instant::now();
    let run = watch(command.spawn().unwrap(), begun);
    let printed = std::fs::read_to_string(printed).unwrap();
    let received = format!("\"received\":{lines},");
    assert!(printed.contains(&received), "not all lines: {printed}");
    run
}

/// Waits until a program has ended well, and keeps what it used.
fn watch(mut child: Child, begun: Instant) -> Run {
    let pid = child.id().to_string();
    let (mut cpu, mut peak_kib) = (0.0, None);
    loop {
        let ended = child.try_wait().unwrap();
        let took = begun.elapsed();
        if let Some(ended) = ended {
            assert!(ended.success(), "replay ended with {ended}");
            return Run {
                took,
                cpu_seconds: cpu,
                peak_kib,
            };
        }
        // A program that has just ended shows no memory; what was seen before it stands.
        cpu = cpu_seconds(&pid).unwrap_or(cpu);
        peak_kib = peak_kib_of(&pid).or(peak_kib);
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The processor time that a process has used, its own and the kernel's for it.
fn cpu_seconds(pid: &str) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything. Behind it stand eleven fields, and then these two.
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}

/// The peak of a process's resident memory.
fn peak_kib_of(pid: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
