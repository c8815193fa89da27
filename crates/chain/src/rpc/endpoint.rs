//! An endpoint: a sender, and the name by which it is shown.

use std::fmt;
use std::time::Duration;

use reqwest::Url;
use solana_rpc_client::rpc_sender::RpcSender;

use super::MAX_ENDPOINTS;
use super::http::Http;

/// An answer may be this long. The longest that is asked for, a hundred accounts of channels, is a
/// tenth of it.
pub const MAX_RESPONSE_BYTES: usize = 16 << 20;

/// How long an endpoint that is no URL may take for an answer.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// A pool cannot be made of what was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// No endpoint.
    #[error("no endpoint; expected at least one")]
    None,
    /// Too many endpoints.
    #[error("{0} endpoints; expected at most {MAX_ENDPOINTS}")]
    TooMany(usize),
    /// A text is no URL. It is not shown, since it may hold a key.
    #[error("an endpoint is not a URL ({reason}); expected one such as {expected}")]
    Url {
        /// Why not.
        reason: String,
        /// What was expected.
        expected: &'static str,
    },
    /// The HTTP client could not be made.
    #[error("no HTTP client can be made: {0}")]
    Client(String),
}

/// A node of a pool.
pub struct Endpoint {
    /// The name by which it is shown. No credentials.
    pub name: String,
    /// What asks it.
    pub sender: Box<dyn RpcSender + Send + Sync>,
    /// How long it may take for an answer.
    pub timeout: Duration,
}

impl Endpoint {
    /// A node behind any sender, with thirty seconds for an answer.
    #[must_use]
    pub fn new(name: impl Into<String>, sender: Box<dyn RpcSender + Send + Sync>) -> Self {
        Self {
            name: name.into(),
            sender,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// A node behind a URL.
    ///
    /// # Errors
    /// Where the text is no HTTP URL.
    pub fn http(url: &str, timeout: Duration) -> Result<Self, PoolError> {
        let shown = Shown::parse(url, &["http", "https"], "https://host:8899")?;
        let name = shown.name().to_owned();
        Ok(Self {
            name,
            sender: Box::new(Http::new(url, shown, timeout, MAX_RESPONSE_BYTES)?),
            timeout,
        })
    }

    /// The same node with another time for an answer.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("name", &self.name)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// A part of a URL that is as long as this is taken for a secret.
const SECRET_LENGTH: usize = 6;

/// What of a URL may be shown, and what must be taken out of texts that come from behind it.
#[derive(Clone)]
pub struct Shown {
    name: String,
    secrets: Vec<String>,
}

impl Shown {
    /// Reads a URL of one of these schemes.
    ///
    /// # Errors
    /// Where it is none. The error does not hold it.
    pub fn parse(url: &str, schemes: &[&str], expected: &'static str) -> Result<Self, PoolError> {
        let refuse = |reason: String| PoolError::Url { reason, expected };
        let parsed = Url::parse(url).map_err(|error| refuse(error.to_string()))?;
        if !schemes.contains(&parsed.scheme()) {
            return Err(refuse(format!(
                "its scheme is none of {}",
                schemes.join(", ")
            )));
        }
        let host = parsed
            .host_str()
            .ok_or_else(|| refuse("it names no host".to_owned()))?;
        let mut name = format!("{}://{host}", parsed.scheme());
        if let Some(port) = parsed.port() {
            name.push_str(&format!(":{port}"));
        }
        Ok(Self {
            name,
            secrets: secrets(&parsed),
        })
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A text that came from behind the URL, without what of the URL must not be shown, at most
    /// 300 characters of it, and none that a terminal obeys.
    #[must_use]
    pub fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), "***");
        }
        plain(&text)
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A text as it may stand in a log line: at most 300 characters, none of them a control character.
pub(crate) fn plain(text: &str) -> String {
    let mut short: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(300)
        .collect();
    if short.len() < text.len() && text.chars().nth(300).is_some() {
        short.push('…');
    }
    short
}

/// The parts of a URL that must not be shown, the longest first, so that none is left half.
fn secrets(url: &Url) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    all.push(url.path().to_owned());
    all.extend(url.path().split('/').map(str::to_owned));
    all.extend(url.query().map(str::to_owned));
    all.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
    all.extend(url.query_pairs().map(|(key, _)| key.into_owned()));
    all.extend(url.fragment().map(str::to_owned));
    all.push(url.username().to_owned());
    all.extend(url.password().map(str::to_owned));
    all.retain(|part| part.len() >= SECRET_LENGTH);
    all.sort_by_key(|part| std::cmp::Reverse(part.len()));
    all.dedup();
    all
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_shows_scheme_host_and_port_and_nothing_else_of_a_url() {
        let url = "https://me:hunter22@rpc.example:8443/v1/0123456789?api-key=abcdef-99#frag-ment";
        let shown = Shown::parse(url, &["https"], "https://host").unwrap();
        assert_eq!(shown.name(), "https://rpc.example:8443");
        assert_eq!(format!("{shown:?}"), "https://rpc.example:8443");
        let said = shown.clean(
            "no such key abcdef-99 at /v1/0123456789?api-key=abcdef-99 for hunter22\r\n\u{1b}[1m",
        );
        for secret in ["abcdef", "0123456789", "hunter22", "\r", "\n", "\u{1b}"] {
            assert!(!said.contains(secret), "{said}");
        }
        assert!(said.starts_with("no such key *** at ***"), "{said}");
        assert_eq!(shown.clean(&"x".repeat(1000)).chars().count(), 301);
    }

    #[test]
    fn an_error_about_a_url_does_not_hold_it() {
        for url in [
            "secret-key",
            "ftp://host/secret-key",
            "http://ho st/secret-key",
        ] {
            let error = Endpoint::http(url, Duration::from_secs(1)).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
            assert!(error.to_string().contains("https://host:8899"), "{error}");
        }
    }
}
