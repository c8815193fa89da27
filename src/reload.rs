//! Changes the channel lists of the running process, and nothing else.
//!
//! A reload reads all settings anew and checks them. What differs besides the channel groups is
//! refused by name. The new list is swapped in last; where that fails, the old one is put back. A
//! reload that was begun comes to its end, also where nobody waits for the answer any more, and one
//! runs at a time.

mod edit;
mod eyes;
mod replace;
pub mod watch;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;
use twzrd_domain::identity::Channel;
use twzrd_domain::roster::{Roster, RosterDiff};

use self::edit::Change;
use crate::admin::{Admin, ChannelEdit, Refused, Reloaded, SHOWN_NAMES};
use crate::settings::layers::{Flags, Layers};
use crate::settings::lists::{self, CHANNEL, channel};
use crate::settings::{Fixed, GroupSource, Settings};

/// How long a list may take to be swapped in.
const APPLY_WITHIN: Duration = Duration::from_secs(30);

/// How many reloads and edits may wait for one another.
const MAX_WAITING: usize = 16;

/// Takes a list of channels and makes it hold.
#[async_trait]
pub trait RosterSink: Send + Sync {
    /// Makes a list hold. May be told the same list again.
    ///
    /// # Errors
    /// Why it cannot be taken. Then another one may hold in part, and is put back by another call.
    async fn apply(&self, roster: Arc<Roster>) -> Result<(), String>;
}

/// Reloads the channel lists and edits them.
pub struct Reloader {
    work: Arc<Work>,
    tasks: Mutex<JoinSet<()>>,
}

struct Work {
    flags: Flags,
    /// The settings file, or where it would be.
    file: PathBuf,
    /// What must not change.
    fixed: Fixed,
    sink: Arc<dyn RosterSink>,
    running: tokio::sync::Mutex<Running>,
    /// The settings file, and those that list channels.
    files: Mutex<BTreeSet<PathBuf>>,
}

/// The list that holds.
struct Running {
    roster: Arc<Roster>,
    files: Vec<PathBuf>,
    /// False where the sink may hold another list than this one.
    certain: bool,
}

/// A change of a file.
struct Draft {
    path: PathBuf,
    old: String,
    new: String,
}

impl Reloader {
    /// For a process that was started with these flags, and came to these settings through `layers`.
    #[must_use]
    pub fn new(
        flags: Flags,
        layers: &Layers,
        settings: &Settings,
        sink: Arc<dyn RosterSink>,
    ) -> Self {
        let work = Work {
            file: flags.path(),
            fixed: layers.fixed(),
            sink,
            running: tokio::sync::Mutex::new(Running {
                roster: Arc::clone(&settings.roster),
                files: settings.channel_files.clone(),
                certain: true,
            }),
            files: Mutex::default(),
            flags,
        };
        work.look_at(settings.channel_files.iter().cloned());
        Self {
            work: Arc::new(work),
            tasks: Mutex::default(),
        }
    }

    /// The files of which a change matters, as absolute paths: the settings file, whether it is
    /// there or not, and those that list channels.
    #[must_use]
    pub fn files(&self) -> BTreeSet<PathBuf> {
        lock(&self.work.files).clone()
    }

    /// Does work that goes on when the caller goes away.
    async fn to_the_end<F>(&self, work: F) -> Result<Reloaded, Refused>
    where
        F: Future<Output = Result<Reloaded, Refused>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        {
            let mut tasks = lock(&self.tasks);
            while tasks.try_join_next().is_some() {}
            if tasks.len() >= MAX_WAITING {
                let refused = format!("{MAX_WAITING} reloads wait already; try again later");
                return Err(Refused::Unavailable(refused));
            }
            tasks.spawn(async move {
                // Whoever has gone away finds the outcome in the list itself.
                let _ = reply.send(work.await);
            });
        }
        let crashed = |_| Err(Refused::Unavailable("the reload crashed".to_owned()));
        answer.await.unwrap_or_else(crashed)
    }
}

#[async_trait]
impl Admin for Reloader {
    async fn reload(&self) -> Result<Reloaded, Refused> {
        let work = Arc::clone(&self.work);
        self.to_the_end(async move {
            let mut running = work.running.lock().await;
            work.reload(&mut running).await
        })
        .await
    }

    async fn edit(&self, edit: ChannelEdit) -> Result<Reloaded, Refused> {
        let work = Arc::clone(&self.work);
        self.to_the_end(async move {
            let mut running = work.running.lock().await;
            work.edit(&mut running, edit).await
        })
        .await
    }
}

impl Work {
    async fn reload(self: &Arc<Self>, running: &mut Running) -> Result<Reloaded, Refused> {
        let began = Instant::now();
        let (work, old) = (Arc::clone(self), Arc::clone(&running.roster));
        let files = running.files.clone();
        let (settings, diff) = blocking(move || {
            let settings = work.read(&files)?;
            let diff = old.diff(&settings.roster);
            Ok((settings, diff))
        })
        .await?;
        if !diff.is_empty() || !running.certain {
            self.apply(running, settings.roster).await?;
        }
        self.look_at(settings.channel_files.iter().cloned());
        running.files = settings.channel_files;
        Ok(report(&diff, began.elapsed()))
    }

    /// Swaps a list in, or puts the old one back.
    async fn apply(&self, running: &mut Running, wanted: Arc<Roster>) -> Result<(), Refused> {
        running.certain = false;
        let Err(reason) = self.offer(&wanted).await else {
            running.roster = wanted;
            running.certain = true;
            return Ok(());
        };
        let told = match self.offer(&running.roster).await {
            Ok(()) => {
                running.certain = true;
                "the old list stays".to_owned()
            }
            Err(reason) => format!(
                "the old list cannot be put back: {reason}; the next reload makes a whole list hold"
            ),
        };
        Err(Refused::Unavailable(format!(
            "the channels cannot be changed now: {reason}; {told}"
        )))
    }

    async fn offer(&self, roster: &Arc<Roster>) -> Result<(), String> {
        let applied = self.sink.apply(Arc::clone(roster));
        let late = |_| Err(format!("no answer within {} s", APPLY_WITHIN.as_secs()));
        tokio::time::timeout(APPLY_WITHIN, applied)
            .await
            .unwrap_or_else(late)
    }

    /// The settings as they are now, where nothing but the channel groups differs.
    fn read(&self, running: &[PathBuf]) -> Result<Settings, Refused> {
        let faults = |faults: crate::settings::layers::Faults| {
            Refused::Faults(faults.0.iter().map(ToString::to_string).collect())
        };
        let layers = Layers::read(&self.flags).map_err(faults)?;
        // Also where they are refused: the next change may be in a file that is new.
        let named = layers.channel_files();
        self.look_at(running.iter().cloned().chain(named));
        let fixed = layers.fixed();
        if self.fixed.has_file && !fixed.has_file {
            let file = self.file.display();
            return Err(Refused::Faults(vec![format!(
                "{file}: is gone or empty; expected the settings with which the process was started"
            )]));
        }
        let settings = layers.settings().map_err(faults)?;
        let differences = self.fixed.differences(&fixed);
        if differences.is_empty() {
            Ok(settings)
        } else {
            Err(Refused::NotReloadable(differences))
        }
    }

    async fn edit(
        self: &Arc<Self>,
        running: &mut Running,
        edit: ChannelEdit,
    ) -> Result<Reloaded, Refused> {
        let (work, files) = (Arc::clone(self), running.files.clone());
        let draft = blocking(move || {
            let draft = work.draft(&edit, &files)?;
            if draft.old != draft.new {
                replace::replace(&draft.path, &draft.old, &draft.new)
                    .map_err(|error| cannot_write(&draft.path, &error))?;
            }
            Ok(draft)
        })
        .await?;
        let refused = match self.reload(running).await {
            Err(refused) if draft.old != draft.new => refused,
            done => return done,
        };
        blocking(move || {
            let put_back = replace::replace(&draft.path, &draft.new, &draft.old);
            Err(match put_back {
                Ok(()) => refused,
                Err(error) => Refused::Unavailable(format!(
                    "{refused}; and {} cannot be put back: {error}",
                    draft.path.display()
                )),
            })
        })
        .await
    }

    /// The file that lists a group, before and after an edit.
    fn draft(&self, edit: &ChannelEdit, files: &[PathBuf]) -> Result<Draft, Refused> {
        let change = checked(edit)?;
        let settings = self.read(files)?;
        let refused = |path: &PathBuf, problem: String| {
            Refused::Edit(format!("{}: {problem}", path.display()))
        };
        let Some(file) = &settings.file else {
            return Err(Refused::Edit(format!(
                "there is no settings file to write to; put one at {}, with the channel group in it",
                self.file.display()
            )));
        };
        let group = pick(edit.group.as_deref(), &settings.group_sources)?;
        let path = group.file.as_ref().unwrap_or(file).clone();
        let old = lists::read(&path).map_err(|wrong| refused(&path, wrong.problem))?;
        let new = match &group.file {
            Some(_) => edit::list(&old, &change),
            None => edit::settings(&old, &group.name, &change),
        };
        let new = new.map_err(|problem| refused(&path, problem))?;
        Ok(Draft { path, old, new })
    }

    fn look_at(&self, listed: impl Iterator<Item = PathBuf>) {
        let files = std::iter::once(self.file.clone()).chain(listed);
        *lock(&self.files) = files.collect();
    }
}

/// The change that is asked for, where every name is good.
fn checked(edit: &ChannelEdit) -> Result<Change, Refused> {
    let bad: Vec<String> = edit
        .add
        .iter()
        .chain(&edit.remove)
        .filter(|name| channel(name).is_none())
        .take(SHOWN_NAMES)
        .map(|name| format!("{:?}", name.chars().take(80).collect::<String>()))
        .collect();
    if !bad.is_empty() {
        return Err(Refused::Edit(format!(
            "{}; expected {CHANNEL}",
            bad.join(", ")
        )));
    }
    let change = Change {
        add: edit.add.iter().filter_map(|name| channel(name)).collect(),
        remove: edit
            .remove
            .iter()
            .filter_map(|name| channel(name))
            .collect(),
    };
    if change.add.is_empty() && change.remove.is_empty() {
        let empty = "nothing is asked for; expected channels to add or to remove";
        return Err(Refused::Edit(empty.to_owned()));
    }
    match change.add.iter().find(|name| change.remove.contains(*name)) {
        Some(both) => Err(Refused::Edit(format!(
            "{:?} is both to be added and to be removed",
            both.as_str()
        ))),
        None => Ok(change),
    }
}

/// The group that is meant.
fn pick<'a>(wanted: Option<&str>, groups: &'a [GroupSource]) -> Result<&'a GroupSource, Refused> {
    let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
    let found = match (wanted, groups) {
        (_, []) => Err("there is no channel group; write one into the settings first".to_owned()),
        (None, [only]) => Ok(only),
        (None, _) => Err(format!(
            "there are several channel groups; expected one of {}",
            names.join(", ")
        )),
        (Some(wanted), _) => groups
            .iter()
            .find(|group| group.name == wanted)
            .ok_or_else(|| {
                let names = names.join(", ");
                format!("there is no channel group {wanted:?}; expected one of {names}")
            }),
    };
    found.map_err(Refused::Edit)
}

fn report(diff: &RosterDiff, took: Duration) -> Reloaded {
    let count = |number: usize| number as u64;
    let shown = |channels: &[Channel]| {
        let first = channels.iter().take(SHOWN_NAMES);
        first.map(ToString::to_string).collect()
    };
    Reloaded {
        added: count(diff.to_add.len()),
        removed: count(diff.to_remove.len()),
        changed: count(diff.to_change.len()),
        unchanged: count(diff.unchanged),
        added_channels: shown(&diff.to_add),
        removed_channels: shown(&diff.to_remove),
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    }
}

/// Runs what reads and writes files off the threads that must not wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Refused::Unavailable(format!("the reload crashed: {error}"))))
}

fn cannot_write(path: &std::path::Path, error: &std::io::Error) -> Refused {
    Refused::Edit(format!("{}: cannot be written: {error}", path.display()))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
