//! Limits over a sliding window, by account or address.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// How often something may be done in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How often.
    pub most: u32,
    /// In any stretch of this length.
    pub within: Duration,
}

impl Limit {
    /// What Twitch allows to whoever is not verified: 20 in 10 seconds, of joins and of logins.
    pub const TWITCH: Self = Self {
        most: 20,
        within: Duration::from_secs(10),
    };

    /// What Twitch allows to a verified bot: 2,000 joins in 10 seconds.
    pub const VERIFIED: Self = Self {
        most: 2000,
        within: Duration::from_secs(10),
    };

    /// No limit to speak of.
    pub const NONE: Self = Self {
        most: u32::MAX,
        within: Duration::ZERO,
    };
}

/// Under whose name something is done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Account(Box<str>),
    /// Whoever has no account is known by the address.
    Address(IpAddr),
}

/// From so many keys on, those that did nothing lately are forgotten at every call.
const SWEEP_KEYS: usize = 1024;

/// Counts what was done within the window, by key.
pub(crate) struct Limiter {
    limit: Limit,
    done: HashMap<Key, VecDeque<Instant>>,
}

impl Limiter {
    pub(crate) fn new(limit: Limit) -> Self {
        Self {
            limit,
            done: HashMap::new(),
        }
    }

    /// True, and taken note of, where this may be done now.
    pub(crate) fn take(&mut self, key: &Key, now: Instant) -> bool {
        if self.limit.within.is_zero() {
            return true;
        }
        let within = self.limit.within;
        let is_past = |at: Instant| now.saturating_duration_since(at) >= within;
        if self.done.len() >= SWEEP_KEYS {
            self.done
                .retain(|_, done| done.back().is_some_and(|&at| !is_past(at)));
        }
        let done = self.done.entry(key.clone()).or_default();
        while done.front().is_some_and(|&at| is_past(at)) {
            done.pop_front();
        }
        let is_free = u32::try_from(done.len()).is_ok_and(|done| done < self.limit.most);
        if is_free {
            done.push_back(now);
        }
        is_free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit {
        most: 2,
        within: Duration::from_secs(10),
    };

    fn key(name: &str) -> Key {
        Key::Account(name.into())
    }

    #[test]
    fn the_window_slides() {
        let mut limiter = Limiter::new(LIMIT);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(limiter.take(&key("a"), at(0)));
        assert!(limiter.take(&key("a"), at(6)));
        assert!(!limiter.take(&key("a"), at(9)));
        assert!(limiter.take(&key("b"), at(9)), "each key has its own");
        assert!(limiter.take(&key("a"), at(10)), "the first is past");
        assert!(!limiter.take(&key("a"), at(15)), "the second is not");
        assert!(limiter.take(&key("a"), at(16)));
    }

    #[test]
    fn keys_that_do_nothing_are_forgotten() {
        let mut limiter = Limiter::new(LIMIT);
        let start = Instant::now();
        for n in 0..SWEEP_KEYS {
            assert!(limiter.take(&key(&n.to_string()), start));
        }
        assert!(limiter.take(&key("later"), start + LIMIT.within));
        assert_eq!(limiter.done.len(), 1);
    }
}
