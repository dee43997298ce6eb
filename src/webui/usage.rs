//! `GET /api/usage` and `GET /api/stats/history`: what was asked of the pool and what it took.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::server::answer::Answer;
use crate::server::error::ApiError;
use crate::server::json;
use crate::server::query::Params;
use crate::server::state::AppState;
use crate::usage::{Dimension, Grouping, History, Question, Step, UsageReport};
use crate::webui::keys::Moment;

/// What may be asked; all of it may be left out.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Asked {
    /// From when on. Without it a day before `to`, or 30 days where `step` is `day`.
    #[serde(default, deserialize_with = "moment")]
    #[param(value_type = Option<Moment>)]
    from: Option<i64>,
    /// Until when, not itself in it; without it now.
    #[serde(default, deserialize_with = "moment")]
    #[param(value_type = Option<Moment>)]
    to: Option<i64>,
    /// How long each piece of the answer is; without it `hour`.
    step: Option<Step>,
    /// What is told apart, comma between; without it all is one.
    #[serde(default, deserialize_with = "dimensions")]
    #[param(style = Form, explode = false, value_type = Option<Vec<Dimension>>, example = "model,status")]
    group_by: Grouping,
}

impl From<Asked> for Question {
    fn from(asked: Asked) -> Self {
        let step = asked.step.unwrap_or_default();
        Self { from_ms: asked.from, to_ms: asked.to, step, group_by: asked.group_by }
    }
}

/// The usage of a range of time.
///
/// Every request is counted once, by how it ended, on whichever replica. Hours and days are UTC, and the range is
/// rounded outwards to whole ones. Kept for 30 days; by the day, without the status, for 90.
#[utoipa::path(
    get,
    path = "/api/usage",
    operation_id = "getUsage",
    tag = "usage",
    params(Asked),
    responses((status = 200, description = "The usage", body = Answer<UsageReport>))
)]
pub(crate) async fn get(
    State(state): State<Arc<AppState>>,
    Params(asked): Params<Asked>,
) -> Result<Answer<UsageReport>, ApiError> {
    Ok(Answer::new(state.gateway.usage(asked.into()).await?))
}

/// Requests of the last 30 days by hour, family and model.
///
/// In the shape of the reference program, without `status`; all requests count, however they ended.
#[utoipa::path(
    get,
    path = "/api/stats/history",
    operation_id = "getUsageHistory",
    tag = "usage",
    responses((status = 200, description = "The requests", body = History))
)]
pub(crate) async fn history(State(state): State<Arc<AppState>>) -> Result<Response, ApiError> {
    Ok(json::of(StatusCode::OK, &state.gateway.usage_history().await?).into_response())
}
/// Milliseconds since the epoch, or a time as in RFC 3339.
pub(crate) fn moment<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if let Ok(ms) = text.parse() {
        return Ok(Some(ms));
    }
    // A `+` in a query is a blank unless it is encoded.
    match text.replace(' ', "+").parse::<Timestamp>() {
        Ok(time) => Ok(Some(time.as_millisecond())),
        Err(_) => Err(D::Error::custom(
            "must be milliseconds since the epoch, or a time such as 2026-11-23T15:00:00Z",
        )),
    }
}

/// Names of dimensions, comma between.
fn dimensions<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Grouping, D::Error> {
    let text = String::deserialize(deserializer)?;
    let names = text.split(',').filter(|name| !name.is_empty());
    let known = |name| match name {
        "model" => Ok(Dimension::Model),
        "key" => Ok(Dimension::Key),
        "status" => Ok(Dimension::Status),
        _ => Err(D::Error::custom("must be any of model, key and status, comma between")),
    };
    names.map(known).collect()
}

#[cfg(test)]
mod tests {
    use axum::extract::Query;

    use super::*;

    fn asked(query: &str) -> Result<Question, String> {
        let uri = format!("http://x/api/usage?{query}").parse().unwrap();
        Query::<Asked>::try_from_uri(&uri)
            .map(|Query(asked)| asked.into())
            .map_err(|rejection| rejection.body_text())
    }

    #[test]
    fn questions_are_read() {
        assert_eq!(asked(""), Ok(Question::default()));
        assert_eq!(
            asked("from=1795446000000&to=2026-11-23T16:00:00.000Z&step=day&groupBy=status,model"),
            Ok(Question {
                from_ms: Some(1_795_446_000_000),
                to_ms: Some(1_795_449_600_000),
                step: Step::Day,
                group_by: [Dimension::Model, Dimension::Status].into(),
            })
        );
        assert_eq!(asked("from=2026-11-23T16:00:00+01:00").unwrap().from_ms, Some(1_795_446_000_000));
        assert_eq!(asked("groupBy=key%2Ckey,").unwrap().group_by, [Dimension::Key].into());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (query, field) in [
            ("from=yesterday", "from"),
            ("from=", "from"),
            ("to=1.5", "to"),
            ("to=99999999999999999999", "to"),
            ("step=week", "step"),
            ("groupBy=model,colour", "groupBy"),
            ("groupby=model", "groupby"),
        ] {
            let told = asked(query).unwrap_err();
            assert!(told.contains(field), "{query}: {told}");
        }
    }
}
