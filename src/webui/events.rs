//! `GET /api/events`: what changes in the pool, as one stream for all pages of a console.
//!
//! Accounts, limits, settings, replicas and client keys come from the feed's events, ends of requests from its log
//! records: all of them can be gone on from at any replica. An id names the place in both: `<events>.<logs>`. What no
//! feed keeps has no id and is a hint to read anew: limits that ended early, the catalogue of models, a gap.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use bytes::BytesMut;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::Clock;
use crate::server::error::ApiError;
use crate::server::event_stream::{Right, Source, StreamSession, frame, last_id};
use crate::server::gateway::Gateway;
use crate::server::query::Params;
use crate::server::state::AppState;
use crate::store::feed::hub::{Follower, News, Start};
use crate::store::feed::{Cursor, PAGE_MAX, Page, Topic};
use crate::store::follow::PoolEvents;
use crate::store::ops::PoolEvent;
use crate::telemetry::records::Kept;
use crate::telemetry::requests;

/// Entries that a stream takes at a time.
const PIECE: usize = 64;

/// What events are about: their names in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// An account was added, signed in anew, changed or removed, or became valid or invalid.
    Account,
    /// A limit of an account was set, or ended early.
    Limit,
    /// Shared settings were changed.
    Settings,
    /// A replica joined, left or lapsed.
    Replica,
    /// A client key was made, changed, rotated or revoked.
    Key,
    /// The catalogue of models was renewed.
    Models,
    /// A request ended.
    Request,
    /// Events are missing here: read anew what is shown.
    Gap,
}

impl About {
    const ALL: [Self; 8] = [
        Self::Account,
        Self::Limit,
        Self::Settings,
        Self::Replica,
        Self::Key,
        Self::Models,
        Self::Request,
        Self::Gap,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Limit => "limit",
            Self::Settings => "settings",
            Self::Replica => "replica",
            Self::Key => "key",
            Self::Models => "models",
            Self::Request => "request",
            Self::Gap => "gap",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|about| about.as_str() == name)
    }

    /// Of `account.invalid` it is `account`.
    fn of_kind(kind: &str) -> Option<Self> {
        Self::from_name(kind.split('.').next()?)
    }
}

/// Which events.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventQuery {
    /// Only these: some of `account`, `limit`, `settings`, `replica`, `key`, `models`, `request`, with commas between
    /// them. A `gap` is always told.
    about: Option<String>,
    /// The id of an event: those behind it.
    since: Option<String>,
    /// `true`: the stream begins with the newest 1,000 that are kept; without ends of requests.
    history: Option<String>,
}

/// A request that ended, from its line in the log ([`crate::telemetry::requests`]).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ended<'a> {
    /// When, ms since the epoch, by its replica's clock.
    time: i64,
    kind: &'static str,
    /// Its id.
    request: &'a Value,
    /// The replica that served it.
    replica: &'a str,
    /// Its account's address, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    /// What its line says: `outcome`, `status`, `model.served`, `account.id`, `total_ms`, `tokens.input`, …
    fields: &'a Map<String, Value>,
}

/// An event that no feed keeps.
#[derive(Debug, Serialize)]
struct Hint<'a> {
    /// When it was heard, ms since the epoch.
    time: i64,
    /// `limit.lifted`, `models.changed` or `gap`.
    kind: &'static str,
    /// What is missing at a gap: `events`, `logs` (ends of requests) or `hints`.
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<&'static str>,
    /// The account, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a str>,
    /// Its address, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
}

/// The places of a stream; `None` for the one that it does not follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Places {
    events: Option<Cursor>,
    logs: Option<Cursor>,
}

impl Places {
    fn of(&mut self, topic: Topic) -> &mut Option<Cursor> {
        match topic {
            Topic::Events => &mut self.events,
            Topic::Logs => &mut self.logs,
        }
    }

    fn text(self) -> String {
        let text =
            |cursor: Option<Cursor>| cursor.map_or_else(|| "-".to_owned(), |cursor| cursor.to_string());
        format!("{}.{}", text(self.events), text(self.logs))
    }

    fn parse(text: &str) -> Option<Self> {
        let cursor = |text: &str| match text {
            "-" => Some(None),
            text => text.parse().ok().map(Some),
        };
        let (events, logs) = text.split_once('.')?;
        Some(Self { events: cursor(events)?, logs: cursor(logs)? })
    }
}

/// What happens in the pool, on all replicas.
///
/// Server-sent events, named `account`, `limit`, `settings`, `replica`, `key`, `models`, `request` or `gap`; their data is
/// JSON. From now on; with `Last-Event-ID`, which browsers send, or `since`, those behind an event.
#[utoipa::path(
    get,
    path = "/api/events",
    operation_id = "streamEvents",
    tag = "status",
    params(EventQuery),
    responses((status = 200, description = "The events", body = String, content_type = "text/event-stream"))
)]
pub(crate) async fn stream(
    State(state): State<Arc<AppState>>,
    Params(query): Params<EventQuery>,
    Extension(StreamSession(session)): Extension<StreamSession>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let about = match query.about.as_deref().filter(|text| !text.is_empty()) {
        None => About::ALL.to_vec(),
        Some(names) => names.split(',').map(|name| About::from_name(name.trim())).collect::<Option<_>>().ok_or_else(
            || {
                ApiError::invalid(
                    "about must be some of account, limit, settings, replica, key, models, request, with commas \
                     between them",
                )
            },
        )?,
    };
    let since = query.since.as_deref().filter(|text| !text.is_empty());
    let given = match last_id(&headers) {
        // What is no id of ours is the id of another server.
        Some(id) => Some(Places::parse(id).unwrap_or(Places { events: Some(Cursor::ORIGIN), logs: None })),
        None => since
            .map(|id| Places::parse(id).ok_or_else(|| ApiError::invalid("since must be the id of an event")))
            .transpose()?,
    };
    let history = query.history.as_deref() == Some("true");
    let start = |place: Option<Cursor>| match place {
        Some(cursor) => Start::After(cursor),
        None if history && given.is_none() => Start::Recent(PAGE_MAX),
        None => Start::Now,
    };
    let gateway = Arc::clone(&state.gateway);
    let hub = gateway.feed();
    let wanted = |one: &About| about.contains(one);
    let mut places = given.unwrap_or_default();
    let kept = [About::Account, About::Limit, About::Settings, About::Replica, About::Key];
    let events = kept.iter().any(wanted).then(|| hub.follow(Topic::Events, start(places.events)));
    let logs = places.logs.map_or(Start::Now, Start::After);
    let logs = wanted(&About::Request).then(|| hub.follow(Topic::Logs, logs));
    if events.is_none() {
        places.events = None;
    }
    if logs.is_none() {
        places.logs = None;
    }
    let (pool, clock) = (gateway.pool_events(), state.clock.clone());
    let right = Right::of(state.console.console(), session);
    let changes = Changes { gateway, clock, about, events, logs, pool, places, heard: None, told: true };
    state.streams.open(changes, right)
}

/// The events of one stream.
struct Changes {
    gateway: Arc<dyn Gateway>,
    clock: Clock,
    about: Vec<About>,
    events: Option<Follower>,
    logs: Option<Follower>,
    pool: PoolEvents,
    places: Places,
    /// What was heard and not told yet.
    heard: Option<Heard>,
    /// Whether the client knows the places.
    told: bool,
}

#[derive(Clone)]
enum Heard {
    Feed(Topic, News),
    Pool(PoolEvent),
}

/// One event, or a place alone.
struct Told {
    id: Option<String>,
    event: Option<(About, Vec<u8>)>,
}

/// What one follower hears; nothing ever, where there is none.
async fn heard(follower: &mut Option<Follower>) -> News {
    match follower {
        Some(follower) => follower.next(PIECE).await,
        None => std::future::pending().await,
    }
}

impl Source for Changes {
    async fn next(&mut self, out: &mut BytesMut) {
        let heard = if let Some(heard) = &self.heard {
            heard.clone()
        } else {
            let heard = tokio::select! {
                news = heard(&mut self.events) => Heard::Feed(Topic::Events, news),
                news = heard(&mut self.logs) => Heard::Feed(Topic::Logs, news),
                event = self.pool.next() => Heard::Pool(event),
            };
            self.heard.insert(heard).clone()
        };
        // While this waits for addresses it may be dropped, so that all it does is done at the end.
        let mut places = self.places;
        let telling = match heard {
            Heard::Feed(topic, News::Page(page)) => self.page(topic, page, &mut places).await,
            Heard::Feed(topic, News::Gap) => vec![Told { id: None, event: self.gap(topic.as_str()) }],
            Heard::Pool(event) => vec![Told { id: None, event: self.hint(event).await }],
        };
        self.heard = None;
        if places != self.places {
            self.places = places;
            self.told = telling.last().is_some_and(|told| told.id == self.id(places));
        }
        for Told { id, event } in telling {
            match event {
                Some((about, data)) => frame(id.as_deref(), Some(about.as_str()), Some(&data), out),
                None if id.is_some() => frame(id.as_deref(), None, None, out),
                None => {}
            }
        }
    }

    fn place(&mut self) -> Option<String> {
        let id = if self.told { None } else { self.id(self.places) };
        self.told |= id.is_some();
        id
    }
}

impl Changes {
    /// The id of these places, once all that are followed are known: else who comes back would miss something.
    fn id(&self, places: Places) -> Option<String> {
        let known =
            |follower: &Option<Follower>, place: Option<Cursor>| follower.is_none() || place.is_some();
        (known(&self.events, places.events) && known(&self.logs, places.logs)).then(|| places.text())
    }

    async fn page(&self, topic: Topic, page: Page, places: &mut Places) -> Vec<Told> {
        let mut telling = Vec::new();
        let begins = page.entries.is_empty();
        for entry in &page.entries {
            *places.of(topic) = Some(entry.cursor);
            let event = match topic {
                Topic::Events => self.change(&entry.text).await,
                Topic::Logs => self.ended(&entry.text).await,
            };
            if let Some(event) = event {
                telling.push(Told { id: self.id(*places), event: Some(event) });
            }
        }
        *places.of(topic) = Some(page.next);
        if begins {
            // Whoever leaves before the first event comes back to here.
            telling.push(Told { id: self.id(*places), event: None });
        }
        telling
    }

    /// What the feed keeps of a change, and the account's address.
    async fn change(&self, text: &[u8]) -> Option<(About, Vec<u8>)> {
        let mut kept: Map<String, Value> = serde_json::from_slice(text).ok()?;
        let about = self.wanted(About::of_kind(kept.get("kind")?.as_str()?)?)?;
        if let Some(email) = self.address(kept.get("account")).await {
            kept.insert("email".into(), (*email).into());
        }
        data(about, &kept)
    }

    /// The end of a request, if `text` is its line.
    async fn ended(&self, text: &[u8]) -> Option<(About, Vec<u8>)> {
        let kept: Kept<'_> = serde_json::from_slice(text).ok()?;
        if kept.target != requests::TARGET || !kept.fields.contains_key("outcome") {
            return None;
        }
        let email = self.address(kept.fields.get("account.id")).await;
        let ended = Ended {
            time: kept.time,
            kind: "request.ended",
            request: kept.fields.get("request_id")?,
            replica: &kept.replica,
            email: email.as_deref(),
            fields: &kept.fields,
        };
        data(self.wanted(About::Request)?, &ended)
    }

    /// What is not kept.
    async fn hint(&self, event: PoolEvent) -> Option<(About, Vec<u8>)> {
        let hint = |kind| Hint { time: self.clock.epoch_ms(), kind, of: None, account: None, email: None };
        match event {
            PoolEvent::Lifted(account) => {
                let about = self.wanted(About::Limit)?;
                let email = self.gateway.address(account.as_str()).await;
                let (account, email) = (Some(account.as_str()), email.as_deref());
                data(about, &Hint { account, email, ..hint("limit.lifted") })
            }
            PoolEvent::Models => data(self.wanted(About::Models)?, &hint("models.changed")),
            PoolEvent::Gap => self.gap("hints"),
            PoolEvent::Account(_)
            | PoolEvent::Limit(_)
            | PoolEvent::Freed(_)
            | PoolEvent::Settings
            | PoolEvent::Clients
            | PoolEvent::Console
            | PoolEvent::Replica(_)
            | PoolEvent::Asked(..) => None,
        }
    }

    fn gap(&self, of: &'static str) -> Option<(About, Vec<u8>)> {
        let time = self.clock.epoch_ms();
        data(About::Gap, &Hint { time, kind: "gap", of: Some(of), account: None, email: None })
    }

    fn wanted(&self, about: About) -> Option<About> {
        self.about.contains(&about).then_some(about)
    }

    async fn address(&self, account: Option<&Value>) -> Option<Arc<str>> {
        self.gateway.address(account?.as_str()?).await
    }
}

fn data(about: About, event: &impl Serialize) -> Option<(About, Vec<u8>)> {
    Some((about, serde_json::to_vec(event).ok()?))
}

#[cfg(test)]
mod tests;
