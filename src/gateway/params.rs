//! What a request gives: every part of it is checked, and nothing is passed over.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use twzrd_domain::epoch::Epoch;
use twzrd_domain::identity::{IdentityError, Name};

use super::app::App;
use super::problem::{self, Problem, shown};

/// How many items a page has, unless told.
pub(super) const DEFAULT_LIMIT: u64 = 100;
/// How many items a page has at most.
pub(super) const MAX_LIMIT: u64 = 1000;
/// The last second that is taken as an epoch: the end of the year 9999.
pub(super) const MAX_EPOCH: u64 = 253_402_300_799;
/// The longest name that is looked at, in characters.
const MAX_NAME_CHARS: usize = 64;

const EPOCH: &str = "an epoch: the Unix second of its start, at most 253402300799";
const NAME: &str = "a name of 1 to 64 characters without white space and control characters";

/// The query, of which every parameter must be asked for and given once.
pub(super) struct Query {
    given: BTreeMap<String, String>,
    known: Vec<&'static str>,
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::from_request_parts(parts, state);
        let axum::extract::Query(pairs) = pairs.await.map_err(|error| {
            let detail = format!("the query cannot be read: {}", shown(&error.body_text()));
            Problem::new(problem::BAD_PARAMETER, detail)
        })?;
        let mut given = BTreeMap::new();
        for (name, value) in pairs {
            if given.insert(name.clone(), value).is_some() {
                return Err(Problem::parameter(
                    &name,
                    Some("given more than once"),
                    "it once",
                ));
            }
        }
        let known = Vec::new();
        Ok(Self { given, known })
    }
}

impl Query {
    /// A parameter that may be left out.
    pub(super) fn optional(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        self.given.remove(name)
    }

    /// A parameter that must be there.
    pub(super) fn required(&mut self, name: &'static str, what: &str) -> Result<String, Problem> {
        self.optional(name)
            .ok_or_else(|| Problem::parameter(name, None, what))
    }

    /// The epoch that must be there.
    pub(super) fn epoch(&mut self) -> Result<Epoch, Problem> {
        epoch("epoch", &self.required("epoch", EPOCH)?)
    }

    /// A name that must be there. None where it is longer than any that is kept.
    pub(super) fn name(&mut self, parameter: &'static str) -> Result<Option<Name>, Problem> {
        name(parameter, &self.required(parameter, NAME)?)
    }

    /// How many items a page is to have.
    pub(super) fn limit(&mut self) -> Result<u64, Problem> {
        let Some(text) = self.optional("limit") else {
            return Ok(DEFAULT_LIMIT);
        };
        digits(&text)
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .ok_or_else(|| Problem::parameter("limit", Some(&text), "a number from 1 to 1000"))
    }

    /// Refuses what nobody asked for.
    pub(super) fn finish(self) -> Result<(), Problem> {
        let Some((name, value)) = self.given.first_key_value() else {
            return Ok(());
        };
        let expected = match self.known.as_slice() {
            [] => "no parameters".to_owned(),
            known => format!("none but {}", known.join(", ")),
        };
        let detail = format!("{} is not known here; expected {expected}", shown(name));
        let problem = Problem::new(problem::UNKNOWN_PARAMETER, detail);
        Err(problem.about(name, Some(value), &expected))
    }
}

/// The parts of the path that are parameters, in their order.
pub(super) struct Segments(Vec<String>);

impl<S: Send + Sync> FromRequestParts<S> for Segments {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(pairs) = Path::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|_| {
                Problem::parameter("path", Some("bytes that are no UTF-8"), "text in UTF-8")
            })?;
        Ok(Self(pairs.into_iter().map(|(_, value)| value).collect()))
    }
}

impl Segments {
    /// The parameter at a place.
    pub(super) fn at(&self, place: usize) -> &str {
        self.0.get(place).map_or("", String::as_str)
    }
}

/// A body of JSON, within the bounds of body and time.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let media = request.headers().get(CONTENT_TYPE);
        let media = media.and_then(|value| value.to_str().ok()).unwrap_or("");
        let essence = media.split(';').next().unwrap_or("").trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            let detail = format!(
                "the content type is {:?}; expected application/json",
                shown(media)
            );
            return Err(Problem::new(problem::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let (limit, time) = (app.limits.body_bytes, app.limits.body_time);
        let body = tokio::time::timeout(time, to_bytes(request.into_body(), limit)).await;
        let Ok(body) = body else {
            let detail = format!("expected the whole body within {} s", time.as_secs_f64());
            return Err(Problem::new(problem::BODY_TIMEOUT, detail));
        };
        let body = body.map_err(|error| {
            let error = error.into_inner();
            if error.is::<http_body_util::LengthLimitError>() {
                let detail = format!("expected at most {limit} bytes");
                Problem::new(problem::BODY_TOO_LARGE, detail)
            } else {
                Problem::new(problem::BAD_BODY, "the body ended before its end")
            }
        })?;
        // A list of fields in their order would do for the deserializer, which nobody means.
        if body.trim_ascii_start().first() != Some(&b'{') {
            let detail = "the body is no JSON object; expected one";
            return Err(Problem::new(problem::BAD_BODY, detail));
        }
        serde_json::from_slice(&body).map(Self).map_err(|error| {
            let detail = format!("the body cannot be used: {}", shown(&error.to_string()));
            Problem::new(problem::BAD_BODY, detail)
        })
    }
}

/// An epoch of a parameter.
pub(super) fn epoch(parameter: &str, text: &str) -> Result<Epoch, Problem> {
    digits(text)
        .filter(|second| *second <= MAX_EPOCH)
        .map(Epoch)
        .ok_or_else(|| Problem::parameter(parameter, Some(text), EPOCH))
}

/// A name of a parameter. None where it is longer than any that is kept: there is nothing of
/// that name.
pub(super) fn name(parameter: &str, text: &str) -> Result<Option<Name>, Problem> {
    match Name::parse(text) {
        Ok(name) => Ok(Some(name)),
        Err(IdentityError::LongName(_)) if is_name_form(text) => Ok(None),
        Err(_) => Err(Problem::parameter(parameter, Some(text), NAME)),
    }
}

/// Where to go on: behind `epoch:channel`.
pub(super) fn cursor(text: &str) -> Result<(Epoch, Name), Problem> {
    let parts = text.split_once(':').and_then(|(epoch, channel)| {
        let short = (1..=12).contains(&epoch.len());
        let epoch = digits(epoch).filter(|_| short)?;
        Some((Epoch(epoch), longest_name(channel)?))
    });
    let expected = "EPOCH:CHANNEL, as `next` gave it";
    parts.ok_or_else(|| Problem::parameter("after", Some(text), expected))
}

/// The longest name with which a text begins. Nothing that is kept lies between the two.
fn longest_name(text: &str) -> Option<Name> {
    if !is_name_form(text) {
        return None;
    }
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
    ends.rev().find_map(|end| Name::parse(&text[..end]).ok())
}

fn is_name_form(text: &str) -> bool {
    let usable = |c: char| !c.is_whitespace() && !c.is_control();
    !text.is_empty() && text.chars().count() <= MAX_NAME_CHARS && text.chars().all(usable)
}

/// A number written in digits alone.
fn digits(text: &str) -> Option<u64> {
    let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_digits_up_to_a_bound() {
        assert_eq!(epoch("epoch", "3600"), Ok(Epoch(3600)));
        assert!(epoch("epoch", "253402300799").is_ok());
        for text in [
            "",
            "+1",
            "-1",
            "1.0",
            "1 ",
            "0x1",
            "253402300800",
            "18446744073709551616",
        ] {
            let problem = epoch("epoch", text).unwrap_err();
            assert_eq!(problem.found(), Some(text));
        }
    }

    #[test]
    fn a_name_that_nothing_can_have_is_no_fault() {
        assert_eq!(name("channel", "Tea").unwrap().unwrap().as_str(), "tea");
        assert_eq!(name("channel", &"ü".repeat(64)), Ok(None));
        for text in ["", "a b", "a\u{0}", &"a".repeat(65), &"ü".repeat(65)] {
            assert!(name("channel", text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_cursor_is_an_epoch_and_a_channel() {
        let (epoch, channel) = cursor("3600:tea:2").unwrap();
        assert_eq!((epoch, channel.as_str()), (Epoch(3600), "tea:2"));
        assert!(cursor("999999999999:x").is_ok());
        let (_, cut) = cursor(&format!("1:{}", "ü".repeat(64))).unwrap();
        assert_eq!(cut.as_str(), "ü".repeat(32));
        for text in [
            "",
            "3600",
            "3600:",
            ":tea",
            "x:tea",
            "1:a b",
            "9999999999999:x",
        ] {
            assert!(cursor(text).is_err(), "{text:?}");
        }
    }
}
