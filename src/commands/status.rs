//! `twzrd status`.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::{cannot_print, print};
use crate::cli::Status;
use crate::exit::{Code, Failure, OrFail, fail};
use crate::settings::layers::{Flags, Layers};
use crate::signals::StopSignals;
use crate::status::{Client, LiveView, NoAnswer, PATIENCE, Style, WIDE, can_redraw, render, size};

/// Prints how a running process is: once, or until a signal comes.
///
/// Where the address is given, no settings are read: a process can also be asked from where its
/// settings are not.
pub(super) fn run(args: &Status, flags: &Flags) -> Result<Code, Failure> {
    let url = match &args.url {
        Some(url) => url.clone(),
        None => listened(flags)?,
    };
    let client = Client::new(&url, PATIENCE).or_fail(Code::Usage)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .or_fail(Code::Software)?;
    runtime.block_on(async {
        match (args.watch, args.json) {
            (false, false) => show(&client, style(args)).await,
            (false, true) => {
                let answer = client.actors().await.or_fail(Code::Unavailable)?;
                print(&format!("{answer}\n"))?;
                Ok(Code::Ok)
            }
            (true, _) => watch(&client, args).await,
        }
    })
}

/// The URL at which the process of these settings is asked from the same machine.
fn listened(flags: &Flags) -> Result<String, Failure> {
    let layers = Layers::read(flags).or_fail(Code::Config)?;
    let listen = layers.settings().or_fail(Code::Config)?.gateway.listen;
    if listen.port() == 0 {
        let message = "gateway.listen has port 0, so that its port is known to the process alone; \
                       expected --url http://HOST:PORT";
        return Err(fail(Code::Usage, message));
    }
    Ok(format!("http://{}", reachable(listen)))
}

/// Who listens on all addresses is asked on that of the machine itself.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn style(args: &Status) -> Style {
    Style {
        color: args.color.on_stdout(),
        all: args.all,
    }
}

async fn show(client: &Client, style: Style) -> Result<Code, Failure> {
    let shown = client.ask().await.or_fail(Code::Unavailable)?;
    let width = if can_redraw() { size().0 } else { WIDE };
    print(&render(&shown, width, None, style))?;
    Ok(Code::Ok)
}

/// Asks again and again. A process that goes away is waited for.
async fn watch(client: &Client, args: &Status) -> Result<Code, Failure> {
    let mut signals = StopSignals::listen()?;
    let every = Duration::from_millis(args.interval_ms);
    let title = vec![client.url().to_owned()];
    let mut view = LiveView::on_stdout(style(args), title, every);
    let watched = async {
        match args.json {
            true => lines(client, every).await,
            false => pictures(client, every, &mut view).await,
        }
    };
    let ended = tokio::select! {
        ended = watched => ended,
        _ = signals.next() => Ok(()),
    };
    let ended = ended.and_then(|()| view.finish());
    ended.or_else(|error| cannot_print(&error))?;
    Ok(Code::Ok)
}

/// Draws pictures until the output is gone.
async fn pictures(client: &Client, every: Duration, view: &mut LiveView) -> io::Result<()> {
    let mut ticks = ticks(every);
    let mut answered = Instant::now();
    loop {
        ticks.tick().await;
        match client.ask().await {
            Ok(shown) => {
                answered = Instant::now();
                view.draw(&shown, &[])?;
            }
            Err(why) => view.draw_absence(&why, answered.elapsed(), &[])?,
        }
    }
}

/// Prints one answer a line. That none came is said on standard error, once.
async fn lines(client: &Client, every: Duration) -> io::Result<()> {
    let mut ticks = ticks(every);
    let mut told: Option<NoAnswer> = None;
    loop {
        ticks.tick().await;
        match client.actors().await {
            Ok(answer) => {
                told = None;
                let mut out = io::stdout().lock();
                writeln!(out, "{answer}")?;
                out.flush()?;
            }
            Err(why) if told.as_ref() == Some(&why) => {}
            Err(why) => {
                // Nothing is left to tell it to where standard error is closed.
                let _ = writeln!(io::stderr(), "twzrd: {why}");
                told = Some(why);
            }
        }
    }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
