//! Errors as problem details (RFC 9457).

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// The media type of a problem.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

/// The longest part of what a client sent that is repeated to it, in characters.
const SHOWN_CHARS: usize = 80;

/// A kind of problem: its name for programs, its status and its title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) code: &'static str,
    pub(super) status: StatusCode,
    pub(super) title: &'static str,
}

macro_rules! kinds {
    ($($name:ident = $code:literal, $status:ident, $title:literal;)*) => {
        $(pub(super) const $name: Kind =
            Kind { code: $code, status: StatusCode::$status, title: $title };)*
    };
}

kinds! {
    BAD_PARAMETER = "bad_parameter", BAD_REQUEST, "A parameter cannot be used";
    UNKNOWN_PARAMETER = "unknown_parameter", BAD_REQUEST, "A parameter is not known";
    BAD_BODY = "bad_body", BAD_REQUEST, "The body cannot be used";
    UNAUTHORIZED = "unauthorized", UNAUTHORIZED, "A bearer token is needed";
    NOT_FOUND = "not_found", NOT_FOUND, "There is no such thing";
    EPOCH_NOT_SEALED = "epoch_not_sealed", NOT_FOUND, "The channel is not sealed in this epoch";
    NOT_PARTICIPANT = "not_participant", NOT_FOUND, "The person took no part";
    METHOD_NOT_ALLOWED = "method_not_allowed", METHOD_NOT_ALLOWED, "The method is not supported here";
    BODY_TIMEOUT = "body_timeout", REQUEST_TIMEOUT, "The body came too slowly";
    REFUSED = "refused", CONFLICT, "The change was refused, and nothing was changed";
    NOT_RELOADABLE = "not_reloadable", CONFLICT, "Settings changed that a reload cannot change";
    BODY_TOO_LARGE = "body_too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The body is not JSON";
    HEADERS_TOO_LARGE = "headers_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE, "The headers are too large or too many";
    INTERNAL = "internal", INTERNAL_SERVER_ERROR, "The request met a fault of this program";
    UNAVAILABLE = "unavailable", SERVICE_UNAVAILABLE, "It cannot be done now";
    STORE_AWAY = "store_away", SERVICE_UNAVAILABLE, "The store is away, and the answer is not known from before";
    OVERLOADED = "overloaded", SERVICE_UNAVAILABLE, "Too many requests at the same time";
    TIMEOUT = "timeout", SERVICE_UNAVAILABLE, "The request took too long";
    NOT_READY = "not_ready", SERVICE_UNAVAILABLE, "The process is not ready";
}

/// One of several reasons for a problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Reason {
    /// The reason for programs.
    pub(super) code: String,
    /// The reason for people.
    pub(super) detail: String,
    /// What it is about: the path of an actor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<String>,
}

/// An error as it is answered. Boxed, so that the good answers stay small.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem(Box<Details>);

/// What went wrong (RFC 9457).
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Details {
    /// The kind of problem, as a name; `urn:twzrd:problem:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The kind of problem for people.
    title: String,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What was wrong this time.
    detail: String,
    /// The kind of problem for programs.
    code: String,
    /// The parameter that cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<String>,
    /// What was found there.
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<String>,
    /// What was expected there.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<String>,
    /// The reasons, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<Reason>,
    /// False in the answer of `/ready`, absent elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    ready: Option<bool>,
}

impl Problem {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self(Box::new(Details {
            kind: format!("urn:twzrd:problem:{}", kind.code),
            title: kind.title.to_owned(),
            status: kind.status.as_u16(),
            detail: detail.into(),
            code: kind.code.to_owned(),
            parameter: None,
            found: None,
            expected: None,
            reasons: Vec::new(),
            ready: None,
        }))
    }

    /// A parameter cannot be used.
    pub(super) fn parameter(name: &str, found: Option<&str>, expected: &str) -> Self {
        let what = found.map_or_else(|| "missing".to_owned(), |text| format!("{:?}", shown(text)));
        let detail = format!("{} is {what}; expected {expected}", shown(name));
        Self::new(BAD_PARAMETER, detail).about(name, found, expected)
    }

    /// The program met a fault of its own; what it was stands in the log.
    pub(super) fn internal() -> Self {
        Self::new(INTERNAL, "what happened stands in the log of the process")
    }

    /// Names the parameter, what was found there, and what was expected.
    pub(super) fn about(mut self, parameter: &str, found: Option<&str>, expected: &str) -> Self {
        self.0.parameter = Some(shown(parameter));
        self.0.found = found.map(shown);
        self.0.expected = Some(expected.to_owned());
        self
    }

    /// Adds reasons.
    pub(super) fn with_reasons(mut self, reasons: Vec<Reason>) -> Self {
        self.0.reasons = reasons;
        self
    }

    /// Says that the process is not ready, in a field of its own.
    pub(super) fn not_ready(mut self) -> Self {
        self.0.ready = Some(false);
        self
    }

    /// The body, as it is sent.
    pub(super) fn body(&self) -> Vec<u8> {
        // Strings and numbers alone cannot fail to be written.
        serde_json::to_vec(&self.0).unwrap_or_default()
    }

    /// What was found in the parameter.
    #[cfg(test)]
    pub(super) fn found(&self) -> Option<&str> {
        self.0.found.as_deref()
    }
}

/// So much of a text as is repeated to whoever sent it.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, self.body()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        match status {
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            StatusCode::UNAUTHORIZED => {
                let challenge = HeaderValue::from_static("Bearer realm=\"twzrd admin\"");
                headers.insert(WWW_AUTHENTICATE, challenge);
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_named_with_what_was_found_and_expected() {
        let problem = Problem::parameter("limit", Some("0"), "1 to 1000");
        assert_eq!(problem.0.detail, "limit is \"0\"; expected 1 to 1000");
        assert_eq!(
            (problem.0.status, problem.0.code.as_str()),
            (400, "bad_parameter")
        );
        let missing = Problem::parameter("user", None, "a login");
        assert_eq!(missing.0.detail, "user is missing; expected a login");
        assert_eq!(missing.0.found, None);
    }

    #[test]
    fn what_is_repeated_is_bounded() {
        let problem = Problem::parameter(&"ä".repeat(200), Some(&"ö".repeat(200)), "less");
        let (name, found) = (problem.0.parameter.as_deref(), problem.found());
        let cut = |c: &str| format!("{}…", c.repeat(SHOWN_CHARS));
        assert_eq!(name, Some(cut("ä").as_str()));
        assert_eq!(found, Some(cut("ö").as_str()));
    }
}
