//! Runs a Twitch chat server and prints its counters every second:
//! `simulator [PORT] [LINES PER SECOND] [ROOMS] [SEED]`.
#![allow(clippy::print_stdout)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use twzrd_domain::epoch::UnixMs;
use twzrd_domain::ports::Clock;
use twzrd_simulator::{Config, Limit, Rooms, Simulator, Snapshot};

struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is what is behind the port")]
    fn now(&self) -> UnixMs {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |or: u32| arguments.next().map_or(Ok(or), |text| text.parse());
    let port = u16::try_from(number(6667)?)?;
    let simulator = Simulator::start(Config {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        lines_per_second: number(1600)?,
        rooms: Rooms::Numbered(number(1000)?),
        seed: u64::from(number(1)?),
        join_limit: Limit::NONE,
        login_limit: Limit::NONE,
        ..Config::new(Arc::new(SystemClock))
    })
    .await?;
    println!("listening on {}", simulator.address());
    let mut last = Snapshot::default();
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = seconds.tick() => {}
            stop = tokio::signal::ctrl_c() => {
                stop?;
                break;
            }
        }
        let now = simulator.snapshot();
        print(&last, &now);
        last = now;
    }
    simulator.stop().await;
    Ok(())
}

fn print(last: &Snapshot, now: &Snapshot) {
    println!(
        "{} sockets, {} rooms joined, {} lines and {} bytes delivered in the last second, {} generated, {} unheard, {} join and {} login violations, ends: {:?}",
        now.sockets.len(),
        now.joined(),
        now.lines_delivered - last.lines_delivered,
        now.bytes_delivered - last.bytes_delivered,
        now.lines_generated,
        now.lines_unheard,
        now.join_violations,
        now.login_violations,
        now.disconnects,
    );
}
