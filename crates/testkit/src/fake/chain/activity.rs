//! What happens on the chain in memory, as the chain listener finds it.

use async_trait::async_trait;
use compact_str::format_compact;
use twzrd_domain::chain::{
    Action, Activity, ChainActivity, ChainError, Deed, Followed, Found, Known, Mark, Subscription,
};

use super::FakeChain;

/// Claims and other deeds, and what stands in the way of finding them.
#[derive(Default)]
pub(super) struct State {
    /// By slot.
    deeds: Vec<(u64, Deed)>,
    /// How many transactions were asked for, and every how manieth fails; never where it is 0.
    reads: u32,
    failing: u32,
    /// How long a line is, beside what it says.
    padding: usize,
    /// Whether there are subscriptions, which end at once, and how many were taken.
    has_subscriptions: bool,
    subscriptions: u32,
}

impl FakeChain {
    /// Something happens that the listener is to find.
    pub fn happen(&self, deed: Deed) {
        let mut state = self.lock();
        let slot = state.slot();
        state.activity.deeds.push((slot, deed));
    }

    /// Every so manieth transaction cannot be read when it is asked for.
    pub fn fail_every(&self, reads: u32) {
        self.lock().activity.failing = reads;
    }

    /// The line of a transaction is so many bytes longer.
    pub fn pad_lines(&self, bytes: usize) {
        self.lock().activity.padding = bytes;
    }

    /// From now on there are subscriptions, each of which ends at once.
    pub fn end_subscriptions(&self) {
        self.lock().activity.has_subscriptions = true;
    }

    /// How many subscriptions were taken.
    #[must_use]
    pub fn subscriptions(&self) -> u32 {
        self.lock().activity.subscriptions
    }
}

#[async_trait]
impl ChainActivity for FakeChain {
    async fn after(&self, followed: &Followed, limit: usize) -> Result<Found, ChainError> {
        let state = self.answer("asking what happened")?;
        let finalized = state.finalized();
        let mark = followed.mark.as_ref();
        let known = mark.map_or(0, |mark| deed_of(&mark.signature).map_or(0, |it| it + 1));
        let deeds = &state.activity.deeds;
        let marks = deeds.iter().enumerate().skip(known);
        let marks: Vec<Mark> = marks
            .take_while(|(_, (slot, _))| *slot <= finalized)
            .take(limit)
            .map(|(index, (slot, _))| Mark {
                slot: *slot,
                signature: format_compact!("deed-{index}"),
            })
            .collect();
        let to = match marks.last() {
            Some(last) if marks.len() == limit => last.slot - 1,
            _ => finalized,
        };
        let is_news = !marks.is_empty() || followed.known.is_none();
        Ok(Found {
            marks,
            known: is_news.then_some(Known { from: 0, to }),
        })
    }

    async fn read(&self, mark: &Mark) -> Result<Activity, ChainError> {
        const DOING: &str = "reading a transaction";
        let mut state = self.answer(DOING)?;
        let activity = &mut state.activity;
        activity.reads += 1;
        if activity.reads.checked_rem(activity.failing) == Some(0) {
            let reason = "the test says so".to_owned();
            return Err(ChainError::Transient {
                doing: DOING,
                reason,
            });
        }
        let index = deed_of(&mark.signature).filter(|index| *index < activity.deeds.len());
        let deed = index.map(|index| activity.deeds[index].1.clone());
        let deed = deed.ok_or_else(|| ChainError::Permanent {
            doing: DOING,
            reason: format!("there is no {}", mark.signature),
        })?;
        Ok(Activity {
            mark: mark.clone(),
            block_time: Some(mark.slot),
            actions: vec![Action {
                index: 0,
                deed,
                json: format!(
                    "{{\"slot\":{},\"signature\":\"{}\",\"padding\":\"{}\"}}",
                    mark.slot,
                    mark.signature,
                    "-".repeat(activity.padding)
                ),
            }],
        })
    }

    async fn subscribe(&self) -> Result<Box<dyn Subscription>, ChainError> {
        let activity = &mut self.lock().activity;
        if !activity.has_subscriptions {
            return Err(ChainError::Transient {
                doing: "subscribing",
                reason: "there is none here; what happens is found by looking".to_owned(),
            });
        }
        activity.subscriptions += 1;
        Ok(Box::new(Ended))
    }
}

/// A subscription that was taken and is over.
struct Ended;

#[async_trait]
impl Subscription for Ended {
    async fn next(&mut self) -> Result<(), ChainError> {
        Err(ChainError::Transient {
            doing: "listening",
            reason: "the server ended it".to_owned(),
        })
    }
}

fn deed_of(signature: &str) -> Option<usize> {
    signature.strip_prefix("deed-")?.parse().ok()
}
