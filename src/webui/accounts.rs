//! `/api/accounts`: list, import, export, remove (spec `http-api.md` §1.4).

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

use crate::anthropic::error::ErrorKind;
use crate::server::auth::Peer;
use crate::server::error::ApiError;
use crate::server::gateway::{AccountCounts, AccountView, ExportedAccount, ImportReport};
use crate::server::state::AppState;
use crate::server::{is_json, json, not_json, read_body};

/// `GET /api/accounts`.
pub(crate) async fn list(State(state): State<Arc<AppState>>) -> Result<Response, ApiError> {
    Ok(json::value(&listed(&state.gateway.accounts().await?)))
}

/// The answer to a listing; the command line prints from the same shape.
pub(crate) fn listed(accounts: &[AccountView]) -> Value {
    json!({ "status": "ok", "accounts": accounts, "summary": AccountCounts::of(accounts) })
}

/// `POST /api/accounts/import`: a bare array or `{"accounts":[…]}`. 200 even when every entry failed:
/// the report says so.
pub(crate) async fn import(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Response, ApiError> {
    if !is_json(request.headers()) {
        return Err(not_json());
    }
    let peer = request.extensions().get::<Peer>().copied();
    let body = read_body(request, state.limits.import, &state.limits).await?;
    let report = state.gateway.import_accounts(body).await?;
    tracing::info!(
        target: "antigravity_proxy::audit", ?peer, added = report.added.len(),
        updated = report.updated.len(), failed = report.failed.len(), "accounts imported"
    );
    Ok(json::value(&imported(&report)))
}

/// The answer to an import; the command line prints from the same shape.
pub(crate) fn imported(report: &ImportReport) -> Value {
    let message = format!("Imported {} accounts", report.added.len() + report.updated.len());
    json!({ "status": "ok", "results": report, "message": message })
}

/// `GET /api/accounts/export`: a bare array with the secrets; [`import`] reads it.
pub(crate) async fn export(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Response, ApiError> {
    let accounts = state.gateway.export_accounts().await?;
    let peer = request.extensions().get::<Peer>().copied();
    tracing::warn!(target: "antigravity_proxy::audit", ?peer, count = accounts.len(), "accounts exported with secrets");
    Ok(json::value(&accounts.iter().map(exported).collect()))
}

fn exported(account: &ExportedAccount) -> Value {
    let mut entry = Map::new();
    entry.insert("email".to_owned(), json!(account.email));
    for (name, secret) in [("refresh_token", &account.refresh_token), ("api_key", &account.api_key)] {
        if let Some(secret) = secret {
            entry.insert(name.to_owned(), json!(secret.expose_secret()));
        }
    }
    Value::Object(entry)
}

/// `DELETE /api/accounts/{email}`.
pub(crate) async fn remove(
    State(state): State<Arc<AppState>>,
    email: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let Ok(Path(email)) = email else {
        return Err(ApiError::invalid("The address in the path is not valid UTF-8"));
    };
    let email = email.trim();
    if !state.gateway.remove_account(email).await? {
        return Err(ApiError::new(ErrorKind::NotFound, format!("Account {email} not found")));
    }
    let peer = request.extensions().get::<Peer>().copied();
    tracing::info!(target: "antigravity_proxy::audit", ?peer, "account removed");
    Ok(json::value(&json!({ "status": "ok", "message": format!("Account {email} removed") })))
}
