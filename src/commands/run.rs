//! `twzrd run`.

use std::sync::Arc;

use tracing::{info, warn};
use twzrd_actors::step::no_probe;

use super::data_folder;
use crate::cli::Run;
use crate::exit::{Code, Failure};
use crate::live::beside::GatewayService;
use crate::live::{self, Assembly, Live};
use crate::reload::Reloader;
use crate::reload::watch::SettingsWatch;
use crate::settings::Settings;
use crate::settings::layers::{Flags, Layers};
use crate::signals::{StopSignal, StopSignals};
use crate::wiring::{DataFolder, Opened, gave_up};

/// Runs the service until it is asked to stop.
pub(super) async fn run(
    settings: &Settings,
    read: (Flags, Layers),
    args: Run,
) -> Result<Code, Failure> {
    let mut signals = StopSignals::listen()?;
    let starting = start(settings, read, args);
    let service = tokio::select! {
        service = starting => service?,
        _ = signals.next() => return Ok(Code::Ok),
    };
    let asked = tokio::select! {
        signal = signals.next() => Ok(signal),
        reason = service.running.tree.exited() => Err(reason),
    };
    match asked {
        Ok(signal) => stop(&service, &mut signals, signal).await,
        Err(reason) => Err(gave_up(&reason)),
    }
}

async fn start(
    settings: &Settings,
    (flags, layers): (Flags, Layers),
    args: Run,
) -> Result<Live, Failure> {
    let data = DataFolder::create(&data_folder(args.data.data, settings))?;
    let network = live::network(settings)?;
    let opened = Opened::open_patiently(&data, settings).await?;
    let mut assembly = Assembly::new(opened, settings, network).await?;
    let reloader = Reloader::new(
        flags,
        &layers,
        settings,
        Arc::clone(&assembly.channels) as _,
    );
    let reloader = Arc::new(reloader);
    let watch = SettingsWatch::new(Arc::clone(&reloader), settings.reload);
    assembly.beside("settings_watcher", Arc::new(watch));
    let gateway = GatewayService::bind(&assembly, settings, Some(reloader)).await?;
    let address = gateway.address();
    assembly.beside("gateway", Arc::new(gateway));
    let service = assembly.start(settings, no_probe()).await?;
    let channels = settings.roster.len();
    info!(channels, gateway = %address, pid = std::process::id(), "running");
    if channels == 0 {
        warn!("no channel is listed; expected [[channel_groups]] in supervision.toml");
    }
    Ok(service)
}

/// Stops in order. A second signal ends the process at once.
async fn stop(
    service: &Live,
    signals: &mut StopSignals,
    signal: StopSignal,
) -> Result<Code, Failure> {
    info!(
        ?signal,
        "stopping: sockets, feeds, batches; a second signal ends at once"
    );
    let stopped = async {
        service.running.stop().await;
        let closed = service.running.store.close().await;
        (closed, service.running.tree.exited().await)
    };
    tokio::select! {
        (closed, reason) = stopped => {
            closed?;
            // A tree that was about to give up when the signal came has not stopped in order.
            if reason.is_abnormal() {
                return Err(gave_up(&reason));
            }
        }
        _ = signals.next() => {
            warn!("ended at once; what was accepted is in the journal");
            return Ok(Code::Interrupted);
        }
    }
    let health = service.running.folder.health();
    info!(accepted = health.durable, "stopped");
    Ok(Code::Ok)
}
