//! `/api/auth/*` and `/oauth-callback`: signing accounts in (spec `http-api.md` §1.6.4–1.6.6).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{Method, StatusCode};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::anthropic::error::ErrorKind;
use crate::server::answer::Answer;
use crate::server::error::ApiError;
use crate::server::gateway::{SignInBegun, SignInCompleted, SignInView};
use crate::server::query::Params;
use crate::server::state::AppState;
use crate::server::{is_json, must_be_object, not_json, read_body};

/// Bytes of a pasted address, many times over.
const BODY_LIMIT: usize = 64 * 1024;
/// How the reference's console names an account that is not there yet: it hands the click on its button over as the address.
const CLICK: &str = "[object ";
/// The page after a sign-in is text and nothing else.
const POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What `/api/auth/url` may be asked.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// The account that is to sign in: the sign-in must be of it.
    #[param(
        max_length = 320,
        pattern = r"^([^\u0000-\u001f\u007f-\u009f]*@[^\u0000-\u001f\u007f-\u009f]*)?$",
        example = "ada@example.com"
    )]
    email: Option<String>,
}

/// Begins a sign-in.
///
/// Send the browser to `url`. It comes back to `redirectUri`; where that leads nowhere, paste the address it ended on
/// into `/api/auth/complete`.
#[utoipa::path(
    get,
    path = "/api/auth/url",
    operation_id = "beginSignIn",
    tag = "auth",
    params(Wanted),
    responses(
        (status = 200, description = "It waits for its owner", body = Answer<SignInBegun>),
        (status = 409, description = "Too many wait"),
        (status = 503, description = "No OAuth client is configured, or the store does not answer")
    )
)]
pub(crate) async fn begin(
    state: State<Arc<AppState>>,
    wanted: Params<Wanted>,
    request: Request,
) -> Result<Answer<SignInBegun>, ApiError> {
    begun(state, wanted, request).await
}

/// Begins a sign-in, as `GET` does.
#[utoipa::path(
    post,
    path = "/api/auth/url",
    operation_id = "beginSignInByPost",
    tag = "auth",
    params(Wanted),
    responses(
        (status = 200, description = "It waits for its owner", body = Answer<SignInBegun>),
        (status = 409, description = "Too many wait"),
        (status = 503, description = "No OAuth client is configured, or the store does not answer")
    )
)]
pub(crate) async fn begin_by_post(
    state: State<Arc<AppState>>,
    wanted: Params<Wanted>,
    request: Request,
) -> Result<Answer<SignInBegun>, ApiError> {
    begun(state, wanted, request).await
}

async fn begun(
    State(state): State<Arc<AppState>>,
    Params(wanted): Params<Wanted>,
    request: Request,
) -> Result<Answer<SignInBegun>, ApiError> {
    // `GET` has an effect here, so other sites' pages must not cause it.
    let site = request.headers().get("sec-fetch-site").map(HeaderValue::as_bytes);
    if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        let error =
            ApiError::new(ErrorKind::Permission, "Refused: the request comes from another site's page");
        return Err(error.with_status(StatusCode::FORBIDDEN));
    }
    let expected = wanted.email.filter(|email| !email.is_empty() && !email.starts_with(CLICK));
    if let Some(email) = &expected
        && (!email.contains('@') || email.chars().count() > 320 || email.chars().any(char::is_control))
    {
        return Err(ApiError::invalid("email is not an e-mail address"));
    }
    let expected = expected.map(|email| email.trim().to_owned());
    let begun = state.gateway.begin_signin(expected).await?;
    Ok(Answer::new(begun))
}

/// What completes a sign-in. Both must be there; they are checked here so that the answer names them.
#[derive(Deserialize, ToSchema)]
#[schema(as = SignInCompletion)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Completion {
    /// The address that the browser ended on, or the code in it.
    #[serde(default)]
    #[schema(required, min_length = 1, value_type = String, example = "http://localhost:51121/oauth-callback?state=…&code=…")]
    callback_input: Option<String>,
    /// The sign-in's name, as its beginning told it.
    #[serde(default)]
    #[schema(required, min_length = 1, value_type = String, example = "0123456789abcdef0123456789abcdef")]
    state: Option<String>,
}

/// An account has signed in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SignInDone)]
pub(crate) struct Done {
    /// Its address.
    email: String,
    /// Whether it was known before.
    reauth: bool,
    /// In one sentence.
    message: String,
}

/// Completes a sign-in with what a person pasted.
#[utoipa::path(
    post,
    path = "/api/auth/complete",
    operation_id = "completeSignIn",
    tag = "auth",
    request_body = Completion,
    responses(
        (status = 200, description = "The account is stored", body = Answer<Done>),
        (status = 409, description = "Another request is completing it"),
        (status = 502, description = "Google refuses or cannot be reached"),
        (status = 503, description = "No OAuth client is configured, or the store does not answer")
    )
)]
pub(crate) async fn complete(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Answer<Done>, ApiError> {
    if !is_json(request.headers()) {
        return Err(not_json());
    }
    let body = read_body(request, BODY_LIMIT, &state.limits, &state.clock).await?;
    // The parser's own text may quote the code.
    let unreadable =
        || ApiError::invalid("The body must be a JSON object with the texts callbackInput and state");
    must_be_object(&body).map_err(|_| unreadable())?;
    let told: Completion = serde_json::from_slice(&body).map_err(|_| unreadable())?;
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (Some(input), Some(flow)) = (given(told.callback_input), given(told.state)) else {
        return Err(ApiError::invalid("Missing callbackInput or state"));
    };
    Ok(completed(state.gateway.complete_signin(&flow, &SecretString::from(input)).await?))
}

/// The answer to a completion; the command line reads the same shape.
pub(crate) fn completed(done: SignInCompleted) -> Answer<Done> {
    let message = done.message();
    Answer::new(Done { email: done.email, reauth: done.renewed, message })
}

/// What `/api/auth/status` is asked.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Asked {
    /// The sign-in's name, as its beginning told it.
    #[param(required, min_length = 1, value_type = String)]
    state: Option<String>,
}

/// How a sign-in stands.
#[utoipa::path(
    get,
    path = "/api/auth/status",
    operation_id = "getSignIn",
    tag = "auth",
    params(Asked),
    responses((status = 200, description = "Its phase", body = Answer<SignInView>))
)]
pub(crate) async fn status(
    State(state): State<Arc<AppState>>,
    Params(asked): Params<Asked>,
) -> Result<Answer<SignInView>, ApiError> {
    let flow = asked.state.filter(|flow| !flow.is_empty());
    let Some(flow) = flow else { return Err(ApiError::invalid("Missing state")) };
    Ok(Answer::new(state.gateway.signin_status(&flow).await?))
}

/// A browser comes back from Google.
///
/// Its query completes the sign-in that `state` names.
#[utoipa::path(
    get,
    path = "/oauth-callback",
    operation_id = "returnFromGoogle",
    tag = "clients",
    responses(
        (status = 200, description = "The account is stored", body = String, content_type = "text/html"),
        (status = 400, description = "The query completes nothing", body = String, content_type = "text/html"),
        (status = 409, description = "Another request is completing it", body = String, content_type = "text/html"),
        (status = 502, description = "Google refuses or cannot be reached", body = String, content_type = "text/html"),
        (status = 503, description = "No OAuth client is configured, or the store does not answer", body = String, content_type = "text/html")
    )
)]
pub(crate) async fn returned(State(state): State<Arc<AppState>>, request: Request) -> Response {
    if let Some(refusal) = not_get(&request) {
        return refusal;
    }
    let query = request.uri().query().unwrap_or_default();
    page(&state.gateway.signin_returned(query).await)
}

/// A browser comes back from Google, to the other address that clients are registered with.
#[utoipa::path(
    get,
    path = "/oauth/callback",
    operation_id = "returnFromGoogleThere",
    tag = "clients",
    responses(
        (status = 200, description = "The account is stored", body = String, content_type = "text/html"),
        (status = 400, description = "The query completes nothing", body = String, content_type = "text/html"),
        (status = 409, description = "Another request is completing it", body = String, content_type = "text/html"),
        (status = 502, description = "Google refuses or cannot be reached", body = String, content_type = "text/html"),
        (status = 503, description = "No OAuth client is configured, or the store does not answer", body = String, content_type = "text/html")
    )
)]
pub(crate) async fn returned_there(state: State<Arc<AppState>>, request: Request) -> Response {
    returned(state, request).await
}

/// Only a browser's own visit counts: what looks ahead with `HEAD` must not use the code up.
pub(crate) fn not_get(request: &Request) -> Option<Response> {
    let refused = *request.method() != Method::GET;
    refused.then(|| ApiError::method_not_allowed(request.method(), request.uri().path()).into_response())
}

/// What the person in front of the browser reads.
pub(crate) fn page(outcome: &Result<SignInCompleted, ApiError>) -> Response {
    let (status, title, text) = match outcome {
        Ok(done) => (StatusCode::OK, "Signed in", format!("{}. You can close this window.", done.message())),
        Err(error) => (error.status(), "Not signed in", error.message().to_owned()),
    };
    let text = escaped(&text);
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body><h1>{title}</h1><p>{text}</p></body>\n</html>\n"
    );
    let mut response = Response::new(Body::from(html));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Text as it may stand between tags and in quoted attributes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn nothing_of_a_text_becomes_markup() {
        assert_eq!(escaped("<a href='x' b=\"&\">"), "&lt;a href=&#39;x&#39; b=&quot;&amp;&quot;&gt;");
        assert_eq!(escaped("a@b.example"), "a@b.example");
    }
}
