//! Google's OAuth endpoints and the operator's client.

use std::time::Duration;

use secrecy::SecretString;

use super::values::Values;

/// Google's OAuth endpoints and the operator's client.
#[derive(Clone, Debug)]
pub struct OAuthConfig {
    /// `oauth.clientId` / `OAUTH_CLIENT_ID`; there is no built-in one.
    pub client_id: Option<String>,
    /// `oauth.clientSecret` / `OAUTH_CLIENT_SECRET`.
    pub client_secret: Option<SecretString>,
    /// `OAUTH_AUTH_URL`, default `https://accounts.google.com/o/oauth2/v2/auth`.
    pub auth_url: String,
    /// `OAUTH_TOKEN_URL`, default `https://oauth2.googleapis.com/token`.
    pub token_url: String,
    /// `OAUTH_USERINFO_URL`, default `https://www.googleapis.com/oauth2/v1/userinfo`.
    pub userinfo_url: String,
    /// `tokenCacheTtlMs`: upper bound on a token's use, default 300 s (also bounded by `expires_in` − 60 s).
    pub token_ttl: Duration,
}

impl Default for OAuthConfig {
    fn default() -> Self {
        Self {
            client_id: None,
            client_secret: None,
            auth_url: "https://accounts.google.com/o/oauth2/v2/auth".into(),
            token_url: "https://oauth2.googleapis.com/token".into(),
            userinfo_url: "https://www.googleapis.com/oauth2/v1/userinfo".into(),
            token_ttl: Duration::from_mins(5),
        }
    }
}

impl OAuthConfig {
    pub(super) fn apply(&mut self, values: &Values) {
        values.optional("oauth.clientId", &mut self.client_id);
        values.secret("oauth.clientSecret", &mut self.client_secret);
        values.string("oauth.authUrl", &mut self.auth_url);
        values.string("oauth.tokenUrl", &mut self.token_url);
        values.string("oauth.userinfoUrl", &mut self.userinfo_url);
        values.millis("tokenCacheTtlMs", &mut self.token_ttl);
    }
}
