//! A small client of the Messages API.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

/// Talks to one gateway.
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    /// The message or error; for a stream, the fold of its events.
    pub(crate) body: Value,
    /// The events of a stream.
    pub(crate) events: Vec<Value>,
}

impl Client {
    pub(crate) fn new(url: &str) -> Self {
        // Another test may have been quicker with the same provider.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
        Self { http, url: url.to_owned() }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let response = self.request(Method::GET, path).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let response = self.request(Method::POST, path).json(body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// Begins a request; the answer is read by the caller.
    pub(crate) async fn begin(&self, body: &Value) -> Response {
        self.request(Method::POST, "/v1/messages").json(body).send().await.unwrap()
    }

    pub(crate) async fn send(&self, body: &Value) -> Answer {
        let response = self.begin(body).await;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let streamed = headers["content-type"].to_str().unwrap().starts_with("text/event-stream");
        let events = if streamed { events(&text) } else { Vec::new() };
        let body = if streamed { fold(&events) } else { serde_json::from_str(&text).unwrap() };
        Answer { status, headers, body, events }
    }
}

impl Answer {
    /// What these events make.
    pub(crate) fn of_stream(text: &str) -> Self {
        let events = events(text);
        Self { status: 200, headers: reqwest::header::HeaderMap::new(), body: fold(&events), events }
    }

    /// The types of the events, in order.
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.events.iter().filter(|event| event["type"] == kind).count()
    }

    pub(crate) fn text(&self) -> String {
        let blocks = self.body["content"].as_array().map(Vec::as_slice).unwrap_or_default();
        blocks.iter().filter_map(|block| block["text"].as_str()).collect()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

fn events(text: &str) -> Vec<Value> {
    text.split("\n\n")
        .filter(|frame| !frame.trim().is_empty())
        .map(|frame| {
            let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let data: Value = serde_json::from_str(field("data:").unwrap()).unwrap();
            assert_eq!(field("event:"), data["type"].as_str(), "{frame}");
            data
        })
        .collect()
}

/// The message that a stream's events make.
fn fold(events: &[Value]) -> Value {
    let mut message = Value::Null;
    let mut input = String::new();
    for event in events {
        let at = event["index"].as_u64().and_then(|at| usize::try_from(at).ok()).unwrap_or_default();
        match event["type"].as_str().unwrap() {
            "message_start" => {
                assert!(message.is_null(), "a second message_start");
                message = event["message"].clone();
            }
            "content_block_start" => {
                let content = message["content"].as_array_mut().unwrap();
                assert_eq!(content.len(), at);
                content.push(event["content_block"].clone());
                input.clear();
            }
            "content_block_delta" => {
                let (block, delta) = (&mut message["content"][at], &event["delta"]);
                for field in ["text", "thinking", "signature"] {
                    if let Some(piece) = delta[field].as_str() {
                        block[field] = json!(block[field].as_str().unwrap_or_default().to_owned() + piece);
                    }
                }
                input.push_str(delta["partial_json"].as_str().unwrap_or_default());
            }
            "content_block_stop" if !input.is_empty() => {
                message["content"][at]["input"] = serde_json::from_str(&input).unwrap();
            }
            "message_delta" => {
                for (from, to) in [("delta", ""), ("usage", "usage")] {
                    for (key, value) in event[from].as_object().unwrap() {
                        let target = if to.is_empty() { &mut message } else { &mut message[to] };
                        target[key] = value.clone();
                    }
                }
            }
            "content_block_stop" | "message_stop" | "ping" | "error" => {}
            other => panic!("unknown event {other}"),
        }
    }
    message
}
