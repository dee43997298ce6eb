//! `/refresh-token` and `/test/clear-signature-cache`: forgetting what can be had anew (spec `http-api.md` §1.3.3, §1.3.4).

use std::sync::Arc;

use axum::extract::State;
use http::Method;
use serde::Serialize;
use utoipa::ToSchema;

use crate::server::answer::Answer;
use crate::server::error::ApiError;
use crate::server::gateway::operations::ClearedCaches;
use crate::server::state::AppState;

/// What was forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct TokensCleared {
    /// In one sentence.
    message: &'static str,
    /// How much it was.
    cleared: ClearedCaches,
    /// Whether nothing was forgotten because that was done less than 5 seconds ago, by whichever replica.
    skipped: bool,
}

/// Forgets the access tokens of all accounts, in the whole pool.
///
/// The next request of each account fetches a new one; its project and tier are looked for anew. The answer has nothing of a
/// token. At most once in 5 seconds for the whole pool: within these the answer is 200 as well, but nothing is forgotten, and
/// `skipped` says so. Needs the console's credentials or a client key; where neither is set, nothing.
#[utoipa::path(
    post,
    path = "/refresh-token",
    operation_id = "refreshTokens",
    tag = "accounts",
    responses((status = 200, description = "They are forgotten", body = Answer<TokensCleared>))
)]
pub(crate) async fn refresh_tokens(
    State(state): State<Arc<AppState>>,
) -> Result<Answer<TokensCleared>, ApiError> {
    let done = state.gateway.clear_caches().await?;
    Ok(Answer::new(TokensCleared {
        message: match done {
            Some(_) => "Token caches cleared and refreshed",
            None => "Token caches were cleared less than 5 seconds ago",
        },
        cleared: done.unwrap_or_default(),
        skipped: done.is_none(),
    }))
}

/// Signatures were forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct SignaturesCleared {
    /// Always `true`.
    success: bool,
    /// In one sentence.
    message: &'static str,
    /// How many there were.
    cleared: u64,
}

/// Forgets the signatures of all conversations, in the whole pool.
///
/// For tests of what clients meet when signatures are lost. In developer mode only; else there is no such endpoint.
#[utoipa::path(
    post,
    path = "/test/clear-signature-cache",
    operation_id = "clearSignatures",
    tag = "operations",
    responses(
        (status = 200, description = "They are forgotten", body = SignaturesCleared),
        (status = 404, description = "Developer mode is not enabled")
    )
)]
pub(crate) async fn clear_signatures(
    State(state): State<Arc<AppState>>,
) -> Result<axum::Json<SignaturesCleared>, ApiError> {
    match state.gateway.clear_signatures().await? {
        Some(cleared) => Ok(axum::Json(SignaturesCleared {
            success: true,
            message: "Thinking signature cache cleared",
            cleared,
        })),
        None => Err(ApiError::no_endpoint(&Method::POST, "/test/clear-signature-cache")),
    }
}
