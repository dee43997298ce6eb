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
    /// `oauth.callbackPort` / `OAUTH_CALLBACK_PORT`: first port of the loopback listener, default 51121; 0 takes a free one.
    pub callback_port: u16,
    /// `oauth.callbackListener` / `OAUTH_CALLBACK_LISTENER`, default `auto` (`off` in a Kubernetes pod).
    pub callback_listener: CallbackMode,
    /// `oauth.redirectUri` / `OAUTH_REDIRECT_URI`: where Google sends browsers back to instead of a loopback address.
    pub redirect_uri: Option<String>,
    /// `tokenCacheTtlMs`: upper bound on a token's use, default 300 s (also bounded by `expires_in` − 60 s).
    pub token_ttl: Duration,
}

/// Whether a loopback listener waits for browsers that come back from a sign-in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallbackMode {
    /// With the embedded store, and in commands.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never: browsers come to the main port, or people paste the address.
    Off,
}

impl CallbackMode {
    /// `auto`, `on` or `off`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        }
    }

    /// The mode of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Auto, Self::On, Self::Off].into_iter().find(|mode| mode.as_str() == name)
    }
}

impl Default for OAuthConfig {
    fn default() -> Self {
        Self {
            client_id: None,
            client_secret: None,
            auth_url: "https://accounts.google.com/o/oauth2/v2/auth".into(),
            token_url: "https://oauth2.googleapis.com/token".into(),
            userinfo_url: "https://www.googleapis.com/oauth2/v1/userinfo".into(),
            callback_port: 51_121,
            callback_listener: CallbackMode::default(),
            redirect_uri: None,
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
        values.number("oauth.callbackPort", &mut self.callback_port);
        if let Some(mode) = values.text("oauth.callbackListener").and_then(CallbackMode::from_name) {
            self.callback_listener = mode;
        }
        values.optional("oauth.redirectUri", &mut self.redirect_uri);
        values.millis("tokenCacheTtlMs", &mut self.token_ttl);
    }
}
