//! Over real loopback HTTP, with a client that speaks as the gateway should.

mod actions;
mod agent;
mod services;

use std::time::Duration;

use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};

use super::signature::SENTINEL;
use super::{Scenario, Simulator};

const CLAUDE: &str = "claude-opus-4-6-thinking";
const GEMINI: &str = "gemini-3-flash";
const EMAIL: &str = "dev1@example.com";
const PATIENCE: Duration = Duration::from_secs(10);

fn http() -> reqwest::Client {
    // Another test may have been quicker; one provider is as good as the other.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

fn scenario(json: &Value) -> Scenario {
    Scenario::parse(&json.to_string()).unwrap()
}

/// One conversation.
struct Talk {
    simulator: Simulator,
    http: reqwest::Client,
    token: String,
    model: &'static str,
    contents: Vec<Value>,
}

/// A stream's parts and what stood beside them.
#[derive(Debug, Default)]
struct Heard {
    parts: Vec<Value>,
    finish: Option<String>,
    usage: Value,
}

impl Heard {
    fn text(&self) -> String {
        self.parts
            .iter()
            .filter(|part| part.get("thought").is_none())
            .filter_map(|part| part["text"].as_str())
            .collect()
    }

    fn calls(&self) -> Vec<&Value> {
        self.parts.iter().filter_map(|part| part.get("functionCall")).collect()
    }
}

impl Talk {
    async fn new(model: &'static str, scenario: Scenario) -> Self {
        let simulator = Simulator::start(scenario).await.unwrap();
        let token = simulator.access_token(EMAIL).unwrap();
        Self { simulator, http: http(), token, model, contents: Vec::new() }
    }

    fn say(&mut self, text: &str) {
        self.contents.push(json!({"role": "user", "parts": [{"text": text}]}));
    }

    fn body(&self) -> Value {
        let config = match self.model {
            CLAUDE => json!({"maxOutputTokens": 40_192,
                "thinkingConfig": {"include_thoughts": true, "thinking_budget": 32_000}}),
            GEMINI => json!({"thinkingConfig": {"includeThoughts": true, "thinkingBudget": 16_000}}),
            _ => json!({}),
        };
        let tool = |name: &str, field: &str| {
            json!({"name": name, "description": "", "parameters": {
            "type": "OBJECT", "required": [field], "properties": {field: {"type": "STRING"}}}})
        };
        json!({
            "project": "sim-project-1", "model": self.model, "userAgent": "antigravity",
            "requestType": "agent", "requestId": format!("agent-{}", self.contents.len()),
            "request": {
                "contents": self.contents, "generationConfig": config, "sessionId": "session",
                "tools": [{"functionDeclarations": [tool("Bash", "command"), tool("Read", "file_path")]}],
            },
        })
    }

    fn post(&self, method: &str, body: &Value) -> RequestBuilder {
        self.http
            .post(format!("{}/v1internal:{method}", self.simulator.base_url()))
            .bearer_auth(&self.token)
            .header("user-agent", "antigravity/2.0.3 linux/x64")
            .header("x-client-name", "antigravity")
            .header("x-client-version", "1.110.0")
            .header("x-goog-api-client", "gl-node/18.18.2 fire/0.8.6 grpc/1.10.x")
            .header("x-machine-session-id", "session")
            .header("accept", if method.contains("alt=sse") { "text/event-stream" } else { "*/*" })
            .json(body)
    }

    async fn stream(&self) -> Response {
        self.post("streamGenerateContent?alt=sse", &self.body()).send().await.unwrap()
    }

    async fn hear(&self) -> Heard {
        let response = self.stream().await;
        let status = response.status();
        let text = response.text().await.unwrap();
        assert_eq!(status, 200, "{text}");
        heard(&text)
    }

    /// Keeps the model's turn as the gateway would send it back.
    fn keep(&mut self, heard: &Heard) {
        let (mut thought, mut signature, mut text, mut calls) =
            (String::new(), None, String::new(), Vec::new());
        for part in &heard.parts {
            if part["thought"] == true {
                thought.push_str(part["text"].as_str().unwrap());
                signature = part.get("thoughtSignature").cloned().or(signature);
            } else if part.get("functionCall").is_some() {
                let mut part = part.clone();
                if self.model == GEMINI && part.get("thoughtSignature").is_none() {
                    part["thoughtSignature"] = json!(SENTINEL);
                }
                calls.push(part);
            } else {
                text.push_str(part["text"].as_str().unwrap());
            }
        }
        let mut parts = Vec::new();
        if let Some(signature) = signature {
            parts.push(json!({"thought": true, "text": thought, "thoughtSignature": signature}));
        }
        if !text.is_empty() {
            parts.push(json!({"text": text}));
        }
        parts.extend(calls);
        self.contents.push(json!({"role": "model", "parts": parts}));
    }

    /// Answers all calls of the last turn.
    fn give(&mut self, heard: &Heard) {
        let parts: Vec<_> = heard
            .calls()
            .into_iter()
            .map(|call| {
                let output = format!("output of {}", call["args"]["command"].as_str().unwrap_or_default());
                let mut result = json!({"name": call["name"], "response": {"result": output}});
                if let Some(id) = call.get("id") {
                    result["id"] = id.clone();
                }
                json!({"functionResponse": result})
            })
            .collect();
        self.contents.push(json!({"role": "user", "parts": parts}));
    }
}

fn chunks(text: &str) -> Vec<Value> {
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

fn heard(text: &str) -> Heard {
    let mut heard = Heard::default();
    for chunk in chunks(text) {
        let candidate = &chunk["response"]["candidates"][0];
        heard.parts.extend(candidate["content"]["parts"].as_array().into_iter().flatten().cloned());
        heard.finish = candidate["finishReason"].as_str().map(str::to_owned).or(heard.finish);
        heard.usage = chunk["response"]["usageMetadata"].clone();
    }
    heard
}
