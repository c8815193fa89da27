//! A local chain that a process can reach, with faults in front of it.

use std::os::unix::fs::PermissionsExt;
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value;
use solana_sdk::signature::Keypair;
use tokio::runtime::Runtime;
use twzrd_localnet::faults::{FaultPlan, FaultyProxy};
use twzrd_localnet::scene::{Scene, SceneConfig};
use twzrd_localnet::{NodeConfig, Served};

use crate::support::{Place, message};

const SLOT: Duration = Duration::from_millis(50);
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A node with a proxy in front of it, and a folder whose settings name them.
pub(crate) struct Local {
    pub(crate) place: Place,
    pub(crate) scene: Scene,
    pub(crate) plan: FaultPlan,
    // In the order in which they end.
    proxy: FaultyProxy,
    _served: Served,
    _runtime: Runtime,
}

impl Local {
    pub(crate) fn new() -> Self {
        Self::with(NodeConfig::default(), "auto_publish = true\n")
    }

    /// With these lines in the publisher's section.
    pub(crate) fn with(node: NodeConfig, publisher: &str) -> Self {
        Self::paced(node, SLOT, publisher)
    }

    /// With slots of this length.
    pub(crate) fn paced(node: NodeConfig, slot: Duration, publisher: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let scene = Scene::new(SceneConfig {
            node,
            ..SceneConfig::default()
        });
        let plan = FaultPlan::new(1);
        let anywhere = "127.0.0.1:0".parse().unwrap();
        let (served, proxy) = runtime.block_on(async {
            let served = scene.node.serve(anywhere, Some(slot)).await.unwrap();
            let (http, ws) = (served.http_url(), served.ws_url());
            let proxy = FaultyProxy::start(anywhere, &http, &ws, plan.clone(), None).await;
            (served, proxy.unwrap())
        });
        let place = Place::new();
        write_key(&place, "publisher.json", &scene.publisher);
        write_key(&place, "admin.json", &scene.admin);
        place.write(
            "supervision.toml",
            format!(
                "[chain]\ntarget = \"program\"\nrpc_urls = [\"{}\"]\nws_urls = [\"{}\"]\nkeypair_file = \"publisher.json\"\n\
                 epoch_mode = \"index\"\nrequest_timeout_ms = 60000\ncool_down_ms = 100\n\
                 [publisher]\n{publisher}interval_ms = 200\npoll_ms = 100\nresend_ms = 200\n\
                 [listener]\npoll_ms = 500\n\
                 [twitch]\nhost = \"127.0.0.1\"\nport = 9\ntls = false\n\
                 [gateway]\nlisten = \"127.0.0.1:0\"\n",
                proxy.http_url(),
                proxy.ws_url()
            ),
        );
        Self {
            place,
            scene,
            plan,
            proxy,
            _served: served,
            _runtime: runtime,
        }
    }

    /// The node's URL.
    pub(crate) fn url(&self) -> String {
        self.proxy.http_url()
    }

    /// One sealed epoch of these channels, with a few people in each.
    pub(crate) fn seal(&self, channels: &[&str]) {
        let mut id = 0;
        let mut lines = String::new();
        for channel in channels {
            for login in ["ada", "bob", "cy"] {
                id += 1;
                lines += &message(login, channel, 60, id);
            }
        }
        self.place.write("chat.irc", lines);
        self.place.replay("data", &["chat.irc"]);
    }

    /// Starts the service.
    pub(crate) fn service(&self) -> Service {
        let mut command = self.place.command(&["run", "--data", "data"]);
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.place.path("service.log"))
            .unwrap();
        Service(
            command
                .stdout(std::process::Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap(),
        )
    }

    /// What the service has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.place.path("service.log")).unwrap_or_default()
    }

    /// Where a root stands, by the command line.
    pub(crate) fn shown(&self, channel: &str) -> Value {
        let epoch = crate::support::HOUR.to_string();
        let run = self.place.run(&[
            "settlement",
            "show",
            "--json",
            "--log-level",
            "error",
            "--data",
            "data",
            "--epoch",
            &epoch,
            "--channel",
            channel,
        ]);
        serde_json::from_str(&run.good()).unwrap()
    }

    /// Waits until a root stands there.
    #[track_caller]
    pub(crate) fn until(&self, channel: &str, state: &str) -> Value {
        let begun = Instant::now();
        loop {
            let shown = self.shown(channel);
            if shown["state"] == state {
                return shown;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{shown} is not {state}; the log:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The running service. A test that fails leaves no process behind.
pub(crate) struct Service(Child);

impl Service {
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    pub(crate) fn stop(mut self) {
        crate::support::signal(self.0.id(), "-TERM");
        let status = self.0.wait().unwrap();
        assert!(status.success(), "{status}");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // One that has ended already cannot be killed any more.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn write_key(place: &Place, name: &str, key: &Keypair) {
    let bytes = serde_json::to_string(&key.to_bytes().to_vec()).unwrap();
    let path = place.write(name, bytes);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
