//! What was received and how each exchange ended.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use tokio::sync::watch;

use super::validate::Refusal;
use crate::clock::Clock;

/// The oldest exchanges are forgotten beyond this many.
const KEPT: usize = 10_000;

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It has not ended.
    Open,
    /// The answer was handed over completely.
    Complete,
    /// The client closed the connection (or the stream) before the end.
    ClosedByClient,
    /// The scenario cut it.
    Cut,
}

/// One exchange.
#[derive(Clone, Debug, Serialize)]
pub struct Recorded {
    /// Counted from 1 since the start or the last reset.
    pub id: u64,
    /// When it came, milliseconds since the epoch.
    pub at_ms: i64,
    /// When it ended, milliseconds since the epoch; none while it is open.
    pub ended_ms: Option<i64>,
    /// The listener it came to.
    pub endpoint: usize,
    /// HTTP method.
    pub method: String,
    /// Path with query.
    pub path: String,
    /// The account whose token it carried.
    pub account: Option<String>,
    /// Its headers, names in lower case; `authorization` tells the scheme and the account only.
    pub headers: BTreeMap<String, String>,
    /// Its JSON body; null when it was none.
    #[serde(serialize_with = "shared")]
    pub body: Arc<Value>,
    /// Size of its body.
    pub body_bytes: usize,
    /// Status of the answer; 0 while there is none.
    pub status: u16,
    /// Bytes of the answer's body handed over.
    pub bytes_sent: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it was refused, if it was.
    pub refusal: Option<Refusal>,
}

fn shared<S: Serializer>(value: &Arc<Value>, serializer: S) -> Result<S::Ok, S::Error> {
    value.serialize(serializer)
}

/// What can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A request was received whole.
    Request,
    /// An answer was handed over whole.
    Complete,
    /// A client closed before the end of its answer.
    Disconnect,
}

/// How often each [`Event`] happened since the start or the last reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Requests received.
    pub requests: u64,
    /// Exchanges that have not ended.
    pub open: u64,
    /// Answers handed over whole.
    pub complete: u64,
    /// Exchanges the client closed early.
    pub disconnects: u64,
    /// Exchanges the scenario cut.
    pub cut: u64,
    /// Requests refused by the strict checks.
    pub refused: u64,
}

impl Counts {
    fn of(&self, event: Event) -> u64 {
        match event {
            Event::Request => self.requests,
            Event::Complete => self.complete,
            Event::Disconnect => self.disconnects,
        }
    }
}

pub(super) struct Recorder {
    kept: Mutex<VecDeque<Recorded>>,
    counts: watch::Sender<Counts>,
    clock: Clock,
}

impl Recorder {
    pub(super) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { kept: Mutex::default(), counts: watch::Sender::default(), clock })
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Recorded>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts an exchange; `recorded.id` is set here.
    pub(super) fn begin(self: &Arc<Self>, mut recorded: Recorded) -> Exchange {
        let mut kept = self.kept();
        let mut id = 0;
        self.counts.send_modify(|counts| {
            counts.requests += 1;
            counts.open += 1;
            id = counts.requests;
        });
        recorded.id = id;
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(recorded);
        Exchange { recorder: Some(Arc::clone(self)), id, sent: 0, ended: false }
    }

    pub(super) fn all(&self) -> Vec<Recorded> {
        self.kept().iter().cloned().collect()
    }

    pub(super) fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Forgets what has ended and counts anew; open exchanges are forgotten as well.
    pub(super) fn reset(&self) {
        let mut kept = self.kept();
        kept.clear();
        self.counts.send_modify(|counts| *counts = Counts::default());
    }

    /// Waits until `event` has happened `at_least` times.
    pub(super) async fn reached(&self, event: Event, at_least: u64) {
        let mut counts = self.counts.subscribe();
        // The sender lives in `self`, so the wait ends only by success.
        let _ = counts.wait_for(|counts| counts.of(event) >= at_least).await;
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Recorded)) {
        if let Some(recorded) = self.kept().iter_mut().rev().find(|recorded| recorded.id == id) {
            change(recorded);
        }
    }
}

/// An exchange in flight. Dropped without an end, it was closed by the client.
pub(super) struct Exchange {
    recorder: Option<Arc<Recorder>>,
    id: u64,
    sent: u64,
    ended: bool,
}

impl Exchange {
    /// One that leaves no trace.
    pub(super) fn unrecorded() -> Self {
        Self { recorder: None, id: 0, sent: 0, ended: true }
    }

    pub(super) fn status(&self, status: u16) {
        self.change(|recorded| recorded.status = status);
    }

    pub(super) fn refused(&self, refusal: &Refusal) {
        if let Some(recorder) = &self.recorder {
            recorder.counts.send_modify(|counts| counts.refused += 1);
        }
        self.change(|recorded| recorded.refusal = Some(refusal.clone()));
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    pub(super) fn end(&mut self, outcome: Outcome) {
        if !self.ended {
            self.ended = true;
            self.settle(outcome);
        }
    }

    fn change(&self, change: impl FnOnce(&mut Recorded)) {
        if let Some(recorder) = &self.recorder {
            recorder.change(self.id, change);
        }
    }

    fn settle(&self, outcome: Outcome) {
        let sent = self.sent;
        let ended_ms = self.recorder.as_ref().map(|recorder| recorder.clock.epoch_ms());
        self.change(|recorded| {
            recorded.outcome = outcome;
            recorded.bytes_sent = sent;
            recorded.ended_ms = ended_ms;
        });
        if let Some(recorder) = &self.recorder {
            recorder.counts.send_modify(|counts| {
                counts.open = counts.open.saturating_sub(1);
                match outcome {
                    Outcome::Complete => counts.complete += 1,
                    Outcome::ClosedByClient => counts.disconnects += 1,
                    Outcome::Cut => counts.cut += 1,
                    Outcome::Open => {}
                }
            });
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.end(Outcome::ClosedByClient);
    }
}

/// Headers for the record: secrets are left out.
pub(super) fn headers(headers: &HeaderMap, account: Option<&str>) -> BTreeMap<String, String> {
    headers
        .iter()
        .map(|(name, value)| {
            let text = if name == http::header::AUTHORIZATION {
                format!("Bearer <{}>", account.unwrap_or("unknown"))
            } else {
                String::from_utf8_lossy(value.as_bytes()).into_owned()
            };
            (name.as_str().to_owned(), text)
        })
        .collect()
}
