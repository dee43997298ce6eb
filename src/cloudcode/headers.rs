//! Every header this client sends, in one place (spec `conversion.md` §7.4).

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use super::client::ClientError;
use crate::config::UpstreamConfig;
use crate::google::model::{Family, ModelId};

const CLIENT_NAME: HeaderName = HeaderName::from_static("x-client-name");
const CLIENT_VERSION: HeaderName = HeaderName::from_static("x-client-version");
const API_CLIENT: HeaderName = HeaderName::from_static("x-goog-api-client");
const MACHINE_SESSION: HeaderName = HeaderName::from_static("x-machine-session-id");
const ANTHROPIC_BETA: HeaderName = HeaderName::from_static("anthropic-beta");

/// The headers that are the same in every call.
pub(super) struct Headers {
    base: HeaderMap,
}

/// A value that cannot stand in a header.
#[derive(Clone, Copy)]
pub(super) enum Unsendable {
    Token,
    Session,
}

impl Headers {
    pub(super) fn new(config: &UpstreamConfig) -> Result<Self, ClientError> {
        let mut base = HeaderMap::with_capacity(8);
        base.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, setting, value) in [
            (USER_AGENT, "upstream.userAgent", &config.user_agent),
            (CLIENT_NAME, "upstream.clientName", &config.client_name),
            (CLIENT_VERSION, "upstream.clientVersion", &config.client_version),
            (API_CLIENT, "upstream.apiClient", &config.api_client),
        ] {
            let value = HeaderValue::from_str(value).map_err(|_| ClientError::BadHeader { setting })?;
            base.insert(name, value);
        }
        Ok(Self { base })
    }

    /// For calls about the account itself.
    pub(super) fn account(&self, token: &SecretString) -> Result<HeaderMap, Unsendable> {
        let mut headers = self.base.clone();
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
            .map_err(|_| Unsendable::Token)?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
        Ok(headers)
    }

    /// For calls of a model. An empty session id is left out.
    pub(super) fn model(
        &self,
        token: &SecretString,
        model: &ModelId,
        session_id: &str,
        streaming: bool,
    ) -> Result<HeaderMap, Unsendable> {
        let mut headers = self.account(token)?;
        if !session_id.is_empty() {
            let id = HeaderValue::from_str(session_id).map_err(|_| Unsendable::Session)?;
            headers.insert(MACHINE_SESSION, id);
        }
        if model.family() == Family::Claude && model.is_thinking() {
            headers.insert(ANTHROPIC_BETA, HeaderValue::from_static("interleaved-thinking-2025-05-14"));
        }
        if streaming {
            headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        }
        Ok(headers)
    }
}
