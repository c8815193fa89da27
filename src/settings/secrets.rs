//! The secrets that come from the environment, and from nowhere else.

use std::ffi::OsString;

use twzrd_domain::identity::Login;

use super::Secret;
use super::layers::Fault;

/// The login at the network.
pub const NICK: &str = "TWITCH_NICK";
/// The token of that login.
pub const OAUTH: &str = "TWITCH_OAUTH";
/// The token that allows changes over HTTP.
pub const ADMIN_TOKEN: &str = "TWZRD_ADMIN_TOKEN";

/// The least length of the token that allows changes, in bytes.
const LEAST_TOKEN_BYTES: usize = 16;
/// The most bytes of a token.
const MOST_TOKEN_BYTES: usize = 1024;

/// Who the process is at the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TwitchLogin {
    /// The login.
    pub login: Login,
    /// Its token, without `oauth:` in front.
    pub token: Secret,
}

/// The secrets of the environment.
#[derive(Clone, Debug, Default)]
pub(super) struct Secrets {
    pub(super) twitch_login: Option<TwitchLogin>,
    pub(super) admin_token: Option<Secret>,
}

impl Secrets {
    /// Takes the secrets; an empty variable is one that is not set.
    pub(super) fn read(var: impl Fn(&str) -> Option<OsString>) -> (Self, Vec<Fault>) {
        let mut faults = Vec::new();
        let mut take = |name: &str, least: usize| {
            let value = var(name).filter(|value| !value.is_empty())?;
            let text = value.into_string().unwrap_or_default();
            if (least..=MOST_TOKEN_BYTES).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_graphic())
            {
                return Some(Ok(text));
            }
            faults.push(fault(
                name,
                format!(
                    "another text (not shown); expected {least} to {MOST_TOKEN_BYTES} printable ASCII characters without a space"
                ),
            ));
            Some(Err(()))
        };
        let nick = take(NICK, 1);
        let oauth = take(OAUTH, 1);
        let admin_token = take(ADMIN_TOKEN, LEAST_TOKEN_BYTES);
        let twitch_login = match (nick, oauth) {
            (Some(Ok(nick)), Some(Ok(oauth))) => match Login::parse(&nick) {
                Ok(login) => {
                    let token = oauth.strip_prefix("oauth:").unwrap_or(&oauth);
                    Some(TwitchLogin {
                        login,
                        token: Secret(token.to_owned()),
                    })
                }
                Err(_) => {
                    let problem = "another text (not shown); expected the login of an account";
                    faults.push(fault(NICK, problem.to_owned()));
                    None
                }
            },
            (Some(_), None) => {
                faults.push(alone(OAUTH, NICK));
                None
            }
            (None, Some(_)) => {
                faults.push(alone(NICK, OAUTH));
                None
            }
            _ => None,
        };
        let secrets = Self {
            twitch_login,
            admin_token: admin_token.and_then(Result::ok).map(Secret),
        };
        (secrets, faults)
    }

    /// The names of those that are set.
    pub(super) fn names(&self) -> Vec<&'static str> {
        let login = self.twitch_login.iter().flat_map(|_| [NICK, OAUTH]);
        let token = self.admin_token.iter().map(|_| ADMIN_TOKEN);
        login.chain(token).collect()
    }
}

fn alone(missing: &str, other: &str) -> Fault {
    fault(
        missing,
        format!("is missing beside {other}; expected both, or neither"),
    )
}

fn fault(name: &str, problem: String) -> Fault {
    Fault {
        place: name.to_owned(),
        key: String::new(),
        problem,
    }
}
