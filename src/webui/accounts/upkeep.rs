//! Keeping accounts usable: refresh, reload, fix (spec `http-api.md` §1.4).

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::manage::{AccountPath, Email, address, not_found};
use crate::server::answer::{Answer, Said};
use crate::server::error::ApiError;
use crate::server::gateway::SignInBegun;
use crate::server::gateway::operations::{Remedy, RemedyName};
use crate::server::state::AppState;

/// Forgets what was derived from an account's credential.
///
/// Its access token is fetched anew, its project and tier are looked for anew, and pauses after failures end, in the whole
/// pool. If its owner had to verify it, it counts as verified; if that is not so, its next use tells.
#[utoipa::path(
    post,
    path = "/api/accounts/{email}/refresh",
    operation_id = "refreshAccount",
    tag = "accounts",
    params(AccountPath),
    responses(
        (status = 200, description = "It is forgotten", body = Answer<Said>),
        (status = 404, description = "No account has this address")
    )
)]
pub(crate) async fn refresh(
    State(state): State<Arc<AppState>>,
    email: Email,
) -> Result<Answer<Said>, ApiError> {
    let email = address(email)?;
    if !state.gateway.refresh_account(&email).await? {
        return Err(not_found(&email));
    }
    Ok(Answer::new(Said { message: format!("Token cache cleared for {email}") }))
}

/// The pool was read again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Reloaded {
    /// In one sentence.
    message: &'static str,
    /// How many accounts are in which state, in words.
    #[schema(example = "3 total, 2 available, 1 rate-limited, 1 invalid")]
    summary: String,
}

/// Reads the pool again.
///
/// Gateways keep no accounts of their own, so there is little to reload: settings, models, and whom to ask for quotas. Health,
/// limits and leases stay as they are.
#[utoipa::path(
    post,
    path = "/api/accounts/reload",
    operation_id = "reloadAccounts",
    tag = "accounts",
    responses((status = 200, description = "It is read", body = Answer<Reloaded>))
)]
pub(crate) async fn reload(State(state): State<Arc<AppState>>) -> Result<Answer<Reloaded>, ApiError> {
    let summary = state.gateway.reload_accounts().await?.to_string();
    Ok(Answer::new(Reloaded { message: "Accounts reloaded from disk", summary }))
}

/// How an account can be mended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fix {
    /// What helps.
    remedy: RemedyName,
    /// What to do, in one sentence.
    message: String,
    /// Where its owner's browser goes; left out where nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// Names the sign-in that was begun, for `/api/auth/status` and `/api/auth/complete`.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    /// When that ends, Unix epoch in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
    /// Where Google sends the browser back to after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    redirect_uri: Option<String>,
    /// Whether this gateway listens there itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_listening: Option<bool>,
}

impl Fix {
    fn new(remedy: RemedyName, message: impl Into<String>, url: Option<String>) -> Self {
        Self {
            remedy,
            message: message.into(),
            url,
            state: None,
            expires_at: None,
            redirect_uri: None,
            callback_listening: None,
        }
    }

    fn signing_in(message: impl Into<String>, begun: SignInBegun) -> Self {
        let SignInBegun { url, state, expires_at, redirect_uri, callback_listening } = begun;
        Self {
            state: Some(state),
            expires_at: Some(expires_at),
            redirect_uri: Some(redirect_uri),
            callback_listening: Some(callback_listening),
            ..Self::new(RemedyName::SignIn, message, Some(url))
        }
    }
}

/// Says what an account's owner has to do, and begins the sign-in where that is it.
///
/// An account that waits for its owner is verified at Google, or signed in again; of one that works nothing is wanted.
#[utoipa::path(
    post,
    path = "/api/accounts/{email}/fix",
    operation_id = "fixAccount",
    tag = "accounts",
    params(AccountPath),
    responses(
        (status = 200, description = "What helps", body = Answer<Fix>),
        (status = 404, description = "No account has this address")
    )
)]
pub(crate) async fn fix(State(state): State<Arc<AppState>>, email: Email) -> Result<Answer<Fix>, ApiError> {
    let email = address(email)?;
    let remedy = state.gateway.account_remedy(&email).await?.ok_or_else(|| not_found(&email))?;
    let name = remedy.name();
    Ok(Answer::new(match remedy {
        Remedy::Nothing { enabled: true } => Fix::new(name, "The account is in use", None),
        Remedy::Nothing { enabled: false } => {
            Fix::new(name, "The account is switched off; its switch is all it needs", None)
        }
        Remedy::Verify { url } => {
            let text = "Its owner verifies the account at this address; then refresh it here";
            Fix::new(name, text, Some(url))
        }
        Remedy::Appeal => {
            let text = "The provider has disabled the account; only its owner's appeal there helps";
            Fix::new(name, text, None)
        }
        Remedy::SignIn => {
            let begun = state.gateway.begin_signin(Some(email.to_lowercase())).await?;
            Fix::signing_in("Its owner signs in again at this address", begun)
        }
    }))
}
