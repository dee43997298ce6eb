//! What is counted by model: handles found once per request, and a bound on the number of models.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};

use super::label::{Label as _, Outcome, Status, TokenKind};

/// Most models that get a label of their own.
pub(super) const MAX_MODELS: usize = 50;
/// The label of all others.
const OTHER: &str = "other";
/// Ends that alerts ask about: they are exported from the start, so that the first of them is seen.
const EXPECTED: [(Status, Outcome); 12] = [
    (Status::Ok, Outcome::Served),
    (Status::Ok, Outcome::Broken),
    (Status::Ok, Outcome::Cancelled),
    (Status::ClientGone, Outcome::Cancelled),
    (Status::BadRequest, Outcome::ClientError),
    (Status::TooManyRequests, Outcome::RateLimited),
    (Status::Overloaded, Outcome::Overloaded),
    (Status::Overloaded, Outcome::Deadline),
    (Status::BadGateway, Outcome::UpstreamError),
    (Status::Unavailable, Outcome::UpstreamError),
    (Status::Unavailable, Outcome::NoAccount),
    (Status::Internal, Outcome::Internal),
];

/// The families that are labelled by model.
#[derive(Clone)]
pub(super) struct Families {
    pub(super) requests: IntCounterVec,
    pub(super) first_event: HistogramVec,
    pub(super) stream: HistogramVec,
    pub(super) tokens: IntCounterVec,
}

/// The metrics of one model.
pub struct ModelMetrics {
    label: Arc<str>,
    families: Families,
    first_event: OnceLock<Histogram>,
    stream: OnceLock<Histogram>,
    tokens: OnceLock<[IntCounter; 4]>,
}

impl fmt::Debug for ModelMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ModelMetrics").field(&self.label).finish()
    }
}

impl ModelMetrics {
    fn new(label: &str, families: &Families) -> Arc<Self> {
        for (status, outcome) in EXPECTED {
            families.requests.with_label_values(&[label, status.label(), outcome.label()]);
        }
        Arc::new(Self {
            label: label.into(),
            families: families.clone(),
            first_event: OnceLock::new(),
            stream: OnceLock::new(),
            tokens: OnceLock::new(),
        })
    }

    /// Counts a request that has ended.
    pub fn ended(&self, status: u16, outcome: Outcome) {
        let labels = [&*self.label, Status::of(status).label(), outcome.label()];
        self.families.requests.with_label_values(&labels).inc();
    }

    /// Notes how long the first event of an answer took.
    pub fn began_after(&self, took: Duration) {
        let histogram =
            self.first_event.get_or_init(|| self.families.first_event.with_label_values(&[&*self.label]));
        histogram.observe(took.as_secs_f64());
    }

    /// Notes how long a streamed answer took from its first event to its end.
    pub fn streamed_for(&self, took: Duration) {
        let histogram = self.stream.get_or_init(|| self.families.stream.with_label_values(&[&*self.label]));
        histogram.observe(took.as_secs_f64());
    }

    /// Counts what one answer used.
    pub fn used(&self, kind: TokenKind, count: u64) {
        let counters = self.tokens.get_or_init(|| {
            let of = |kind: TokenKind| self.families.tokens.with_label_values(&[&*self.label, kind.label()]);
            [TokenKind::Input, TokenKind::Output, TokenKind::CacheRead, TokenKind::Thinking].map(of)
        });
        counters[kind.index()].inc_by(count);
    }
}

/// The models that have labels of their own.
pub(super) struct Models {
    families: Families,
    known: ArcSwap<BTreeMap<Arc<str>, Arc<ModelMetrics>>>,
    other: Arc<ModelMetrics>,
}

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.known.load().keys()).finish()
    }
}

impl Models {
    pub(super) fn new(families: Families) -> Self {
        let other = ModelMetrics::new(OTHER, &families);
        Self { families, known: ArcSwap::default(), other }
    }

    /// Gives each of `ids` a label, as long as there is room. A model keeps its label when the pool no longer offers
    /// it: what was exported stays, so that only new models need bounding.
    pub(super) fn add(&self, ids: &[&str]) {
        let known = self.known.load();
        if known.len() >= MAX_MODELS || ids.iter().all(|id| known.contains_key(*id)) {
            return;
        }
        self.known.rcu(|known| {
            let mut known = BTreeMap::clone(known);
            for id in ids {
                if known.len() < MAX_MODELS && !known.contains_key(*id) {
                    known.insert((*id).into(), ModelMetrics::new(id, &self.families));
                }
            }
            known
        });
    }

    pub(super) fn get(&self, id: &str) -> Arc<ModelMetrics> {
        Arc::clone(self.known.load().get(id).unwrap_or(&self.other))
    }
}
