//! Two processes on one folder, and a process that is killed.
//!
//! The second process is this test binary, which is told by its environment what to be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use common::{batch, closed, config, folder, ids, read_all, scratch};
use futures::future::join_all;
use twzrd_domain::ports::{JournalError, JournalFolder};
use twzrd_journal::{Config, Folder};

const FOLDER: &str = "TWZRD_JOURNAL_TEST_FOLDER";

/// Starts the second process, which opens the folder and appends until it is killed.
fn second(path: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "appends_until_it_is_killed",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env(FOLDER, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

/// The acknowledged batches that the second process tells, one each line: source and end.
fn acknowledged(line: &str) -> Option<(String, u64)> {
    let (source, upto) = line.strip_prefix("ack ")?.split_once(' ')?;
    Some((source.to_owned(), upto.parse().ok()?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it is the second process of the other tests"]
#[allow(clippy::print_stdout)]
async fn appends_until_it_is_killed() {
    let Some(path) = std::env::var_os(FOLDER) else {
        return;
    };
    let journal = Folder::new(Config {
        segment_bytes: 20_000,
        ..config(path.as_ref())
    });
    let writer = Arc::new(journal.open().await.unwrap());
    let source = |name: &'static str, base: u64| {
        let writer = Arc::clone(&writer);
        async move {
            for n in (0..).step_by(3) {
                writer
                    .append(batch(name, base + n, base + n + 3))
                    .await
                    .unwrap();
                // One write, so that a kill tears no line from another.
                println!("ack {name} {}", base + n + 3);
            }
        }
    };
    join_all([
        source("a", 1_000_000),
        source("b", 2_000_000),
        source("c", 3_000_000),
    ])
    .await;
}

#[tokio::test]
async fn the_second_process_is_refused_by_the_name_of_the_first() {
    let dir = scratch();
    let (mut child, mut output) = second(dir.path());
    let mut line = String::new();
    while acknowledged(line.trim_end()).is_none() {
        line.clear();
        assert!(
            output.read_line(&mut line).unwrap() > 0,
            "it must have opened the folder"
        );
    }
    let error = folder(dir.path()).open().await.err().unwrap();
    let JournalError::Locked {
        folder: place,
        holder,
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(*place, dir.path().display().to_string());
    let expected = format!("process {} on ", child.id());
    assert!(holder.starts_with(&expected), "{holder}");
    assert!(holder.ends_with(" since 2023-11-14T22:13:20Z"), "{holder}");
    assert!(error.is_transient());
    child.kill().unwrap();
    child.wait().unwrap();
    folder(dir.path()).open().await.unwrap();
}

#[tokio::test]
async fn everything_that_was_answered_is_there_after_kill_9() {
    let dir = scratch();
    let mut all = std::collections::BTreeMap::new();
    for round in 1..=4 {
        let (mut child, mut output) = second(dir.path());
        let mut acks = 0;
        let mut line = String::new();
        let mut killed = false;
        loop {
            line.clear();
            if output.read_line(&mut line).unwrap() == 0 {
                break;
            }
            if let Some((source, upto)) = acknowledged(line.trim_end()) {
                let best: &mut u64 = all.entry(source).or_default();
                *best = upto.max(*best);
                acks += 1;
            }
            // What it had told before it was killed still comes.
            if acks >= 150 * round && !killed {
                child.kill().unwrap();
                killed = true;
            }
        }
        child.wait().unwrap();
        let journal = folder(dir.path());
        let writer = journal.open().await.unwrap();
        let sources = writer.memory().await.unwrap().sources;
        let entries = read_all(&journal, 100).await;
        assert!(entries.iter().zip(1..).all(|(entry, seq)| entry.seq == seq));
        let ids = ids(&entries);
        for (source, upto) in &all {
            let known = sources
                .iter()
                .find(|it| it.source == source.as_str())
                .unwrap();
            assert!(
                known.upto >= *upto,
                "round {round}: {source} {upto}, found {}",
                known.upto
            );
            let base = upto / 1_000_000 * 1_000_000;
            let prefix = format!("message-{}", base / 1_000_000);
            let found = ids.iter().filter(|id| id.starts_with(&prefix)).count() as u64;
            assert_eq!(found, known.upto - base, "each event once, round {round}");
        }
        drop(writer);
        closed(dir.path()).await;
    }
    assert_eq!(all.len(), 3);
}
