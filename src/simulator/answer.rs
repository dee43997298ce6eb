//! From a reply to the chunks of a `GenerateContentResponse`.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::brain::{NO_THOUGHT_BEFORE_CALL, Reply, THOUGHT_BEFORE_CALL};
use super::model::{Maker, Model};
use super::scenario::{Action, Fixed};
use super::signature::{Subject, issue};

/// Token counts; one token is four bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) prompt: usize,
    pub(super) cached: usize,
    pub(super) output: usize,
    pub(super) thoughts: usize,
}

impl Usage {
    fn json(self) -> Value {
        let mut usage = json!({
            "promptTokenCount": self.prompt,
            "candidatesTokenCount": self.output,
            "totalTokenCount": self.prompt + self.output + self.thoughts,
        });
        if self.cached > 0 {
            usage["cachedContentTokenCount"] = json!(self.cached);
        }
        if self.thoughts > 0 {
            usage["thoughtsTokenCount"] = json!(self.thoughts);
        }
        usage
    }
}

pub(super) fn tokens(bytes: usize) -> usize {
    bytes.div_ceil(4)
}

/// What the request says about the form of its answer.
pub(super) struct Form<'a> {
    pub(super) model_id: &'a str,
    pub(super) model: Model,
    /// The envelope's `requestId`; ids of calls follow from it.
    pub(super) request_id: &'a str,
    /// Thoughts are asked for, and this endpoint gives them.
    pub(super) thoughts: bool,
    pub(super) config: &'a Value,
    pub(super) chunk_chars: usize,
}

/// A finished answer.
pub(super) struct Answer {
    parts: Vec<Value>,
    finish: Option<String>,
    usage: Usage,
    model_id: String,
    response_id: String,
}

impl Answer {
    pub(super) fn new(mut reply: Reply, form: &Form<'_>, action: &Action, mut usage: Usage) -> Self {
        let mut finish = "STOP";
        for stop in form.config["stopSequences"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if let Some(at) = reply.text.find(stop) {
                reply.text.truncate(at);
                reply.calls.clear();
            }
        }
        let spent = if form.thoughts { tokens(reply.thought.len()) } else { 0 };
        if let Some(most) = form.config["maxOutputTokens"].as_u64() {
            let room = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(spent).saturating_mul(4);
            if reply.text.len() > room {
                let end = (0..=room).rev().find(|at| reply.text.is_char_boundary(*at)).unwrap_or(0);
                reply.text.truncate(end);
                reply.calls.clear();
                finish = "MAX_TOKENS";
            }
        }
        usage.thoughts = spent;
        usage.output = tokens(reply.text.len())
            + reply
                .calls
                .iter()
                .map(|call| tokens(call.name.len() + call.args.to_string().len()))
                .sum::<usize>();
        let finish = match action.finish_reason.as_deref() {
            None => Some(finish.to_owned()),
            Some("") => None,
            Some(reason) => Some(reason.to_owned()),
        };
        Self {
            parts: parts(&reply, form),
            finish,
            usage,
            model_id: form.model_id.to_owned(),
            response_id: derived(form.request_id, 0),
        }
    }

    /// A text of equal chunks.
    pub(super) fn fixed(model_id: &str, fixed: Fixed) -> Self {
        let word = "lorem ipsum dolor sit amet ";
        let text: String = word.chars().cycle().take(fixed.chars).collect();
        let parts = vec![json!({"text": text}); fixed.chunks];
        Self {
            parts,
            finish: Some("STOP".to_owned()),
            usage: Usage { prompt: 256, output: tokens(fixed.chars * fixed.chunks), ..Usage::default() },
            model_id: model_id.to_owned(),
            response_id: derived("fixed", 0),
        }
    }

    /// One text per event.
    pub(super) fn chunks(&self) -> Vec<String> {
        let mut chunks: Vec<_> = self.parts.iter().map(|part| self.response(&json!([part]), None)).collect();
        match chunks.last_mut() {
            Some(last) if self.parts.last().is_some_and(|part| part["text"].is_string()) => {
                *last = self.response(&json!([self.parts.last()]), self.finish.as_deref());
            }
            _ => chunks.push(self.response(&json!([{"text": ""}]), self.finish.as_deref())),
        }
        chunks
    }

    /// The answer of the endpoint that does not stream: neighbouring texts are one.
    pub(super) fn whole(&self) -> String {
        let mut parts: Vec<Value> = Vec::new();
        for part in &self.parts {
            let text = part["text"].as_str();
            if text == Some("") {
                continue;
            }
            let last = parts.last_mut().and_then(|last| last.get_mut("text"));
            match (last, text) {
                (Some(Value::String(last)), Some(text)) => last.push_str(text),
                _ => parts.push(part.clone()),
            }
        }
        self.response(&Value::Array(parts), self.finish.as_deref())
    }

    fn response(&self, parts: &Value, finish: Option<&str>) -> String {
        let mut candidate = json!({"content": {"role": "model", "parts": parts}});
        if let Some(finish) = finish {
            candidate["finishReason"] = json!(finish);
        }
        json!({
            "response": {
                "candidates": [candidate],
                "usageMetadata": self.usage.json(),
                "modelVersion": self.model_id,
                "responseId": self.response_id,
            },
            "traceId": self.response_id,
        })
        .to_string()
    }
}

/// The event of a prompt that was blocked.
pub(super) fn blocked(reason: &str) -> String {
    json!({"response": {
        "promptFeedback": {"blockReason": reason},
        "usageMetadata": {"promptTokenCount": 1, "totalTokenCount": 1},
    }})
    .to_string()
}

fn parts(reply: &Reply, form: &Form<'_>) -> Vec<Value> {
    let maker = form.model.maker;
    let mut parts = Vec::new();
    if form.thoughts {
        parts.extend(
            pieces(&reply.thought, form.chunk_chars).map(|text| json!({"thought": true, "text": text})),
        );
        if maker == Maker::Claude {
            let signature = issue(maker, Subject::Thought(&reply.thought));
            parts.push(json!({"thought": true, "text": "", "thoughtSignature": signature}));
        }
    }
    parts.extend(pieces(&reply.text, form.chunk_chars).map(|text| json!({"text": text})));
    for (at, call) in reply.calls.iter().enumerate() {
        let mut part = json!({"functionCall": {"name": call.name, "args": call.args}});
        match maker {
            Maker::Claude => {
                let prefix = if form.thoughts { THOUGHT_BEFORE_CALL } else { NO_THOUGHT_BEFORE_CALL };
                part["functionCall"]["id"] = json!(format!("{prefix}{}", derived(form.request_id, at)));
            }
            // Of parallel calls the service signs the first only.
            Maker::Gemini if form.model.thinking && at == 0 => {
                part["thoughtSignature"] = json!(issue(maker, Subject::Call(&call.name)));
            }
            Maker::Gemini => {}
        }
        parts.push(part);
    }
    if reply.calls.is_empty() && maker == Maker::Gemini && form.model.thinking {
        parts.push(json!({"text": "", "thoughtSignature": issue(maker, Subject::Answer)}));
    }
    parts
}

/// The text in pieces of about `chars` characters.
fn pieces(text: &str, chars: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.char_indices().nth(chars.max(1)).map_or(rest.len(), |(at, _)| at);
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

fn derived(seed: &str, at: usize) -> String {
    let digest = Sha256::new().chain_update(seed).chain_update(at.to_le_bytes()).finalize();
    hex::encode(&digest[..10])
}
