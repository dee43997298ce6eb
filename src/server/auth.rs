//! Who calls: the peer of a connection, and the holder of an API key (spec `http-api.md` §2.1).

use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::anthropic::error::ErrorKind;
use crate::auth::client_keys::{Admitted, CONTROL, ClientKeys};
use crate::server::error::ApiError;
use crate::server::gateway::ClientKeyId;

/// Where a request came from; set by the listener, missing means "somewhere".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Over TCP.
    Tcp(SocketAddr),
    /// Over the control socket, which only the service's own user can open: trusted.
    Control,
}

/// The token of `Authorization: Bearer <token>`; the scheme is compared without case.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Who calls the model API; set by the access check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The id of its key.
    pub(crate) key: ClientKeyId,
    /// The name of its key.
    pub(crate) name: Arc<str>,
    /// Models that it may use; empty for all.
    pub(crate) models: Arc<[String]>,
}

impl Caller {
    /// The holder of the key that `x-api-key` or the bearer token is; either may match.
    pub(crate) fn of(headers: &HeaderMap, keys: &ClientKeys) -> Result<Self, ApiError> {
        let header = headers.get("x-api-key").map(http::HeaderValue::as_bytes);
        match keys.check([header, bearer(headers)].into_iter().flatten()) {
            Ok(Admitted { id, name, models }) => Ok(Self { key: ClientKeyId(id), name, models }),
            Err(refused) => Err(ApiError::new(ErrorKind::Authentication, refused.to_string())),
        }
    }

    /// Whoever uses the control socket.
    pub(crate) fn control() -> Self {
        Self { key: ClientKeyId(CONTROL.into()), name: CONTROL.into(), models: Arc::default() }
    }
}

/// The user id behind a connection to the control socket, where the system tells it; set by the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlUser(pub u32);

#[cfg(test)]
mod tests;
