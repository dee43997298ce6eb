//! What a browser is sent to Google with, and what it comes back with: OAuth 2.0 for native applications with PKCE.
//!
//! Pure. Sources: spec `http-api.md` §6.2–§6.4; RFC 7636 (PKCE, S256), RFC 6749 §4.1 (authorization code), RFC 8252 §7.3
//! (loopback redirects).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest as _, Sha256};
use url::Url;
use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::store::ops::signins::SignInState;

/// What the access is asked for.
const SCOPES: [&str; 5] =
    ["cloud-platform", "userinfo.email", "userinfo.profile", "cclog", "experimentsandconfigs"];
/// What each of them begins with.
const SCOPE_ROOT: &str = "https://www.googleapis.com/auth/";
/// The least length of a code that is pasted without its address.
const SHORTEST_CODE: usize = 10;
/// The longest error code that is passed on.
const LONGEST_ERROR: usize = 64;

/// The system gave no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system's random source failed")]
pub struct NoRandomness;

/// A new state.
pub fn new_state() -> Result<SignInState, NoRandomness> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(SignInState::from_bytes(bytes))
}

/// A new PKCE verifier: 32 random bytes in base64url, 43 characters (RFC 7636 §4.1).
pub fn new_verifier() -> Result<SecretString, NoRandomness> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|_| NoRandomness)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes.as_slice()).into())
}

/// The challenge of a verifier: base64url of its SHA-256 (RFC 7636 §4.2).
#[must_use]
pub fn challenge(verifier: &SecretString) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.expose_secret().as_bytes()))
}

/// The associated data of a sign-in's sealed verifier.
#[must_use]
pub fn verifier_aad(state: &SignInState) -> String {
    format!("signin:{}", state.as_str())
}

/// What an authorization URL is made of.
#[derive(Clone, Copy, Debug)]
pub struct Authorization<'a> {
    /// The authorization endpoint.
    pub endpoint: &'a str,
    /// The operator's OAuth client.
    pub client_id: &'a str,
    /// Where the browser is sent back to.
    pub redirect_uri: &'a str,
    /// The PKCE challenge.
    pub challenge: &'a str,
    /// The sign-in.
    pub state: &'a SignInState,
    /// The account that the owner should choose.
    pub login_hint: Option<&'a str>,
}

impl Authorization<'_> {
    /// The URL, with the parameters in the order of spec `http-api.md` §6.2 and `login_hint` last.
    pub fn url(&self) -> Result<String, url::ParseError> {
        let mut url = Url::parse(self.endpoint)?;
        let scope = SCOPES.map(|scope| [SCOPE_ROOT, scope].concat()).join(" ");
        {
            let mut query = url.query_pairs_mut();
            query
                .append_pair("client_id", self.client_id)
                .append_pair("redirect_uri", self.redirect_uri)
                .append_pair("response_type", "code")
                .append_pair("scope", &scope)
                .append_pair("access_type", "offline")
                .append_pair("prompt", "consent")
                .append_pair("code_challenge", self.challenge)
                .append_pair("code_challenge_method", "S256")
                .append_pair("state", self.state.as_str());
            if let Some(email) = self.login_hint {
                query.append_pair("login_hint", email);
            }
        }
        Ok(url.into())
    }
}

/// What a person pasted: a code, and the state that came with it.
#[derive(Clone, Debug)]
pub struct Pasted {
    /// The authorization code.
    pub code: SecretString,
    /// The state of the pasted address, as it stood there.
    pub state: Option<String>,
}

/// Why what was pasted is of no use; the sign-in is not touched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasteError {
    /// Nothing.
    #[error("No input provided")]
    Empty,
    /// It begins like an address but is none.
    #[error("Invalid URL format")]
    Url,
    /// The address is that of a refused sign-in.
    #[error("OAuth error: {0}")]
    Refused(String),
    /// The address holds no code.
    #[error("No authorization code found in URL")]
    NoCode,
    /// Neither an address nor a code.
    #[error("Input is too short to be a valid authorization code")]
    Short,
    /// The address belongs to another sign-in.
    #[error(
        "State mismatch: this address belongs to another sign-in; paste the one that this sign-in ended on"
    )]
    State,
}

impl Pasted {
    /// Reads an address or a bare code (spec `http-api.md` §6.4). Any host and path are accepted.
    pub fn parse(text: &str) -> Result<Self, PasteError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(PasteError::Empty);
        }
        let is_url = ["http://", "https://"]
            .iter()
            .any(|scheme| text.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme)));
        if is_url {
            let url = Url::parse(text).map_err(|_| PasteError::Url)?;
            let returned = Returned::parse(url.query().unwrap_or_default());
            if let Some(error) = returned.error {
                return Err(PasteError::Refused(error));
            }
            let code = returned.code.ok_or(PasteError::NoCode)?;
            return Ok(Self { code, state: returned.state });
        }
        if text.chars().count() < SHORTEST_CODE {
            return Err(PasteError::Short);
        }
        Ok(Self { code: text.into(), state: None })
    }

    /// The code, when it belongs to the sign-in `state` as far as can be told.
    pub fn code_for(self, state: &SignInState) -> Result<SecretString, PasteError> {
        match self.state {
            Some(other) if other != state.as_str() => Err(PasteError::State),
            _ => Ok(self.code),
        }
    }
}

/// What Google sent a browser back with (RFC 6749 §4.1.2). Empty parameters are absent; of repeated ones the first counts.
#[derive(Clone, Debug, Default)]
pub struct Returned {
    /// Which sign-in.
    pub state: Option<String>,
    /// The authorization code.
    pub code: Option<SecretString>,
    /// Google's error code; its letters, digits and `_ - .` only.
    pub error: Option<String>,
}

impl Returned {
    /// Reads a query, percent-encoded as it came.
    #[must_use]
    pub fn parse(query: &str) -> Self {
        let mut returned = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if value.is_empty() {
                continue;
            }
            match name.as_ref() {
                "state" if returned.state.is_none() => returned.state = Some(value.into_owned()),
                "code" if returned.code.is_none() => returned.code = Some(value.into_owned().into()),
                "error" if returned.error.is_none() => returned.error = Some(tame(&value)),
                _ => {}
            }
        }
        returned
    }
}

/// An error code as it may be shown and kept.
fn tame(error: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let tamed: String = error.chars().filter(plain).take(LONGEST_ERROR).collect();
    if tamed.is_empty() { "unknown".to_owned() } else { tamed }
}

#[cfg(test)]
mod tests;
