//! What goes wrong in a schedule, by its seed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use solana_rpc_client::rpc_sender::RpcSender;
use twzrd_actors::step::{Probe, Step};
use twzrd_chain::rpc::{Endpoint, Pool, PoolConfig};
use twzrd_localnet::faults::{Fault, FaultPlan, FaultySender, Rule};
use twzrd_localnet::{Dropped, Node};

/// A generator of its own for each part of a schedule, so that one does not shift another.
pub(crate) fn rng(seed: u64, part: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed.wrapping_mul(1009).wrapping_add(part))
}

/// One to three nodes, each with faults of its own.
pub(crate) struct Nodes {
    pub(crate) pool: Pool,
    pub(crate) plans: Vec<FaultPlan>,
}

impl Nodes {
    pub(crate) fn new(node: &Node, seed: u64) -> Self {
        Self::with(node, seed, |_, sender| Box::new(sender))
    }

    /// As [`Nodes::new`], with something around the transport of each, by its number.
    pub(crate) fn with(
        node: &Node,
        seed: u64,
        around: impl Fn(u64, FaultySender) -> Box<dyn RpcSender + Send + Sync>,
    ) -> Self {
        let mut random = rng(seed, 1);
        let many = random.random_range(1..=3);
        let mut plans = Vec::new();
        let endpoints = (0..many).map(|number| {
            let plan = FaultPlan::new(seed.wrapping_add(number));
            for rule in rules(&mut random) {
                plan.add(rule);
            }
            let sender = FaultySender::of(node, plan.clone());
            plans.push(plan);
            Endpoint::new(format!("node-{number}"), around(number, sender))
                .with_timeout(Duration::from_secs(5))
        });
        let endpoints: Vec<_> = endpoints.collect();
        let config = PoolConfig {
            cool_down: Duration::from_secs(3),
            allowed_lag: random.random_range(0..20),
            probe_interval: Duration::from_secs(2),
            probe_timeout: Duration::from_secs(1),
        };
        Self {
            pool: Pool::new(endpoints, config).unwrap(),
            plans,
        }
    }

    /// Nothing goes wrong from now on.
    pub(crate) fn clear(&self) {
        self.plans.iter().for_each(FaultPlan::clear);
    }

    /// How often something went wrong.
    pub(crate) fn strikes(&self) -> u64 {
        self.plans
            .iter()
            .flat_map(|plan| plan.strikes().into_values())
            .sum()
    }
}

fn rules(random: &mut ChaCha8Rng) -> Vec<Rule> {
    let all: [fn(&mut ChaCha8Rng) -> Rule; 13] = [
        |it| {
            Rule::new(Fault::RpcError {
                code: -32603,
                message: "internal".into(),
            })
            .chance(it.random_range(10..200))
        },
        |it| {
            Rule::new(Fault::RpcError {
                code: -32005,
                message: "behind".into(),
            })
            .chance(it.random_range(10..200))
        },
        |it| {
            Rule::new(Fault::Hang(Duration::from_secs(it.random_range(1..20))))
                .chance(it.random_range(5..60))
        },
        |it| Rule::new(Fault::Status(429)).chance(it.random_range(10..200)),
        |it| Rule::new(Fault::Status(503)).chance(it.random_range(10..200)),
        |it| Rule::new(Fault::Behind(it.random_range(1..200))).chance(it.random_range(50..500)),
        |it| Rule::new(Fault::NeverLands).chance(it.random_range(100..900)),
        |it| Rule::new(Fault::LandsThoughFailed).chance(it.random_range(100..900)),
        |it| Rule::new(Fault::StaleBlockhash).chance(it.random_range(50..500)),
        |it| {
            let absurd = [0, 1_000_000_000_000, u64::MAX][it.random_range(0..3)];
            Rule::new(Fault::AbsurdNumber(absurd))
                .chance(it.random_range(5..60))
                .times(20)
        },
        |it| {
            Rule::new(Fault::SkipBlocks(151))
                .chance(it.random_range(5..20))
                .times(3)
        },
        |it| {
            Rule::new(Fault::Fork {
                blocks: it.random_range(1..4),
                dropped: Dropped::Lost,
            })
            .chance(it.random_range(10..60))
            .times(10)
        },
        |it| {
            Rule::new(Fault::Fork {
                blocks: it.random_range(1..4),
                dropped: Dropped::Pending,
            })
            .chance(it.random_range(10..60))
            .times(10)
        },
    ];
    let rules = all
        .iter()
        .filter(|_| random.random_bool(0.4))
        .collect::<Vec<_>>();
    rules.into_iter().map(|make| make(random)).collect()
}

/// Panics at some of the steps while it is armed.
pub(crate) struct Crashes {
    state: Mutex<(ChaCha8Rng, bool, u64)>,
    chance: f64,
}

impl Crashes {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        let mut random = rng(seed, 2);
        let chance = if random.random_bool(0.7) {
            random.random_range(0.01..0.3)
        } else {
            0.0
        };
        Arc::new(Self {
            state: Mutex::new((random, true, 0)),
            chance,
        })
    }

    pub(crate) fn disarm(&self) {
        self.state.lock().unwrap_or_else(|it| it.into_inner()).1 = false;
    }

    pub(crate) fn count(&self) -> u64 {
        self.state.lock().unwrap_or_else(|it| it.into_inner()).2
    }
}

impl Probe for Crashes {
    fn reached(&self, step: Step) {
        let strikes = {
            let mut state = self.state.lock().unwrap_or_else(|it| it.into_inner());
            let strikes = state.1 && state.0.random_bool(self.chance);
            state.2 += u64::from(strikes);
            strikes
        };
        if strikes {
            std::panic::panic_any(format!("injected at {step}"));
        }
    }
}
