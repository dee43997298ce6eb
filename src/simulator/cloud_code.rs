//! The six methods of Cloud Code.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;

use super::answer::{Answer, Form, Usage, blocked, tokens};
use super::brain::{Reply, last_text, reply};
use super::delivery::{Step, body, document, events};
use super::failure::{Facts, Fault, invalid_argument};
use super::ledger::{Charge, rfc3339};
use super::model::{Maker, Model};
use super::recorder::{Exchange, Outcome, Recorded, headers as recorded_headers};
use super::rules::Seen;
use super::scenario::{Action, Standing};
use super::validate::{self, Refusal};
use super::{Endpoint, HangUp, Stage, World};

const MOST_BODY: usize = 256 << 20;
/// Conversations remembered per account and session, to tell what a cache would hold.
const PREFIXES: usize = 16;
const VALIDATION_URL: &str = "https://accounts.google.com/signin/continue?sarp=1&scc=1&continue=simulated";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Generate,
    Stream,
    Count,
    LoadCodeAssist,
    OnboardUser,
    FetchModels,
}

impl Method {
    fn of(path: &str) -> Option<Self> {
        Some(match path.strip_prefix("/v1internal:")? {
            "generateContent" => Self::Generate,
            "streamGenerateContent" => Self::Stream,
            "countTokens" => Self::Count,
            "loadCodeAssist" => Self::LoadCodeAssist,
            "onboardUser" => Self::OnboardUser,
            "fetchAvailableModels" => Self::FetchModels,
            _ => return None,
        })
    }

    fn calls_a_model(self) -> bool {
        matches!(self, Self::Generate | Self::Stream | Self::Count)
    }
}

/// One call with what is known about it.
struct Call<'a> {
    stage: &'a Stage,
    method: Method,
    now: i64,
    endpoint: usize,
    uri: &'a http::Uri,
    headers: &'a HeaderMap,
    account: usize,
    body: &'a Value,
    model_id: &'a str,
}

pub(super) async fn handle(
    State(world): State<Arc<World>>,
    Extension(Endpoint(endpoint)): Extension<Endpoint>,
    request: Request,
) -> Response {
    let (head, payload) = request.into_parts();
    let Ok(payload) = axum::body::to_bytes(payload, MOST_BODY).await else {
        return json(
            StatusCode::PAYLOAD_TOO_LARGE,
            &invalid_argument("The body could not be read."),
            Exchange::unrecorded(),
        );
    };
    let stage = world.stage.load_full();
    let method = Method::of(head.uri.path()).filter(|_| head.method == http::Method::POST);
    let account = bearer(&head.headers).and_then(|token| stage.ledger.account_of(token));
    if let (Some(method), Some(_)) = (method, account)
        && let Some(response) = fixed(&stage, method, &payload)
    {
        return response;
    }
    let email = account.map(|account| stage.ledger.account(account).email.as_str());
    let parsed = serde_json::from_slice::<Value>(&payload);
    let parsed_body = Arc::new(parsed.as_ref().ok().cloned().unwrap_or_default());
    let exchange = if stage.scenario.record {
        world.recorder.begin(Recorded {
            id: 0,
            at_ms: world.clock.epoch_ms(),
            ended_ms: None,
            endpoint,
            method: head.method.to_string(),
            path: head.uri.to_string(),
            account: email.map(str::to_owned),
            headers: recorded_headers(&head.headers, email),
            body: Arc::clone(&parsed_body),
            body_bytes: payload.len(),
            status: 0,
            bytes_sent: 0,
            outcome: Outcome::Open,
            refusal: None,
        })
    } else {
        Exchange::unrecorded()
    };
    let plain = |fault: Fault| fault_body(fault, "", None, world.clock.epoch_ms());
    let Some(method) = method else {
        return json(StatusCode::NOT_FOUND, &plain(Fault::NotFound), exchange);
    };
    let Some(account) = account else {
        return json(StatusCode::UNAUTHORIZED, &plain(Fault::Unauthorized), exchange);
    };
    if let Err(error) = parsed {
        let refusal =
            Refusal { path: String::new(), reason: format!("Invalid JSON payload received: {error}") };
        exchange.refused(&refusal);
        return json(StatusCode::BAD_REQUEST, &invalid_argument(&refusal.message()), exchange);
    }
    let field = if parsed_body.get("model").is_some() {
        &parsed_body["model"]
    } else {
        &parsed_body["request"]["model"]
    };
    let model_id = field.as_str().unwrap_or_default().trim_start_matches("models/").to_owned();
    let call = Call {
        stage: &stage,
        method,
        now: world.clock.epoch_ms(),
        endpoint,
        uri: &head.uri,
        headers: &head.headers,
        account,
        body: &parsed_body,
        model_id: &model_id,
    };
    if stage.scenario.strict
        && let Err(refusal) = call.check()
    {
        exchange.refused(&refusal);
        return json(StatusCode::BAD_REQUEST, &invalid_argument(&refusal.message()), exchange);
    }
    let action = call.action();
    match delayed(&action, exchange).await {
        Ok(exchange) => call.answer(&action, exchange),
        Err(cut) => cut,
    }
}

/// Waits as long as the rule says; the error is the call's end, when the rule has it end without an answer.
pub(super) async fn delayed(action: &Action, mut exchange: Exchange) -> Result<Exchange, Response> {
    if let Some(ms) = action.delay_ms {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
    if action.hang_up {
        exchange.end(Outcome::Cut);
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(HangUp);
        return Err(response);
    }
    Ok(exchange)
}

impl Call<'_> {
    fn check(&self) -> Result<(), Refusal> {
        let projects = self.stage.ledger.projects(self.account);
        let projects: Vec<_> = projects.iter().map(String::as_str).collect();
        let model = Model::of(self.model_id);
        match self.method {
            Method::Generate | Method::Stream => {
                if self.model_id.is_empty() {
                    return Err(Refusal {
                        path: "model".to_owned(),
                        reason: "must be a model id".to_owned(),
                    });
                }
                let query = self.uri.query();
                let sse = self.method == Method::Stream;
                if query != sse.then_some("alt=sse") {
                    let reason = "must be alt=sse for streams and nothing else".to_owned();
                    return Err(Refusal { path: "query".to_owned(), reason });
                }
                validate::generate(self.body, model, &projects)?;
                let session = self.body["request"]["sessionId"].as_str().unwrap_or_default();
                validate::generate_headers(self.headers, model, session, sse)
            }
            Method::Count => {
                validate::count(self.body, model, &projects)?;
                validate::code_assist_headers(self.headers)
            }
            Method::LoadCodeAssist => {
                validate::load_code_assist(self.body)?;
                validate::code_assist_headers(self.headers)
            }
            Method::OnboardUser => {
                validate::onboard_user(self.body, &self.stage.ledger.tiers(self.account))?;
                validate::code_assist_headers(self.headers)
            }
            Method::FetchModels => {
                validate::fetch_available_models(self.body, &projects)?;
                validate::code_assist_headers(self.headers)
            }
        }
    }

    /// What the rules, the account's standing and its limits make of the call, in this order.
    fn action(&self) -> Action {
        let account = self.stage.ledger.account(self.account);
        let text = last_text(&self.body["request"]);
        let seen = Seen {
            path: self.uri.path(),
            endpoint: self.endpoint,
            account: Some(&account.email),
            model: self.model_id,
            text: &text,
            headers: self.headers,
        };
        let ruled = self.stage.rules.action(&seen);
        if !self.method.calls_a_model() && self.method != Method::FetchModels {
            return ruled.unwrap_or_default();
        }
        let fault =
            |fault: Fault, ms: Option<u64>| Action { fault: Some(fault), reset_ms: ms, ..Action::default() };
        match (ruled, account.state) {
            (Some(action), _) => action,
            (None, Standing::Banned) => fault(Fault::Banned, None),
            (None, Standing::ValidationRequired) if self.method.calls_a_model() => {
                fault(Fault::ValidationRequired, None)
            }
            (None, _) if !self.method.calls_a_model() || self.method == Method::Count => Action::default(),
            (None, _) => match self.stage.ledger.charge(self.account, self.model_id) {
                Charge::Granted => Action::default(),
                Charge::UnknownModel => fault(Fault::NotFound, None),
                Charge::Exhausted(ms) => fault(Fault::QuotaExhausted, Some(ms)),
                Charge::Limited(ms) => fault(Fault::RateLimited, Some(ms)),
            },
        }
    }

    fn answer(&self, action: &Action, exchange: Exchange) -> Response {
        let errored = action.fault.is_some() || action.body.is_some() || action.body_text.is_some();
        if errored || action.status.is_some() {
            let text = match (&action.body_text, &action.body, action.fault) {
                (Some(text), _, _) => text.clone(),
                (None, Some(body), _) => body.to_string(),
                (None, None, Some(fault)) => {
                    fault_body(fault, self.model_id, Some(action), self.now).to_string()
                }
                (None, None, None) => String::new(),
            };
            let status = action.status.or(action.fault.map(Fault::status)).unwrap_or(200);
            let kind = if action.body_text.is_some() {
                "text/html; charset=UTF-8"
            } else {
                "application/json; charset=UTF-8"
            };
            return respond(status, kind, document(Bytes::from(text), action), action, exchange);
        }
        let ledger = &self.stage.ledger;
        let text = match self.method {
            Method::Stream => return self.stream(action, exchange),
            Method::Generate => self.whole(action),
            Method::Count => serde_json::json!({"totalTokens": tokens(self.prompt().len())}).to_string(),
            Method::LoadCodeAssist => ledger.code_assist(self.account).to_string(),
            Method::OnboardUser => ledger.onboard(self.account).to_string(),
            Method::FetchModels => ledger.models(self.account).to_string(),
        };
        let delivery = action.delivery.unwrap_or(self.stage.scenario.delivery);
        let mut steps = document(Bytes::from(text), action);
        if self.method == Method::Generate && delivery.first_ms > 0 {
            steps.push_front(Step::Pause(self.thinks(delivery.first_ms)));
        }
        respond(200, "application/json; charset=UTF-8", steps, action, exchange)
    }

    fn stream(&self, action: &Action, exchange: Exchange) -> Response {
        let delivery = action
            .delivery
            .or(action.fixed.map(|fixed| fixed.delivery))
            .unwrap_or(self.stage.scenario.delivery);
        let chunks = if action.empty {
            Vec::new()
        } else if let Some(reason) = &action.blocked {
            vec![blocked(reason)]
        } else if let Some(chunks) = &action.chunks {
            chunks.iter().map(Value::to_string).collect()
        } else {
            self.reply(action, delivery.chunk_chars).chunks()
        };
        let error = action.error_after.map(|_| {
            fault_body(action.in_stream.unwrap_or(Fault::ServerError), self.model_id, Some(action), self.now)
                .to_string()
        });
        let mut steps = events(&chunks, error.as_deref(), action, delivery);
        if delivery.first_ms > 0 {
            steps.push_front(Step::Pause(self.thinks(delivery.first_ms)));
        }
        respond(200, "text/event-stream", steps, action, exchange)
    }

    /// Half of `first_ms` up to twice as long, the same for the same request.
    fn thinks(&self, first_ms: u64) -> Duration {
        let id = self.body["requestId"].as_str().unwrap_or_default();
        let share = id.bytes().fold(0_u64, |sum, byte| (sum * 31 + u64::from(byte)) % 151);
        Duration::from_millis(first_ms.saturating_mul(50 + share) / 100)
    }

    fn whole(&self, action: &Action) -> String {
        if action.empty {
            return r#"{"response":{}}"#.to_owned();
        }
        match (&action.blocked, &action.chunks) {
            (Some(reason), _) => blocked(reason),
            (None, Some(chunks)) => chunks.first().map(Value::to_string).unwrap_or_default(),
            (None, None) => self.reply(action, usize::MAX).whole(),
        }
    }

    fn reply(&self, action: &Action, chunk_chars: usize) -> Answer {
        if let Some(fixed) = action.fixed {
            return Answer::fixed(self.model_id, fixed);
        }
        let request = &self.body["request"];
        let model = Model::of(self.model_id);
        let config = &request["generationConfig"];
        let asked = match model.maker {
            Maker::Claude => &config["thinkingConfig"]["include_thoughts"],
            Maker::Gemini => &config["thinkingConfig"]["includeThoughts"],
        };
        let form = Form {
            model_id: self.model_id,
            model,
            request_id: self.body["requestId"].as_str().unwrap_or_default(),
            // The endpoint that does not stream gives no thoughts (spec `conversion.md` §7.6).
            thoughts: asked == true && self.method == Method::Stream,
            config,
            chunk_chars,
        };
        let mut said = reply(request);
        if let Some(text) = &action.text {
            said = Reply { thought: said.thought, text: text.clone(), calls: Vec::new() };
        }
        let usage = self.usage(request);
        Answer::new(said, &form, action, usage)
    }

    /// What is counted, by both ways of counting: the same contents have the same size.
    fn prompt(&self) -> String {
        ["systemInstruction", "tools", "contents"]
            .iter()
            .filter_map(|name| self.body["request"].get(name))
            .fold(self.model_id.to_owned(), |text, value| text + &value.to_string())
    }

    fn usage(&self, request: &Value) -> Usage {
        let prompt = self.prompt();
        let session = request["sessionId"].as_str().unwrap_or_default().to_owned();
        let mut prefixes = self.stage.prefixes.lock().unwrap_or_else(PoisonError::into_inner);
        let earlier = prefixes.entry((self.account, session)).or_default();
        let common = |other: &String| other.bytes().zip(prompt.bytes()).take_while(|(a, b)| a == b).count();
        let shared = earlier.iter().map(common).max().unwrap_or(0);
        let total = tokens(prompt.len());
        if earlier.len() == PREFIXES {
            earlier.pop_front();
        }
        earlier.push_back(prompt);
        Usage { prompt: total, cached: (shared / 4).min(total.saturating_sub(1)), ..Usage::default() }
    }
}

/// The short way of a bench: nothing of the body is read but the model.
fn fixed(stage: &Stage, method: Method, payload: &[u8]) -> Option<Response> {
    if stage.fixed.is_empty() || stage.scenario.strict || !matches!(method, Method::Generate | Method::Stream)
    {
        return None;
    }
    let key = b"\"model\":";
    let at = memchr::memmem::find(payload, key)? + key.len();
    let rest = payload.get(at..)?.trim_ascii_start().strip_prefix(b"\"")?;
    let end = memchr::memchr(b'"', rest)?;
    let ready = stage.fixed.get(std::str::from_utf8(&rest[..end]).ok()?)?;
    let (kind, steps) = if method == Method::Stream {
        ("text/event-stream", ready.stream.clone())
    } else {
        ("application/json; charset=UTF-8", VecDeque::from([Step::Send(ready.whole.clone())]))
    };
    Some(respond(200, kind, steps, &Action::default(), Exchange::unrecorded()))
}

fn fault_body(fault: Fault, model: &str, action: Option<&Action>, now: i64) -> Value {
    let reset_ms = action.and_then(|action| action.reset_ms).unwrap_or(fault.default_reset_ms());
    let validation_url = action.and_then(|action| action.validation_url.as_deref()).unwrap_or(VALIDATION_URL);
    let reset_at = rfc3339(now.saturating_add_unsigned(reset_ms));
    fault.body(&Facts { model, reset_ms, reset_at, validation_url })
}

pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

pub(super) fn json(status: StatusCode, value: &Value, exchange: Exchange) -> Response {
    let steps = VecDeque::from([Step::Send(Bytes::from(value.to_string()))]);
    respond(status.as_u16(), "application/json; charset=UTF-8", steps, &Action::default(), exchange)
}

pub(super) fn respond(
    status: u16,
    kind: &'static str,
    steps: VecDeque<Step>,
    action: &Action,
    mut exchange: Exchange,
) -> Response {
    exchange.status(status);
    if steps.is_empty() {
        exchange.end(Outcome::Complete);
    }
    let mut response = match steps.front() {
        // One piece in one write, with its length.
        Some(Step::Send(bytes)) if steps.len() == 1 => {
            exchange.sent(bytes.len());
            exchange.end(Outcome::Complete);
            Response::new(Body::from(bytes.clone()))
        }
        _ => Response::new(body(steps, exchange)),
    };
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if action.gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    for (name, value) in &action.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
        {
            headers.insert(name, value);
        }
    }
    response
}
