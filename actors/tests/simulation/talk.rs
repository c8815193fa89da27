//! What people say, from the seed of a scenario.

use std::time::Duration;

use rand::prelude::*;
use rand::rngs::ChaCha8Rng;
use twzrd_domain::identity::Channel;
use twzrd_testkit::fake::FakeNetwork;
use twzrd_testkit::scenario::{Scenario, Traffic};

/// The listed bot.
pub(crate) const BOT: &str = "nightbot";

/// The channels of a scenario.
pub(crate) fn channels(traffic: Traffic) -> Vec<Channel> {
    let names = (0..traffic.channels).map(|n| Channel::parse(&format!("channel_{n}")).unwrap());
    names.collect()
}

/// Who says what, and when next.
pub(crate) struct Talk {
    random: ChaCha8Rng,
    traffic: Traffic,
    channels: Vec<Channel>,
    said: u64,
    /// The begin of the scenario, in Unix milliseconds: lines bear the network's own time.
    begin: u64,
}

impl Talk {
    pub(crate) fn new(scenario: &Scenario, begin: u64) -> Self {
        Self {
            random: scenario.random("talk"),
            traffic: scenario.traffic(),
            channels: channels(scenario.traffic()),
            said: 0,
            begin,
        }
    }

    /// When the next line is said.
    pub(crate) fn next_at(&self) -> Duration {
        Duration::from_millis(self.said * 1000 / u64::from(self.traffic.lines_per_second))
    }

    /// A person.
    pub(crate) fn login(&mut self) -> String {
        format!("user_{}", self.random.random_range(0..self.traffic.people))
    }

    /// Says the next line. One of fifty is a bot's, one of a hundred has no sense.
    pub(crate) fn say(&mut self, network: &FakeNetwork) {
        let at = self.begin + u64::try_from(self.next_at().as_millis()).unwrap();
        self.said += 1;
        let channel = self.channels.choose(&mut self.random).unwrap().clone();
        let login = match self.random.random_range(0..100) {
            0 => String::new(),
            1 | 2 => BOT.to_owned(),
            _ => self.login(),
        };
        let action = match self.random.random_range(0..30) {
            0 => "bits:100",
            1 => "sub",
            2 => "resub",
            3 => "gift:3",
            4 => "raid:12",
            5 => "notice",
            _ => "",
        };
        let line = format!("{login} id-{} {at} {action}", self.said);
        network.say(&channel, &line);
    }
}
