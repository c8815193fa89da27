//! The traffic is the same for a seed, and looks like Twitch's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use twzrd_domain::identity::{Node, keccak256};
use twzrd_simulator::traffic::{BOUNDARY, Kind, Profile, Shares, Traffic};

fn bytes(profile: Profile) -> Vec<u8> {
    let mut out = Vec::new();
    Traffic::new(profile).write_to(&mut out, u64::MAX).unwrap();
    out
}

fn default_of(lines: u64) -> Profile {
    Profile {
        lines,
        ..Profile::default()
    }
}

#[test]
fn a_seed_gives_the_same_bytes_for_ever() {
    let hash = |bytes: &[u8]| Node(keccak256(&[bytes])).to_string();
    let small = bytes(Profile::small(1));
    assert_eq!(
        hash(&small),
        "2ebaaa9341076705a31661b759a23af34bde53ac6688e644b60a77fe631138bc"
    );
    assert_eq!(
        hash(&bytes(default_of(10_000))),
        "4e7a406ba66031aa8731dbf26ec6ca2d03c1fd45335a557af74ceae32a5773d5"
    );
    assert_ne!(bytes(Profile::small(2)), small);
}

#[test]
fn every_way_to_take_lines_gives_the_same_lines() {
    let written = bytes(Profile::small(3));
    let mut joined = Vec::new();
    for line in Traffic::new(Profile::small(3)) {
        joined.extend_from_slice(&line);
        joined.extend_from_slice(b"\r\n");
    }
    assert_eq!(joined, written);
    let mut traffic = Traffic::new(Profile::small(3));
    let mut parts = Vec::new();
    assert_eq!(traffic.write_to(&mut parts, 4_000).unwrap(), 4_000);
    assert_eq!(traffic.write_to(&mut parts, 4_000).unwrap(), 1_000);
    assert_eq!(parts, written);
}

#[test]
fn no_line_is_empty_or_holds_a_line_end() {
    for line in Traffic::new(Profile::small(4)) {
        assert!(!line.is_empty());
        assert!(!line.iter().any(|byte| matches!(byte, b'\r' | b'\n')));
    }
}

#[test]
fn kinds_come_in_their_shares() {
    let mut traffic = Traffic::new(default_of(100_000));
    let mut found: BTreeMap<Kind, u64> = BTreeMap::new();
    let mut line = Vec::new();
    while let Some(kind) = traffic.next_into(&mut line) {
        *found.entry(kind).or_default() += 1;
    }
    let missing = Kind::ALL
        .into_iter()
        .filter(|kind| !found.contains_key(kind));
    assert_eq!(missing.collect::<Vec<_>>(), []);
    assert!(
        (82_000..86_000).contains(&found[&Kind::Message]),
        "{found:?}"
    );
    assert!((4_500..5_500).contains(&found[&Kind::Reply]), "{found:?}");
    assert!((500..700).contains(&found[&Kind::Duplicate]), "{found:?}");
}

#[test]
fn a_message_is_as_long_as_twitch_makes_it() {
    let profile = Profile {
        shares: Shares::messages_only(),
        ..default_of(10_000)
    };
    let lengths: Vec<_> = Traffic::new(profile).map(|line| line.len()).collect();
    let mean = lengths.iter().sum::<usize>() / lengths.len();
    assert!((350..450).contains(&mean), "{mean}");
}

/// The value of a tag of a line.
fn tag<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let tags = line.strip_prefix('@')?.split(' ').next()?;
    let mut tags = tags.split(';').filter_map(|tag| tag.split_once('='));
    tags.find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[test]
fn ids_are_unique_but_for_duplicates_and_times_go_back_by_seconds_only() {
    let mut traffic = Traffic::new(Profile::small(5));
    let mut line = Vec::new();
    let mut ids = HashSet::new();
    let (mut latest, mut earlier, mut hours) = (0, 0, BTreeSet::new());
    while let Some(kind) = traffic.next_into(&mut line) {
        let Ok(text) = std::str::from_utf8(&line) else {
            continue;
        };
        if kind == Kind::Junk {
            continue;
        }
        if let Some(id) = tag(text, "id") {
            assert_eq!(ids.insert(id.to_owned()), kind != Kind::Duplicate, "{text}");
        }
        if let (true, Some(ts)) = (kind != Kind::Duplicate, tag(text, "tmi-sent-ts")) {
            let ts: u64 = ts.parse().unwrap();
            assert!(ts + 5_000 > latest, "{text}");
            earlier += u32::from(ts < latest);
            latest = latest.max(ts);
            hours.insert(ts / 3_600_000);
        }
    }
    assert!(earlier > 20, "{earlier} lines were out of order");
    let first = BOUNDARY / 3_600_000 - 1;
    assert_eq!(
        hours.into_iter().collect::<Vec<_>>(),
        [first, first + 1, first + 2]
    );
}

#[test]
fn a_mystery_gift_is_unpacked_into_as_many_gifts() {
    let quiet = Kind::ALL
        .into_iter()
        .fold(Shares::messages_only(), |shares, kind| {
            shares.with(kind, u32::from(kind == Kind::MysteryGift))
        });
    let shares = quiet.with(Kind::Message, 60);
    let profile = Profile {
        shares,
        ..default_of(20_000)
    };
    let mut traffic = Traffic::new(profile);
    let mut line = Vec::new();
    let mut promised: BTreeMap<String, i64> = BTreeMap::new();
    while let Some(kind) = traffic.next_into(&mut line) {
        let text = std::str::from_utf8(&line).unwrap();
        let change = match kind {
            Kind::MysteryGift => tag(text, "msg-param-mass-gift-count")
                .unwrap()
                .parse()
                .unwrap(),
            Kind::CommunityGift => -1,
            _ => continue,
        };
        let of = tag(text, "msg-param-community-gift-id").unwrap().to_owned();
        *promised.entry(of).or_default() += change;
    }
    let kept = promised.values().filter(|left| **left == 0).count();
    assert!(promised.values().all(|left| *left >= 0), "{promised:?}");
    assert!(
        kept >= 50 && promised.len() - kept <= 17,
        "{kept} of {}",
        promised.len()
    );
}

#[test]
fn a_line_goes_to_the_channel_that_it_names() {
    let mut traffic = Traffic::new(Profile::small(6));
    let (mut line, mut named) = (Vec::new(), 0);
    while let Some(kind) = traffic.next_into(&mut line) {
        let text = String::from_utf8_lossy(&line);
        let Some((_, rest)) = text.split_once(" #channel_") else {
            continue;
        };
        if kind != Kind::Junk {
            let name = rest.split_whitespace().next().unwrap();
            assert_eq!(name.parse(), Ok(traffic.channel()), "{text}");
            named += 1;
        }
    }
    assert!(named > 4_000, "{named}");
}

#[test]
fn channels_can_have_names_of_their_own() {
    let numbered = bytes(Profile::small(7));
    let named = |names: Vec<String>| {
        let names = names.into_iter().map(Arc::from).collect();
        let mut out = Vec::new();
        let mut traffic = Traffic::named(Profile::small(7), names);
        traffic.write_to(&mut out, u64::MAX).unwrap();
        out
    };
    let same = (0..8)
        .map(|number| format!("channel_{number:04}"))
        .collect();
    assert!(named(same) == numbered);
    let other = (0..8).map(|number| format!("other{number}")).collect();
    let text = String::from_utf8_lossy(&numbered).replace("channel_000", "other");
    let renamed = String::from_utf8_lossy(&named(other)).into_owned();
    let messages = |text: &str| text.matches(" PRIVMSG #other").count();
    assert_eq!(messages(&renamed), messages(&text));
    assert!(!renamed.contains("#channel_"));
}

#[test]
fn a_time_that_is_given_is_the_time_of_the_next_line() {
    let shares = Shares::messages_only();
    let mut traffic = Traffic::new(Profile {
        shares,
        ..default_of(100)
    });
    for now in [5_000_000_000, 6_000_000_000] {
        traffic.set_now(now);
        let line = traffic.next().unwrap();
        let sent: u64 = tag(std::str::from_utf8(&line).unwrap(), "tmi-sent-ts")
            .unwrap()
            .parse()
            .unwrap();
        assert!((now - 5_000..=now).contains(&sent), "{sent}");
    }
}
