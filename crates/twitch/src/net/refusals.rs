//! From the writer to the reader of the same socket: which channels were not even asked for.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use twzrd_domain::chat::News;
use twzrd_domain::identity::Channel;

/// The code of [`News::Refused`] for a channel whose name cannot be one.
pub const INVALID_NAME: &str = "invalid_name";

/// How many names may wait to be told. One more is not told until it is asked for again.
const MAX_NAMES: usize = 1_000;

/// Names that the writer did not send, until the reader tells them as news.
#[derive(Default)]
pub(super) struct Refusals {
    names: Mutex<BTreeSet<Channel>>,
    changed: Notify,
}

impl Refusals {
    /// Notes a name.
    pub(super) fn refuse(&self, channel: &Channel) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() < MAX_NAMES && names.insert(channel.clone()) {
            self.changed.notify_one();
        }
    }

    /// Moves all names into the news.
    pub(super) fn tell(&self, news: &mut Vec<News>) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(channel) = names.pop_first() {
            news.push(News::Refused {
                channel,
                code: INVALID_NAME.into(),
                reason: "no Twitch name; expected a-z, 0-9 and _ only".into(),
            });
        }
    }

    /// Resolves once a name was noted; perhaps again for one that was told already.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}
