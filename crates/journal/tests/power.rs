//! The power goes behind every operation on the files: what was answered is there, once and in order,
//! and the journal goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(
    clippy::print_stdout,
    reason = "figures of the run, for docs/reliability.md"
)]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{
    batch, closed, config, every_kind, folder, ids, message_ids, planted, progress, scratch,
    segment, settled, single, written,
};
use futures::future::join_all;
use twzrd_domain::batch::Position;
use twzrd_domain::ports::{JournalError, JournalFolder, JournalWriter};
use twzrd_domain::record::{Accepted, Append, Entry, Record, Seq};
use twzrd_journal::testing::{RecordingStorage, Trace};
use twzrd_journal::{Config, Folder};

/// Images, where `TWZRD_TEST_POWER_IMAGES` does not say otherwise.
const IMAGES: usize = 1500;
/// So many appends that were not answered are offered again to most images; all to some.
const OFFERED_AGAIN: usize = 4;

fn images() -> usize {
    let wanted = std::env::var("TWZRD_TEST_POWER_IMAGES").ok();
    wanted.map_or(IMAGES, |number| number.parse().unwrap())
}

/// Small segments, so that they are closed, compressed and removed often.
fn small(path: &Path) -> Config {
    Config {
        segment_bytes: 5_000,
        ..config(path)
    }
}

/// An append, and how many operations were done when it was answered.
struct Offer {
    append: Append,
    last: Seq,
    answered: usize,
}

/// A run without a fault, and all that was done to files in it.
struct Work {
    trace: Trace,
    /// In the order in which the journal has them.
    offers: Vec<Offer>,
    /// All records that there ever were.
    entries: Vec<Entry>,
    /// Before which record segments were to be removed, from which operation on.
    removed: Vec<(usize, Seq)>,
}

/// The writer's side of a run.
struct Run {
    path: tempfile::TempDir,
    storage: RecordingStorage,
    journal: Folder,
    writer: Option<Box<dyn JournalWriter>>,
    offers: Vec<Offer>,
    entries: Vec<Entry>,
    removed: Vec<(usize, Seq)>,
    next: u64,
}

impl Run {
    async fn begin() -> Self {
        // On a disk, where a sync takes its time: an answer that comes before it shows.
        let path = tempfile::tempdir().unwrap();
        let storage = RecordingStorage::of(path.path()).unwrap();
        let journal = Folder::with_storage(small(path.path()), Arc::new(storage.clone()));
        let writer = Some(journal.open().await.unwrap());
        Self {
            path,
            storage,
            journal,
            writer,
            offers: Vec::new(),
            entries: Vec::new(),
            removed: Vec::new(),
            next: 0,
        }
    }

    fn intake(&mut self, source: &str, size: u64) -> Append {
        let from = self.next;
        self.next += size;
        batch(source, from, self.next)
    }

    /// Offers appends at the same time, and takes down what became of them.
    async fn offer(&mut self, appends: Vec<Append>) {
        let (writer, storage) = (self.writer.as_deref().unwrap(), &self.storage);
        let offer = async |append: Append| {
            let accepted = writer.append(append.clone()).await.unwrap();
            let answered = storage.done();
            let Accepted::Written(last) = accepted else {
                panic!("{append:?} is known")
            };
            Offer {
                append,
                last,
                answered,
            }
        };
        let offered = join_all(appends.into_iter().map(offer)).await;
        self.offers.extend(offered);
        self.offers.sort_by_key(|offer| offer.last);
    }

    /// Reads what is new, before any of it may be removed.
    async fn read_on(&mut self) {
        let behind = self.entries.len() as u64 + 1;
        let first = self.journal.segments()[0].max(behind);
        self.entries.extend(read_from(&self.journal, first).await);
        assert_eq!(self.entries.len() as u64, self.journal.durable());
    }

    async fn remove(&mut self, before: Seq) {
        self.read_on().await;
        let writer = self.writer.as_deref().unwrap();
        settled(&self.journal, writer).await;
        self.removed.push((self.storage.done(), before));
        let removed = self.journal.remove_before(before).await.unwrap();
        assert!(removed.segments > 0, "nothing was removed before {before}");
    }

    /// Ends the writer and opens another: on the same folder, or as another process would.
    async fn restart(&mut self, as_another_process: bool) {
        self.writer = None;
        closed(self.path.path()).await;
        if as_another_process {
            let storage = Arc::new(self.storage.clone());
            self.journal = Folder::with_storage(small(self.path.path()), storage);
        }
        self.writer = Some(self.journal.open().await.unwrap());
    }

    async fn end(mut self) -> Work {
        self.read_on().await;
        settled(&self.journal, self.writer.as_deref().unwrap()).await;
        self.writer = None;
        closed(self.path.path()).await;
        Work {
            trace: self.storage.trace(),
            offers: self.offers,
            entries: self.entries,
            removed: self.removed,
        }
    }
}

/// Appends of many sizes, alone and together, over many segments; restarts; old segments removed.
async fn work() -> Work {
    let mut run = Run::begin().await;
    for size in [1, 2, 7, 30, 1, 1, 12, 3, 90, 1, 5, 0, 2, 17] {
        let append = run.intake("a", size.max(1));
        run.offer(vec![append]).await;
    }
    let controls = Append::Records {
        progress: Some(progress("controls", 1)),
        records: every_kind().into_iter().filter(is_no_event).collect(),
    };
    run.offer(vec![controls]).await;
    for round in 0..8 {
        // Some of each round are on their way to the disk with one sync.
        let together = (0..12)
            .map(|n| run.intake(&format!("{round}-{n}"), 1 + n % 5))
            .collect();
        run.offer(together).await;
        run.restart(round % 2 == 0).await;
        for size in [4, 1, 9] {
            let append = run.intake("a", size);
            run.offer(vec![append]).await;
        }
        if round > 0 {
            let before = run.journal.durable() - 40;
            run.remove(before).await;
        }
    }
    // Larger than a segment, and than many pages.
    let large = run.intake("large", 400);
    run.offer(vec![large]).await;
    for size in [1, 1, 1] {
        let append = run.intake("a", size);
        run.offer(vec![append]).await;
    }
    run.end().await
}

fn is_no_event((_, record): &(u64, Record)) -> bool {
    !matches!(record, Record::Event(_) | Record::Tally(_))
}

async fn read_from(journal: &Folder, first: Seq) -> Vec<Entry> {
    let mut from = Position {
        seq: first - 1,
        ..Position::default()
    };
    let mut all = Vec::new();
    loop {
        let chunk = journal.read(from, 100).await.unwrap();
        let Some(&last) = chunk.positions.last() else {
            return all;
        };
        from = last;
        all.extend(chunk.entries);
    }
}

/// What a folder must hold after a loss of power.
struct Expected<'a> {
    work: &'a Work,
    /// The last record that was answered.
    answered: Seq,
    /// Records before it may have been removed.
    removed: Seq,
    /// What is told where it does not hold.
    case: String,
}

/// What was seen, over all images.
#[derive(Default)]
struct Figures {
    images: usize,
    /// Images of which a torn tail was cut.
    torn: usize,
    reopened: Vec<Duration>,
}

impl Figures {
    fn print(&mut self, what: &str) {
        self.reopened.sort_unstable();
        let at = |part: usize| {
            let place = (self.reopened.len() * part / 100).min(self.reopened.len() - 1);
            self.reopened[place].as_secs_f64() * 1000.0
        };
        println!(
            "{what}: {} images, {} with a torn tail, reopened in {:.2} ms (p50), {:.2} ms (p99)",
            self.images,
            self.torn,
            at(50),
            at(99)
        );
    }
}

impl Expected<'_> {
    /// Opens the folder; what is in it is a part of what was appended, with all that was answered.
    async fn opens(&self, journal: &Folder, figures: &mut Figures) -> Box<dyn JournalWriter> {
        let (work, case) = (self.work, &self.case);
        let begun = tokio::time::Instant::now();
        let opened = journal.open().await;
        figures.reopened.push(begun.elapsed());
        figures.images += 1;
        let writer = opened.unwrap_or_else(|error| panic!("{case}: {error}"));
        figures.torn += usize::from(journal.opened().unwrap().cut.is_some());
        let (first, last) = (journal.segments()[0], journal.durable());
        assert!(first <= self.removed, "{case}: begins with {first}");
        assert!(
            last >= self.answered,
            "{case}: ends with {last}, and {} was answered",
            self.answered
        );
        self.holds(journal, first, last).await;
        let is_whole = last == 0 || work.offers.iter().any(|offer| offer.last == last);
        assert!(is_whole, "{case}: ends with {last}, in an append");
        writer
    }

    /// The folder holds the records of the run from one to another, and no more.
    async fn holds(&self, journal: &Folder, first: Seq, last: Seq) {
        let found = read_from(journal, first).await;
        let range = usize::try_from(first - 1).unwrap()..usize::try_from(last).unwrap();
        let expected = &self.work.entries[range];
        let differs = found.iter().zip(expected).find(|(a, b)| a != b);
        assert_eq!(differs, None, "{}", self.case);
        assert_eq!(found.len(), expected.len(), "{}", self.case);
    }

    /// Offers again what was not answered, and a little of what was: it ends as the run did.
    async fn goes_on(&self, journal: &Folder, writer: &dyn JournalWriter, most: usize) -> Seq {
        let (first, mut last) = (journal.segments()[0], journal.durable());
        let offers = &self.work.offers;
        let answered = offers.partition_point(|offer| offer.last <= self.answered);
        let again = offers.iter().skip(answered.saturating_sub(2));
        for offer in again.take(most.saturating_add(2)) {
            let is_there = offer.last <= last;
            let expected = match is_there {
                true => Accepted::Known,
                false => Accepted::Written(offer.last),
            };
            let accepted = writer.append(offer.append.clone()).await;
            assert_eq!(accepted.unwrap(), expected, "{}", self.case);
            last = last.max(offer.last);
        }
        self.holds(journal, first.max(journal.segments()[0]), last)
            .await;
        last
    }
}

/// One image, and what comes of it; some are cut a second time while they are brought into order.
async fn survives(work: &Work, image: usize, figures: &mut Figures) {
    let after = image % (work.trace.done().len() + 1);
    let dir = scratch();
    let left = work.trace.power_cut(after, image as u64, dir.path());
    let answered = work.offers.iter().filter(|offer| offer.answered <= after);
    let removed = work.removed.iter().filter(|(begun, _)| *begun < after);
    let mut expected = Expected {
        work,
        answered: answered.map(|offer| offer.last).max().unwrap_or(0),
        removed: removed.map(|&(_, before)| before).max().unwrap_or(1),
        case: format!(
            "image {image} behind operation {after}, {:?}",
            left.unwrap()
        ),
    };
    let storage = RecordingStorage::of(dir.path()).unwrap();
    let journal = Folder::with_storage(small(dir.path()), Arc::new(storage.clone()));
    let writer = expected.opens(&journal, figures).await;
    let opened_after = storage.done();
    let found = journal.durable();
    let most = match image % 20 {
        0 => usize::MAX,
        _ => OFFERED_AGAIN,
    };
    let last = expected.goes_on(&journal, &*writer, most).await;
    if !image.is_multiple_of(5) {
        return;
    }
    drop(writer);
    closed(dir.path()).await;
    let again = folder(dir.path());
    let writer = again.open().await.unwrap();
    assert_eq!(again.opened().unwrap().cut, None, "{}", expected.case);
    assert_eq!(again.durable(), last, "{}", expected.case);
    expected.holds(&again, again.segments()[0], last).await;
    drop(writer);
    // The power goes again, while the folder is opened or a little later.
    let trace = storage.trace();
    for after in 0..=opened_after {
        let dir = scratch();
        let left = trace.power_cut(after, image as u64, dir.path()).unwrap();
        let case = format!("{}; again behind {after}, {left:?}", expected.case);
        let before = std::mem::replace(&mut expected.case, case);
        if after == opened_after {
            // What was found is synced by the time the folder is open.
            expected.answered = expected.answered.max(found);
        }
        let journal = folder(dir.path());
        let writer = expected.opens(&journal, figures).await;
        expected.goes_on(&journal, &*writer, 1).await;
        expected.case = before;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_answered_is_lost_or_doubled_wherever_the_power_goes() {
    let work = work().await;
    let operations = work.trace.done().len();
    assert!(operations > 300, "{operations} operations");
    let mut figures = Figures::default();
    for image in 0..images() {
        survives(&work, image, &mut figures).await;
    }
    assert!(
        images() < operations || figures.torn > 0,
        "no tail was torn"
    );
    figures.print(&format!("journal, {operations} operations"));
}

/// The process is killed, another opens what it left, tells whoever asks again that it is there, and
/// then the power goes.
async fn keeps_its_word(work: &Work, image: usize, figures: &mut Figures) {
    let killed = image * 7 % (work.trace.done().len() + 1);
    let dir = scratch();
    let storage = work.trace.kill(killed, dir.path()).unwrap();
    let answered = work.offers.iter().filter(|offer| offer.answered <= killed);
    let removed = work.removed.iter().filter(|(begun, _)| *begun < killed);
    let mut expected = Expected {
        work,
        answered: answered.map(|offer| offer.last).max().unwrap_or(0),
        removed: removed.map(|&(_, before)| before).max().unwrap_or(1),
        case: format!("image {image}, killed behind operation {killed}"),
    };
    let journal = Folder::with_storage(small(dir.path()), Arc::new(storage.clone()));
    let writer = expected.opens(&journal, figures).await;
    let (opened, found) = (storage.done(), journal.durable());
    expected.goes_on(&journal, &*writer, OFFERED_AGAIN).await;
    drop(writer);
    closed(dir.path()).await;
    let trace = storage.trace();
    let case = std::mem::take(&mut expected.case);
    for after in (killed..=opened).rev().chain([trace.done().len()]) {
        let dir = scratch();
        let left = trace.power_cut(after, image as u64, dir.path()).unwrap();
        let mut expected = Expected {
            case: format!("{case}; then no power behind operation {after}, {left:?}"),
            ..expected
        };
        if after >= opened {
            expected.answered = expected.answered.max(found);
        }
        expected.opens(&folder(dir.path()), figures).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_left_is_synced_before_anybody_is_told_that_it_is_there() {
    let work = work().await;
    let mut figures = Figures::default();
    for image in 0..images() / 4 {
        keeps_its_word(&work, image, &mut figures).await;
    }
    figures.print("journal, killed before");
}

/// What [`Trace::power_cut`] does not make: a sync covers several pages, and the disk has taken a
/// later one first. Lines of the last sync then look as lines do that were answered and are damaged,
/// so that it is refused, and nothing is cut. Whoever knows that the power was lost cuts the file at
/// the byte that the refusal names.
#[tokio::test]
async fn pages_that_came_to_the_disk_out_of_order_are_refused_and_nothing_answered_is_cut() {
    let (bytes, ends) = written(&[1, 3, 1, 40, 1]);
    let (answered, synced) = ends[3];
    let page = synced.next_multiple_of(4096);
    assert!(page + 4096 < bytes.len(), "there is a page behind");
    let mut spoiled = bytes.clone();
    spoiled[synced..page + 100].fill(0);
    let dir = planted(&spoiled);
    let journal = folder(dir.path());
    let Err(JournalError::Damaged { file, byte, reason }) = journal.open().await else {
        panic!("it was opened: {:?}", journal.opened());
    };
    assert_eq!(Path::new(&file), segment(dir.path(), 1));
    assert_eq!(byte, synced as u64);
    assert!(reason.ends_with("follows"), "{reason}");
    assert_eq!(
        std::fs::read(&file).unwrap(),
        spoiled,
        "it is left as it is"
    );
    let cut = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    cut.set_len(byte).unwrap();
    let writer = journal.open().await.unwrap();
    assert_eq!(journal.durable(), answered);
    let accepted = writer.append(single(answered + 1)).await.unwrap();
    assert_eq!(accepted, Accepted::Written(answered + 1));
    let found = read_from(&journal, 1).await;
    assert_eq!(ids(&found), message_ids(1..=answered + 1));
}
