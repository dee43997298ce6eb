//! What spans tell: OpenTelemetry's conventions for HTTP and for generative AI, and a few names of our own.
//!
//! Nothing else goes into a span. Own names begin with `antigravity_proxy.`; `docs/tracing.md` lists all.

use http::header::{HOST, USER_AGENT};
use http::uri::Authority;
use opentelemetry::{Array, KeyValue, Value};
use opentelemetry_semantic_conventions::attribute as semconv;

use super::{Arrival, End, Facts, genai, ms};
use crate::telemetry::metrics::label::Label as _;
use crate::telemetry::traces::{Phase, bounded};

/// The root's name: method and route.
pub(super) const NAME: &str = "POST /v1/messages";
/// `gen_ai.operation.name`.
const OPERATION: &str = "chat";
/// `gen_ai.provider.name`: any of Google's generative services.
const PROVIDER: &str = "gcp.gen_ai";

/// The request's id, which answers carry in `request-id`: by it a trace is found.
const REQUEST_ID: &str = "antigravity_proxy.request.id";
const CLIENT_KEY: &str = "antigravity_proxy.client.key.id";
const OUTCOME: &str = "antigravity_proxy.outcome";
const ACCOUNT: &str = "antigravity_proxy.account.id";
const ATTEMPT: &str = "antigravity_proxy.attempt";
const ATTEMPTS: &str = "antigravity_proxy.attempts";
const WAIT: &str = "antigravity_proxy.wait_ms";

/// What the root tells from the beginning.
pub(super) fn at_arrival(arrival: &Arrival<'_>) -> Vec<KeyValue> {
    let mut all = vec![
        KeyValue::new(semconv::HTTP_REQUEST_METHOD, bounded(arrival.method)),
        KeyValue::new(semconv::HTTP_ROUTE, arrival.route),
        KeyValue::new(semconv::URL_PATH, arrival.route),
        KeyValue::new(semconv::URL_SCHEME, "http"),
        KeyValue::new(genai::OPERATION_NAME, OPERATION),
        KeyValue::new(genai::PROVIDER_NAME, PROVIDER),
        KeyValue::new(REQUEST_ID, bounded(arrival.id)),
    ];
    let text = |name| arrival.headers.get(name).and_then(|value| value.to_str().ok());
    let host = arrival.authority.or_else(|| text(HOST)).and_then(|host| host.parse::<Authority>().ok());
    if let Some(host) = host {
        all.push(KeyValue::new(semconv::SERVER_ADDRESS, bounded(host.host())));
        all.extend(host.port_u16().map(|port| KeyValue::new(semconv::SERVER_PORT, i64::from(port))));
    }
    all.extend(text(USER_AGENT).map(|agent| KeyValue::new(semconv::USER_AGENT_ORIGINAL, bounded(agent))));
    all
}

/// What the root tells in the end.
pub(super) fn at_end(facts: &Facts, end: End) -> Vec<KeyValue> {
    let mut all = vec![
        KeyValue::new(semconv::HTTP_RESPONSE_STATUS_CODE, i64::from(end.status)),
        KeyValue::new(OUTCOME, end.outcome.label()),
        KeyValue::new(ATTEMPTS, i64::from(facts.attempts)),
        KeyValue::new(WAIT, whole(ms(facts.waited))),
    ];
    let mut tell = |key: &'static str, value: Option<Value>| {
        all.extend(value.map(|value| KeyValue::new(key, value)));
    };
    let text = |text: &str| Value::String(bounded(text));
    tell(semconv::ERROR_TYPE, end.error().map(Value::from));
    tell(CLIENT_KEY, facts.client.as_ref().map(|(id, _)| text(id)));
    tell(ACCOUNT, facts.account.as_deref().map(text));
    tell(genai::REQUEST_MODEL, facts.asked.as_deref().map(text));
    tell(genai::RESPONSE_MODEL, facts.served.as_deref().filter(|_| facts.first_event.is_some()).map(text));
    tell(genai::REQUEST_STREAM, facts.stream.map(Value::from));
    tell(genai::CONVERSATION_ID, facts.session.map(|id| format!("{id:016x}").into()));
    let first = facts.first_event.map(|time| Value::from(time.as_secs_f64()));
    tell(genai::RESPONSE_TIME_TO_FIRST_CHUNK, first);
    let reasons = facts.stop_reason.map(|reason| Value::Array(Array::String(vec![reason.into()])));
    tell(genai::RESPONSE_FINISH_REASONS, reasons);
    if let Some(used) = facts.used.filter(|_| facts.first_event.is_some()) {
        for (key, count) in [
            // OpenTelemetry counts what was read from a cache as input, too.
            (genai::USAGE_INPUT_TOKENS, used.input.saturating_add(used.cache_read)),
            (genai::USAGE_OUTPUT_TOKENS, used.output),
            (genai::USAGE_CACHE_READ_INPUT_TOKENS, used.cache_read),
            (genai::USAGE_REASONING_OUTPUT_TOKENS, used.thinking),
        ] {
            tell(key, Some(whole(count).into()));
        }
    }
    all
}

/// What the span of a try at the upstream tells from the beginning.
pub(super) fn tell_attempt(phase: &mut Phase, number: u32, account: &str) {
    phase.tell(ATTEMPT, i64::from(number));
    phase.tell_text(ACCOUNT, account);
    phase.tell(genai::OPERATION_NAME, OPERATION);
    phase.tell(genai::PROVIDER_NAME, PROVIDER);
    phase.tell(semconv::HTTP_REQUEST_METHOD, "POST");
    if number > 1 {
        phase.tell(semconv::HTTP_REQUEST_RESEND_COUNT, i64::from(number - 1));
    }
}

impl Phase {
    /// A try at the upstream is sent to this host, for this model.
    pub fn sent(&mut self, host: &str, port: u16, model: &str) {
        self.tell_text(semconv::SERVER_ADDRESS, host);
        self.tell(semconv::SERVER_PORT, i64::from(port));
        self.tell_text(genai::REQUEST_MODEL, model);
    }

    /// A try at the upstream failed: a word of a closed set, and the status where one arrived.
    pub fn failed(mut self, class: &'static str, status: Option<u16>) {
        if let Some(status) = status {
            self.tell(semconv::HTTP_RESPONSE_STATUS_CODE, i64::from(status));
        }
        self.tell(OUTCOME, class);
        self.fail(class);
    }

    /// The answer to a try at the upstream, which had begun, broke off.
    pub fn broke(mut self, class: &'static str) {
        self.tell(semconv::HTTP_RESPONSE_STATUS_CODE, 200_i64);
        self.tell(OUTCOME, class);
        self.fail(class);
    }

    /// The answer to a try at the upstream was read to its end.
    pub fn succeeded(mut self) {
        self.tell(semconv::HTTP_RESPONSE_STATUS_CODE, 200_i64);
        self.tell(OUTCOME, "success");
        self.end();
    }
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
