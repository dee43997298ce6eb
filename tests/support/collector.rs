//! An OpenTelemetry collector: takes OTLP over HTTP and keeps what it was sent, as it came and decoded.

#![allow(dead_code, reason = "each suite uses its part")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{
    Span as WireSpan, span::SpanKind, status::StatusCode as SpanStatus,
};
use prost::Message as _;
use tokio::task::JoinSet;

/// Longest time until what has happened is here.
const SOON: Duration = Duration::from_secs(30);

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Takes everything.
    Well,
    /// Takes nothing and answers with this status.
    Refusing(u16),
    /// Does not answer.
    Silent,
}

/// A collector at work; it ends when dropped.
pub(crate) struct Collector {
    pub(crate) url: String,
    kept: Arc<Mutex<Kept>>,
    _serving: JoinSet<()>,
}

struct Kept {
    mood: Mood,
    requests: Vec<(HeaderMap, Bytes)>,
}

/// A span, with what tests ask for at hand.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) name: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) state: String,
    pub(crate) server: bool,
    pub(crate) client: bool,
    pub(crate) failed: bool,
    pub(crate) begin: u64,
    pub(crate) end: u64,
    pub(crate) events: Vec<(String, u64)>,
    pub(crate) attributes: BTreeMap<String, String>,
    /// Of the process.
    pub(crate) resource: BTreeMap<String, String>,
}

/// All spans of one request: its root, and what is below it in the order of their beginnings.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    pub(crate) root: Span,
    pub(crate) phases: Vec<Span>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let kept = Arc::new(Mutex::new(Kept { mood: Mood::Well, requests: Vec::new() }));
        let routes = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&kept));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { url, kept, _serving: serving }
    }

    /// Where traces are posted to.
    pub(crate) fn endpoint(&self) -> String {
        format!("{}/v1/traces", self.url)
    }

    pub(crate) fn feel(&self, mood: Mood) {
        self.kept.lock().unwrap().mood = mood;
    }

    /// The requests so far, their bodies decompressed.
    pub(crate) fn requests(&self) -> Vec<(HeaderMap, Vec<u8>)> {
        let requests = self.kept.lock().unwrap().requests.clone();
        requests.into_iter().map(|(headers, body)| (headers.clone(), plain(&headers, &body))).collect()
    }

    /// All spans so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        for (_, body) in self.requests() {
            let request = ExportTraceServiceRequest::decode(&*body).unwrap();
            for resource in request.resource_spans {
                let of = attributes(&resource.resource.unwrap_or_default().attributes);
                let all = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
                spans.extend(all.map(|span| read(span, &of)));
            }
        }
        spans
    }

    /// Waits for the trace of the request with this id.
    pub(crate) async fn trace_of(&self, request_id: &str) -> Trace {
        let waiting = async {
            loop {
                if let Some(trace) = self.find(request_id) {
                    return trace;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let found = tokio::time::timeout(SOON, waiting).await;
        found.unwrap_or_else(|_| panic!("no trace of {request_id}: {:#?}", self.spans()))
    }

    /// The trace of a request whose root has come; it comes last.
    fn find(&self, request_id: &str) -> Option<Trace> {
        let spans = self.spans();
        let of_request = |span: &&Span| span.get("antigravity_proxy.request.id") == request_id;
        let roots: Vec<_> = spans.iter().filter(of_request).collect();
        let root = (*roots.first()?).clone();
        assert_eq!(roots.len(), 1, "one root for {request_id}");
        let mut phases: Vec<_> = spans.into_iter().filter(|span| span.parent == root.id).collect();
        phases.sort_by_key(|span| (span.begin, span.end));
        Some(Trace { root, phases })
    }
}

fn plain(headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match headers.get("content-encoding") {
        None => plain.extend_from_slice(body),
        Some(encoding) => {
            assert_eq!(encoding, "gzip");
            flate2::read::GzDecoder::new(body).read_to_end(&mut plain).unwrap();
        }
    }
    plain
}

async fn take(State(kept): State<Arc<Mutex<Kept>>>, headers: HeaderMap, body: Bytes) -> Response {
    let mood = {
        let mut kept = kept.lock().unwrap();
        if kept.mood == Mood::Well {
            kept.requests.push((headers, body));
        }
        kept.mood
    };
    match mood {
        Mood::Well => StatusCode::OK.into_response(),
        Mood::Refusing(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Mood::Silent => std::future::pending().await,
    }
}

fn read(span: WireSpan, resource: &BTreeMap<String, String>) -> Span {
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    };
    Span {
        server: span.kind == SpanKind::Server as i32,
        client: span.kind == SpanKind::Client as i32,
        failed: span.status.as_ref().is_some_and(|status| status.code == SpanStatus::Error as i32),
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        state: span.trace_state,
        name: span.name,
        begin: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
        events: span.events.into_iter().map(|event| (event.name, event.time_unix_nano)).collect(),
        attributes: attributes(&span.attributes),
        resource: resource.clone(),
    }
}

fn attributes(pairs: &[opentelemetry_proto::tonic::common::v1::KeyValue]) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for pair in pairs {
        let value = pair.value.as_ref().map(text).unwrap_or_default();
        assert!(all.insert(pair.key.clone(), value).is_none(), "{} twice", pair.key);
    }
    all
}

fn text(value: &AnyValue) -> String {
    match &value.value {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::BoolValue(flag)) => flag.to_string(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::DoubleValue(number)) => number.to_string(),
        Some(any_value::Value::ArrayValue(array)) => {
            array.values.iter().map(text).collect::<Vec<_>>().join(",")
        }
        other => panic!("an attribute of another type: {other:?}"),
    }
}

impl Span {
    /// An attribute's text; empty when there is none.
    pub(crate) fn get(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }

    pub(crate) fn took(&self) -> Duration {
        Duration::from_nanos(self.end - self.begin)
    }
}

impl Trace {
    /// The names of the phases, in the order of their beginnings.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.phases.iter().map(|span| span.name.as_str()).collect()
    }

    /// The tries at the upstream.
    pub(crate) fn attempts(&self) -> Vec<&Span> {
        self.phases.iter().filter(|span| span.name.starts_with("attempt ")).collect()
    }

    pub(crate) fn phase(&self, name: &str) -> &Span {
        let found = self.phases.iter().find(|span| span.name == name);
        found.unwrap_or_else(|| panic!("no {name} in {:?}", self.names()))
    }

    /// Fails unless everything fits: one server span, everything below it within its time, tries one after the other.
    pub(crate) fn assert_consistent(&self) {
        let root = &self.root;
        assert!(root.server && root.begin <= root.end, "{root:?}");
        for span in &self.phases {
            assert_eq!(span.trace, root.trace);
            assert!(
                root.begin <= span.begin && span.begin <= span.end && span.end <= root.end,
                "{span:?} in {root:?}"
            );
            for (event, at) in &span.events {
                assert!((span.begin..=span.end).contains(at), "{event} in {span:?}");
            }
        }
        let attempts = self.attempts();
        for (at, attempt) in attempts.iter().enumerate() {
            assert!(attempt.client, "{attempt:?}");
            assert_eq!(attempt.name, format!("attempt {}", at + 1), "{:?}", self.names());
            assert!(at == 0 || attempts[at - 1].end <= attempt.begin, "{:?}", self.names());
        }
        let together: Duration = attempts.iter().map(|attempt| attempt.took()).sum();
        assert!(together <= root.took(), "{together:?} of {:?}", root.took());
        assert_eq!(root.get("antigravity_proxy.attempts"), attempts.len().to_string());
    }
}
