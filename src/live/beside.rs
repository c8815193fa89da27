//! What runs beside the actors: the gateway and the settings watcher, as services.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use twzrd_actors::service::{Service, ServiceError};

use super::{Assembly, IngestView};
use crate::admin::Admin;
use crate::clock::SystemClock;
use crate::exit::{Code, Failure, OrFail};
use crate::gateway::{AdminAccess, Bound, Gateway, Limits, Token, View};
use crate::settings::Settings;

/// How many records the store may be behind the journal before the process is not ready.
const LAG_BOUND: u64 = 500_000;

/// The gateway under supervision. It is bound before the tree starts, so that an address that is
/// taken is told at once; a later start binds again.
pub struct GatewayService {
    first: Mutex<Option<Bound>>,
    address: SocketAddr,
    limits: Limits,
    view: View,
}

impl GatewayService {
    /// Takes the address of the settings.
    ///
    /// # Errors
    /// Where it is taken or not ours.
    pub async fn bind(
        assembly: &Assembly,
        settings: &Settings,
        admin: Option<Arc<dyn Admin>>,
    ) -> Result<Self, Failure> {
        let limits = limits(settings);
        let bound = Gateway::bind(settings.gateway.listen, limits.clone()).await;
        let bound = bound.or_fail(Code::Unavailable)?;
        let admin = match (&settings.admin_token, admin) {
            (Some(token), Some(admin)) => Some(AdminAccess {
                token: Token::new(token.reveal()).or_fail(Code::Config)?,
                admin,
            }),
            _ => None,
        };
        let (tree, folder) = (assembly.tree.clone(), Arc::clone(&assembly.opened.folder));
        let view = View {
            version: env!("CARGO_PKG_VERSION"),
            epoch_length: settings.arithmetic.epoch_seconds,
            clock: Arc::new(SystemClock),
            tree: Arc::new(move || tree.snapshot()),
            dynamic: ["root/ingest/collectors", "root/ingest/connections"]
                .map(str::to_owned)
                .to_vec(),
            journal: Arc::new(move || folder.health()),
            store: Arc::new(assembly.opened.store.clone()),
            probe: Arc::new(assembly.opened.store.clone()),
            ingest: Arc::new(IngestView(Arc::clone(&assembly.board))),
            settlement: assembly.settlement.clone(),
            lag_bound: LAG_BOUND,
            admin,
        };
        Ok(Self {
            address: bound.address(),
            first: Mutex::new(Some(bound)),
            limits,
            view,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

#[async_trait]
impl Service for GatewayService {
    async fn run(&self, stop: CancellationToken) -> Result<(), ServiceError> {
        let error = |error: &dyn std::fmt::Display| ServiceError(error.to_string());
        let first = self
            .first
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let bound = match first {
            Some(bound) => bound,
            None => Gateway::bind(self.address, self.limits.clone())
                .await
                .map_err(|failed| error(&failed))?,
        };
        let served = bound.serve(self.view.clone(), stop).await;
        served.map_err(|failed| error(&failed))
    }
}

fn limits(settings: &Settings) -> Limits {
    let gateway = &settings.gateway;
    Limits {
        connections: gateway.max_connections,
        requests: gateway.max_requests,
        body_bytes: gateway.max_body_bytes,
        request_time: Duration::from_millis(gateway.request_timeout_ms),
        ..Limits::default()
    }
}
