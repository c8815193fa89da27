//! What the janitor removes, and what it leaves.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use twzrd::clock::SystemClock;
use twzrd::janitor::Janitor;
use twzrd_actors::service::Service;
use twzrd_domain::epoch::Epoch;
use twzrd_domain::event::{Action, Event, MessageId};
use twzrd_domain::identity::{Channel, Name};
use twzrd_domain::ports::{JournalFolder, JournalWriter, SealStore, StoreError};
use twzrd_domain::record::{Append, Record, Seq};
use twzrd_domain::seal::{FrozenChannel, Participant};
use twzrd_domain::weight::Arithmetic;
use twzrd_journal::{Config, Folder};
use twzrd_testkit::fake::ManualClock;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// A store that has come so far, and has these epochs open.
struct Store {
    offset: Seq,
    open: Vec<Epoch>,
}

#[async_trait::async_trait]
impl SealStore for Store {
    async fn offset(&self) -> Result<Seq, StoreError> {
        Ok(self.offset)
    }
    async fn open_epochs(&self) -> Result<Vec<Epoch>, StoreError> {
        Ok(self.open.clone())
    }
    async fn unfrozen(&self) -> Result<Vec<(Epoch, u64)>, StoreError> {
        unreachable!("the janitor freezes nothing")
    }
    async fn arithmetic(&self) -> Result<Option<Arithmetic>, StoreError> {
        unreachable!("the janitor freezes nothing")
    }
    async fn channels_to_freeze(&self, _: Epoch) -> Result<Vec<(Channel, u64)>, StoreError> {
        unreachable!("the janitor freezes nothing")
    }
    async fn participants(
        &self,
        _: Epoch,
        _: &[Channel],
    ) -> Result<Vec<Vec<Participant>>, StoreError> {
        unreachable!("the janitor freezes nothing")
    }
    async fn freeze(&self, _: &[FrozenChannel]) -> Result<(), StoreError> {
        unreachable!("the janitor freezes nothing")
    }
    async fn finish_freeze(&self, _: Epoch, _: u64) -> Result<(), StoreError> {
        unreachable!("the janitor freezes nothing")
    }
}

/// A journal of three hours, from the tenth on, with a segment for each.
async fn journal(path: &Path) -> (Arc<Folder>, Box<dyn JournalWriter>) {
    let mut config = Config::new(path, Arc::new(SystemClock));
    config.segment_bytes = 1000;
    let folder = Folder::new(config);
    let writer = folder.open().await.unwrap();
    for hour in 10..13 {
        let event = |n: u64| {
            let ts = hour * HOUR_MS + n;
            let event = Event {
                id: MessageId::parse(&format!("id-{ts}")),
                channel: Name::parse("forsen").unwrap(),
                ts,
                login: Name::parse("somebody").unwrap(),
                user_id: None,
                action: Action::Message { bits: 0 },
                text: None,
            };
            (ts, Record::Event(event))
        };
        let append = Append::Records {
            progress: None,
            records: (0..10).map(event).collect(),
        };
        writer.append(append).await.unwrap();
    }
    folder.wait_kept().await;
    // The writer's thread begins the next segment behind its answer to the last append.
    for _ in 0..10_000 {
        if folder.segments().len() == 4 {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(folder.segments(), [1, 11, 21, 31]);
    (Arc::new(folder), writer)
}

/// The segments that are left after the janitor has worked for a while.
async fn left(offset: Seq, open: &[u64], now: u64, keep_ms: Option<u64>) -> Vec<Seq> {
    let dir = tempfile::tempdir().unwrap();
    let (folder, _writer) = journal(dir.path()).await;
    let open = open.iter().map(|&epoch| Epoch(epoch)).collect();
    let janitor = Janitor {
        folder: Arc::clone(&folder),
        store: Arc::new(Store { offset, open }),
        clock: Arc::new(ManualClock::at(now)),
        every: Duration::from_secs(3600),
        keep_ms,
    };
    let stop = CancellationToken::new();
    // Time that stands still goes on only once the first round is over and waits for the second.
    let working = janitor.run(stop.clone());
    let _ = tokio::time::timeout(Duration::from_secs(1), working).await;
    folder.segments()
}

#[tokio::test(start_paused = true)]
async fn a_segment_goes_once_it_is_applied_sealed_and_old() {
    let late = 13 * HOUR_MS + DAY_MS;
    assert_eq!(left(30, &[], late, Some(DAY_MS)).await, [21, 31]);
    assert_eq!(left(30, &[], late + HOUR_MS, Some(HOUR_MS)).await, [21, 31]);
}

#[tokio::test(start_paused = true)]
async fn what_is_young_not_applied_or_of_an_open_epoch_stays() {
    let all = [1, 11, 21, 31];
    let late = 13 * HOUR_MS + DAY_MS;
    assert_eq!(left(30, &[], late, None).await, all, "kept for ever");
    assert_eq!(
        left(30, &[], 13 * HOUR_MS, Some(DAY_MS)).await,
        all,
        "young"
    );
    assert_eq!(left(0, &[], late, Some(DAY_MS)).await, all, "not applied");
    assert_eq!(
        left(15, &[], late, Some(DAY_MS)).await,
        [11, 21, 31],
        "applied in part"
    );
    assert_eq!(left(30, &[36_000], late, Some(DAY_MS)).await, all, "open");
    assert_eq!(
        left(30, &[12 * 3600], late, Some(DAY_MS)).await,
        [11, 21, 31],
        "open later"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_heard_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, _writer) = journal(dir.path()).await;
    let janitor = Janitor {
        folder,
        store: Arc::new(Store {
            offset: 0,
            open: Vec::new(),
        }),
        clock: Arc::new(ManualClock::at(0)),
        every: Duration::from_secs(3600),
        keep_ms: Some(1),
    };
    let stop = CancellationToken::new();
    stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(20), janitor.run(stop));
    ended.await.expect("it ends").unwrap();
}
