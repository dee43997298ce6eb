//! Access tokens from refresh tokens (spec `http-api.md` §6.5, §6.6, `dispatch.md` §6.1); [`signin`] has the calls of a
//! sign-in.

pub mod signin;

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use zeroize::{Zeroize as _, Zeroizing};

use super::tokens::TokenError;
use crate::config::OAuthConfig;

/// Time allowed for one refresh: half of what its lock allows, so that the result can be kept even when the store is
/// away for a while.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(10);
/// Used when the answer does not say how long the token lives.
const DEFAULT_LIFETIME: Duration = Duration::from_hours(1);
/// A token is not used in the last minute of its life.
const SAFETY: Duration = Duration::from_mins(1);
/// The store keeps nothing for less than this.
const LEAST_TTL: Duration = Duration::from_secs(1);
/// Most that is read of an answer.
const ANSWER_LIMIT: usize = 64 * 1024;

/// What an operator must set before accounts that sign in with Google can be used.
const NOT_CONFIGURED: &str =
    "OAUTH_CLIENT_ID and OAUTH_CLIENT_SECRET (or oauth.clientId and oauth.clientSecret)";

/// Talks to the OAuth token endpoint.
pub struct OAuth {
    http: reqwest::Client,
    config: OAuthConfig,
}

/// A fresh access token.
pub struct Minted {
    /// The token.
    pub secret: SecretString,
    /// How long it may be used: the least of `tokenCacheTtlMs` and its life less a minute.
    pub ttl: Duration,
}

/// The parts of `token|project|managed project` under which refresh tokens are imported.
#[derive(Clone, Debug)]
pub struct CompositeToken {
    /// The refresh token itself.
    pub refresh_token: SecretString,
    /// The project the account's owner gave.
    pub project: Option<String>,
    /// The project the upstream gave.
    pub managed_project: Option<String>,
}

impl CompositeToken {
    /// Splits the composite form; empty parts are absent. `None` without a refresh token.
    #[must_use]
    pub fn parse(text: &SecretString) -> Option<Self> {
        let mut parts = text.expose_secret().split('|').map(str::trim);
        let refresh_token = parts.next().filter(|token| !token.is_empty())?;
        let mut part = || parts.next().filter(|part| !part.is_empty()).map(str::to_owned);
        Some(Self { refresh_token: refresh_token.into(), project: part(), managed_project: part() })
    }
}

#[derive(Deserialize)]
struct Granted {
    access_token: Option<String>,
    expires_in: Option<u64>,
}

#[derive(Deserialize)]
struct Refused {
    error: Option<String>,
}

impl OAuth {
    /// `http` comes from [`crate::cloudcode::http::client`].
    #[must_use]
    pub fn new(http: reqwest::Client, config: OAuthConfig) -> Self {
        Self { http, config }
    }

    /// The longest time any token is used.
    #[must_use]
    pub fn token_ttl(&self) -> Duration {
        self.config.token_ttl
    }

    /// How long a token with so much of its life left is used.
    #[must_use]
    pub fn usable_for(&self, life: Option<Duration>) -> Duration {
        let life = life.unwrap_or(DEFAULT_LIFETIME);
        self.config.token_ttl.min(life.saturating_sub(SAFETY)).max(LEAST_TTL)
    }

    /// Fails when the operator's client is not set, before any lock is taken.
    pub fn check(&self) -> Result<(), TokenError> {
        self.client().map(drop)
    }

    fn client(&self) -> Result<(&str, &SecretString), TokenError> {
        self.config
            .client_id
            .as_deref()
            .zip(self.config.client_secret.as_ref())
            .ok_or(TokenError::NotConfigured { settings: NOT_CONFIGURED })
    }

    /// Trades a refresh token, plain or composite, for an access token.
    ///
    /// Only what OAuth itself calls permanent is: `invalid_grant` and its kin for the account, `invalid_client` and
    /// its kin for the whole gateway. Everything else, malformed answers included, is transient.
    pub async fn refresh(&self, credential: &SecretString) -> Result<Minted, TokenError> {
        let (id, secret) = self.client()?;
        let token = CompositeToken::parse(credential).ok_or(TokenError::Revoked)?;
        let form = [
            ("client_id", id),
            ("client_secret", secret.expose_secret()),
            ("refresh_token", token.refresh_token.expose_secret()),
            ("grant_type", "refresh_token"),
        ];
        let request = self.http.post(&self.config.token_url).timeout(REFRESH_TIMEOUT).form(&form);
        let transient = || TokenError::Transient { status: None, retry_after: None };
        let mut response = request.send().await.map_err(|_| transient())?;
        let status = response.status();
        let mut body = Zeroizing::new(Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(|_| transient())? {
            if body.len() + chunk.len() > ANSWER_LIMIT {
                return Err(transient());
            }
            body.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            return Err(refusal(status.as_u16(), &body));
        }
        let granted: Granted = serde_json::from_slice(&body).map_err(|_| transient())?;
        let mut access_token =
            granted.access_token.filter(|token| !token.is_empty()).ok_or_else(transient)?;
        let minted = SecretString::from(access_token.as_str());
        access_token.zeroize();
        Ok(Minted { secret: minted, ttl: self.usable_for(granted.expires_in.map(Duration::from_secs)) })
    }
}

fn refusal(status: u16, body: &[u8]) -> TokenError {
    let code = serde_json::from_slice::<Refused>(body).ok().and_then(|refused| refused.error);
    match code.as_deref() {
        Some("invalid_grant" | "token_revoked") if status < 500 => TokenError::Revoked,
        Some("invalid_client" | "unauthorized_client" | "deleted_client" | "disabled_client")
            if status < 500 =>
        {
            TokenError::Misconfigured
        }
        _ => TokenError::Transient { status: Some(status), retry_after: None },
    }
}

#[cfg(test)]
mod tests {
    use secrecy::{ExposeSecret, SecretString};

    use super::{CompositeToken, refusal};
    use crate::auth::tokens::TokenError;

    #[test]
    fn composite_tokens() {
        let parse = |text: &str| CompositeToken::parse(&SecretString::from(text));
        for (text, token, project, managed) in [
            ("r", "r", None, None),
            ("r|", "r", None, None),
            ("r|p", "r", Some("p"), None),
            ("r||m", "r", None, Some("m")),
            ("r|p|m", "r", Some("p"), Some("m")),
        ] {
            let parsed = parse(text).unwrap();
            assert_eq!(parsed.refresh_token.expose_secret(), token);
            assert_eq!((parsed.project.as_deref(), parsed.managed_project.as_deref()), (project, managed));
        }
        assert!(parse("").is_none() && parse("|p").is_none());
    }

    #[test]
    fn only_documented_codes_are_permanent() {
        let class = |status, body: &str| match refusal(status, body.as_bytes()) {
            TokenError::Revoked => "revoked",
            TokenError::Misconfigured => "misconfigured",
            TokenError::Transient { .. } => "transient",
            _ => "other",
        };
        assert_eq!(class(400, r#"{"error":"invalid_grant"}"#), "revoked");
        assert_eq!(class(401, r#"{"error":"invalid_client"}"#), "misconfigured");
        assert_eq!(class(400, r#"{"error":"slow_down","error_description":"invalid_grant"}"#), "transient");
        assert_eq!(class(503, r#"{"error":"invalid_grant"}"#), "transient");
        assert_eq!(class(429, "invalid_grant"), "transient");
        assert_eq!(class(400, r#"{"error":{"code":400}}"#), "transient");
    }
}
