//! Account documents as the API's document describes them; `account::import` and `account::export` read and write them.

use std::borrow::Cow;

use secrecy::ExposeSecret;
use serde::Serialize;
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, SchemaType};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::server::gateway::ExportedAccount;

/// What an import takes: entries, bare or under `accounts`.
#[derive(ToSchema)]
#[schema(as = AccountImport)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes what account::import reads")]
pub(super) enum Import {
    /// Entries.
    #[schema(title = "entries")]
    Bare(Entries),
    /// A document.
    #[schema(title = "document")]
    Document {
        /// Entries.
        #[schema(min_items = 1)]
        accounts: Vec<ImportEntry>,
    },
}

/// At least one.
#[derive(ToSchema)]
#[schema(as = ImportEntries, min_items = 1)]
#[expect(dead_code, reason = "describes what account::import reads")]
pub(super) struct Entries(Vec<ImportEntry>);

/// One entry of an import: an account, or anything else, which is refused on its own.
pub(super) struct ImportEntry;

impl PartialSchema for ImportEntry {
    fn schema() -> RefOr<Schema> {
        let anything = ObjectBuilder::new().schema_type(SchemaType::AnyValue);
        let description = "An account. What is none is refused on its own and told in `results.failed`.";
        // Not one of both: an account is anything, too.
        AnyOfBuilder::new()
            .item(Ref::from_schema_name(AccountEntry::name()))
            .item(Schema::from(anything))
            .description(Some(description))
            .into()
    }
}

impl ToSchema for ImportEntry {
    fn name() -> Cow<'static, str> {
        "ImportEntry".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((AccountEntry::name().into_owned(), AccountEntry::schema()));
        AccountEntry::schemas(schemas);
    }
}

/// An account with its credential. Further members are those of the reference's `accounts.json`.
#[derive(ToSchema)]
#[schema(as = ImportedAccount)]
#[expect(dead_code, reason = "describes what account::import reads")]
pub(super) struct AccountEntry {
    /// Its address.
    #[schema(example = "ada@example.com")]
    email: String,
    /// The refresh token, also composite: `token|project|managed project`. Also called `refreshToken`.
    refresh_token: Option<String>,
    /// A fixed access credential. Also called `apiKey`.
    api_key: Option<String>,
}

/// What an export gives.
#[derive(ToSchema)]
#[schema(as = AccountExport)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes what account::export writes")]
pub(super) enum Document {
    /// Addresses and secrets.
    #[schema(title = "entries")]
    Entries(Vec<Export<'static>>),
    /// With `full=true`.
    #[schema(title = "document")]
    Full(FullDocument),
}

/// Everything that is known of all accounts: the reference's `accounts.json` and what it has no member for.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AccountDocument)]
#[expect(dead_code, reason = "describes what account::export writes")]
pub(super) struct FullDocument {
    /// The accounts, each with everything that is known of it.
    accounts: Vec<FullEntry>,
    /// Accounts whose credential does not open; left out when there are none.
    unreadable: Option<Vec<crate::server::gateway::ImportFailure>>,
}

/// One account of the document; further members are left out here.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AccountDocumentEntry)]
#[expect(dead_code, reason = "describes what account::export writes")]
pub(super) struct FullEntry {
    /// Its address.
    email: String,
    /// `oauth`, `manual` or `database`.
    source: String,
    /// Whether it takes part in selection.
    enabled: bool,
    /// The composite refresh token.
    refresh_token: Option<String>,
    /// The fixed access credential.
    api_key: Option<String>,
}

/// One account with its secrets, for moving it elsewhere.
#[derive(Serialize, ToSchema)]
#[schema(as = ExportedAccount)]
pub(super) struct Export<'a> {
    /// Its address.
    email: &'a str,
    /// The composite refresh token; left out when it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    /// The fixed access credential; left out when it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<&'a str>,
}

impl<'a> From<&'a ExportedAccount> for Export<'a> {
    fn from(account: &'a ExportedAccount) -> Self {
        Self {
            email: &account.email,
            refresh_token: account.refresh_token.as_ref().map(ExposeSecret::expose_secret),
            api_key: account.api_key.as_ref().map(ExposeSecret::expose_secret),
        }
    }
}
