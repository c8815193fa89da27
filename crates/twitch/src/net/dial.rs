//! From a host and a port to an open stream.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::config::{Config, ConfigError};

/// What TLS needs: whom to trust, and whom to expect.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) connector: TlsConnector,
    pub(super) server: ServerName<'static>,
}

impl Tls {
    /// Trusts the roots of Mozilla, and the additional one.
    ///
    /// The cryptography is named here, since a process in which two of them are built in would
    /// panic at the first connection for lack of a default.
    pub(super) fn new(config: &Config) -> Result<Self, ConfigError> {
        let mut roots = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        if let Some(root) = &config.extra_root {
            let added = roots.add(CertificateDer::from(root.as_slice()));
            added.map_err(|error| ConfigError::Root {
                reason: error.to_string(),
            })?;
        }
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| ConfigError::Tls {
                reason: error.to_string(),
            })?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = ServerName::try_from(config.host.clone()).map_err(|_| ConfigError::Host {
            found: config.host.clone(),
        })?;
        Ok(Self {
            connector: TlsConnector::from(Arc::new(client)),
            server,
        })
    }
}

/// Looks the name up and connects to the first address that answers. Each address has an equal
/// share of the time that is left, so that one that never answers does not hide the others.
pub(super) async fn dial(config: &Config, until: Instant) -> io::Result<TcpStream> {
    let found = lookup_host((config.host.as_str(), config.port)).await?;
    let addresses: Vec<SocketAddr> = found.collect();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (tried, address) in addresses.iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = silent(share),
        }
    }
    Err(last)
}

fn silent(after: Duration) -> io::Error {
    let reason = format!("no answer within {} ms", after.as_millis());
    io::Error::new(io::ErrorKind::TimedOut, reason)
}
