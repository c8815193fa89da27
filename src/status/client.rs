//! Asks a process over HTTP. Whoever answers may be something else: time and size are bounded.

use std::error::Error;
use std::time::Duration;

use reqwest::{StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::human::{clean, one_line};
use super::model::{Health, Ledger, Readiness, Shown, Tree};

/// How long an answer is waited for, to its last byte.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer that is read, in bytes: several thousand actors.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// How many children of each supervisor are asked for: as many as a gateway gives.
const ACTORS: &str = "actors?limit=1000";

/// An address at which no process can be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the URL {found:?} cannot be used: {why}; expected http://HOST:PORT")]
pub struct BadUrl {
    /// What was given.
    found: String,
    /// What is wrong with it.
    why: String,
}

/// No process answered as twzrd does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no answer from {url}: {reason}")]
pub struct NoAnswer {
    /// Where it was asked for, without credentials.
    pub url: String,
    /// Why there is none.
    pub reason: String,
}

/// Asks one process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    base: Url,
    patience: Duration,
    http: reqwest::Client,
}

impl Client {
    /// A client of the process at a URL; `http://` may be left out.
    ///
    /// # Errors
    /// Where the URL is none, or not one of HTTP.
    pub fn new(url: &str, patience: Duration) -> Result<Self, BadUrl> {
        let bad = |why: String| BadUrl {
            found: clean(url),
            why,
        };
        let full = match url.contains("://") {
            true => url.to_owned(),
            false => format!("http://{url}"),
        };
        let mut base = Url::parse(&full).map_err(|error| bad(error.to_string()))?;
        if base.scheme() != "http" {
            return Err(bad(format!("{} is not spoken", clean(base.scheme()))));
        }
        if !base.username().is_empty() || base.password().is_some() {
            // It is not repeated: what stands there is a secret.
            return Err(BadUrl {
                found: "http://***@…".to_owned(),
                why: "it has credentials".to_owned(),
            });
        }
        if base.port() == Some(0) {
            return Err(bad("port 0 is no port".to_owned()));
        }
        base.set_query(None);
        base.set_fragment(None);
        let path = format!("{}/", base.path().trim_end_matches('/'));
        base.set_path(&path);
        // A proxy for the web is none for a process of this machine, and its own answers lead
        // nowhere else.
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(patience)
            .timeout(patience)
            .build()
            .map_err(|error| bad(cause(&error)))?;
        Ok(Self {
            base,
            patience,
            http,
        })
    }

    /// Where the process is asked.
    #[must_use]
    pub fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Asks for everything that a picture is made of.
    ///
    /// # Errors
    /// Where the tree is not answered. Of the rest, each part says why it is missing.
    pub async fn ask(&self) -> Result<Shown, NoAnswer> {
        let (tree, health, readiness, ledger) = tokio::join!(
            self.get::<Tree>(ACTORS),
            self.get::<Health>("health"),
            self.get::<Readiness>("ready"),
            self.get::<Ledger>("api/v1/ledger"),
        );
        Ok(Shown {
            tree: tree.map_err(|reason| self.no_answer(reason))?,
            health,
            readiness,
            ledger,
        })
    }

    /// The answer of `/actors` as it is, on one line.
    ///
    /// # Errors
    /// Where it is not answered.
    pub async fn actors(&self) -> Result<String, NoAnswer> {
        let answer = async {
            let (status, body) = self.body(ACTORS).await?;
            read::<Tree>(status, &body)?;
            let text = String::from_utf8(body);
            text.map_err(|_| "the answer is no UTF-8".to_owned())
        };
        let text = answer.await.map_err(|reason| self.no_answer(reason))?;
        Ok(one_line(&text))
    }

    fn no_answer(&self, reason: String) -> NoAnswer {
        NoAnswer {
            url: self.url().to_owned(),
            reason,
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        let (status, body) = self.body(path).await?;
        read(status, &body)
    }

    /// An answer of any status, within the bound.
    async fn body(&self, path: &str) -> Result<(StatusCode, Vec<u8>), String> {
        let url = self.base.join(path).map_err(|error| error.to_string())?;
        let asked = self.http.get(url).send().await;
        let mut response = asked.map_err(|error| self.why(&error))?;
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| self.why(&error))? {
            if body.len() + part.len() > MAX_BYTES {
                let limit = MAX_BYTES / (1024 * 1024);
                return Err(format!("the answer is longer than {limit} MiB"));
            }
            body.extend_from_slice(&part);
        }
        Ok((response.status(), body))
    }

    fn why(&self, error: &reqwest::Error) -> String {
        if error.is_timeout() {
            return format!("no whole answer within {} s", self.patience.as_secs_f64());
        }
        cause(error)
    }
}

/// What the gateway says where it cannot answer.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

/// Reads an answer. That of a process that is not ready has a status of its own.
fn read<T: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<T, String> {
    let error = match serde_json::from_slice(body) {
        Ok(answer) => return Ok(answer),
        Err(error) => error,
    };
    if status.is_success() {
        let text = format!("the answer is none of twzrd: {error}");
        return Err(clean(&text));
    }
    let problem = serde_json::from_slice::<Problem>(body);
    let detail = problem.map_or_else(|_| String::new(), |problem| format!(": {}", problem.detail));
    Err(clean(&format!("it answered {status}{detail}")))
}

/// The innermost cause of an error: what the system said. Those around it say it again, with the
/// URL, which is told elsewhere.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    clean(&cause.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_with_and_without_its_scheme() {
        for (url, expected) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("localhost:8080/", "http://localhost:8080"),
            ("[::1]:8080", "http://[::1]:8080"),
            ("http://h/behind/it/?a=b#c", "http://h/behind/it"),
        ] {
            let client = Client::new(url, PATIENCE).unwrap();
            assert_eq!(client.url(), expected);
            let asked = client.base.join(ACTORS).unwrap();
            assert_eq!(asked.as_str(), format!("{expected}/{ACTORS}"));
        }
    }

    #[test]
    fn a_url_that_cannot_be_used_is_told_with_what_was_expected() {
        for (url, told) in [
            (
                "",
                "the URL \"\" cannot be used: empty host; expected http://HOST:PORT",
            ),
            (
                "https://h",
                "the URL \"https://h\" cannot be used: https is not spoken; expected http://HOST:PORT",
            ),
            (
                "http://h:0",
                "the URL \"http://h:0\" cannot be used: port 0 is no port; expected http://HOST:PORT",
            ),
            (
                "http://me:s3cret@h",
                "the URL \"http://***@…\" cannot be used: it has credentials; expected http://HOST:PORT",
            ),
            (
                "h\u{1b}[2J:x",
                "the URL \"h:x\" cannot be used: invalid international domain name; expected http://HOST:PORT",
            ),
        ] {
            let error = Client::new(url, PATIENCE).unwrap_err();
            assert_eq!(error.to_string(), told);
        }
    }
}
