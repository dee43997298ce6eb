//! `/api/accounts`: list, import, export, remove (spec `http-api.md` §1.4).

mod document;
pub(crate) mod manage;
pub(crate) mod upkeep;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use self::document::{Document, Export, Import};
use self::manage::{AccountPath, Email};
use crate::account::directory::Refusals;
use crate::anthropic::error::ErrorKind;
use crate::server::answer::{Answer, Said};
use crate::server::error::ApiError;
use crate::server::gateway::{AccountCounts, AccountView, ImportReport};
use crate::server::query::Params;
use crate::server::state::AppState;
use crate::server::{is_json, json, not_json, read_body};

/// The accounts of the pool.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct AccountList {
    /// In the order in which they were added.
    accounts: Vec<AccountView>,
    /// How many are in which state.
    summary: AccountCounts,
}

/// All accounts of the pool, without any secret.
#[utoipa::path(
    get,
    path = "/api/accounts",
    operation_id = "listAccounts",
    tag = "accounts",
    responses((status = 200, description = "The accounts", body = Answer<AccountList>))
)]
pub(crate) async fn list(State(state): State<Arc<AppState>>) -> Result<Answer<AccountList>, ApiError> {
    Ok(listed(state.gateway.accounts().await?))
}

/// The answer to a listing; the command line prints from the same shape.
pub(crate) fn listed(accounts: Vec<AccountView>) -> Answer<AccountList> {
    Answer::new(AccountList { summary: AccountCounts::of(&accounts), accounts })
}

/// How to import.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImportWish {
    /// Leave a document alone that was imported before.
    #[serde(default)]
    once: bool,
    /// With `once`: a document of which an entry was refused counts as imported, too, if another one was taken.
    #[serde(default)]
    allow_refused: bool,
}

/// What became of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Imported {
    /// What became of each entry.
    results: ImportReport,
    /// `true` when this very document was imported before and nothing was done; else it is not there.
    #[serde(rename = "importedBefore", skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    before: bool,
    /// In one sentence.
    #[schema(example = "Imported 2 accounts")]
    message: String,
}

/// Adds or updates accounts.
///
/// Each entry is taken or refused on its own: the answer is 200 even when every one was refused, and says so.
#[utoipa::path(
    post,
    path = "/api/accounts/import",
    operation_id = "importAccounts",
    tag = "accounts",
    params(ImportWish),
    request_body = Import,
    responses((status = 200, description = "What became of each entry", body = Answer<Imported>))
)]
pub(crate) async fn import(
    State(state): State<Arc<AppState>>,
    Params(wish): Params<ImportWish>,
    request: Request,
) -> Result<Answer<Imported>, ApiError> {
    if !is_json(request.headers()) {
        return Err(not_json());
    }
    let body = read_body(request, state.limits.import, &state.limits, &state.clock).await?;
    let report = if wish.once {
        let refusals = if wish.allow_refused { Refusals::Allow } else { Refusals::Retry };
        match state.gateway.import_accounts_once(body, refusals).await? {
            Some(report) => report,
            None => return Ok(imported_before()),
        }
    } else {
        state.gateway.import_accounts(body).await?
    };
    Ok(imported(report))
}

/// The answer to an import; the command line prints from the same shape.
pub(crate) fn imported(results: ImportReport) -> Answer<Imported> {
    let message = format!("Imported {} accounts", results.added.len() + results.updated.len());
    Answer::new(Imported { results, before: false, message })
}

/// The answer to an import that had been done already.
pub(crate) fn imported_before() -> Answer<Imported> {
    Answer::new(Imported {
        results: ImportReport::default(),
        before: true,
        message: "This document was imported before".to_owned(),
    })
}

/// How to export.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExportWish {
    /// The whole document, with everything that is known of each account.
    #[serde(default)]
    full: bool,
}

/// All accounts with their secrets.
///
/// A bare array of addresses and secrets, as the reference's console expects it; with `full=true` the whole document.
/// An import reads both.
#[utoipa::path(
    get,
    path = "/api/accounts/export",
    operation_id = "exportAccounts",
    tag = "accounts",
    params(ExportWish),
    responses((status = 200, description = "The accounts, secrets in clear", body = Document))
)]
pub(crate) async fn export(
    State(state): State<Arc<AppState>>,
    Params(ExportWish { full }): Params<ExportWish>,
) -> Result<Response, ApiError> {
    if full {
        let document = state.gateway.account_document().await?;
        return Ok(json::value(&document));
    }
    let accounts = state.gateway.export_accounts().await?;
    let accounts: Vec<_> = accounts.iter().map(Export::from).collect();
    Ok(json::of(StatusCode::OK, &accounts))
}

/// Removes an account.
#[utoipa::path(
    delete,
    path = "/api/accounts/{email}",
    operation_id = "removeAccount",
    tag = "accounts",
    params(AccountPath),
    responses(
        (status = 200, description = "It is removed", body = Answer<Said>),
        (status = 404, description = "No account has this address")
    )
)]
pub(crate) async fn remove(
    State(state): State<Arc<AppState>>,
    email: Email,
) -> Result<Answer<Said>, ApiError> {
    let email = manage::address(email)?;
    if !state.gateway.remove_account(&email).await? {
        return Err(ApiError::new(ErrorKind::NotFound, format!("Account {email} not found")));
    }
    Ok(removed(&email))
}

/// The answer to a removal; the command line prints from the same shape.
pub(crate) fn removed(email: &str) -> Answer<Said> {
    Answer::new(Said { message: format!("Account {email} removed") })
}
