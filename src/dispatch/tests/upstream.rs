//! The upstream of a test: a script of answers, and a record of who was asked when.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::cloudcode::client::scripted::Posted;
use crate::cloudcode::{Client, TransportKind};
use crate::config::UpstreamConfig;

/// The calls so far.
pub(super) type Calls = Arc<Mutex<Vec<Asked>>>;

/// One call as the upstream saw it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Seconds since the start.
    pub(super) at: f64,
    pub(super) account: String,
    /// `D` or `P`, the first and the second endpoint.
    pub(super) endpoint: char,
    pub(super) model: String,
    /// How many calls there were before.
    pub(super) before: usize,
}

/// What the upstream says.
#[derive(Clone)]
pub(super) enum Say {
    /// An answer of one text.
    Ok,
    /// A 200 without content.
    Empty,
    /// The prompt is blocked.
    Blocked,
    /// A stream of this text that breaks off.
    Cut(&'static str),
    /// An error: status, headers, body.
    Error(u16, Vec<(&'static str, String)>, String),
    /// No answer.
    Down(TransportKind),
    /// Silence.
    Silence,
}

impl Say {
    pub(super) fn error(status: u16, body: &str) -> Self {
        Self::Error(status, Vec::new(), body.to_owned())
    }

    /// 429 that asks for this many seconds in a `RetryInfo`.
    pub(super) fn limited(seconds: f64) -> Self {
        let retry = json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{seconds}s")}]);
        let error = json!({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": retry}});
        Self::error(429, &error.to_string())
    }

    /// 429 of a used up quota that says nothing about its end.
    pub(super) fn exhausted() -> Self {
        Self::error(429, r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"Quota exceeded"}}"#)
    }

    pub(super) fn capacity(status: u16) -> Self {
        let details = json!([{"reason": "MODEL_CAPACITY_EXHAUSTED"}]);
        let error = json!({"error": {"code": status, "status": "RESOURCE_EXHAUSTED", "details": details}});
        Self::error(status, &error.to_string())
    }

    pub(super) fn with(self, name: &'static str, value: &str) -> Self {
        match self {
            Self::Error(status, mut headers, body) => {
                headers.push((name, value.to_owned()));
                Self::Error(status, headers, body)
            }
            other => other,
        }
    }

    async fn response(self, stream: bool) -> Result<reqwest::Response, TransportKind> {
        let document = |parts: Value| {
            let candidate = json!({"content": {"role": "model", "parts": parts}, "finishReason": "STOP"});
            json!({"response": {"candidates": [candidate]}}).to_string()
        };
        let framed = |text: String| if stream { format!("data: {text}\n\n") } else { text };
        let (status, headers, body) = match self {
            Self::Ok => (200, Vec::new(), whole(framed(document(json!([{"text": "fine"}]))))),
            Self::Empty => (200, Vec::new(), whole(framed(document(json!([]))))),
            Self::Blocked => {
                let blocked = json!({"response": {"promptFeedback": {"blockReason": "SAFETY"}}}).to_string();
                (200, Vec::new(), whole(framed(blocked)))
            }
            Self::Cut(text) => {
                let begun = json!({"response": {"candidates": [{"content": {"parts": [{"text": text}]}}]}});
                let begun = if text.is_empty() { String::new() } else { framed(begun.to_string()) };
                let cut = Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
                let pieces = [Ok(Bytes::from(begun)), cut];
                (200, Vec::new(), reqwest::Body::wrap_stream(stream::iter(pieces)))
            }
            Self::Error(status, headers, body) => (status, headers, whole(body)),
            Self::Down(kind) => return Err(kind),
            Self::Silence => std::future::pending().await,
        };
        let mut response = ::http::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(name, value);
        }
        Ok(response.body(body).unwrap().into())
    }
}

fn whole(text: String) -> reqwest::Body {
    reqwest::Body::from(text)
}

/// Sends its calls to `say` and takes them down.
pub(super) fn client(
    clock: Clock,
    calls: Calls,
    say: impl Fn(&Asked) -> Say + Send + Sync + 'static,
) -> Client {
    let config = UpstreamConfig {
        endpoints: ["http://d.test", "http://p.test"].map(str::to_owned).into(),
        ..UpstreamConfig::default()
    };
    let begun = clock.instant();
    Client::new(&config, clock).unwrap().scripted(Arc::new(move |posted: Posted| {
        let asked = {
            let mut calls = calls.lock().unwrap();
            let asked = asked(&posted, seconds(begun), calls.len());
            calls.push(asked.clone());
            asked
        };
        let said = say(&asked);
        let stream = posted.url.path().ends_with("streamGenerateContent");
        Box::pin(said.response(stream))
    }))
}

fn asked(posted: &Posted, at: f64, before: usize) -> Asked {
    let body: Value = serde_json::from_slice(&posted.body).unwrap();
    let bearer = posted.headers["authorization"].to_str().unwrap();
    Asked {
        at,
        account: bearer.trim_start_matches("Bearer ").to_owned(),
        endpoint: if posted.url.host_str() == Some("d.test") { 'D' } else { 'P' },
        model: body["model"].as_str().unwrap().to_owned(),
        before,
    }
}

/// Seconds since then.
pub(super) fn seconds(since: Instant) -> f64 {
    Clock::system().instant().saturating_duration_since(since).as_secs_f64()
}

/// As tests write them.
pub(super) fn shown(calls: &[Asked]) -> String {
    let one = |call: &Asked| format!("{:.3} {}:{}", call.at, call.account, call.endpoint);
    calls.iter().map(one).collect::<Vec<_>>().join(", ")
}
