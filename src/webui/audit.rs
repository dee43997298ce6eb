//! `GET /api/audit`: who did what, the newest first.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::server::answer::Answer;
use crate::server::door_refusal;
use crate::server::error::ApiError;
use crate::server::state::AppState;
use crate::store::audit::{FieldChange, Outcome};
use crate::store::ops::audit::{AUDIT_PAGE, Record};

/// Records of an answer that does not say how many.
const LIMIT: usize = 50;
/// The largest number that the store can tell from the next one: its scripts count in doubles.
const LARGEST: u64 = (1 << 53) - 1;
/// Pages of the trail that one answer looks through for what is asked for.
const PAGES: usize = 10;

/// What of the trail is asked for.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// Most records, 1 to 200.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// Only those before the record of this number.
    #[param(maximum = 9_007_199_254_740_991_i64)]
    before: Option<u64>,
    /// Only those of this kind of actor, such as `session`, or of one of them: `session:<id>`.
    #[param(example = "session")]
    actor: Option<String>,
    /// Only this action, such as `account.remove`, or this group: `account`.
    #[param(example = "account.remove")]
    action: Option<String>,
}

/// A part of the trail.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditTrail)]
pub(crate) struct TrailView {
    /// The newest first.
    records: Vec<RecordView>,
    /// Ask for what is `before` this to go on; `null` at the beginning of the trail. With `actor` or `action` there may be
    /// fewer records than the limit, even none, although the trail goes on.
    next: Option<u64>,
}

/// One thing that somebody did or tried.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = AuditRecord)]
#[serde(rename_all = "camelCase")]
struct RecordView {
    /// Its place in the trail; counts up over all replicas.
    number: u64,
    /// When, Unix epoch in milliseconds, by the store's clock.
    time: i64,
    /// Who.
    actor: ActorView,
    /// The address it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// What, such as `account.remove`.
    action: String,
    /// What it was done to.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// Fields with what was there before and what is there now; never a secret.
    changes: Vec<FieldChange>,
    /// Further changes that are not listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    omitted: Option<usize>,
    /// `begun`, `done`, `refused` or `failed`.
    outcome: Outcome,
    /// The HTTP status that was answered, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    http_status: Option<u16>,
    /// The generation of the settings, client keys or password that the change made.
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    /// The place of the change in the pool's history of writes.
    seq: u64,
    /// The id of the request, as in its header `request-id` and in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

/// Who did it.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = AuditActor)]
struct ActorView {
    /// `session`, `password`, `local`, `control`, `command`, `setup`, `browser` or `stranger`.
    kind: String,
    /// Which one: a session's id, a user of the gateway's machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

impl From<Record> for RecordView {
    fn from(Record { number, at_ms, seq, generation, told }: Record) -> Self {
        Self {
            number,
            time: at_ms,
            actor: ActorView { kind: told.actor, id: told.who },
            from: told.from,
            action: told.action,
            target: told.target,
            changes: told.changes,
            omitted: Some(told.omitted).filter(|omitted| *omitted > 0),
            outcome: told.outcome,
            http_status: told.status,
            generation,
            seq,
            request_id: told.request,
        }
    }
}

impl Asked {
    fn wants(&self, record: &Record) -> bool {
        let told = &record.told;
        let by = self.actor.as_deref().is_none_or(|actor| match actor.split_once(':') {
            None => told.actor == actor,
            Some((kind, who)) => {
                told.actor == kind && told.who.as_deref().is_some_and(|id| id.starts_with(who))
            }
        });
        let done = self.action.as_deref().is_none_or(|action| {
            told.action.strip_prefix(action).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        by && done
    }
}

/// Who did what, the newest first.
#[utoipa::path(
    get,
    path = "/api/audit",
    operation_id = "listAudit",
    tag = "console",
    params(Asked),
    responses((status = 200, description = "A part of the trail", body = Answer<TrailView>))
)]
pub(crate) async fn list(
    State(state): State<Arc<AppState>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Answer<TrailView>, ApiError> {
    let Query(asked) = asked.map_err(|error| {
        ApiError::invalid(format!("{}; allowed: limit, before, actor, action", error.body_text()))
    })?;
    let limit = asked.limit.unwrap_or(LIMIT);
    if !(1..=AUDIT_PAGE).contains(&limit) {
        return Err(ApiError::invalid(format!("limit must be 1 to {AUDIT_PAGE}")));
    }
    if asked.before.is_some_and(|before| before > LARGEST) {
        return Err(ApiError::invalid(format!("before must be at most {LARGEST}")));
    }
    let store = state.console.console().store();
    let all = asked.actor.is_none() && asked.action.is_none();
    let (mut records, mut next) = (Vec::new(), asked.before);
    for _ in 0..PAGES {
        let size = if all { limit - records.len() } else { AUDIT_PAGE };
        let page = store.list_audit(next, size).await.map_err(|error| door_refusal(&error.into()))?;
        next = page.next;
        for record in page.records.into_iter().filter(|record| asked.wants(record)) {
            records.push(record);
            if records.len() == limit {
                // What is left of the page is asked for again.
                next = if all { next } else { records.last().map(|last| last.number) };
                break;
            }
        }
        if records.len() == limit || next.is_none() {
            break;
        }
    }
    let records = records.into_iter().map(RecordView::from).collect();
    Ok(Answer::new(TrailView { records, next }))
}
