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

/// The key that signs publications: 64 bytes, as a JSON array or in base58.
pub const PUBLISHER_KEYPAIR: &str = "TWZRD_PUBLISHER_KEYPAIR";
/// The URLs of nodes, with commas between them. They may hold credentials.
pub const RPC_URLS: &str = "TWZRD_RPC_URLS";
/// The URLs of their WebSockets, likewise.
pub const WS_URLS: &str = "TWZRD_WS_URLS";

/// The least length of the token that allows changes, in bytes.
const LEAST_TOKEN_BYTES: usize = 16;
/// The most bytes of a token.
const MOST_TOKEN_BYTES: usize = 1024;
/// The most bytes of a key, and of a list of URLs.
const MOST_LONG_BYTES: usize = 4096;

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
    pub(super) keypair: Option<Secret>,
    pub(super) rpc_urls: Vec<Secret>,
    pub(super) ws_urls: Vec<Secret>,
}

impl Secrets {
    /// Takes the secrets; an empty variable is one that is not set.
    pub(super) fn read(var: impl Fn(&str) -> Option<OsString>) -> (Self, Vec<Fault>) {
        let mut faults = Vec::new();
        let mut take = |name: &str, least: usize, most: usize| {
            let value = var(name).filter(|value| !value.is_empty())?;
            let text = value.into_string().unwrap_or_default();
            if (least..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
                return Some(Ok(text));
            }
            faults.push(fault(
                name,
                format!(
                    "another text (not shown); expected {least} to {most} printable ASCII characters without a space"
                ),
            ));
            Some(Err(()))
        };
        let nick = take(NICK, 1, MOST_TOKEN_BYTES);
        let oauth = take(OAUTH, 1, MOST_TOKEN_BYTES);
        let admin_token = take(ADMIN_TOKEN, LEAST_TOKEN_BYTES, MOST_TOKEN_BYTES);
        let keypair = take(PUBLISHER_KEYPAIR, 1, MOST_LONG_BYTES);
        let mut urls_of = |name| take(name, 1, MOST_LONG_BYTES);
        let (rpc_urls, ws_urls) = (urls_of(RPC_URLS), urls_of(WS_URLS));
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
        let (rpc_urls, ws_urls) = (rpc_urls.and_then(Result::ok), ws_urls.and_then(Result::ok));
        let secrets = Self {
            twitch_login,
            admin_token: admin_token.and_then(Result::ok).map(Secret),
            keypair: keypair.and_then(Result::ok).map(Secret),
            rpc_urls: urls(rpc_urls, ["http://", "https://"], RPC_URLS, &mut faults),
            ws_urls: urls(ws_urls, ["ws://", "wss://"], WS_URLS, &mut faults),
        };
        (secrets, faults)
    }

    /// The names of those that are set.
    pub(super) fn names(&self) -> Vec<&'static str> {
        let login = self.twitch_login.iter().flat_map(|_| [NICK, OAUTH]);
        let token = self.admin_token.iter().map(|_| ADMIN_TOKEN);
        let keypair = self.keypair.iter().map(|_| PUBLISHER_KEYPAIR);
        let rpc = self.rpc_urls.first().map(|_| RPC_URLS);
        let ws = self.ws_urls.first().map(|_| WS_URLS);
        login
            .chain(token)
            .chain(keypair)
            .chain(rpc)
            .chain(ws)
            .collect()
    }
}

/// The URLs of a variable, each of one of two schemes.
fn urls(
    text: Option<String>,
    schemes: [&str; 2],
    name: &str,
    faults: &mut Vec<Fault>,
) -> Vec<Secret> {
    let text = text.unwrap_or_default();
    let urls: Vec<&str> = text.split(',').filter(|url| !url.is_empty()).collect();
    if urls
        .iter()
        .all(|url| schemes.iter().any(|scheme| url.starts_with(scheme)))
    {
        return urls.into_iter().map(|url| Secret(url.to_owned())).collect();
    }
    let problem = format!(
        "another text (not shown); expected URLs that begin with {}, with commas between them",
        schemes.join(" or ")
    );
    faults.push(fault(name, problem));
    Vec::new()
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
