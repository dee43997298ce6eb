//! Who may call what: API keys for the model API, a password or the loopback interface for the console.
//!
//! Source: spec `http-api.md` §2.1, §2.2. Secrets are kept and compared as SHA-256 digests, every
//! candidate against every key, so that timing tells nothing.

mod attempts;

use std::net::SocketAddr;

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::anthropic::error::ErrorKind;
use crate::clock::Clock;
use crate::server::error::ApiError;
use crate::server::gateway::ClientKeyId;
use attempts::Attempts;

type Fingerprint = [u8; 32];

/// Where a request came from; set by the listener, missing means "somewhere".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP.
    Tcp(SocketAddr),
    /// Over the control socket, which only the service's own user can open: trusted.
    Control,
}

fn fingerprint(secret: &[u8]) -> Fingerprint {
    Sha256::digest(secret).into()
}

/// Lower-case hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
        text
    })
}

/// The token of `Authorization: Bearer <token>`; the scheme is compared without case.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// The keys of the model API.
#[derive(Debug)]
pub(crate) struct ApiKeys {
    keys: Vec<(Fingerprint, ClientKeyId)>,
}

impl ApiKeys {
    pub(crate) fn new(keys: &[SecretString]) -> Self {
        let named = |key: &SecretString| {
            let print = fingerprint(key.expose_secret().as_bytes());
            (print, ClientKeyId(hex(&print[..6])))
        };
        Self { keys: keys.iter().filter(|key| !key.expose_secret().is_empty()).map(named).collect() }
    }

    /// Whether no key is configured: then `/v1` is open.
    pub(crate) fn is_open(&self) -> bool {
        self.keys.is_empty()
    }

    /// The key that `x-api-key` or the bearer token is; either may match.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<ClientKeyId, ApiError> {
        if self.is_open() {
            return Ok(ClientKeyId("open".to_owned()));
        }
        let header = headers.get("x-api-key").map(http::HeaderValue::as_bytes);
        let mut found = None;
        for candidate in [header, bearer(headers)].into_iter().flatten().map(fingerprint) {
            for (key, name) in &self.keys {
                if bool::from(key.ct_eq(&candidate)) {
                    found = Some(name);
                }
            }
        }
        found.cloned().ok_or_else(|| ApiError::new(ErrorKind::Authentication, "Invalid or missing API key"))
    }
}

/// What guards the console's API.
#[derive(Debug)]
pub(crate) struct ConsoleDoor {
    password: Option<Fingerprint>,
    allow_insecure: bool,
    allowed_hosts: Vec<String>,
    attempts: Attempts,
}

impl ConsoleDoor {
    pub(crate) fn new(
        password: Option<&SecretString>,
        allow_insecure: bool,
        allowed_hosts: Vec<String>,
        clock: Clock,
    ) -> Self {
        let password = password.map(ExposeSecret::expose_secret).filter(|password| !password.is_empty());
        Self {
            password: password.map(|password| fingerprint(password.as_bytes())),
            allow_insecure,
            allowed_hosts,
            attempts: Attempts::new(clock),
        }
    }

    /// Whether a password is configured.
    pub(crate) fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// Lets a request in or says why not.
    pub(crate) fn check(&self, peer: Option<Peer>, request: &http::request::Parts) -> Result<(), ApiError> {
        if peer == Some(Peer::Control) {
            return Ok(());
        }
        same_origin(request)?;
        match self.password {
            Some(password) => self.check_password(password, peer, &request.headers),
            None => self.check_place(peer, request),
        }
    }

    fn check_password(
        &self,
        password: Fingerprint,
        peer: Option<Peer>,
        headers: &HeaderMap,
    ) -> Result<(), ApiError> {
        let header = headers.get("x-webui-password").map(http::HeaderValue::as_bytes);
        let candidates: Vec<Fingerprint> =
            [header, bearer(headers)].into_iter().flatten().map(fingerprint).collect();
        let required = || Err(ApiError::new(ErrorKind::Authentication, "Unauthorized: Password required"));
        if candidates.is_empty() {
            return required();
        }
        let address = match peer {
            Some(Peer::Tcp(address)) => Some(address.ip()),
            _ => None,
        };
        if let Some(wait) = self.attempts.blocked(address) {
            return Err(ApiError::new(ErrorKind::RateLimit, "Too many attempts").with_retry_after(wait));
        }
        let matched = candidates.iter().fold(Choice::from(0), |any, one| any | one.ct_eq(&password));
        if bool::from(matched) {
            return Ok(());
        }
        for candidate in candidates {
            self.attempts.record(address, candidate);
        }
        required()
    }

    /// Without a password: loopback peers only, and only under a name that cannot be rebound by DNS.
    fn check_place(&self, peer: Option<Peer>, request: &http::request::Parts) -> Result<(), ApiError> {
        let local = matches!(peer, Some(Peer::Tcp(address)) if address.ip().to_canonical().is_loopback());
        if !local && !self.allow_insecure {
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
            return Ok(());
        }
        let message = "This host name is not allowed without a password: set WEBUI_PASSWORD, or list the name in \
                       ALLOWED_HOSTS";
        Err(ApiError::new(ErrorKind::Permission, message))
    }
}

/// The host that the client asked for, without port: the authority of HTTP/2, else `Host`.
fn host(request: &http::request::Parts) -> Option<String> {
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

/// Refuses what another site's page makes a browser send: it could not read the answer, but it must not
/// change anything either.
fn same_origin(request: &http::request::Parts) -> Result<(), ApiError> {
    if matches!(request.method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    let text = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
    let site_ok = text("sec-fetch-site").is_none_or(|site| matches!(site, "same-origin" | "none"));
    let origin_ok = request.headers.get(ORIGIN).is_none_or(|origin| {
        let authority = request
            .uri
            .authority()
            .map(|authority| authority.as_str().as_bytes())
            .or_else(|| request.headers.get(HOST).map(http::HeaderValue::as_bytes));
        let origin = origin.as_bytes();
        let at = origin.windows(3).position(|part| part == b"://").map(|at| &origin[at + 3..]);
        at.is_some() && at == authority
    });
    if site_ok && origin_ok {
        return Ok(());
    }
    let error = ApiError::new(ErrorKind::Permission, "Refused: the request comes from another site's page");
    Err(error.with_status(StatusCode::FORBIDDEN))
}

#[cfg(test)]
mod tests;
