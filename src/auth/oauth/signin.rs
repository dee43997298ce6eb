//! The two calls of a sign-in: code for tokens, token for address (spec `http-api.md` §6.5).

use std::time::Duration;

use reqwest::{RequestBuilder, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{ANSWER_LIMIT, OAuth, Refused};
use crate::auth::tokens::TokenError;

/// Time allowed for one of the calls.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// What an authorization code was traded for.
pub struct Exchanged {
    /// For the call that tells whose it is.
    pub access_token: SecretString,
    /// The credential; Google leaves it out when it believes that the application still has one.
    pub refresh_token: Option<SecretString>,
}

/// Why a call of a sign-in failed. Nothing of Google's answers is in here, as they may hold tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignInCallError {
    /// The operator's OAuth client is not set.
    #[error("the OAuth client is not configured")]
    NotConfigured,
    /// Google refused the operator's OAuth client.
    #[error("Google refused the OAuth client")]
    Client,
    /// Google refused the code or token: wrong, expired, or used before.
    #[error("Google refused the authorization code")]
    Code,
    /// The code was never sent.
    #[error("Google could not be reached")]
    Unreachable,
    /// Google failed, or its answer makes no sense: the code may have been used up.
    #[error("Google did not answer as it should{}", status_text(*.status))]
    Failed {
        /// The status, when there was one.
        status: Option<u16>,
    },
    /// The profile has no address.
    #[error("Google did not tell the account's e-mail address")]
    NoEmail,
}

fn status_text(status: Option<u16>) -> String {
    status.map(|status| format!(" (status {status})")).unwrap_or_default()
}

#[derive(Deserialize)]
struct Granted {
    access_token: Option<String>,
    refresh_token: Option<String>,
}

#[derive(Deserialize)]
struct Profile {
    email: Option<String>,
}

impl OAuth {
    /// The operator's client id, for the address that a browser is sent to; fails when the client is not set.
    pub fn client_id(&self) -> Result<&str, TokenError> {
        self.client().map(|(id, _)| id)
    }

    /// The authorization endpoint.
    #[must_use]
    pub fn auth_url(&self) -> &str {
        &self.config.auth_url
    }

    /// Trades an authorization code for tokens; `redirect_uri` is the one of the authorization URL.
    pub async fn exchange(
        &self,
        code: &SecretString,
        verifier: &SecretString,
        redirect_uri: &str,
    ) -> Result<Exchanged, SignInCallError> {
        let (id, secret) = self.client().map_err(|_| SignInCallError::NotConfigured)?;
        let form = [
            ("client_id", id),
            ("client_secret", secret.expose_secret()),
            ("code", code.expose_secret()),
            ("code_verifier", verifier.expose_secret()),
            ("grant_type", "authorization_code"),
            ("redirect_uri", redirect_uri),
        ];
        let (status, body) = ask(self.http.post(&self.config.token_url).form(&form)).await?;
        if !status.is_success() {
            return Err(refusal(status.as_u16(), &body));
        }
        let broken = SignInCallError::Failed { status: Some(status.as_u16()) };
        let granted: Granted = serde_json::from_slice(&body).map_err(|_| broken)?;
        let token = |text: Option<String>| text.filter(|text| !text.is_empty()).map(SecretString::from);
        Ok(Exchanged {
            access_token: token(granted.access_token).ok_or(broken)?,
            refresh_token: token(granted.refresh_token),
        })
    }

    /// Whose access token it is: a trimmed e-mail address.
    pub async fn email(&self, access_token: &SecretString) -> Result<String, SignInCallError> {
        let request = self.http.get(&self.config.userinfo_url).bearer_auth(access_token.expose_secret());
        let (status, body) = ask(request).await.map_err(|error| match error {
            // The code has been used by now.
            SignInCallError::Unreachable => SignInCallError::Failed { status: None },
            error => error,
        })?;
        let broken = SignInCallError::Failed { status: Some(status.as_u16()) };
        if !status.is_success() {
            return Err(broken);
        }
        let profile: Profile = serde_json::from_slice(&body).map_err(|_| broken)?;
        let email = profile.email.map(|email| email.trim().to_owned());
        let plain = |email: &String| email.contains('@') && !email.chars().any(char::is_control);
        email.filter(plain).ok_or(SignInCallError::NoEmail)
    }
}

/// Sends a request and reads its whole answer, which is wiped when dropped.
async fn ask(request: RequestBuilder) -> Result<(StatusCode, Zeroizing<Vec<u8>>), SignInCallError> {
    let mut response = request.timeout(CALL_TIMEOUT).send().await.map_err(|error| {
        if error.is_connect() {
            SignInCallError::Unreachable
        } else {
            SignInCallError::Failed { status: None }
        }
    })?;
    let status = response.status();
    let broken = SignInCallError::Failed { status: Some(status.as_u16()) };
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(|_| broken)? {
        if body.len() + chunk.len() > ANSWER_LIMIT {
            return Err(broken);
        }
        body.extend_from_slice(&chunk);
    }
    Ok((status, body))
}

/// What a refused exchange means (RFC 6749 §5.2); only the documented codes are final.
fn refusal(status: u16, body: &[u8]) -> SignInCallError {
    let code = serde_json::from_slice::<Refused>(body).ok().and_then(|refused| refused.error);
    match code.as_deref() {
        Some(
            "invalid_client"
            | "unauthorized_client"
            | "deleted_client"
            | "disabled_client"
            | "redirect_uri_mismatch",
        ) if status < 500 => SignInCallError::Client,
        Some("invalid_grant" | "invalid_request") if status < 500 => SignInCallError::Code,
        _ => SignInCallError::Failed { status: Some(status) },
    }
}

#[cfg(test)]
mod tests {
    use super::{SignInCallError, refusal};

    #[test]
    fn only_documented_codes_are_final() {
        let failed = |status| SignInCallError::Failed { status: Some(status) };
        for (status, body, expected) in [
            (400, r#"{"error":"invalid_grant"}"#, SignInCallError::Code),
            (400, r#"{"error":"invalid_request"}"#, SignInCallError::Code),
            (401, r#"{"error":"invalid_client"}"#, SignInCallError::Client),
            (400, r#"{"error":"redirect_uri_mismatch"}"#, SignInCallError::Client),
            (503, r#"{"error":"invalid_grant"}"#, failed(503)),
            (429, "invalid_grant", failed(429)),
            (400, r#"{"error":"slow_down"}"#, failed(400)),
        ] {
            assert_eq!(refusal(status, body.as_bytes()), expected, "{status} {body}");
        }
        assert_eq!(failed(503).to_string(), "Google did not answer as it should (status 503)");
    }
}
