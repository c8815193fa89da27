//! `twzrd channels`: asks the running process.

use std::fmt::Write;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, Url};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::print;
use crate::admin::{ChannelEdit, Reloaded};
use crate::cli::{Channels, ChannelsChange, ChannelsList, Process};
use crate::exit::{Code, Failure, OrFail, fail};
use crate::settings::lists::{CHANNEL, channel};
use crate::settings::{ADMIN_TOKEN, Secret, Settings};

/// How long a connection may take to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long an answer may take. A reload waits for others, and for the roster.
const ANSWER_WITHIN: Duration = Duration::from_secs(90);
/// The longest answer, in bytes.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// How many channels are asked for at once.
const PAGE: &str = "1000";

/// Changes the channel lists, or shows the channels.
pub(super) async fn run(settings: &Settings, args: Channels) -> Result<Code, Failure> {
    match args {
        Channels::Add(args) => change(settings, args, true).await,
        Channels::Remove(args) => change(settings, args, false).await,
        Channels::List(args) => list(settings, args).await,
    }
}

async fn change(settings: &Settings, args: ChannelsChange, adds: bool) -> Result<Code, Failure> {
    if let Some(bad) = args.names.iter().find(|name| channel(name).is_none()) {
        let message = format_args!("NAME {bad:?}; expected {CHANNEL}");
        return Err(fail(Code::Usage, message));
    }
    let process = Reached::new(settings, &args.process)?;
    let Some(token) = &settings.admin_token else {
        let message = format_args!(
            "{ADMIN_TOKEN} is not set; expected the token with which the process runs"
        );
        return Err(fail(Code::Config, message));
    };
    let (add, remove) = if adds {
        (args.names, Vec::new())
    } else {
        (Vec::new(), args.names)
    };
    let edit = ChannelEdit {
        group: args.group,
        add,
        remove,
    };
    let request = process.client.post(process.at("admin/channels")?);
    let done: Reloaded = process.ask(request.json(&edit), Some(token)).await?;
    print(&format!(
        "{} added, {} removed, {} changed, {} as before\n",
        done.added, done.removed, done.changed, done.unchanged
    ))?;
    Ok(Code::Ok)
}

/// Some of the channels. What is shown is taken as it comes: a newer process may know more.
#[derive(Deserialize)]
struct Page {
    channels: Vec<Map<String, Value>>,
    next: Option<String>,
}

async fn list(settings: &Settings, args: ChannelsList) -> Result<Code, Failure> {
    let process = Reached::new(settings, &args.process)?;
    let mut after: Option<String> = None;
    loop {
        let mut url = process.at("api/v1/channels")?;
        url.query_pairs_mut().append_pair("limit", PAGE);
        if let Some(after) = &after {
            url.query_pairs_mut().append_pair("after", after);
        }
        let page: Page = process.ask(process.client.get(url), None).await?;
        let text = page.channels.iter().fold(String::new(), |mut text, row| {
            let _ = if args.json {
                writeln!(text, "{}", Value::Object(row.clone()))
            } else {
                writeln!(text, "{}", line(row))
            };
            text
        });
        print(&text)?;
        match page.next {
            // A cursor that does not move on would be followed for ever.
            Some(next) if after.as_ref().is_none_or(|after| next > *after) => after = Some(next),
            Some(_) => return Err(process.is_no_twzrd("its list does not come to an end")),
            None => return Ok(Code::Ok),
        }
    }
}

/// A channel as people read it.
fn line(row: &Map<String, Value>) -> String {
    let shown = |key: &str| match row.get(key) {
        None | Some(Value::Null) => "-".to_owned(),
        // Whatever answers, it does not write to the terminal.
        Some(Value::String(text)) => text.replace(char::is_control, " "),
        Some(other) => other.to_string(),
    };
    let reason = match row.get("reason").and_then(Value::as_str) {
        Some(_) => format!("  {}", shown("reason")),
        None => String::new(),
    };
    format!(
        "{:<25}  {:<12}  {:>10} lines  {}  {}  {}{reason}",
        shown("channel"),
        shown("state"),
        shown("lines"),
        shown("group"),
        shown("token_group"),
        shown("category"),
    )
}

/// The running process.
struct Reached {
    client: Client,
    url: Url,
}

impl Reached {
    fn new(settings: &Settings, process: &Process) -> Result<Self, Failure> {
        let url = match &process.url {
            Some(url) => url.clone(),
            None => {
                let mut listen = settings.gateway.listen;
                if listen.port() == 0 {
                    let message = "gateway.listen is any free port; expected --url";
                    return Err(fail(Code::Usage, message));
                }
                if listen.ip().is_unspecified() {
                    listen.set_ip(match listen.ip() {
                        std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                        std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
                    });
                }
                format!("http://{listen}")
            }
        };
        // What is shown may hold credentials.
        let bad = || {
            fail(
                Code::Usage,
                "--url; expected a URL such as http://127.0.0.1:8080",
            )
        };
        let mut parsed = Url::parse(&url).map_err(|_| bad())?;
        let has_login = !parsed.username().is_empty() || parsed.password().is_some();
        if parsed.scheme() != "http" || parsed.cannot_be_a_base() || has_login {
            return Err(bad());
        }
        if !parsed.path().ends_with('/') {
            let path = format!("{}/", parsed.path());
            parsed.set_path(&path);
        }
        // The token goes to the process itself, and to nobody in between.
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_WITHIN)
            .timeout(ANSWER_WITHIN)
            .build()
            .or_fail(Code::Software)?;
        Ok(Self {
            client,
            url: parsed,
        })
    }

    fn at(&self, path: &str) -> Result<Url, Failure> {
        self.url.join(path).or_fail(Code::Usage)
    }

    /// Asks, and takes the answer or the reason why there is none.
    async fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        request: RequestBuilder,
        token: Option<&Secret>,
    ) -> Result<T, Failure> {
        let request = match token {
            Some(token) => request.bearer_auth(token.reveal()),
            None => request,
        };
        let response = request.send().await.map_err(|error| self.away(&error))?;
        let status = response.status();
        let body = self.body(response).await?;
        if status.is_success() {
            return serde_json::from_slice(&body)
                .map_err(|error| self.is_no_twzrd(&format!("it answered {status}: {error}")));
        }
        let problem: Option<Value> = serde_json::from_slice(&body).ok();
        let detail = problem.as_ref().and_then(|it| it.get("detail")?.as_str());
        match detail {
            Some(detail) => Err(fail(Code::No, detail)),
            None => Err(self.is_no_twzrd(&format!("it answered {status} without saying why"))),
        }
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.away(&error))? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(self.is_no_twzrd("its answer is too long"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn away(&self, error: &reqwest::Error) -> Failure {
        let mut reason: &dyn std::error::Error = error;
        while let Some(source) = reason.source() {
            reason = source;
        }
        let message = format_args!("no process answers at {}: {reason}", self.url);
        fail(Code::Unavailable, message)
    }

    fn is_no_twzrd(&self, what: &str) -> Failure {
        let message = format_args!("{} is no process of twzrd: {what}", self.url);
        fail(Code::Unavailable, message)
    }
}
