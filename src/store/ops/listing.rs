//! Accounts as an operator sees them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::accounts::Subscription;
use super::models::ModelQuota;
use crate::store::Store;
use crate::store::host::{Call, StoreError};
use crate::store::ident::{AccountId, CredentialVersion, InvalidReason, Source, Stamp, Version};
use crate::store::registry::{GET_ACCOUNT, LIST_ACCOUNTS};
use crate::store::reply::{Fields, plain};

/// A page of accounts.
#[derive(Clone, Debug, PartialEq)]
pub struct AccountPage {
    /// When it was read.
    pub stamp: Stamp,
    /// Accounts in the pool.
    pub total: u64,
    /// Where the next page starts; `None` on the last.
    pub next: Option<u64>,
    /// In the order of their numbers.
    pub accounts: Vec<AccountView>,
    /// Those of the page whose records cannot be read, likewise.
    pub damaged: Vec<DamagedAccount>,
}

/// An account whose record cannot be read: it takes no part in anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedAccount {
    /// Its id.
    pub id: AccountId,
    /// Its place in the order of accounts.
    pub number: u64,
    /// Its e-mail address, as far as it is known.
    pub email: Option<String>,
}

impl DamagedAccount {
    /// What a person calls it: its address, else its id.
    #[must_use]
    pub fn name(&self) -> &str {
        self.email.as_deref().unwrap_or(self.id.as_str())
    }
}

/// One account: its record and what selection sees of it now.
#[derive(Clone, Debug, PartialEq)]
pub struct AccountView {
    /// Its id.
    pub id: AccountId,
    /// Its place in the order of accounts.
    pub number: u64,
    /// E-mail address, lower-cased.
    pub email: String,
    /// How its token is obtained.
    pub source: Source,
    /// Project, as set.
    pub project: Option<String>,
    /// Project the provider manages; it wins.
    pub managed_project: Option<String>,
    /// Session id the upstream knows it by.
    pub session: String,
    /// When it was added, ms since the epoch.
    pub added_at_ms: i64,
    /// What its owner pays for.
    pub subscription: Subscription,
    /// Path of the desktop application's database.
    pub database: Option<String>,
    /// Version of the record.
    pub version: Version,
    /// Quota floors by model.
    pub model_thresholds: BTreeMap<String, f64>,
    /// Operator's switch.
    pub enabled: bool,
    /// Why it needs its owner, when it does.
    pub invalid: Option<Invalidity>,
    /// Its credential's version.
    pub credential: CredentialVersion,
    /// Requests in flight.
    pub in_flight: u32,
    /// Conversations that stay with it, where the strategy is sticky.
    pub conversations: u32,
    /// Until it is usable for any model.
    pub cooling: Duration,
    /// When it was last chosen, ms since the epoch.
    pub last_used_ms: Option<i64>,
    /// Health now.
    pub health: f64,
    /// Requests in its bucket now.
    pub tokens: f64,
    /// Quota floor.
    pub threshold: Option<f64>,
    /// Failures in a row.
    pub failures: u32,
    /// How long its access token may be used; zero without one.
    pub token_ttl: Duration,
    /// When its quotas were fetched, ms since the epoch.
    pub quota_at_ms: Option<i64>,
    /// Its quotas.
    pub quotas: Vec<ModelQuota>,
    /// Its limits for the models asked for.
    pub limits: Vec<ModelLimit>,
}

/// One account with its credential, both of the same moment.
#[derive(Clone, PartialEq)]
pub struct Account {
    /// When it was read.
    pub stamp: Stamp,
    /// As it is listed, without limits.
    pub view: AccountView,
    /// The sealed credential.
    pub sealed: String,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("view", &self.view).finish_non_exhaustive()
    }
}

/// How one account is named.
#[derive(Clone, Copy, Debug)]
pub enum Named<'a> {
    /// By its id.
    Id(&'a AccountId),
    /// By its e-mail address; compared lower-cased.
    Email(&'a str),
}

/// Why and since when an account is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalidity {
    /// The reason.
    pub reason: InvalidReason,
    /// Since when, ms since the epoch.
    pub since_ms: i64,
    /// Where its owner verifies it.
    pub url: Option<String>,
}

/// A limit in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelLimit {
    /// The model.
    pub model: String,
    /// Until it ends.
    pub left: Duration,
    /// `quota`, `rate`, `unknown`, `capacity`, `failure`, `forbidden` or `unsupported`.
    pub why: String,
}

impl Store {
    /// Up to `cap` accounts (1 to 1,000) behind the one numbered `after` (0: from the start), with their
    /// limits for `models`.
    pub async fn list_accounts(
        &self,
        after: u64,
        cap: u32,
        models: &[String],
    ) -> Result<AccountPage, StoreError> {
        let mut call = Call::new(&LIST_ACCOUNTS);
        for key in ["meta", "cfg", "roster", "acct", "hot", "inv", "tok", "quota", "email"] {
            call = call.key(self.keys.named(key));
        }
        call = self.configured(call.arg(after).arg(cap.clamp(1, 1000)));
        for model in models {
            let model = plain(&LIST_ACCOUNTS, "model", model)?;
            call = call.key(self.keys.model(model)).arg(model);
        }
        let mut fields = self.run(self.timed(call)).await?;
        let (_, stamp) = fields.head()?;
        let total = fields.number("accounts in the pool")?;
        let next = Some(fields.number("a cursor")?).filter(|next| *next != 0);
        let readable: usize = fields.number("accounts that can be read")?;
        let accounts = (0..readable).map(|_| view(&mut fields)).collect::<Result<_, _>>()?;
        let mut damaged = Vec::new();
        while fields.left() > 0 {
            damaged.push(DamagedAccount {
                id: fields.account()?,
                number: fields.number("a number")?,
                email: fields.optional("an address")?,
            });
        }
        Ok(AccountPage { stamp, total, next, accounts, damaged })
    }

    /// One account and its credential; `None` when there is none of that name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] when its record cannot be read; the store fails.
    pub async fn get_account(&self, named: Named<'_>) -> Result<Option<Account>, StoreError> {
        let mut call = Call::new(&GET_ACCOUNT);
        for key in ["meta", "cfg", "email", "acct", "cred", "hot", "inv", "tok", "quota"] {
            call = call.key(self.keys.named(key));
        }
        let call = match named {
            Named::Id(id) => call.arg(id.as_str()).arg(""),
            Named::Email(email) => call.arg("").arg(plain(&GET_ACCOUNT, "email", email)?.to_lowercase()),
        };
        let mut fields = self.run(self.timed(self.configured(call))).await?;
        let (code, stamp) = fields.head()?;
        let account = match code.as_str() {
            "OK" => {
                let sealed = fields.text("a sealed credential")?;
                Some(Account { stamp, view: view(&mut fields)?, sealed })
            }
            "NONE" => None,
            "DAMAGED" => return Err(StoreError::Damaged { account: fields.account()? }),
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        Ok(account)
    }
}

fn view(fields: &mut Fields) -> Result<AccountView, StoreError> {
    Ok(AccountView {
        id: fields.account()?,
        number: fields.number("a number")?,
        email: fields.text("an address")?,
        source: fields.parsed("a source", Source::from_name)?,
        project: fields.optional("a project")?,
        managed_project: fields.optional("a project")?,
        session: fields.text("a session id")?,
        added_at_ms: fields.number("a time")?,
        subscription: Subscription {
            tier: fields.text("a tier")?,
            project: fields.optional("a project")?,
            seen_at_ms: fields.optional_number("a time")?,
        },
        database: fields.optional("a path")?,
        version: Version(fields.number("a version")?),
        model_thresholds: fields.parsed("model thresholds", |text| {
            text.split(' ')
                .filter(|row| !row.is_empty())
                .map(|row| {
                    let (model, fraction) = row.split_once('=')?;
                    Some((model.to_owned(), fraction.parse().ok()?))
                })
                .collect()
        })?,
        enabled: fields.flag("whether it is enabled")?,
        invalid: invalidity(fields)?,
        credential: CredentialVersion(fields.number("a credential version")?),
        in_flight: fields.number("requests in flight")?,
        conversations: fields.number("conversations")?,
        cooling: fields.millis("ms of cooling")?,
        last_used_ms: Some(fields.number("a time")?).filter(|at| *at != 0),
        health: fields.float("health")?,
        tokens: fields.float("tokens")?,
        threshold: fields.parsed("a threshold", |text| {
            if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
        })?,
        failures: fields.number("failures")?,
        token_ttl: fields.millis("ms of a token's life")?,
        quota_at_ms: None,
        quotas: Vec::new(),
        limits: Vec::new(),
    })
    .and_then(|mut view| {
        (view.quota_at_ms, view.quotas) = fields.parsed("quotas", quotas)?;
        view.limits = fields.parsed("limits", |text| rows(text, limit))?;
        Ok(view)
    })
}

fn invalidity(fields: &mut Fields) -> Result<Option<Invalidity>, StoreError> {
    let reason = fields.parsed("a reason", |text| {
        if text.is_empty() { Some(None) } else { InvalidReason::from_name(text).map(Some) }
    })?;
    let since = fields.optional_number("a time")?;
    let url = fields.optional("an address")?;
    Ok(reason.map(|reason| Invalidity { reason, since_ms: since.unwrap_or_default(), url }))
}

/// Rows of which each ends with byte 30.
fn rows<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    text.split_terminator('\u{1e}').map(read).collect()
}

fn quotas(text: &str) -> Option<(Option<i64>, Vec<ModelQuota>)> {
    if text.is_empty() {
        return Some((None, Vec::new()));
    }
    let (at, list) = text.split_once('\u{1e}')?;
    Some((Some(at.parse().ok()?), rows(list, quota)?))
}

fn quota(row: &str) -> Option<ModelQuota> {
    let mut parts = row.split('\u{1f}');
    let (model, fraction, reset) = (parts.next()?, parts.next()?, parts.next()?);
    let fraction = if fraction.is_empty() { None } else { Some(fraction.parse().ok()?) };
    let reset = Some(reset.to_owned()).filter(|reset| !reset.is_empty());
    // Records of earlier versions do not say it.
    let told = parts.next().is_some() || fraction.is_some() || reset.is_some();
    Some(ModelQuota { model: model.into(), fraction, reset, told })
}

fn limit(row: &str) -> Option<ModelLimit> {
    let mut parts = row.split('\u{1f}');
    let (model, left, why) = (parts.next()?, parts.next()?, parts.next()?);
    Some(ModelLimit { model: model.into(), left: Duration::from_millis(left.parse().ok()?), why: why.into() })
}
