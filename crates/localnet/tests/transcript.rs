//! The transcript of the recorded program, step by step, on the model: the same results and the
//! same bytes of accounts after each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "transcript/recorded.rs"]
mod recorded;

use twzrd_localnet::scene::{Scene, SceneConfig};
use twzrd_localnet::{Commitment, NodeConfig, model};

#[tokio::test]
async fn the_model_does_what_the_recorded_program_did_byte_for_byte() {
    let mut svm = recorded::unchecked();
    model::install(&mut svm, recorded::program());
    recorded::replay(&mut svm).await;
}

/// Where a binary is named, it has to do the same: then the model stands for it.
#[tokio::test]
async fn a_program_that_is_named_does_what_the_recorded_program_did() {
    let Ok(path) = std::env::var("TWZRD_TEST_PROGRAM") else {
        return;
    };
    let binary = std::fs::read(&path).unwrap();
    let mut svm = recorded::unchecked();
    svm.add_program(recorded::program(), &binary).unwrap();
    recorded::replay(&mut svm).await;
}

/// One scene is made, and each schedule has its copy.
#[test]
fn a_copy_of_a_scene_goes_its_own_way() {
    let scene = Scene::new(SceneConfig {
        node: NodeConfig::default(),
        ..SceneConfig::default()
    });
    let copy = scene.duplicate();
    assert_eq!(copy.node.ticks(3), 1003);
    assert_eq!(scene.node.slot(Commitment::Processed), 1000);
}
