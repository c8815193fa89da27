//! The watch: which changes it sees, and by what.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::sync::{Arc, Mutex};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use twzrd::reload::watch::SettingsWatch;
use twzrd::settings::ReloadSettings;
use twzrd_actors::service::Service;

use crate::support::{Place, signal};
use crate::{PATIENCE, Started, head, quick, two_groups};

/// A watch at work. Ends with the test.
struct Watched {
    process: Started,
    stop: CancellationToken,
    task: JoinSet<bool>,
}

impl Watched {
    /// Starts the watch of a process of which a list has changed since it was started, and waits
    /// until that has been seen.
    async fn start(process: Started, settings: ReloadSettings, first: &str) -> Self {
        let watch = SettingsWatch::new(Arc::clone(&process.reloader), settings);
        let stop = CancellationToken::new();
        let token = stop.clone();
        let mut task = JoinSet::new();
        task.spawn(async move { watch.run(token).await.is_ok() });
        process.sink.holds(first).await;
        Self {
            process,
            stop,
            task,
        }
    }

    /// The group `a` lists `one`, which was found at the start, and `b` nothing.
    async fn usual(settings: ReloadSettings) -> Self {
        let process = Started::new("# none\n", "[]");
        process.place.write("a.txt", "one\n");
        Self::start(process, settings, "one").await
    }

    async fn holds(&self, expected: &str) {
        self.process.sink.holds(expected).await;
    }

    /// Writes a file aside and renames it.
    fn rename_to(&self, name: &str, text: &str) {
        let aside = self.process.place.write("aside", text);
        std::fs::rename(aside, self.process.path(name)).unwrap();
    }

    async fn ends(mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.task.join_next()).await;
        assert!(ended.unwrap().unwrap().unwrap());
    }
}

#[tokio::test]
async fn what_changed_before_the_watch_was_there_is_seen_when_it_starts() {
    Watched::usual(quick()).await.ends().await;
}

#[tokio::test]
async fn files_are_seen_however_they_are_written() {
    let watched = Watched::usual(quick()).await;
    watched.process.place.write("a.txt", "one\ntwo\n");
    watched.holds("one two").await;
    // After a rename another file has the name; and again.
    watched.rename_to("a.txt", "three\n");
    watched.holds("three").await;
    watched.rename_to("a.txt", "four\n");
    watched.holds("four").await;
    watched.rename_to("supervision.toml", &two_groups("[\"five\"]"));
    watched.holds("five four").await;
    watched.ends().await;
}

#[tokio::test]
async fn a_file_that_is_new_is_watched_and_one_that_is_named_no_more_is_not_missed() {
    let watched = Watched::usual(quick()).await;
    std::fs::create_dir(watched.process.path("lists")).unwrap();
    watched.process.place.write("lists/b.txt", "two\n");
    let text = format!("{}file = \"lists/b.txt\"\n", head("b"));
    let text = two_groups("[]").split("[[").next().unwrap().to_owned() + &text;
    watched.rename_to("supervision.toml", &text);
    watched.holds("two").await;
    watched.process.place.write("lists/b.txt", "three\n");
    watched.holds("three").await;
    let files: Vec<_> = watched.process.reloader.files().into_iter().collect();
    let expected = ["lists/b.txt", "supervision.toml"].map(|name| watched.process.path(name));
    assert_eq!(files, expected);
    watched.ends().await;
}

#[tokio::test]
async fn links_that_are_turned_to_another_folder_are_seen() {
    // As a volume of a cluster is laid out: the file is a link into a folder that is a link.
    let place = Place::new();
    for (folder, channel) in [("v1", "one"), ("v2", "two"), ("v3", "three")] {
        std::fs::create_dir(place.path(folder)).unwrap();
        let text = format!("{}channels = [\"{channel}\"]\n", head("g"));
        place.write(&format!("{folder}/supervision.toml"), text);
    }
    let turn = |place: &Place, to: &str| {
        symlink(to, place.path("..tmp")).unwrap();
        std::fs::rename(place.path("..tmp"), place.path("..data")).unwrap();
    };
    turn(&place, "v1");
    symlink("..data/supervision.toml", place.path("supervision.toml")).unwrap();
    let process = Started::with(place);
    turn(&process.place, "v2");
    let watched = Watched::start(process, quick(), "two").await;
    turn(&watched.process.place, "v3");
    watched.holds("three").await;
    let text = format!("{}channels = [\"four\"]\n", head("g"));
    watched.process.place.write("v3/supervision.toml", text);
    watched.holds("four").await;
    watched.ends().await;
}

#[tokio::test]
async fn a_refused_change_is_made_good_by_the_next_one() {
    let watched = Watched::usual(quick()).await;
    watched.process.place.write("a.txt", "not good\n");
    watched.rename_to("supervision.toml", "[epoch\n");
    watched.rename_to("supervision.toml", &two_groups("[\"two\"]"));
    watched.process.place.write("a.txt", "one\n");
    watched.holds("one two").await;
    watched.ends().await;
}

/// What was logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || log.clone())
            .with_ansi(false)
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    /// The lines that hold this text, once there is one.
    async fn lines(&self, text: &str) -> Vec<String> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let log = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            let lines: Vec<_> = log.lines().filter(|line| line.contains(text)).collect();
            if !lines.is_empty() {
                return lines.into_iter().map(str::to_owned).collect();
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{text:?} not in {log}"
            );
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_watched_is_looked_at_instead() {
    let log = Log::default();
    let _listening = log.listen();
    let watched = Watched::usual(quick()).await;
    let done = log.lines("the channel lists were reloaded").await;
    assert_eq!(done.len(), 1);
    let figures = "reason=\"start\" added=1 removed=0 changed=0 unchanged=0 took_ms=";
    assert!(done[0].contains(figures), "{}", done[0]);

    let text = two_groups("[]").replace("a.txt", "later/still/a.txt");
    watched.rename_to("supervision.toml", &text);
    // No folder, no watch on it.
    let told = log.lines("looking at the files instead").await;
    assert_eq!(told.len(), 1);
    assert!(
        told[0].contains("WARN") && told[0].contains("every_seconds=1"),
        "{}",
        told[0]
    );
    let refused = log.lines("the old channel lists stay").await;
    let file = watched
        .process
        .path("later/still/a.txt")
        .display()
        .to_string();
    let reason = format!("{file}: cannot be read: No such file or directory");
    assert!(
        refused[0].contains("WARN") && refused[0].contains(&reason),
        "{}",
        refused[0]
    );
    // The same refusal is told once.
    assert_eq!(refused.len(), 1);
    assert_eq!(watched.process.sink.told(), ["one"]);

    std::fs::create_dir_all(watched.process.path("later/still")).unwrap();
    watched.process.place.write("later/still/a.txt", "two\n");
    watched.holds("two").await;
    log.lines("the system reports changes of the settings again")
        .await;
    watched.process.place.write("later/still/a.txt", "three\n");
    watched.holds("three").await;
    // A folder of the same name is another folder.
    let later = watched.process.path("later/still");
    std::fs::rename(&later, watched.process.path("later/before")).unwrap();
    std::fs::create_dir(&later).unwrap();
    watched.process.place.write("later/still/a.txt", "four\n");
    watched.holds("four").await;
    watched.process.place.write("later/still/a.txt", "five\n");
    watched.holds("five").await;
    watched.ends().await;
}

#[tokio::test]
async fn a_folder_further_up_that_is_exchanged_is_found() {
    let place = Place::new();
    let lists = |place: &Place, to: &str, channel: &str| {
        std::fs::create_dir_all(place.path(to)).unwrap();
        place.write(&format!("{to}/a.txt"), channel);
    };
    lists(&place, "up/lists", "# none\n");
    let text = two_groups("[]").replace("a.txt", "up/lists/a.txt");
    place.write("supervision.toml", text);
    let process = Started::with(place);
    process.place.write("up/lists/a.txt", "one\n");
    let settings = ReloadSettings {
        poll_ms: 100,
        ..quick()
    };
    let watched = Watched::start(process, settings, "one").await;
    lists(&watched.process.place, "new/lists", "two\n");
    std::fs::rename(watched.process.path("up"), watched.process.path("old")).unwrap();
    std::fs::rename(watched.process.path("new"), watched.process.path("up")).unwrap();
    watched.holds("two").await;
    watched.process.place.write("up/lists/a.txt", "three\n");
    watched.holds("three").await;
    watched.ends().await;
}

#[tokio::test]
async fn sighup_reloads_at_once() {
    // Files would be read a minute after they have changed.
    let slow = ReloadSettings {
        debounce_ms: 60_000,
        poll_ms: 3_600_000,
    };
    let watched = Watched::usual(slow).await;
    watched.process.place.write("a.txt", "two\n");
    signal(std::process::id(), "-HUP");
    watched.holds("two").await;
    watched.ends().await;
}
