//! What a storm strikes at, in which order, and what came of it. Nothing here strikes.

use std::collections::BTreeMap;
use std::time::Duration;

/// The least and the most time between two strikes, in milliseconds.
const PAUSE_MS: (u64, u64) = (400, 900);

/// How wide the lines are at the end.
const TOLD_WIDTH: usize = 100;

/// How many recoveries are remembered. More are counted and not measured.
const MEASURED: usize = 1_000_000;

/// A kind of strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Journal,
    SuppressionFilter,
    ParticipationBatcher,
    EpochSealer,
    TreeBuilder,
    GapLedger,
    ChannelRoster,
    Collector,
    Connection,
    Cut,
    CutMidLine,
    Reset,
    Reconnect,
    Stall,
    Duplicates,
    Garbage,
}

impl Kind {
    pub(super) const ALL: [Self; 16] = [
        Self::Journal,
        Self::SuppressionFilter,
        Self::ParticipationBatcher,
        Self::EpochSealer,
        Self::TreeBuilder,
        Self::GapLedger,
        Self::ChannelRoster,
        Self::Collector,
        Self::Connection,
        Self::Cut,
        Self::CutMidLine,
        Self::Reset,
        Self::Reconnect,
        Self::Stall,
        Self::Duplicates,
        Self::Garbage,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::SuppressionFilter => "suppression_filter",
            Self::ParticipationBatcher => "participation_batcher",
            Self::EpochSealer => "epoch_sealer",
            Self::TreeBuilder => "tree_builder",
            Self::GapLedger => "gap_ledger",
            Self::ChannelRoster => "channel_roster",
            Self::Collector => "collector",
            Self::Connection => "connection",
            Self::Cut => "cut",
            Self::CutMidLine => "cut mid-line",
            Self::Reset => "reset",
            Self::Reconnect => "reconnect",
            Self::Stall => "stall",
            Self::Duplicates => "duplicates",
            Self::Garbage => "garbage",
        }
    }

    /// True where an actor is killed; false for what befalls a socket.
    pub(super) const fn is_kill(self) -> bool {
        !matches!(
            self,
            Self::Cut
                | Self::CutMidLine
                | Self::Reset
                | Self::Reconnect
                | Self::Stall
                | Self::Duplicates
                | Self::Garbage
        )
    }

    /// True where a socket may end by it.
    pub(super) const fn ends_sockets(self) -> bool {
        matches!(
            self,
            Self::Connection | Self::Cut | Self::CutMidLine | Self::Reset | Self::Reconnect
        )
    }
}

/// One strike to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Strike {
    /// How long after the one before.
    pub(super) after: Duration,
    pub(super) kind: Kind,
    /// Decides which of many is struck.
    pub(super) draw: u64,
}

/// Strikes without end, from a seed. Of any sixteen that begin a round, each kind is one.
pub(super) struct Schedule {
    state: u64,
    round: Vec<Kind>,
}

impl Schedule {
    pub(super) const fn new(seed: u64) -> Self {
        Self {
            state: seed,
            round: Vec::new(),
        }
    }

    /// SplitMix64, by Steele, Lea and Flood.
    const fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Iterator for Schedule {
    type Item = Strike;

    fn next(&mut self) -> Option<Strike> {
        if self.round.is_empty() {
            self.round = Kind::ALL.to_vec();
        }
        let place = pick(self.draw(), self.round.len());
        let kind = self.round.swap_remove(place);
        let (least, most) = PAUSE_MS;
        let ms = least + self.draw() % (most - least + 1);
        Some(Strike {
            after: Duration::from_millis(ms),
            kind,
            draw: self.draw(),
        })
    }
}

/// One of so many places, of which there is at least one.
pub(super) fn pick(draw: u64, places: usize) -> usize {
    let place = draw % (places.max(1) as u64);
    usize::try_from(place).unwrap_or(0)
}

/// How long something took, each time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Times {
    sorted: Vec<Duration>,
    /// How often it had not happened by the time that it was given up on.
    missing: u64,
}

impl Times {
    fn push(&mut self, time: Option<Duration>) {
        match time {
            Some(time) if self.sorted.len() < MEASURED => {
                let at = self.sorted.partition_point(|one| *one <= time);
                self.sorted.insert(at, time);
            }
            Some(_) => {}
            None => self.missing += 1,
        }
    }

    /// The time within which so many of a hundred were done: the nearest rank.
    fn percentile(&self, of_100: usize) -> Option<Duration> {
        let rank = (self.sorted.len() * of_100).div_ceil(100);
        self.sorted.get(rank.checked_sub(1)?).copied()
    }

    /// Both percentiles, in words.
    fn told(&self) -> String {
        let (Some(half), Some(most)) = (self.percentile(50), self.percentile(99)) else {
            return "none yet".to_owned();
        };
        let mut told = format!(
            "p50 {}, p99 {} ({} measured)",
            ms(half),
            ms(most),
            self.sorted.len()
        );
        if self.missing > 0 {
            told += &format!(", {} not in time", self.missing);
        }
        told
    }
}

/// A time in milliseconds.
fn ms(time: Duration) -> String {
    let tenths = (time.as_micros() + 50) / 100;
    match tenths {
        0..1000 => format!("{}.{} ms", tenths / 10, tenths % 10),
        _ => format!("{} ms", (tenths + 5) / 10),
    }
}

/// What came of a storm so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    struck: BTreeMap<Kind, u64>,
    /// The last strike in words, and its number.
    last: Option<(u64, String)>,
    /// The last recovery in words.
    recovered: Option<String>,
    /// From the end of an actor to its next life.
    restarts: Times,
    /// From the end of a socket to where every channel is joined.
    rejoins: Times,
}

impl Tally {
    /// Notes a strike, and gives its number.
    pub(super) fn strike(&mut self, kind: Kind, text: String) -> u64 {
        *self.struck.entry(kind).or_default() += 1;
        let number = self.strikes();
        self.last = Some((number, text));
        number
    }

    /// Notes that an actor runs again.
    pub(super) fn restarted(&mut self, what: &str, time: Option<Duration>) {
        self.restarts.push(time);
        self.recovered = Some(match time {
            Some(time) => format!("{what} ran again after {}", ms(time)),
            None => format!("{what} does not run again yet"),
        });
    }

    /// Notes that every channel is joined again.
    pub(super) fn rejoined(&mut self, time: Option<Duration>) {
        self.rejoins.push(time);
        self.recovered = Some(match time {
            Some(time) => format!("all channels were joined again after {}", ms(time)),
            None => "not all channels are joined again yet".to_owned(),
        });
    }

    /// How many strikes there were.
    pub(super) fn strikes(&self) -> u64 {
        self.struck.values().sum()
    }

    /// How often each kind struck, kills first, in lines that are not wider than this where that
    /// can be.
    pub(super) fn by_kind(&self, width: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for (is_kill, what) in [(true, "actors killed"), (false, "at sockets")] {
            let struck = self.struck.iter();
            let struck: Vec<_> = struck.filter(|it| it.0.is_kill() == is_kill).collect();
            let sum: u64 = struck.iter().map(|(_, n)| *n).sum();
            let mut line = format!("{sum} {what}:");
            for (kind, n) in struck {
                let part = format!(" {} {n}", kind.name());
                if line.len() + part.len() > width {
                    lines.push(std::mem::replace(&mut line, " ".to_owned()));
                }
                line += &part;
                line.push(',');
            }
            line.pop();
            lines.push(line);
        }
        lines
    }

    /// All of it, at the end.
    pub(super) fn told(&self) -> String {
        let kinds = self.by_kind(TOLD_WIDTH).join("\n");
        format!(
            "{kinds}\nan actor ran again after {}\nall channels were joined again after {}",
            self.restarts.told(),
            self.rejoins.told()
        )
    }

    /// The last strike and the last recovery.
    pub(super) fn latest(&self) -> String {
        let mut text = format!("storm: {} strikes", self.strikes());
        if let Some((_, last)) = &self.last {
            text += &format!("; last: {last}");
        }
        if let Some(recovered) = &self.recovered {
            text += &format!("; {recovered}");
        }
        text
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::settings::layers::{Flags, Layers};

    #[test]
    fn strikes_follow_from_the_seed_and_each_round_has_every_kind() {
        let of = |seed| Schedule::new(seed).take(64).collect::<Vec<_>>();
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
        for round in of(7).chunks(16) {
            let kinds: BTreeSet<_> = round.iter().map(|strike| strike.kind).collect();
            assert_eq!(kinds.len(), 16);
        }
        let pauses = of(7).into_iter().map(|strike| strike.after);
        let (least, most) = PAUSE_MS;
        assert!(pauses.clone().min().unwrap() >= Duration::from_millis(least));
        assert!(pauses.max().unwrap() <= Duration::from_millis(most));
    }

    /// In the demo nothing is given up on: a storm stays below the limits that are shipped.
    #[test]
    fn no_storm_reaches_the_intensity_at_which_a_supervisor_gives_up() {
        let layers = Layers::read(&Flags::default()).unwrap();
        let plan = layers.settings().unwrap().plan;
        let (settlement, ingest) = (&plan.supervisors["settlement"], &plan.supervisors["ingest"]);
        let of_settlement = |kind: Kind| kind.is_kill() && kind <= Kind::GapLedger;
        for seed in 0..200 {
            let (mut now, mut hits) = (0u128, [Vec::new(), Vec::new()]);
            for strike in Schedule::new(seed).take(200) {
                now += strike.after.as_millis();
                if of_settlement(strike.kind) {
                    hits[0].push(now);
                }
                if strike.kind == Kind::ChannelRoster {
                    hits[1].push(now);
                }
            }
            for (hits, supervisor) in hits.iter().zip([settlement, ingest]) {
                let most = supervisor.intensity as usize;
                let within = u128::from(supervisor.period_ms);
                let too_many = |times: &[u128]| times[most] - times[0] <= within;
                assert!(!hits.windows(most + 1).any(too_many), "seed {seed}");
            }
        }
    }

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let mut times = Times::default();
        assert_eq!(times.told(), "none yet");
        for n in [3u64, 1, 2] {
            times.push(Some(Duration::from_millis(n)));
        }
        assert_eq!(times.told(), "p50 2.0 ms, p99 3.0 ms (3 measured)");
        (4..=100).for_each(|n| times.push(Some(Duration::from_millis(n))));
        times.push(None);
        let told = "p50 50.0 ms, p99 99.0 ms (100 measured), 1 not in time";
        assert_eq!(times.told(), told);
        assert_eq!(ms(Duration::from_micros(123_449)), "123 ms");
    }

    #[test]
    fn a_storm_is_told_by_kind_with_the_last_strike_and_recovery() {
        let mut tally = Tally::default();
        assert_eq!(tally.latest(), "storm: 0 strikes");
        tally.strike(Kind::Reset, "socket 3 reset".to_owned());
        tally.strike(Kind::Journal, "journal killed".to_owned());
        assert_eq!(tally.strike(Kind::Journal, "journal killed".to_owned()), 3);
        tally.restarted("journal", Some(Duration::from_micros(1_240)));
        assert_eq!(
            tally.latest(),
            "storm: 3 strikes; last: journal killed; journal ran again after 1.2 ms"
        );
        let kinds = ["2 actors killed: journal 2", "1 at sockets: reset 1"];
        assert_eq!(tally.by_kind(80), kinds);
        tally.strike(Kind::EpochSealer, "epoch_sealer killed".to_owned());
        let kinds = [
            "3 actors killed: journal 2,",
            "  epoch_sealer 1",
            "1 at sockets: reset 1",
        ];
        assert_eq!(tally.by_kind(40), kinds);
    }
}
