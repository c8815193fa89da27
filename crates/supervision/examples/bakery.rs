//! A tree of two supervisors, a crash, a stall, a look at the tree and an ordered stop.
//!
//! `cargo run -p twzrd-supervision --example bakery`
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use twzrd_supervision::{
    Backoff, ChildRef, ChildSnapshot, ChildSpec, Intensity, Options, Stall, Strategy,
    SupervisorSpec, start, waiting_for,
};

/// Bakes loaves; an ordinary ractor actor that knows nothing of supervision.
struct Oven;

enum OvenMsg {
    /// Bakes a loaf and answers with its number.
    Bake(RpcReplyPort<u32>),
    /// Waits for an hour for wood that does not come.
    Refuel,
    /// Ends in a crash.
    Overheat,
}

impl Actor for Oven {
    type Msg = OvenMsg;
    type State = u32;
    type Arguments = u32;

    async fn pre_start(
        &self,
        _: ActorRef<OvenMsg>,
        first_loaf: u32,
    ) -> Result<u32, ActorProcessingErr> {
        Ok(first_loaf)
    }

    async fn handle(
        &self,
        _: ActorRef<OvenMsg>,
        message: OvenMsg,
        loaf: &mut u32,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            OvenMsg::Bake(reply) => {
                // A customer who has left gets no bread; the oven does not mind.
                let _ = reply.send(*loaf);
                *loaf += 1;
            }
            OvenMsg::Refuel => {
                let _waiting = waiting_for("wood");
                tokio::time::sleep(Duration::from_secs(3600)).await;
            }
            OvenMsg::Overheat => return Err("too hot".into()),
        }
        Ok(())
    }
}

/// Sells what the oven bakes; holds the reference to its sibling, not to one of its lives.
struct Shop {
    oven: ChildRef<OvenMsg>,
}

impl Actor for Shop {
    type Msg = RpcReplyPort<String>;
    type State = ();
    type Arguments = ();

    async fn pre_start(
        &self,
        _: ActorRef<RpcReplyPort<String>>,
        (): (),
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<RpcReplyPort<String>>,
        customer: RpcReplyPort<String>,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        let loaf = self
            .oven
            .call(OvenMsg::Bake, Duration::from_millis(50))
            .await;
        let answer = match loaf {
            Ok(number) => format!("here is loaf {number}"),
            Err(error) => format!("no bread now: {error}"),
        };
        let _ = customer.send(answer);
        Ok(())
    }
}

fn show(child: &ChildSnapshot, depth: usize) {
    let waits: Vec<_> = child.waiting_for.iter().map(|wait| &wait.what).collect();
    println!(
        "{:indent$}{} {:?} restarts={} handled={} waits for {waits:?}",
        "",
        child.id,
        child.state,
        child.restarts,
        child.handled,
        indent = depth * 2
    );
    for below in &child.children {
        show(below, depth + 1);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let second = Duration::from_secs(1);
    let (oven, shop) = (ChildRef::new("oven"), ChildRef::new("shop"));
    let kitchen = SupervisorSpec::new("kitchen")
        .intensity(Intensity {
            restarts: 5,
            period: second,
        })
        .child(
            ChildSpec::worker("oven", &oven, || (Oven, 1))
                .backoff(Backoff {
                    initial: Duration::from_millis(20),
                    max: second,
                    jitter: 0.2,
                    reset_after: second,
                })
                .stall(Stall {
                    after: Duration::from_millis(100),
                    kill: false,
                }),
        );
    let sold_from = oven.clone();
    let front = ChildSpec::worker("shop", &shop, move || {
        let oven = sold_from.clone();
        (Shop { oven }, ())
    });
    let bakery = SupervisorSpec::new("bakery")
        .strategy(Strategy::RestForOne)
        .child(ChildSpec::supervisor(kitchen))
        .child(front);
    let tree = start(bakery, Options::default()).await?;

    println!("{}", shop.call(|reply| reply, second).await?);
    let mut lives = oven.subscribe();
    oven.cast(OvenMsg::Overheat)?;
    lives.wait_for(Option::is_none).await?;
    println!("{}", shop.call(|reply| reply, second).await?);
    oven.wait_running(second).await?;
    println!("{}", shop.call(|reply| reply, second).await?);

    oven.cast(OvenMsg::Refuel)?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    show(&tree.which_children().root, 0);

    let report = tree.stop().await;
    for late in &report.late {
        println!("late: {} ({:?})", late.path, late.outcome);
    }
    println!("the bakery ended: {}", tree.exited().await);
    Ok(())
}
