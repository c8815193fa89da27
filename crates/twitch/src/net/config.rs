//! Where the network is, and as whom to log in.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use twzrd_domain::identity::{Login, MAX_NAME_BYTES};
use twzrd_domain::ports::Clock;

/// The longest token that is taken, in bytes, with its `oauth:`. The line that carries it must not
/// exceed 512 bytes; Twitch's own tokens have 36.
pub const MAX_TOKEN_BYTES: usize = 400;

/// What Twitch wants in front of a token.
const TOKEN_PREFIX: &str = "oauth:";

/// Where the network is, and as whom to log in.
#[derive(Clone)]
pub struct Config {
    /// The name or address of the server.
    pub host: String,
    /// Its port: 6697 with TLS, 6667 without.
    pub port: u16,
    /// Whether to speak TLS. Without it a token can be read by everybody on the way.
    pub tls: bool,
    /// One more certificate to trust as a root, in DER, besides those of Mozilla.
    pub extra_root: Option<Vec<u8>>,
    /// As whom to log in; none is an anonymous reader.
    pub credentials: Option<Credentials>,
    /// How long a connect may take from the lookup of the name to the welcome.
    pub connect_timeout: Duration,
    /// From what the digits of anonymous names are drawn.
    pub seed: u64,
    /// Tells when lines are received.
    pub clock: Arc<dyn Clock>,
}

impl Config {
    /// An anonymous reader with TLS, ten seconds for a connect, and seed 0.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16, clock: Arc<dyn Clock>) -> Self {
        Self {
            host: host.into(),
            port,
            tls: true,
            extra_root: None,
            credentials: None,
            connect_timeout: Duration::from_secs(10),
            seed: 0,
            clock,
        }
    }

    /// Host and port, as errors name them.
    pub(super) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls)
            .field("extra_root", &self.extra_root.is_some())
            .field("credentials", &self.credentials)
            .field("connect_timeout", &self.connect_timeout)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// The network cannot be used as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The host is neither a name nor an address.
    #[error("the host is {found:?}; expected a name or an address")]
    Host {
        /// What was given.
        found: String,
    },
    /// The additional root is no certificate.
    #[error("the additional root is no certificate in DER: {reason}")]
    Root {
        /// What is wrong with it.
        reason: String,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {reason}")]
    Tls {
        /// Why.
        reason: String,
    },
}

/// A login and its token. The token shows nowhere but on the wire.
#[derive(Clone)]
pub struct Credentials {
    login: Login,
    token: Arc<str>,
}

impl Credentials {
    /// Takes a login, and a token with or without its `oauth:`.
    ///
    /// # Errors
    /// Where either could not stand in one word of an IRC line. The error does not hold the token.
    pub fn new(login: &str, token: &str) -> Result<Self, CredentialsError> {
        let login = Login::parse(login)
            .ok()
            .filter(is_plain)
            .ok_or(CredentialsError::Login)?;
        let bare = token.strip_prefix(TOKEN_PREFIX).unwrap_or(token);
        if bare.is_empty() || !bare.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(CredentialsError::Token);
        }
        let found = TOKEN_PREFIX.len() + bare.len();
        if found > MAX_TOKEN_BYTES {
            return Err(CredentialsError::LongToken { found });
        }
        let token = format!("{TOKEN_PREFIX}{bare}").into();
        Ok(Self { login, token })
    }

    /// The login.
    #[must_use]
    pub const fn login(&self) -> &Login {
        &self.login
    }

    /// The token, with its `oauth:`. For the wire only.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// A text of the server without the token, should the server repeat it.
    pub(super) fn redact(&self, text: &str) -> String {
        let bare = self.token.strip_prefix(TOKEN_PREFIX);
        text.replace(bare.unwrap_or(&self.token), "[token]")
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("login", &self.login)
            .finish_non_exhaustive()
    }
}

/// A login or a token cannot be one. Holds neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// The login is no Twitch name.
    #[error("the login is no Twitch name; expected 1 to {MAX_NAME_BYTES} of a-z, 0-9 and _")]
    Login,
    /// The token is empty, or has characters that no token has.
    #[error("the token is unusable; expected visible ASCII characters without white space")]
    Token,
    /// The token is too long.
    #[error("the token has {found} bytes with its prefix; expected at most {MAX_TOKEN_BYTES}")]
    LongToken {
        /// How long it is.
        found: usize,
    },
}

/// True for a name that may be sent: `[a-z0-9_]`, and so neither a comma nor a line end. A name's
/// length is bounded by its type.
pub(super) fn is_plain(name: &Login) -> bool {
    let mut bytes = name.as_str().bytes();
    !name.as_str().is_empty()
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_token_gets_the_prefix_that_it_lacks() {
        for given in ["secret", "oauth:secret"] {
            let credentials = Credentials::new("Reader_1", given).unwrap();
            assert_eq!(credentials.token(), "oauth:secret");
            assert_eq!(credentials.login().as_str(), "reader_1");
        }
    }

    #[test]
    fn what_could_leave_its_line_is_refused() {
        for login in ["", "a b", "a\r\nQUIT", "a,b", "#a", "ünï", &"a".repeat(65)] {
            let refused = Credentials::new(login, "secret").unwrap_err();
            assert_eq!(refused, CredentialsError::Login, "{login:?}");
        }
        for token in [
            "", "oauth:", "s t", "s\rt", "s\nt", "s\0t", "s\tt", "ß", " s",
        ] {
            let refused = Credentials::new("a", token).unwrap_err();
            assert_eq!(refused, CredentialsError::Token, "{token:?}");
        }
        assert!(Credentials::new("a", &"s".repeat(394)).is_ok());
        assert_eq!(
            Credentials::new("a", &"s".repeat(395)).unwrap_err(),
            CredentialsError::LongToken { found: 401 }
        );
    }

    #[test]
    fn what_a_server_repeats_of_a_token_is_cut_out() {
        let credentials = Credentials::new("a", "s3cr3t").unwrap();
        let text = credentials.redact("bad PASS oauth:s3cr3t, s3cr3t is no token");
        assert_eq!(text, "bad PASS oauth:[token], [token] is no token");
    }
}
