//! What is in bounds, number by number.

use std::fmt;
use std::net::SocketAddr;

use twzrd_domain::epoch::EpochLength;

use super::Written;

/// The most faults that are named at once.
pub(super) const MAX_FAULTS: usize = 100;

/// The least bound of a feed: a line of 64 KiB fits, whatever else waits.
const LEAST_FEED_BYTES: u64 = 131_072;

const DAY_MS: u64 = 86_400_000;

/// What is wrong with a value, and what was expected.
pub(super) struct OutOfBounds {
    /// The file and the line, where it stands in a file of its own and not in the settings.
    pub(super) place: Option<String>,
    /// Where it stands, from the section down.
    pub(super) path: Vec<String>,
    /// What was found.
    pub(super) found: String,
    /// What was expected; empty where that goes without saying.
    pub(super) expected: String,
}

/// Gathers what is out of bounds, up to [`MAX_FAULTS`].
#[derive(Default)]
pub(super) struct Bounds(pub(super) Vec<OutOfBounds>);

impl Bounds {
    pub(super) fn refuse(
        &mut self,
        path: &[&str],
        found: impl fmt::Display,
        expected: impl Into<String>,
    ) {
        self.refuse_at(None, path, found, expected);
    }

    /// Refuses what stands in a file of its own.
    pub(super) fn refuse_at(
        &mut self,
        place: Option<String>,
        path: &[&str],
        found: impl fmt::Display,
        expected: impl Into<String>,
    ) {
        if self.is_full() {
            return;
        }
        self.0.push(OutOfBounds {
            place,
            path: path.iter().map(|&key| key.to_owned()).collect(),
            found: found.to_string(),
            expected: expected.into(),
        });
    }

    /// True where no further fault is named.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MAX_FAULTS
    }

    pub(super) fn within(&mut self, path: &[&str], value: u64, least: u64, most: u64) {
        if value < least || value > most {
            self.refuse(path, value, format!("{least} to {most}"));
        }
    }

    /// A first wait that is doubled, and the longest one.
    fn waits(&mut self, section: &str, initial: (&str, u64), longest: (&str, u64, u64)) {
        let (longest_key, longest_value, most) = longest;
        self.within(&[section, longest_key], longest_value, 1, most);
        let (key, value) = initial;
        if value < 1 || value > longest_value {
            let expected = format!("1 to {section}.{longest_key}, which is {longest_value}");
            self.refuse(&[section, key], value, expected);
        }
    }
}

impl Written {
    pub(super) fn check_plan(&self, bounds: &mut Bounds) {
        for (name, plan) in &self.supervisors {
            let at = |key| ["supervisors", name.as_str(), key];
            bounds.within(&at("intensity"), plan.intensity.into(), 0, 1_000_000);
            bounds.within(&at("period_ms"), plan.period_ms, 1, DAY_MS);
        }
        for (name, plan) in &self.children {
            let at = |key| ["children", name.as_str(), key];
            bounds.within(&at("shutdown_ms"), plan.shutdown_ms, 1, 600_000);
            bounds.within(&at("backoff_max_ms"), plan.backoff_max_ms, 0, DAY_MS);
            bounds.within(
                &at("backoff_initial_ms"),
                plan.backoff_initial_ms,
                0,
                plan.backoff_max_ms,
            );
            bounds.within(&at("stall_after_ms"), plan.stall_after_ms, 1, DAY_MS);
            if !(0.0..=1.0).contains(&plan.backoff_jitter) {
                bounds.refuse(&at("backoff_jitter"), plan.backoff_jitter, "0 to 1");
            }
            let cool_down = [
                ("cool_down_restarts", plan.cool_down_restarts.map(u64::from)),
                ("cool_down_period_ms", plan.cool_down_period_ms),
                ("cool_down_pause_ms", plan.cool_down_pause_ms),
            ];
            if cool_down.iter().all(|(_, value)| value.is_none()) {
                continue;
            }
            for (key, value) in cool_down {
                match value {
                    Some(value) => bounds.within(&at(key), value, 1, DAY_MS),
                    None => bounds.refuse(
                        &at(key),
                        "is missing",
                        "all three keys of a cool-down, or none",
                    ),
                }
            }
        }
    }

    pub(super) fn check_numbers(&self, bounds: &mut Bounds) {
        let longest = EpochLength::MAX_SECONDS.into();
        let (epoch, reward, journal) = (&self.epoch, &self.reward, &self.journal);
        let (collector, reload, janitor) = (&self.collector, &self.reload, &self.janitor);
        let bytes = |number: usize| number as u64;
        #[rustfmt::skip]
        let table = [
            (["epoch", "seconds"], epoch.seconds.into(), 1, longest),
            (["epoch", "grace_seconds"], epoch.grace_seconds.into(), 0, longest),
            (["reward", "viewer_ratio_ppm"], reward.viewer_ratio_ppm.into(), 0, 1_000_000),
            (["reward", "decimals"], reward.decimals.into(), 0, 12),
            (["journal", "segment_bytes"], journal.segment_bytes, 65_536, 4 << 30),
            (["journal", "segment_age_seconds"], journal.segment_age_seconds, 1, 604_800),
            (["batcher", "batch_records"], bytes(self.batcher.batch_records), 1, 1_000_000),
            (["batcher", "linger_ms"], self.batcher.linger_ms, 0, 60_000),
            (["store", "max_connections"], self.store.max_connections.into(), 2, 100),
            (["collector", "feed_bytes"], bytes(collector.feed_bytes), LEAST_FEED_BYTES, 1 << 30),
            (["collector", "all_feeds_bytes"], bytes(collector.all_feeds_bytes), bytes(collector.feed_bytes), 1 << 40),
            (["collector", "linger_ms"], collector.linger_ms, 0, 60_000),
            (["collector", "batch_lines"], bytes(collector.batch_lines), 1, 1_000_000),
            (["reload", "debounce_ms"], reload.debounce_ms, 1, 60_000),
            (["reload", "poll_ms"], reload.poll_ms, 100, 3_600_000),
            (["janitor", "every_seconds"], janitor.every_seconds, 1, 86_400),
            (["janitor", "journal_keep_days"], janitor.journal_keep_days.into(), 0, 36_500),
            (["gateway", "max_connections"], bytes(self.gateway.max_connections), 1, 1_000_000),
            (["gateway", "max_requests"], bytes(self.gateway.max_requests), 1, 1_000_000),
            (["gateway", "max_body_bytes"], bytes(self.gateway.max_body_bytes), 1_024, 64 << 20),
            (["gateway", "request_timeout_ms"], self.gateway.request_timeout_ms, 1, 600_000),
        ];
        for (path, value, least, most) in table {
            bounds.within(&path, value, least, most);
        }
        self.check_network(bounds);
    }

    fn check_network(&self, bounds: &mut Bounds) {
        let twitch = &self.twitch;
        let of_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
        if !((1..=253).contains(&twitch.host.len()) && twitch.host.bytes().all(of_name)) {
            let found = format_args!("{:?}", twitch.host);
            bounds.refuse(&["twitch", "host"], found, "the name or address of a host");
        }
        #[rustfmt::skip]
        let table = [
            ("port", twitch.port.into(), 1, 65_535),
            ("channels_per_connection", twitch.channels_per_connection.into(), 1, 100),
            ("joins_per_period", twitch.joins_per_period.into(), 1, 100_000),
            ("join_period_ms", twitch.join_period_ms, 1, 600_000),
            ("authentications_per_period", twitch.authentications_per_period.into(), 1, 100_000),
            ("authentication_period_ms", twitch.authentication_period_ms, 1, 600_000),
            ("connect_timeout_ms", twitch.connect_timeout_ms, 1, 600_000),
            ("ping_after_ms", twitch.ping_after_ms, 1, 3_600_000),
            ("pong_within_ms", twitch.pong_within_ms, 1, 600_000),
            ("join_within_ms", twitch.join_within_ms, 1, 600_000),
            ("handover_within_ms", twitch.handover_within_ms, 1, 600_000),
        ];
        for (key, value, least, most) in table {
            bounds.within(&["twitch", key], value, least, most);
        }
        bounds.waits(
            "twitch",
            ("reconnect_initial_ms", twitch.reconnect_initial_ms),
            ("reconnect_max_ms", twitch.reconnect_max_ms, 3_600_000),
        );
        bounds.waits(
            "twitch",
            ("refused_retry_initial_ms", twitch.refused_retry_initial_ms),
            (
                "refused_retry_max_ms",
                twitch.refused_retry_max_ms,
                7 * DAY_MS,
            ),
        );
    }

    pub(super) fn check_texts(&self, bounds: &mut Bounds) {
        let url = self.store.url.reveal();
        if !(url.is_empty() || url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            let expected = "an empty text, or a URL that begins with postgres:// or postgresql://";
            bounds.refuse(&["store", "url"], "another text (not shown)", expected);
        }
        let level = &self.log.level;
        if level.parse::<tracing_subscriber::EnvFilter>().is_err() {
            let expected = "error, warn, info, debug or trace, or a filter of these by module";
            bounds.refuse(&["log", "level"], format_args!("{level:?}"), expected);
        }
    }

    /// Where the gateway listens; none where it is refused.
    pub(super) fn listen(&self, bounds: &mut Bounds) -> Option<SocketAddr> {
        let listen = &self.gateway.listen;
        let parsed = listen.parse().ok();
        if parsed.is_none() {
            let expected = "an address and a port, such as 127.0.0.1:8080 or [::1]:8080";
            bounds.refuse(&["gateway", "listen"], format_args!("{listen:?}"), expected);
        }
        parsed
    }
}
