//! Makes actors panic at steps, and knows when an actor that ended runs again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::oneshot;
use tokio::time::Instant;
use twzrd_actors::board::Board;
use twzrd_actors::step::{Probe, Step};
use twzrd_actors::tree::Refs;
use twzrd_supervision::{Child, NextLife};

use crate::dice::Dice;

/// Resolves once an actor runs again; false where it is no longer wanted.
pub(crate) type Back = NextLife;

/// A panic that waits for its step.
struct Armed {
    watch: Box<dyn Fn() -> Back + Send>,
    fired: oneshot::Sender<(Instant, Back)>,
}

/// A probe that is told what is to panic.
#[derive(Default)]
pub(crate) struct Saboteur(Mutex<BTreeMap<&'static str, VecDeque<Armed>>>);

impl Saboteur {
    fn armed(&self) -> MutexGuard<'_, BTreeMap<&'static str, VecDeque<Armed>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next actor that reaches this step panics. The answer says when it did, and when an actor
    /// of its name runs again; it is dropped where the step is never reached.
    pub(crate) fn arm(
        &self,
        step: &'static str,
        actors: Actors,
    ) -> oneshot::Receiver<(Instant, Back)> {
        let (fired, told) = oneshot::channel();
        let name = step.split('.').next().unwrap();
        let watch = Box::new(move || actors.again(name));
        let armed = Armed { watch, fired };
        self.armed().entry(step).or_default().push_back(armed);
        told
    }

    /// Takes away what was armed and never reached.
    pub(crate) fn disarm(&self) {
        self.armed().clear();
    }
}

impl Probe for Saboteur {
    fn reached(&self, step: Step) {
        let armed = self
            .armed()
            .get_mut(step.name())
            .and_then(VecDeque::pop_front);
        let Some(Armed { watch, fired }) = armed else {
            return;
        };
        // Whoever asked for it may be gone.
        let _ = fired.send((Instant::now(), watch()));
        std::panic::panic_any(format!("injected at {step}"));
    }
}

/// Panics on purpose would flood the output of a test that fails for another reason.
pub(crate) fn hide_injected_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(hide);
}

fn hide() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload_as_str().unwrap_or_default();
        if !text.starts_with("injected at") {
            usual(panic);
        }
    }));
}

/// The actors of a tree, by name.
#[derive(Clone)]
pub(crate) struct Actors {
    pub(crate) refs: Refs,
    pub(crate) board: Arc<Board>,
}

impl Actors {
    /// Kills an actor; of collectors and connections, one of them. It is not asked, and cleans
    /// nothing up. None where there is none that runs.
    pub(crate) fn kill(&self, name: &str, dice: &mut Dice) -> Option<Back> {
        let kill = |child: &dyn Child| child.kill().map(|life| child.lives_again(life));
        match name {
            "collector" => one_of(self.board.rooms(), dice).and_then(|room| kill(room.collector())),
            "connection" => one_of(self.board.links(), dice).and_then(|link| kill(link.child())),
            name => kill(self.refs.child(name).unwrap()),
        }
    }

    /// Resolves once an actor of this name runs that does not run now.
    fn again(&self, name: &str) -> Back {
        let again = |child: &dyn Child| child.lives_again(child.life().unwrap_or(0));
        match name {
            "collector" => {
                let rooms = self.board.rooms();
                let every = rooms.iter().chain([self.board.server()]);
                any(every.map(|room| again(room.collector())).collect())
            }
            "connection" => {
                let links = self.board.links();
                any(links.iter().map(|link| again(link.child())).collect())
            }
            name => again(self.refs.child(name).unwrap()),
        }
    }
}

fn one_of<T>(mut all: Vec<T>, dice: &mut Dice) -> Option<T> {
    let count = u64::try_from(all.len()).unwrap();
    let place = (count > 0).then(|| dice.below(count))?;
    Some(all.swap_remove(usize::try_from(place).unwrap()))
}

/// The first of them that comes.
fn any(mut all: Vec<Back>) -> Back {
    Box::pin(std::future::poll_fn(move |context| {
        for back in &mut all {
            if let Poll::Ready(is_back) = back.as_mut().poll(context) {
                return Poll::Ready(is_back);
            }
        }
        Poll::Pending
    }))
}
