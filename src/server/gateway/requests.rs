//! What the HTTP surface knows of requests in flight.

use serde::Serialize;
use utoipa::ToSchema;

/// The requests in flight on all replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiveRequests {
    /// The oldest first.
    pub requests: Vec<LiveRequest>,
    /// The replicas that were asked, by id.
    pub replicas: Vec<LiveReplica>,
    /// Whether all of them answered.
    pub complete: bool,
    /// Requests that are not listed because a replica has more than it tells of.
    pub omitted: u64,
}

/// One request for a message that is being answered. Nothing of what it says is here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiveRequest {
    /// What the header `request-id` of its answer says.
    pub id: String,
    /// The id of the replica that answers it.
    pub replica: String,
    /// When it arrived, Unix epoch in milliseconds by the store's clock.
    pub started_at: i64,
    /// How long ago that was when its replica told of it, in milliseconds.
    pub age_ms: u64,
    /// How far it is.
    pub state: LiveState,
    /// Whether it wants a stream; `null` as long as that is not known.
    pub stream: Option<bool>,
    /// The model that it asks for.
    pub requested_model: Option<String>,
    /// The upstream model that serves it.
    pub model: Option<String>,
    /// The address of the account that it was tried with last; its id where the account is gone.
    pub account: Option<String>,
    /// How often it was tried at the upstream.
    pub attempts: u32,
    /// How long it has waited for the pool until its replica told of it, in milliseconds.
    pub waited_ms: u64,
    /// When its answer began, in milliseconds after its arrival.
    pub first_event_ms: Option<u64>,
    /// The key it came with.
    pub client: Option<LiveClient>,
    /// Names its conversation: a hash, the same in all its requests.
    pub session: Option<String>,
}

/// The key of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LiveClient {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LiveState {
    /// It has no account: not yet, or not any more after a try that failed.
    Waiting,
    /// It is being tried at the upstream.
    Trying,
    /// Its answer has begun.
    Answering,
    /// It was cancelled; its client has not read that yet.
    Cancelled,
}

/// A replica that was asked for its requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LiveReplica {
    /// Its id.
    pub id: String,
    /// The name of its machine or pod.
    pub host: String,
    /// Whether it is the one that answers.
    #[serde(rename = "self")]
    pub is_self: bool,
    /// When it told of its requests, Unix epoch in milliseconds; `null` when it did not answer in time.
    pub as_of: Option<i64>,
    /// How many requests it has.
    pub requests: u64,
}

/// What came of cancelling a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// It is ended.
    Done {
        /// The id of the replica that answered it.
        replica: String,
    },
    /// It was cancelled before.
    Before,
    /// It has ended by itself.
    Ended,
    /// No replica has it.
    Unknown,
    /// None that answered has it; these, by the names of their machines, did not answer.
    Unanswered(Vec<String>),
}
