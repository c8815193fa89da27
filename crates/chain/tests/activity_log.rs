//! The activity log: what it holds after crashes at any point.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use twzrd_chain::activity::{LogConfig, NdjsonLog};
use twzrd_domain::chain::{Action, Activity, ActivityLog, Deed, Mark};

const ACTIVE: &str = "stream-events.ndjson";

fn activity(slot: u64, name: &str, actions: u32) -> Activity {
    let action = |index| Action {
        index,
        deed: Deed::Other,
        json: format!("{{\"slot\":{slot},\"signature\":\"{name}\",\"n\":{index}}}"),
    };
    Activity {
        mark: Mark {
            slot,
            signature: name.into(),
        },
        block_time: None,
        actions: (0..actions).map(action).collect(),
    }
}

/// Slots 1 to 6; some with several transactions, some of these with several lines or none.
fn chain() -> Vec<Activity> {
    vec![
        activity(1, "a", 1),
        activity(2, "b", 2),
        activity(2, "c", 0),
        activity(2, "d", 3),
        activity(3, "e", 1),
        activity(4, "f", 2),
        activity(4, "g", 1),
        activity(6, "h", 1),
    ]
}

fn config(folder: &Path, max_bytes: u64, kept: usize) -> LogConfig {
    LogConfig {
        folder: folder.to_owned(),
        max_bytes,
        kept,
    }
}

fn open(folder: &Path) -> NdjsonLog {
    NdjsonLog::new(config(folder, 1 << 20, 0))
}

/// The files of a log, the oldest first, the active one last.
fn files(folder: &Path) -> Vec<(String, String)> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    // The active one sorts behind the closed ones by a dot and a minus alone.
    names.sort_by_key(|name| name == ACTIVE);
    names
        .into_iter()
        .map(|name| (name.clone(), fs::read_to_string(folder.join(name)).unwrap()))
        .collect()
}

fn content(folder: &Path) -> String {
    files(folder)
        .into_iter()
        .map(|(_, content)| content)
        .collect()
}

async fn whole(all: &[Activity]) -> String {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).append(all, 7).await.unwrap();
    content(folder.path())
}

fn at() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn every_action_is_a_line_with_its_time_in_the_order_of_the_chain() {
    let text = whole(&chain()).await;
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let expected: Vec<&str> = vec!["a", "b", "b", "d", "d", "d", "e", "f", "f", "g", "h"];
    let found: Vec<&str> = lines
        .iter()
        .map(|line| line["signature"].as_str().unwrap())
        .collect();
    assert_eq!(found, expected);
    assert!(lines.iter().all(|line| line["timestamp"] == 7));
    assert!(text.starts_with("{\"timestamp\":7,\"slot\":1,\"signature\":\"a\",\"n\":0}\n"));
    assert!(text.ends_with('\n'));
}

#[tokio::test]
async fn a_crash_at_any_byte_loses_no_line_and_doubles_none() {
    let whole = whole(&chain()).await;
    for length in 0..=whole.len() {
        let folder = at();
        fs::write(folder.path().join(ACTIVE), &whole.as_bytes()[..length]).unwrap();
        open(folder.path()).append(&chain(), 7).await.unwrap();
        assert_eq!(content(folder.path()), whole, "cut at byte {length}");
    }
}

#[tokio::test]
async fn what_was_written_is_not_written_again_however_the_batches_fall() {
    let all = chain();
    let whole = whole(&all).await;
    for from in 0..all.len() {
        for to in from..=all.len() {
            let folder = at();
            let log = open(folder.path());
            log.append(&all[..to], 7).await.unwrap();
            // The store had only what is before `from`: first in this process, then in another.
            log.append(&all[from..to], 7).await.unwrap();
            drop(log);
            let log = open(folder.path());
            log.append(&all[from..(to + 1).min(all.len())], 7)
                .await
                .unwrap();
            log.append(&all[to..], 7).await.unwrap();
            assert_eq!(content(folder.path()), whole, "{from}..{to}");
        }
    }
}

#[tokio::test]
async fn files_rotate_between_slots_and_their_names_sort() {
    let folder = at();
    let log = NdjsonLog::new(config(folder.path(), 1, 0));
    log.append(&chain(), 7).await.unwrap();
    let files = files(folder.path());
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "stream-events-0000000001.ndjson",
            "stream-events-0000000002.ndjson",
            "stream-events-0000000003.ndjson",
            "stream-events-0000000004.ndjson",
            ACTIVE,
        ]
    );
    let lines: Vec<usize> = files
        .iter()
        .map(|(_, content)| content.lines().count())
        .collect();
    assert_eq!(lines, [1, 5, 1, 3, 1], "a slot is in one file");
    assert_eq!(content(folder.path()), whole(&chain()).await);
}

#[tokio::test]
async fn a_crash_at_any_point_of_a_rotation_loses_no_line_and_doubles_none() {
    let all = chain();
    let expected = whole(&all).await;
    let written: String = expected
        .lines()
        .take(7)
        .map(|line| format!("{line}\n"))
        .collect();
    let closed = "stream-events-0000000001.ndjson";
    // Before the rename; after it; and with the new file made, empty or with a torn line.
    for (active, torn) in [(false, ""), (true, ""), (true, "{\"timestamp\":7,\"sl")] {
        let folder = at();
        fs::write(folder.path().join(closed), &written).unwrap();
        if active {
            fs::write(folder.path().join(ACTIVE), torn).unwrap();
        }
        open(folder.path()).append(&all, 7).await.unwrap();
        assert_eq!(content(folder.path()), expected, "{active} {torn:?}");
        let files = files(folder.path());
        assert_eq!(files.len(), 2);
        assert_eq!(files[0], (closed.to_owned(), written.clone()));
    }
}

#[tokio::test]
async fn only_so_many_closed_files_are_kept() {
    let folder = at();
    fs::write(folder.path().join("stream-events-notes.ndjson"), "mine").unwrap();
    let log = NdjsonLog::new(config(folder.path(), 1, 2));
    for slot in 1..=9 {
        log.append(&[activity(slot, "x", 1)], 7).await.unwrap();
    }
    let names: Vec<String> = files(folder.path())
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(
        names,
        [
            "stream-events-0000000007.ndjson",
            "stream-events-0000000008.ndjson",
            "stream-events-notes.ndjson",
            ACTIVE,
        ]
    );
}

#[tokio::test]
async fn a_file_with_damage_in_its_middle_is_refused_by_name_and_byte_and_left_alone() {
    let whole = whole(&chain()).await;
    let damaged = whole.replacen("\"slot\":2", "\"slot\":x", 1);
    let folder = at();
    let path = folder.path().join(ACTIVE);
    fs::write(&path, &damaged).unwrap();
    let error = open(folder.path()).append(&chain(), 7).await.unwrap_err();
    let byte = whole.lines().next().unwrap().len() + 1;
    let expected = format!("{} has at byte {byte}", path.display());
    assert!(error.to_string().contains(&expected), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
}

#[tokio::test]
async fn a_log_that_failed_goes_on_where_its_files_end() {
    let folder = at();
    let log_folder = folder.path().join("log");
    // A file is where the folder should be.
    fs::write(&log_folder, "").unwrap();
    let log = NdjsonLog::new(config(&log_folder, 1 << 20, 0));
    let error = log.append(&chain()[..3], 7).await.unwrap_err();
    assert!(error.to_string().contains("log"), "{error}");
    fs::remove_file(&log_folder).unwrap();
    log.append(&chain()[..3], 7).await.unwrap();
    // An old file cannot be removed, right behind a rotation.
    let log = NdjsonLog::new(config(&log_folder, 300, 1));
    let blocked = log_folder.join("stream-events-0000000001.ndjson");
    fs::create_dir_all(blocked.join("x")).unwrap();
    let error = log.append(&chain(), 7).await.unwrap_err();
    assert!(error.to_string().contains("cannot remove"), "{error}");
    fs::remove_dir_all(&blocked).unwrap();
    log.append(&chain(), 7).await.unwrap();
    assert_eq!(files(&log_folder).len(), 2);
    assert_eq!(content(&log_folder), whole(&chain()).await);
}

#[tokio::test]
async fn a_line_that_would_break_the_file_is_refused_before_anything_is_written() {
    for json in ["{\"a\":\n1}", "[1]", "", "{\"a\":1", "{\"a\":1}\n"] {
        let folder = at();
        let mut broken = activity(5, "broken", 1);
        broken.actions[0].json = json.to_owned();
        let log = open(folder.path());
        let error = log
            .append(&[activity(4, "good", 1), broken], 7)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("broken"), "{error}");
        assert!(files(folder.path()).is_empty());
    }
}
