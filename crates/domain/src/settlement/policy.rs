//! Which roots are published: the selection rules of the deployed system, as settings.

use super::{Candidate, Reason, Why};

/// The rules. Each is off where it says so; none looks at anything but what is frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The token groups that are published, in upper case; empty for all.
    pub token_groups: Vec<String>,
    /// Whether a root needs at least one participant with a name that is left.
    pub ghost_filter: bool,
    /// Whether the channel must have been live in the epoch, and how many must have been there;
    /// none for no such gate.
    pub live_window: Option<u64>,
    /// The guard against counts that are far from the mean; none for no guard.
    pub anomaly: Option<AnomalyGuard>,
}

/// Holds a root whose count is outside of bounds around the channel's mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnomalyGuard {
    /// How many earlier epochs there must be for a mean, at least 1.
    pub min_epochs: u32,
    /// The lower bound, in hundredths of the mean.
    pub lower_percent: u32,
    /// The upper bound, in hundredths of the mean.
    pub upper_percent: u32,
}

impl Default for AnomalyGuard {
    fn default() -> Self {
        Self {
            min_epochs: 5,
            lower_percent: 30,
            upper_percent: 500,
        }
    }
}

impl Policy {
    /// How many earlier epochs of a channel the mean is made of, at most: a week of hours.
    pub const EARLIER_EPOCHS: u32 = 168;

    /// Whether a root may be published. One that an operator released may.
    ///
    /// # Errors
    /// The first rule that holds it back.
    pub fn judge(&self, root: &Candidate) -> Result<(), Reason> {
        if root.is_released {
            return Ok(());
        }
        self.token_group(root)?;
        self.ghost(root)?;
        self.live(root)?;
        self.anomaly.map_or(Ok(()), |guard| guard.judge(root))
    }

    fn token_group(&self, root: &Candidate) -> Result<(), Reason> {
        if self.token_groups.is_empty() || self.token_groups.contains(&root.token_group) {
            return Ok(());
        }
        let text = format!(
            "the channel is of group {}; published are {}",
            root.token_group,
            self.token_groups.join(", ")
        );
        Err(Reason::new(Why::TokenGroup, text))
    }

    fn ghost(&self, root: &Candidate) -> Result<(), Reason> {
        if !self.ghost_filter || root.named > 0 {
            return Ok(());
        }
        let text = format!("none of {} participants has a name", root.count);
        Err(Reason::new(Why::Ghost, text))
    }

    fn live(&self, root: &Candidate) -> Result<(), Reason> {
        let Some(least) = self.live_window else {
            return Ok(());
        };
        let text = if !root.was_live {
            "no row of live_windows says that the channel was live in the epoch".to_owned()
        } else if root.count < least {
            format!("{} participants; expected at least {least}", root.count)
        } else {
            return Ok(());
        };
        Err(Reason::new(Why::OfflineEpoch, text))
    }
}

impl AnomalyGuard {
    /// `lower × mean <= count <= upper × mean`, in whole numbers, the bounds included.
    fn judge(self, root: &Candidate) -> Result<(), Reason> {
        let (epochs, sum) = (root.earlier.epochs, root.earlier.participants);
        if epochs == 0 || epochs < self.min_epochs {
            return Ok(());
        }
        let scaled = u128::from(root.count) * u128::from(epochs) * 100;
        let lower = u128::from(sum) * u128::from(self.lower_percent);
        let upper = u128::from(sum) * u128::from(self.upper_percent);
        if (lower..=upper).contains(&scaled) {
            return Ok(());
        }
        let tenths = u128::from(sum) * 10 / u128::from(epochs);
        let text = format!(
            "{} participants; the mean of {epochs} epochs before is {}.{}, expected {} to {} % of it",
            root.count,
            tenths / 10,
            tenths % 10,
            self.lower_percent,
            self.upper_percent
        );
        Err(Reason::new(Why::Anomaly, text))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::epoch::Epoch;
    use crate::publication::Publication;
    use crate::settlement::{Earlier, RootId};

    fn candidate() -> Candidate {
        Candidate {
            id: RootId(1),
            epoch: Epoch(7200),
            channel: "lacy".parse().unwrap(),
            claim_root: [1; 32],
            participation_root: [2; 32],
            count: 100,
            token_group: "MILO".into(),
            named: 100,
            earlier: Earlier {
                epochs: 5,
                participants: 500,
            },
            was_live: true,
            is_released: false,
            publication: Publication::Planned,
        }
    }

    fn all() -> Policy {
        Policy {
            token_groups: vec!["MILO".into()],
            ghost_filter: true,
            live_window: Some(5),
            anomaly: Some(AnomalyGuard::default()),
        }
    }

    fn why(change: impl FnOnce(&mut Candidate)) -> Option<Why> {
        let mut root = candidate();
        change(&mut root);
        all().judge(&root).err().map(|reason| reason.why)
    }

    #[test]
    fn each_rule_holds_back_what_it_is_for_and_nothing_else() {
        assert_eq!(why(|_| ()), None);
        assert_eq!(
            why(|it| it.token_group = "CLS".into()),
            Some(Why::TokenGroup)
        );
        assert_eq!(why(|it| it.named = 0), Some(Why::Ghost));
        assert_eq!(why(|it| it.was_live = false), Some(Why::OfflineEpoch));
        assert_eq!(
            why(|it| (it.count, it.earlier.epochs) = (4, 0)),
            Some(Why::OfflineEpoch)
        );
    }

    #[test]
    fn the_anomaly_guard_keeps_its_bounds_and_waits_for_enough_epochs() {
        for (count, held) in [(29, true), (30, false), (500, false), (501, true)] {
            let found = why(|it| it.count = count);
            assert_eq!(found == Some(Why::Anomaly), held, "{count}");
        }
        assert_eq!(
            why(|it| (it.count, it.earlier.epochs, it.earlier.participants) = (900, 4, 400)),
            None
        );
        let reason = AnomalyGuard::default()
            .judge(&Candidate {
                count: 501,
                ..candidate()
            })
            .unwrap_err();
        assert_eq!(
            reason.to_string(),
            "anomaly: 501 participants; the mean of 5 epochs before is 100.0, expected 30 to 500 % of it"
        );
    }

    #[test]
    fn an_operator_lets_a_root_pass() {
        assert_eq!(
            why(|it| {
                it.count = 5000;
                it.named = 0;
                it.is_released = true;
            }),
            None
        );
    }
}
