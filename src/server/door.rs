//! What guards the console's API: its password, sessions, and where a request comes from.
//!
//! Source: spec `http-api.md` §1.5.3, §2.2, §2.4, §11.1. The password and the sessions are in `auth::console`; here is
//! how a request shows them, and what a browser must not be made to send.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::{CONTENT_TYPE, COOKIE, HOST, HeaderValue, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Method, StatusCode};
use url::form_urlencoded;

use crate::anthropic::error::ErrorKind;
use crate::auth::client_keys::KeyDigest;
use crate::auth::console::{Console, ConsoleError, SESSION_PREFIX, Session, Tried, Visitor};
use crate::config::ServerConfig;
use crate::server::auth::{ControlUser, Peer, bearer};
use crate::server::body;
use crate::server::error::ApiError;
use crate::server::gateway::RequestId;
use crate::server::proxies::Client;
use crate::store::audit::Actor;
use crate::store::host::StoreError;

/// The cookie that holds a session's token.
pub(crate) const COOKIE_NAME: &str = "agp_session";
/// The header that holds the password; the reference's name.
const PASSWORD: &str = "x-webui-password";
/// The header that holds a setup token.
pub(crate) const SETUP: &str = "x-setup-token";
/// A header that pages of other sites cannot send, for calls without a body.
const CUSTOM: &str = "x-requested-with";
/// Keeps tries of those who only ask for the public part apart: they never lock anybody out.
const POLLS: &str = " polls";

/// How a route is guarded that is not just the console's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    /// It takes the password in its body.
    Login,
    /// It sets the password, also for those who cannot know one yet.
    Password,
    /// The log stream, which browsers open without headers.
    Stream,
    /// The stream of events: the same, but without a password in its address.
    Events,
    /// It shows the accounts' secrets: who has a session only gives the password once more.
    Export,
}

impl Special {
    /// Of what matched.
    pub(crate) fn of(method: &Method, route: Option<&str>) -> Option<Self> {
        let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
        match (method, route?) {
            ("POST", "/api/session") => Some(Self::Login),
            ("POST", "/api/config/password") => Some(Self::Password),
            ("GET", "/api/logs/stream") => Some(Self::Stream),
            ("GET", "/api/events") => Some(Self::Events),
            ("GET", "/api/accounts/export") => Some(Self::Export),
            _ => None,
        }
    }
}

/// Guards the console's API.
#[derive(Debug)]
pub(crate) struct ConsoleDoor {
    console: Console,
    allow_insecure: bool,
    allowed_hosts: Vec<String>,
    allowed_origins: Vec<String>,
    own_origin: Option<String>,
    warned: AtomicBool,
}

impl ConsoleDoor {
    pub(crate) fn new(console: Console, config: &ServerConfig) -> Self {
        Self {
            console,
            allow_insecure: config.allow_insecure_console,
            allowed_hosts: config.allowed_hosts.clone(),
            allowed_origins: config.cors_origins.clone(),
            own_origin: config.public_base_url.as_deref().and_then(origin_of),
            warned: AtomicBool::new(false),
        }
    }

    /// The password and the sessions.
    pub(crate) fn console(&self) -> &Console {
        &self.console
    }

    /// Whether a password closes it, as far as it is known without asking.
    pub(crate) fn has_password(&self) -> bool {
        self.console.has_password()
    }

    /// Whether pages of that origin may call the console's API.
    pub(crate) fn allows_origin(&self, origin: &HeaderValue) -> bool {
        self.allowed_origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
    }

    /// Lets a request in, as whom, or says why not. `effect` says that it changes something.
    pub(crate) async fn check(&self, request: &Parts, effect: bool) -> Result<Actor, ApiError> {
        if let Some(actor) = control(request) {
            return Ok(actor);
        }
        let client = client(request);
        self.same_site(request, &client, effect)?;
        if let Some(session) = self.session(request).await? {
            return Ok(session);
        }
        self.password(request, &client, "").await
    }

    /// As [`Self::check`], for a route that shows secrets: where there is a password, it itself is asked for, since a session
    /// may be an open browser that was left alone.
    pub(crate) async fn check_export(&self, request: &Parts) -> Result<Actor, ApiError> {
        let known = self.check(request, true).await?;
        if !matches!(known, Actor::Session(_)) || !self.console.is_closed().await {
            return Ok(known);
        }
        if passwords(&request.headers).next().is_none() {
            let message = "An export shows the accounts' secrets: send the console's password itself, as x-webui-password";
            return Err(forbidden(message));
        }
        self.password(request, &client(request), "").await.map(|_| known)
    }

    /// As [`Self::check`], for a route that has a part for everybody: never counts a try, never refuses.
    pub(crate) async fn is_entitled(&self, request: &Parts) -> bool {
        if control(request).is_some() {
            return true;
        }
        let client = client(request);
        match self.session(request).await {
            Ok(Some(_)) => true,
            Ok(None) => self.password(request, &client, POLLS).await.is_ok(),
            Err(_) => false,
        }
    }

    /// As [`Self::check`], for event streams, with the digest of the session if one let it in: `?ticket=` is taken, too, and where `passwords` are allowed, as the reference
    /// has it for the log stream, `?password=`.
    pub(crate) async fn check_stream(
        &self,
        request: &Parts,
        passwords: bool,
    ) -> Result<(Actor, Option<KeyDigest>), ApiError> {
        let refused = match self.check(request, false).await {
            Ok(actor) => {
                let session = digest_of(&actor, &request.headers);
                return Ok((actor, session));
            }
            Err(refused) => refused,
        };
        let query = request.uri.query().unwrap_or_default();
        let given = |name: &str| form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name);
        if let Some((_, ticket)) = given("ticket") {
            let whose = self.console.take_ticket(&ticket).await.map_err(|error| unavailable(&error))?;
            let Some(session) = whose.ok_or_else(required)? else { return Ok((Actor::Password, None)) };
            let known = self.console.session_of(session).await.map_err(|error| unavailable(&error))?;
            return Ok((Actor::Session(known.ok_or_else(required)?.id), Some(session)));
        }
        let Some((_, password)) = given("password").filter(|_| passwords && has_no_credential(request))
        else {
            return Err(refused);
        };
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a client sends the console's password in the address of the log stream, where others may read it: \
                 use POST /api/logs/ticket"
            );
        }
        match self.try_password(password.as_bytes(), request, &client(request), "").await? {
            Tried::Right(_) => Ok((Actor::Password, None)),
            _ => Err(required()),
        }
    }

    /// For a route that takes the password in its body: only that another site's page did not send it.
    pub(crate) fn check_login(&self, request: &Parts) -> Result<(), ApiError> {
        if control(request).is_some() { Ok(()) } else { self.same_site(request, &client(request), true) }
    }

    /// For the route that sets the password. Where there is none, its handler looks at the setup token.
    pub(crate) async fn check_password_change(&self, request: &Parts) -> Result<Actor, ApiError> {
        if control(request).is_some() || self.console.is_closed().await {
            return self.check(request, true).await;
        }
        let client = client(request);
        self.same_site(request, &client, true)?;
        if request.headers.contains_key(SETUP) {
            return Ok(Actor::Setup);
        }
        // Without a password everybody may use a console that was opened on purpose, but not close it to others.
        if !client.is_local() {
            let message = "The first password is set on the gateway's own machine (`antigravity-proxy password set`), \
                           or with the setup token that the gateway printed when it started (x-setup-token)";
            return Err(forbidden(message));
        }
        self.check_place(request, &client)
    }

    /// Tries what a body brought as the password.
    pub(crate) async fn try_password(
        &self,
        credential: &[u8],
        request: &Parts,
        client: &Client,
        group: &str,
    ) -> Result<Tried, ApiError> {
        let group = client.group() + group;
        let from = client.address.map(|address| address.to_string());
        let id = request.extensions.get::<RequestId>();
        let visitor = Visitor { group: &group, from: from.as_deref(), request: id.map(|id| &*id.0) };
        match self.console.password(credential, &visitor).await {
            Ok(Tried::Blocked(wait)) => {
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                Err(ApiError::new(ErrorKind::RateLimit, "Too many attempts").with_retry_after(seconds))
            }
            Ok(tried) => Ok(tried),
            Err(error) => Err(refusal(&error)),
        }
    }

    /// The session that the request shows, if it is in force.
    async fn session(&self, request: &Parts) -> Result<Option<Actor>, ApiError> {
        for (token, by_cookie) in tokens(&request.headers) {
            match self.console.session(token).await {
                Ok(Some(session)) => {
                    if by_cookie {
                        sent_on_purpose(request)?;
                    }
                    return Ok(Some(Actor::Session(session.id)));
                }
                Ok(None) => {}
                Err(error) => return Err(unavailable(&error)),
            }
        }
        Ok(None)
    }

    async fn password(&self, request: &Parts, client: &Client, group: &str) -> Result<Actor, ApiError> {
        if !self.console.is_closed().await {
            return self.check_place(request, client);
        }
        for credential in passwords(&request.headers) {
            match self.try_password(&credential, request, client, group).await? {
                Tried::Right(_) => return Ok(Actor::Password),
                // It was removed at this moment.
                Tried::Open => return self.check_place(request, client),
                Tried::Wrong | Tried::Blocked(_) => {}
            }
        }
        Err(required())
    }

    /// Without a password: loopback peers only, and only under a name that cannot be rebound by DNS.
    fn check_place(&self, request: &Parts, client: &Client) -> Result<Actor, ApiError> {
        if !client.is_local() && !self.allow_insecure {
            return Err(ApiError::new(
                ErrorKind::Permission,
                "Set WEBUI_PASSWORD to use the console remotely",
            ));
        }
        let host = host(request).unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let allowed =
            is_loopback_name(host) || self.allowed_hosts.iter().any(|name| name.eq_ignore_ascii_case(host));
        if allowed {
            return Ok(Actor::Local);
        }
        let message = "This host name is not allowed without a password: set WEBUI_PASSWORD, or list the name in \
                       ALLOWED_HOSTS";
        Err(ApiError::new(ErrorKind::Permission, message))
    }

    /// Refuses what another site's page makes a browser send: it could not read the answer, but it must not
    /// change anything either.
    fn same_site(&self, request: &Parts, client: &Client, effect: bool) -> Result<(), ApiError> {
        if !effect && matches!(request.method, Method::GET | Method::HEAD) {
            return Ok(());
        }
        let origin = request.headers.get(ORIGIN);
        if origin.is_some_and(|origin| self.allows_origin(origin)) {
            return Ok(());
        }
        let site = request.headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
        let site_ok = site.is_none_or(|site| site == b"same-origin" || site == b"none");
        if site_ok && origin.is_none_or(|origin| self.is_own(origin, request, client)) {
            return Ok(());
        }
        Err(forbidden("Refused: the request comes from another site's page"))
    }

    /// Whether the origin is where this request went: the host it names, as the client or a trusted proxy says, or the
    /// configured address.
    fn is_own(&self, origin: &HeaderValue, request: &Parts, client: &Client) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        if self.own_origin.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(origin)) {
            return true;
        }
        let Some((_, authority)) = origin.split_once("://") else { return false };
        let asked = request
            .uri
            .authority()
            .map(Authority::as_str)
            .or_else(|| request.headers.get(HOST).and_then(|host| host.to_str().ok()));
        asked.into_iter().chain(client.host.as_deref()).any(|host| host.eq_ignore_ascii_case(authority))
    }
}

/// The token of the session that a request shows, in the order in which they are looked at; with whether it comes from
/// the cookie, which a browser adds by itself.
fn tokens(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], bool)> {
    let is_token = |token: &&[u8]| token.starts_with(SESSION_PREFIX.as_bytes());
    let bearer = bearer(headers).filter(is_token).map(|token| (token, false));
    bearer.into_iter().chain(cookie(headers).filter(is_token).map(|token| (token, true)))
}

/// The same for a handler that ends it.
pub(crate) fn session_token(headers: &HeaderMap) -> Option<&[u8]> {
    tokens(headers).next().map(|(token, _)| token)
}

/// The digest of the session's token by which a request with these headers was let in as `actor`.
pub(crate) fn digest_of(actor: &Actor, headers: &HeaderMap) -> Option<KeyDigest> {
    let Actor::Session(id) = actor else { return None };
    tokens(headers)
        .map(|(token, _)| KeyDigest::of(token))
        .find(|digest| digest.to_hex().starts_with(id.as_str()))
}

/// The value of the session's cookie.
fn cookie(headers: &HeaderMap) -> Option<&[u8]> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.map(<[u8]>::trim_ascii).find_map(|pair| {
        let value = pair.strip_prefix(COOKIE_NAME.as_bytes())?.strip_prefix(b"=")?;
        Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
    })
}

/// Passwords that a request shows: the reference's header, or a bearer token that is no session's.
fn passwords(headers: &HeaderMap) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let header = headers.get(PASSWORD).map(HeaderValue::as_bytes);
    let bearer = bearer(headers).filter(|token| !token.starts_with(SESSION_PREFIX.as_bytes()));
    header.into_iter().chain(bearer).filter(|value| !value.is_empty()).map(text)
}

/// What a browser sends as a header has one byte per character (Fetch, "isomorphic encode").
fn text(value: &[u8]) -> Cow<'_, [u8]> {
    match std::str::from_utf8(value) {
        Ok(_) => Cow::Borrowed(value),
        Err(_) => Cow::Owned(value.iter().map(|byte| char::from(*byte)).collect::<String>().into_bytes()),
    }
}

fn has_no_credential(request: &Parts) -> bool {
    passwords(&request.headers).next().is_none() && tokens(&request.headers).next().is_none()
}

/// A browser adds the cookie to whatever any page sends here; what changes something must show that one of ours did:
/// by where it comes from, and by what a form of another page cannot send.
fn sent_on_purpose(request: &Parts) -> Result<(), ApiError> {
    if matches!(request.method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    let headers = &request.headers;
    if !headers.contains_key(ORIGIN) && !headers.contains_key("sec-fetch-site") {
        return Err(forbidden(
            "A session's cookie needs the browser's Origin or Sec-Fetch-Site beside it; programs send the token as \
             Authorization: Bearer",
        ));
    }
    // Each of these makes a browser ask before it sends the request to another site.
    let custom = [CUSTOM, PASSWORD].into_iter().any(|name| headers.contains_key(name));
    if custom || headers.contains_key(CONTENT_TYPE) && body::is_json(headers) {
        return Ok(());
    }
    Err(forbidden("A session's cookie needs a JSON body, or the header x-requested-with, beside it"))
}

/// Who calls over the control socket.
pub(crate) fn control(request: &Parts) -> Option<Actor> {
    let peer = request.extensions.get::<Peer>();
    let user = request.extensions.get::<ControlUser>().map(|user| user.0);
    (peer == Some(&Peer::Control)).then_some(Actor::Control(user))
}

/// Who sent the request; set by the outermost layer.
pub(crate) fn client(request: &Parts) -> Client {
    request.extensions.get::<Client>().cloned().unwrap_or_default()
}

/// The host that the client asked for, without port: the authority of HTTP/2, else `Host`.
fn host(request: &Parts) -> Option<String> {
    let authority = match request.uri.authority() {
        Some(authority) => authority.clone(),
        None => Authority::try_from(request.headers.get(HOST)?.as_bytes()).ok()?,
    };
    Some(authority.host().to_owned())
}

fn is_loopback_name(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// `https://gateway.example:8443` of an address below it; default ports are left out, as browsers do.
fn origin_of(url: &str) -> Option<String> {
    let origin = url::Url::parse(url).ok()?.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
}

pub(crate) fn required() -> ApiError {
    ApiError::new(ErrorKind::Authentication, "Unauthorized: Password required")
}

pub(crate) fn forbidden(message: &'static str) -> ApiError {
    ApiError::new(ErrorKind::Permission, message).with_status(StatusCode::FORBIDDEN)
}

/// An error of the console's door on the wire.
pub(crate) fn refusal(error: &ConsoleError) -> ApiError {
    let text = error.to_string();
    match error {
        ConsoleError::Pinned | ConsoleError::Set | ConsoleError::NotSet | ConsoleError::Contended => {
            ApiError::invalid(text).with_status(StatusCode::CONFLICT)
        }
        ConsoleError::Short | ConsoleError::Long => ApiError::invalid(text),
        ConsoleError::Token => ApiError::new(ErrorKind::Permission, text).with_status(StatusCode::FORBIDDEN),
        ConsoleError::Busy => ApiError::unavailable(text).with_retry_after(1),
        ConsoleError::Store(error) => unavailable(error),
        ConsoleError::Failed | ConsoleError::Vault(_) => {
            tracing::error!(error = text, "the console's door failed");
            ApiError::internal()
        }
    }
}

/// A store that does not answer, on the wire.
pub(crate) fn unavailable(error: &StoreError) -> ApiError {
    tracing::warn!(%error, "the store refused an operation");
    match error {
        StoreError::Unavailable { .. } | StoreError::ReadOnly { .. } => ApiError::store_unavailable(),
        _ => ApiError::internal(),
    }
}

/// The session that a request shows, for its own view of itself.
pub(crate) async fn shown_session(
    door: &ConsoleDoor,
    headers: &HeaderMap,
) -> Result<Option<Session>, ApiError> {
    for (token, _) in tokens(headers) {
        let session = door.console.session(token).await.map_err(|error| unavailable(&error))?;
        if session.is_some() {
            return Ok(session);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
