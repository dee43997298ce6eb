//! Shapes that many answers share: what went well, and the two families of errors (spec `http-api.md` §1.2, §1.4).

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::server::json;

/// The word of answers that went well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = StatusOk)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Success {
    #[default]
    Ok,
}

/// The word of answers that did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = StatusError)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Failure {
    #[default]
    Error,
}

/// What was asked for, and `status`.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Answer<T> {
    /// Always `ok`.
    status: Success,
    #[serde(flatten)]
    rest: T,
}

impl<T: Serialize> Answer<T> {
    /// With the members of `rest`, which must be written as an object.
    pub(crate) fn new(rest: T) -> Self {
        Self { status: Success::Ok, rest }
    }

    /// As the command line reads it.
    pub(crate) fn into_value(self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// As 200.
impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        json::of(StatusCode::OK, &self)
    }
}

/// What was done, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Message)]
pub(crate) struct Said {
    /// For people; programs go by the HTTP status.
    pub(crate) message: String,
}

/// That everything is well, and no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Ok)]
pub(crate) struct Fine {
    /// Always `ok`.
    status: Success,
}

impl IntoResponse for Fine {
    fn into_response(self) -> Response {
        json::of(StatusCode::OK, &self)
    }
}

/// Why `/api/*` and `/health` refuse a request or fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Error)]
pub(crate) struct ConsoleError<'a> {
    /// Always `error`.
    pub(crate) status: Failure,
    /// What is wrong and what helps, for people; programs go by the HTTP status. It names no secrets.
    pub(crate) error: &'a str,
    /// When, as in RFC 3339, with milliseconds, in UTC; `/health` says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub(crate) timestamp: Option<&'a str>,
}

/// Why the model API refuses a request or fails: the error shape of Anthropic's API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ModelError<'a> {
    /// Always `error`.
    #[serde(rename = "type")]
    pub(crate) kind: Failure,
    /// The error.
    pub(crate) error: ModelErrorDetail<'a>,
    /// The id under which the server's log knows the request; also in the header `request-id`.
    pub(crate) request_id: &'a str,
    /// `error` on paths below `/api` that are no endpoint; elsewhere it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub(crate) status: Option<Failure>,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ModelErrorDetail<'a> {
    /// As Anthropic's API names it: `invalid_request_error`, `authentication_error`, `permission_error`,
    /// `not_found_error`, `request_too_large`, `rate_limit_error`, `api_error`, `overloaded_error`, ….
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    /// What is wrong and what helps, for people.
    pub(crate) message: Cow<'a, str>,
}
