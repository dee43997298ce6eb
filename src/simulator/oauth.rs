//! The OAuth endpoints: authorization with PKCE, tokens, the user's address.
//!
//! Source: spec `http-api.md` §6.2, §6.5.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde_json::{Value, json};

use super::cloud_code::{bearer, delayed, json as answer, respond};
use super::delivery::document;
use super::failure::{Facts, Fault, oauth};
use super::ledger::{Code, challenge, rfc3339};
use super::recorder::{Exchange, Outcome, Recorded, headers as recorded_headers};
use super::rules::Seen;
use super::{Endpoint, Stage, World};

type Fields = HashMap<String, String>;

/// `GET /auth`: sends the browser back with a code for `login_hint`, else for the first account.
pub(super) async fn authorize(State(world): State<Arc<World>>, Query(query): Query<Fields>) -> Response {
    let stage = world.stage.load_full();
    match code_for(&stage, &query) {
        Ok((to, code)) => {
            let echoed = query.get("state").cloned().unwrap_or_default();
            let separator = if to.contains('?') { '&' } else { '?' };
            let location =
                format!("{to}{separator}state={}&code={}&scope=simulated", encode(&echoed), encode(&code));
            redirect(&location)
        }
        Err(reason) => {
            answer(StatusCode::BAD_REQUEST, &oauth("invalid_request", reason), Exchange::unrecorded())
        }
    }
}

fn code_for(stage: &Stage, query: &Fields) -> Result<(String, String), &'static str> {
    let field = |name: &str| query.get(name).map(String::as_str).filter(|text| !text.is_empty());
    let client_id = field("client_id").ok_or("client_id is missing")?;
    if field("response_type") != Some("code") {
        return Err("response_type must be code");
    }
    if field("code_challenge_method") != Some("S256") {
        return Err("code_challenge_method must be S256");
    }
    let challenge = field("code_challenge").ok_or("code_challenge is missing")?;
    let redirect_uri = field("redirect_uri").ok_or("redirect_uri is missing")?;
    // As for clients of desktop applications.
    if !is_loopback(redirect_uri) {
        return Err("redirect_uri must be an http address of this machine");
    }
    field("state").ok_or("state is missing")?;
    field("scope").ok_or("scope is missing")?;
    let account = match field("login_hint") {
        Some(email) => stage.ledger.by_email(email).ok_or("there is no such account")?,
        None => 0,
    };
    if stage.scenario.accounts.is_empty() {
        return Err("there is no account");
    }
    let code = stage.ledger.keep_code(Code {
        account,
        challenge: challenge.to_owned(),
        redirect_uri: redirect_uri.to_owned(),
        client_id: client_id.to_owned(),
        offline: field("access_type") == Some("offline"),
    });
    Ok((redirect_uri.to_owned(), code))
}

fn is_loopback(url: &str) -> bool {
    let Ok(url) = url::Url::parse(url) else { return false };
    let here = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    here && url.scheme() == "http"
}

/// `POST /token`: exchanges a code or a refresh token for an access token.
pub(super) async fn token(
    State(world): State<Arc<World>>,
    Extension(Endpoint(endpoint)): Extension<Endpoint>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let stage = world.stage.load_full();
    let form = Query::<Fields>::try_from_uri(&form_uri(&body)).map(|Query(form)| form).unwrap_or_default();
    let account = form.get("refresh_token").and_then(|token| stage.ledger.by_refresh_token(token));
    let email = account.map(|account| stage.ledger.account(account).email.as_str());
    let mut exchange = record(&world, &stage, endpoint, &uri, &headers, email, &form, body.len());
    let text = form.get("grant_type").map(String::as_str).unwrap_or_default();
    let seen = Seen { path: uri.path(), endpoint, account: email, model: "", text, headers: &headers };
    exchange = match acted(&stage, &seen, exchange).await {
        Ok(exchange) => exchange,
        Err(response) => return response,
    };
    let form_encoded = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    match if form_encoded { grant(&stage, &form) } else { Err((400, "invalid_request", "not a form")) } {
        Ok(value) => answer(StatusCode::OK, &value, exchange),
        Err((status, code, reason)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
            answer(status, &oauth(code, reason), exchange)
        }
    }
}

/// What a rule makes of a call; without one the exchange goes on.
async fn acted(stage: &Stage, seen: &Seen<'_>, exchange: Exchange) -> Result<Exchange, Response> {
    let Some(action) = stage.rules.action(seen) else { return Ok(exchange) };
    let exchange = delayed(&action, exchange).await?;
    if action.fault.is_some() || action.status.is_some() {
        let facts = Facts { model: "", reset_ms: 0, reset_at: rfc3339(0), validation_url: "" };
        let body = action.body.clone().or_else(|| action.fault.map(|fault| fault.body(&facts)));
        let text = action.body_text.clone().or(body.map(|body| body.to_string())).unwrap_or_default();
        let status = action.status.or(action.fault.map(Fault::status)).unwrap_or(200);
        let steps = document(Bytes::from(text), &action);
        return Err(respond(status, "application/json; charset=UTF-8", steps, &action, exchange));
    }
    Ok(exchange)
}

type Denied = (u16, &'static str, &'static str);

fn grant(stage: &Stage, form: &Fields) -> Result<Value, Denied> {
    let field = |name: &str| form.get(name).map(String::as_str).filter(|text| !text.is_empty());
    let client = field("client_id").ok_or((400, "invalid_request", "client_id is missing"))?;
    let known =
        stage.scenario.client_ids.is_empty() || stage.scenario.client_ids.iter().any(|id| id == client);
    if !known || field("client_secret").is_none() {
        return Err((401, "invalid_client", "The OAuth client was not found."));
    }
    let revoked = (400, "invalid_grant", "Token has been expired or revoked.");
    match field("grant_type") {
        Some("refresh_token") => {
            let token = field("refresh_token").ok_or((400, "invalid_request", "refresh_token is missing"))?;
            let account = stage.ledger.by_refresh_token(token).ok_or(revoked)?;
            Ok(tokens(stage, account))
        }
        Some("authorization_code") => {
            let code = field("code").ok_or((400, "invalid_request", "code is missing"))?;
            let kept = stage.ledger.take_code(code).ok_or((400, "invalid_grant", "Malformed auth code."))?;
            let verifier = field("code_verifier").ok_or((400, "invalid_grant", "Missing code verifier."))?;
            if challenge(verifier) != kept.challenge {
                return Err((400, "invalid_grant", "Invalid code verifier."));
            }
            if field("redirect_uri") != Some(&kept.redirect_uri) {
                return Err((400, "redirect_uri_mismatch", "Bad Request"));
            }
            if client != kept.client_id {
                return Err((401, "unauthorized_client", "Unauthorized"));
            }
            let mut value = tokens(stage, kept.account);
            if kept.offline {
                value["refresh_token"] = json!(stage.ledger.account(kept.account).refresh_token);
            }
            Ok(value)
        }
        _ => Err((400, "unsupported_grant_type", "Invalid grant_type")),
    }
}

fn tokens(stage: &Stage, account: usize) -> Value {
    let (token, lifetime) = stage.ledger.issue(account);
    json!({"access_token": token, "expires_in": lifetime, "token_type": "Bearer", "scope": "simulated"})
}

/// `GET /userinfo`.
pub(super) async fn userinfo(
    State(world): State<Arc<World>>,
    Extension(Endpoint(endpoint)): Extension<Endpoint>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let stage = world.stage.load_full();
    let account = bearer(&headers).and_then(|token| stage.ledger.account_of(token));
    let email = account.map(|account| stage.ledger.account(account).email.as_str());
    let seen = Seen { path: uri.path(), endpoint, account: email, model: "", text: "", headers: &headers };
    if let Err(response) = acted(&stage, &seen, Exchange::unrecorded()).await {
        return response;
    }
    let Some(account) = account else {
        let facts = Facts { model: "", reset_ms: 0, reset_at: String::new(), validation_url: "" };
        return answer(StatusCode::UNAUTHORIZED, &Fault::Unauthorized.body(&facts), Exchange::unrecorded());
    };
    let email = &stage.ledger.account(account).email;
    let user = json!({"id": account.to_string(), "email": email, "verified_email": true, "name": email});
    answer(StatusCode::OK, &user, Exchange::unrecorded())
}

#[expect(clippy::too_many_arguments, reason = "one record has that many columns")]
fn record(
    world: &World,
    stage: &Stage,
    endpoint: usize,
    uri: &Uri,
    headers: &HeaderMap,
    email: Option<&str>,
    form: &Fields,
    body_bytes: usize,
) -> Exchange {
    if !stage.scenario.record {
        return Exchange::unrecorded();
    }
    let hidden = ["refresh_token", "client_secret", "code", "code_verifier"];
    let shown = |(name, value): (&String, &String)| {
        let value = if hidden.contains(&name.as_str()) { "<secret>" } else { value };
        (name.clone(), json!(value))
    };
    let body: serde_json::Map<String, Value> = form.iter().map(shown).collect();
    world.recorder.begin(Recorded {
        id: 0,
        at_ms: world.clock.epoch_ms(),
        ended_ms: None,
        endpoint,
        method: "POST".to_owned(),
        path: uri.to_string(),
        account: email.map(str::to_owned),
        headers: recorded_headers(headers, email),
        body: Arc::new(Value::Object(body)),
        body_bytes,
        status: 0,
        bytes_sent: 0,
        outcome: Outcome::Open,
        refusal: None,
    })
}

/// A form is read as the query it looks like.
fn form_uri(body: &[u8]) -> Uri {
    std::str::from_utf8(body).ok().and_then(|text| format!("/?{text}").parse().ok()).unwrap_or_default()
}

fn redirect(location: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::FOUND;
    if let Ok(value) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, value);
    }
    response
}

/// Percent-encodes all but unreserved characters.
fn encode(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}
