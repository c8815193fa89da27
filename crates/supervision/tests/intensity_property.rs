//! Restart intensity against a model, on a real tree with paused time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use proptest::prelude::*;
use support::{LONG, Log, Msg, Probe, intensity, ms, silence_scripted_panics};
use tokio::time::timeout;
use twzrd_supervision::{ExitReason, Options, SupervisorSpec};

/// The crash (from 0) at which a supervisor gives up: the first that is preceded by
/// `restarts` others within `period`, its bounds included.
fn model(gaps_ms: &[u64], restarts: usize, period_ms: u64) -> Option<usize> {
    let mut at = 0;
    let times: Vec<u64> = gaps_ms
        .iter()
        .map(|gap| {
            at += gap;
            at
        })
        .collect();
    (0..times.len()).find(|&crash| {
        let recent = times[..crash]
            .iter()
            .filter(|&&time| time + period_ms >= times[crash]);
        recent.count() >= restarts
    })
}

/// The same, found out by crashing two children in turn.
async fn observed(gaps_ms: &[u64], restarts: u32, period_ms: u64) -> Option<usize> {
    let log = Log::new();
    let probes = ["a", "b"].map(|id| Probe::new(id, &log));
    let spec = SupervisorSpec::new("root")
        .intensity(intensity(restarts, ms(period_ms)))
        .children(probes.each_ref().map(Probe::spec));
    let tree = twzrd_supervision::start(spec, Options::default())
        .await
        .unwrap();
    let mut lives = [1, 1];
    for (crash, gap) in gaps_ms.iter().enumerate() {
        tokio::time::sleep(ms(*gap)).await;
        let which = crash % 2;
        probes[which].tell(Msg::Panic);
        lives[which] += 1;
        tokio::select! {
            reason = tree.exited() => {
                assert!(matches!(reason, ExitReason::GaveUp { .. }), "{reason}");
                return Some(crash);
            }
            () = probes[which].incarnation(lives[which]) => {}
        }
    }
    assert_eq!(timeout(LONG, tree.stop()).await.unwrap().late, []);
    None
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_supervisor_gives_up_at_the_crash_that_the_model_says(
        gaps_ms in prop::collection::vec(0_u64..40, 1..40),
        restarts in 0_u32..6,
        period_ms in 1_u64..100,
    ) {
        silence_scripted_panics();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let seen = runtime.block_on(observed(&gaps_ms, restarts, period_ms));
        prop_assert_eq!(seen, model(&gaps_ms, restarts as usize, period_ms));
    }
}
