//! Which channels are wanted, and what a change of the list comes to.

use std::collections::BTreeMap;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::batch::{Group, Groups};
use crate::identity::Channel;

/// Under what a channel is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The name of its channel group.
    pub group: CompactString,
    /// The token group, in upper case.
    pub token_group: CompactString,
    /// The category.
    pub category: CompactString,
}

/// The channels that are wanted, each with its listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    channels: BTreeMap<Channel, Listing>,
}

impl Roster {
    /// A roster of these channels.
    #[must_use]
    pub const fn new(channels: BTreeMap<Channel, Listing>) -> Self {
        Self { channels }
    }

    /// The listing of a channel; none where it is not wanted.
    #[must_use]
    pub fn get(&self, channel: &Channel) -> Option<&Listing> {
        self.channels.get(channel)
    }

    /// The channels with their listings, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Channel, &Listing)> {
        self.channels.iter()
    }

    /// How many channels are wanted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.channels.len()
    }

    /// True where none is wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// The groups as the tables of the store keep them.
    #[must_use]
    pub fn groups(&self) -> Groups {
        let group = |listing: &Listing| Group {
            token_group: listing.token_group.clone(),
            category: listing.category.clone(),
        };
        let of = self.channels.iter();
        Groups::new(of.map(|(name, it)| (name.clone(), group(it))).collect())
    }

    /// What has to be done so that `wanted` holds instead of this.
    #[must_use]
    pub fn diff(&self, wanted: &Self) -> RosterDiff {
        let mut diff = RosterDiff::default();
        for (channel, listing) in &wanted.channels {
            match self.channels.get(channel) {
                None => diff.to_add.push(channel.clone()),
                Some(old) if old != listing => diff.to_change.push(channel.clone()),
                Some(_) => diff.unchanged += 1,
            }
        }
        let gone = self.channels.keys();
        diff.to_remove = gone
            .filter(|channel| !wanted.channels.contains_key(*channel))
            .cloned()
            .collect();
        diff
    }
}

/// What a change of the list comes to. Each list is in the order of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RosterDiff {
    /// Channels that are to be joined.
    pub to_add: Vec<Channel>,
    /// Channels that stay joined, under another listing.
    pub to_change: Vec<Channel>,
    /// Channels that are to be left.
    pub to_remove: Vec<Channel>,
    /// How many stay as they are.
    pub unchanged: usize,
}

impl RosterDiff {
    /// True where nothing is to be done.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.to_add.is_empty() && self.to_change.is_empty() && self.to_remove.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn roster(entries: &[(&str, &str)]) -> Roster {
        let listing = |group: &str| Listing {
            group: group.into(),
            token_group: "MILO".into(),
            category: "default".into(),
        };
        let of = entries.iter();
        Roster::new(
            of.map(|(name, group)| (Channel::parse(name).unwrap(), listing(group)))
                .collect(),
        )
    }

    fn names(of: &[Channel]) -> Vec<&str> {
        of.iter().map(Channel::as_str).collect()
    }

    #[test]
    fn a_diff_names_what_differs_and_nothing_else() {
        let old = roster(&[("a", "one"), ("b", "one"), ("c", "one"), ("d", "one")]);
        let new = roster(&[("e", "one"), ("b", "two"), ("c", "one"), ("d", "one")]);
        let diff = old.diff(&new);
        assert_eq!(names(&diff.to_add), ["e"]);
        assert_eq!(names(&diff.to_change), ["b"]);
        assert_eq!(names(&diff.to_remove), ["a"]);
        assert_eq!(diff.unchanged, 2);
        assert!(old.diff(&old).is_empty());
    }

    #[test]
    fn the_way_back_is_the_flipped_diff() {
        let old = roster(&[("a", "one"), ("b", "one")]);
        let new = roster(&[("b", "two"), ("c", "one")]);
        let (there, back) = (old.diff(&new), new.diff(&old));
        assert_eq!(there.to_add, back.to_remove);
        assert_eq!(there.to_remove, back.to_add);
        assert_eq!(there.to_change, back.to_change);
    }
}
