//! A chain that goes on, and a runtime whose time stands still while there is work.

use std::sync::LazyLock;
use std::time::Duration;

use twzrd_localnet::NodeConfig;
use twzrd_localnet::scene::{Scene, SceneConfig};
use twzrd_supervision::{Backoff, ChildSpec, Intensity, SupervisorSpec};

/// How long a slot takes.
pub(crate) const SLOT: Duration = Duration::from_millis(400);

static SCENE: LazyLock<Scene> = LazyLock::new(|| {
    Scene::new(SceneConfig {
        node: NodeConfig {
            finality_slots: 5,
            ..NodeConfig::default()
        },
        ..SceneConfig::default()
    })
});

/// A world of its own.
pub(crate) fn scene() -> Scene {
    SCENE.duplicate()
}

/// Runs a schedule in paused time.
pub(crate) fn in_paused_time<T>(schedule: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(schedule)
}

/// A supervisor that restarts its one child as often as a schedule likes.
pub(crate) fn supervised(child: ChildSpec) -> SupervisorSpec {
    let child = child.backoff(Backoff {
        initial: Duration::from_millis(1),
        max: Duration::from_millis(500),
        jitter: 0.0,
        ..Backoff::default()
    });
    SupervisorSpec::new("root")
        .intensity(Intensity {
            restarts: 1_000_000,
            period: Duration::from_secs(1),
        })
        .child(child)
}
