//! `GET /api/logs` and `GET /api/logs/stream`: what all replicas log (spec `http-api.md` §1.6.2, §5).

mod filter;
mod line;
mod scan;

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use bytes::BytesMut;
use http::HeaderMap;
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::clock::Clock;
use crate::server::answer::Answer;
use crate::server::error::ApiError;
use crate::server::event_stream::{Right, Source, StreamSession, frame, last_id};
use crate::server::gateway::Gateway;
use crate::server::query::Params;
use crate::server::state::AppState;
use crate::store::feed::hub::{Follower, News, Start};
use crate::store::feed::{Cursor, Entry, FeedError, PAGE_MAX, Topic};

use crate::webui::keys::Moment;
use crate::webui::usage::moment;

pub(crate) use filter::Filter;
pub(crate) use line::LogLine;

/// Lines of one answer where nobody says how many.
const LIMIT: usize = 1000;
/// Entries that a stream takes at a time.
const PIECE: usize = 64;

/// Which lines.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogQuery {
    /// Lines at most, 1 to 1,000 (default).
    #[serde(default, deserialize_with = "lines")]
    #[param(value_type = Option<usize>, minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// Only these levels: some of `DEBUG`, `INFO`, `SUCCESS`, `WARN`, `ERROR`, with commas between them.
    level: Option<String>,
    /// Only lines with this text in their message, of whatever case.
    q: Option<String>,
    /// Only lines of the replica with this id, or of the machine or pod with this name.
    replica: Option<String>,
    /// Only lines of the request with this id.
    request: Option<String>,
    /// Only lines since this time.
    #[serde(default, deserialize_with = "moment")]
    #[param(value_type = Option<Moment>)]
    from: Option<i64>,
    /// Only lines before this time.
    #[serde(default, deserialize_with = "moment")]
    #[param(value_type = Option<Moment>)]
    to: Option<i64>,
    /// The id of a line: those behind it, the oldest of them first. Empty is as good as absent.
    #[param(pattern = "^([0-9]{1,15}-[0-9]{1,15})?$")]
    since: Option<String>,
    /// The id of a line: the newest of those before it.
    #[param(pattern = "^([0-9]{1,15}-[0-9]{1,15})?$")]
    before: Option<String>,
    /// `true`: a stream begins with what there is already.
    history: Option<String>,
    /// What lets a browser open the stream: see `POST /api/logs/ticket`.
    #[serde(rename = "ticket")]
    #[param(ignore)]
    _ticket: Option<IgnoredAny>,
    /// The same, as the reference has it.
    #[serde(rename = "password")]
    #[param(ignore)]
    _password: Option<IgnoredAny>,
}

/// Log lines, the oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogPage {
    /// The lines.
    logs: Vec<LogLine>,
    /// Where newer lines begin: for `since`, or for the stream.
    next: String,
    /// Where older lines end: for `before`; `null` when there are none, or it was not asked for them.
    older: Option<String>,
    /// Whether lines are missing between `since` and the first one, because they are no longer kept.
    gap: bool,
}

impl LogQuery {
    fn filter(&self) -> Result<Filter, ApiError> {
        let levels = match self.level.as_deref() {
            Some(text) => filter::levels(text).ok_or_else(|| {
                ApiError::invalid(
                    "level must be some of DEBUG, INFO, SUCCESS, WARN, ERROR, with commas between them",
                )
            })?,
            None => filter::ALL_LEVELS,
        };
        let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Ok(Filter {
            levels,
            text: text(&self.q).map(|text| text.to_lowercase()),
            replica: text(&self.replica),
            request: text(&self.request),
            from: self.from.unwrap_or(i64::MIN),
            to: self.to.unwrap_or(i64::MAX),
        })
    }

    fn limit(&self) -> usize {
        self.limit.unwrap_or(LIMIT)
    }
}

/// A number of lines.
fn lines<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    match String::deserialize(deserializer)?.parse() {
        Ok(limit @ 1..=PAGE_MAX) => Ok(Some(limit)),
        _ => Err(D::Error::custom("must be a number between 1 and 1000")),
    }
}

/// The place that `text`, a parameter called `name`, names.
fn cursor(name: &str, text: Option<&str>) -> Result<Option<Cursor>, ApiError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let cursor = text.parse().map_err(|_invalid| {
        ApiError::invalid(format!("{name} must be the id of a line, such as 1767225600000-0"))
    })?;
    Ok(Some(cursor))
}

/// Lines of the log, of all replicas.
///
/// The newest that are kept, those `before` a line, or those `since` one. 10,000 lines are kept, for 7 days at most.
#[utoipa::path(
    get,
    path = "/api/logs",
    operation_id = "listLogs",
    tag = "status",
    params(LogQuery),
    responses((status = 200, description = "The lines, the oldest first", body = Answer<LogPage>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    Params(query): Params<LogQuery>,
) -> Result<Answer<LogPage>, ApiError> {
    let (filter, limit) = (query.filter()?, query.limit());
    let (since, before) =
        (cursor("since", query.since.as_deref())?, cursor("before", query.before.as_deref())?);
    let hub = state.gateway.feed();
    let feed = hub.feed();
    let page = match (since, before) {
        (Some(_), Some(_)) => return Err(ApiError::invalid("since and before cannot both be given")),
        (Some(since), None) => {
            let found =
                scan::forward(feed, &filter, since, limit).await.map_err(|error| unavailable(&error))?;
            LogPage { logs: found.lines, next: found.next.to_string(), older: None, gap: found.gap }
        }
        (None, before) => {
            let found =
                scan::backward(feed, &filter, before, limit).await.map_err(|error| unavailable(&error))?;
            LogPage {
                logs: found.lines,
                next: found.next.to_string(),
                older: found.older.map(|cursor| cursor.to_string()),
                gap: false,
            }
        }
    };
    Ok(Answer::new(page))
}

/// Lines of the log as they are written.
///
/// Server-sent events without a name, each a line as `GET /api/logs` has it. From now on; with `history=true` also those
/// before; with `Last-Event-ID`, which browsers send, or `since`, those behind a line. A comment comes every 10 s.
#[utoipa::path(
    get,
    path = "/api/logs/stream",
    operation_id = "streamLogs",
    tag = "status",
    params(LogQuery),
    responses((status = 200, description = "The lines", body = String, content_type = "text/event-stream"))
)]
pub(crate) async fn stream(
    State(state): State<Arc<AppState>>,
    Params(query): Params<LogQuery>,
    Extension(StreamSession(session)): Extension<StreamSession>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (filter, limit) = (query.filter()?, query.limit());
    let since = cursor("since", query.since.as_deref())?;
    let start = match last_id(&headers) {
        // What is no id of ours is the id of another server.
        Some(id) => Begin::Follow(Start::After(id.parse().unwrap_or(Cursor::ORIGIN))),
        None => match since {
            Some(since) => Begin::Follow(Start::After(since)),
            None if query.history.as_deref() == Some("true") => Begin::History(limit),
            None => Begin::Follow(Start::Now),
        },
    };
    let (gateway, clock) = (Arc::clone(&state.gateway), state.clock.clone());
    let right = Right::of(state.console.console(), session);
    let lines = Lines { gateway, clock, filter, begin: Some(start), follower: None, untold: None };
    state.streams.open(lines, right)
}

fn unavailable(error: &FeedError) -> ApiError {
    match error {
        FeedError::Busy => ApiError::unavailable("Too many read the logs at this moment").with_retry_after(1),
        FeedError::Unavailable { .. } | FeedError::Lost => ApiError::store_unavailable(),
    }
}

/// How a stream begins.
#[derive(Clone, Copy)]
enum Begin {
    /// With so many of the newest lines.
    History(usize),
    /// Somewhere.
    Follow(Start),
}

/// The lines of one stream.
struct Lines {
    gateway: Arc<dyn Gateway>,
    clock: Clock,
    filter: Filter,
    begin: Option<Begin>,
    follower: Option<Follower>,
    /// Where it stands, as long as no line has said so.
    untold: Option<Cursor>,
}

impl Source for Lines {
    async fn next(&mut self, out: &mut BytesMut) {
        let follower = match (&mut self.follower, self.begin) {
            (Some(follower), None) => follower,
            (_, begin) => return self.begin(begin.unwrap_or(Begin::Follow(Start::Now)), out).await,
        };
        match follower.next(PIECE).await {
            News::Page(page) => self.tell(&page.entries, page.next, out),
            News::Gap => write(&LogLine::gap(self.clock.epoch_ms()), out),
        }
    }

    fn place(&mut self) -> Option<String> {
        self.untold.take().map(|cursor| cursor.to_string())
    }
}

impl Lines {
    async fn begin(&mut self, begin: Begin, out: &mut BytesMut) {
        let hub = self.gateway.feed();
        let start = match begin {
            Begin::Follow(start) => start,
            Begin::History(limit) => {
                let found = scan::backward(hub.feed(), &self.filter, None, limit).await;
                match found {
                    Ok(found) => {
                        for line in &found.lines {
                            write(line, out);
                        }
                        self.untold = Some(found.next);
                        Start::After(found.next)
                    }
                    // It is tried again, and heartbeats go on.
                    Err(_unavailable) => return tokio::time::sleep(scan::PAUSE).await,
                }
            }
        };
        self.follower = Some(hub.follow(Topic::Logs, start));
        self.begin = None;
    }

    fn tell(&mut self, entries: &[Entry], next: Cursor, out: &mut BytesMut) {
        let begins = entries.is_empty();
        let mut told = None;
        for line in entries.iter().filter_map(|entry| self.filter.line(entry)) {
            write(&line, out);
            told = line.id;
        }
        self.untold = (told != Some(next)).then_some(next);
        if begins {
            // Whoever leaves before the first line comes back to here.
            frame(self.place().as_deref(), None, None, out);
        }
    }
}

fn write(line: &LogLine, out: &mut BytesMut) {
    // Numbers and texts always have a form in JSON.
    if let Ok(text) = serde_json::to_vec(line) {
        let id = line.id.map(|id| id.to_string());
        frame(id.as_deref(), None, Some(&text), out);
    }
}

#[cfg(test)]
mod tests;
