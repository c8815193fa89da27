//! `kill -9` between any two steps of a publication.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use twzrd_domain::identity::Name;
use twzrd_localnet::NodeConfig;
use twzrd_localnet::faults::{Fault, Kind, Rule};

use crate::chain::{Local, PATIENCE};

/// The process waits for an answer at this call, and is killed there.
fn waits_at(methods: &'static [&'static str], after: u64) -> Rule {
    let for_ever = Fault::Hang(Duration::from_secs(3600));
    Rule::new(for_ever).on(methods).times(1).after(after)
}

#[test]
fn a_process_that_is_killed_at_any_step_settles_each_root_once() {
    // The calls in the order in which a publication makes them.
    let steps: [(&str, &[Rule]); 9] = [
        (
            "before it is built",
            &[waits_at(&["getLatestBlockhash"], 0)],
        ),
        (
            "before it is signed",
            &[waits_at(&["simulateTransaction"], 0)],
        ),
        ("stored and not sent", &[waits_at(&["sendTransaction"], 0)]),
        (
            "sent, and the answer lost",
            &[
                Rule::new(Fault::LandsThoughFailed).times(1),
                waits_at(&["getSignatureStatuses"], 0),
            ],
        ),
        (
            "sent and not seen",
            &[
                Rule::new(Fault::NeverLands).times(2),
                waits_at(&["getSignatureStatuses"], 1),
            ],
        ),
        ("while it lands", &[waits_at(&["getSignatureStatuses"], 2)]),
        ("asked for its height", &[waits_at(&["getEpochInfo"], 1)]),
        (
            "finalized and not read back",
            &[waits_at(&["getMultipleAccounts"], 2)],
        ),
        (
            "while the listener reads what was before",
            &[waits_at(&["getTransaction"], 0)],
        ),
    ];
    // A second from landing to finality: time enough to meet each call in between, also where the
    // machine is slow, and a blockhash that a restart does not outlive.
    let node = NodeConfig {
        finality_slots: 10,
        ..NodeConfig::default()
    };
    let local = Local::paced(node, Duration::from_millis(100), "auto_publish = true\n");
    for (number, (told, rules)) in steps.into_iter().enumerate() {
        let channel = format!("channel{number}");
        let _ = std::fs::remove_dir_all(local.place.path("data"));
        local.seal(&[&channel]);
        let struck = local.plan.struck(Kind::Hang);
        for rule in rules {
            local.plan.add(rule.clone());
        }
        let service = local.service();
        let begun = Instant::now();
        while local.plan.struck(Kind::Hang) == struck {
            let is_late = begun.elapsed() > PATIENCE;
            assert!(
                !is_late,
                "{told}: the call was not made; the log:\n{}",
                local.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        service.kill();
        let left = local.shown(&channel);
        if told == "finalized and not read back" {
            assert_eq!(left["state"], "finalized", "{left}");
        }
        if told == "stored and not sent" {
            assert_eq!(left["state"], "signed", "{left}");
            assert_eq!(left["log"][0]["status"], "pending_confirmation", "{left}");
        }
        if told.starts_with("before") {
            assert_eq!(left["log"], serde_json::json!([]), "{told}: {left}");
        }
        local.plan.clear();
        let service = local.service();
        let shown = local.until(&channel, "settled");
        service.stop();
        let log = shown["log"].as_array().unwrap();
        assert_eq!(log.len(), 1, "{told}: {shown}");
        assert_eq!(log[0]["status"], "confirmed", "{told}: {shown}");
        assert!(
            log[0]["slot"].is_u64() && log[0]["error_message"].is_null(),
            "{told}: {shown}"
        );
        let state = local
            .scene
            .channel_state(&Name::parse(&channel).unwrap())
            .unwrap();
        let number = crate::support::HOUR / 3600;
        let slot = state.slot_of(number).unwrap();
        let root: String = slot.root.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            (slot.epoch, root.as_str()),
            (number, shown["root"].as_str().unwrap()),
            "{told}"
        );
        let signatures: BTreeSet<_> = log
            .iter()
            .map(|it| it["tx_signature"].to_string())
            .collect();
        assert_eq!(signatures.len(), 1, "{told}: {shown}");
    }
}
