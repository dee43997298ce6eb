//! Adding, changing and removing accounts.

use std::collections::BTreeMap;
use std::fmt;

use crate::store::Store;
use crate::store::audit::{FieldChange, Row};
use crate::store::feed::notice::Notice;
use crate::store::host::{Arg, Call, StoreError};
use crate::store::ident::{AccountId, CredentialVersion, InvalidReason, Source, Stamp, Version};
use crate::store::registry::{
    CLEAR_INVALID, FIND_ACCOUNT, GET_CREDENTIAL, INVALIDATE_ACCOUNT, PUT_ACCOUNT, REMOVE_ACCOUNT, SET_ACCOUNT,
};
use crate::store::reply::plain;
use crate::store::script::Script;

/// A field of a change: left as it is, removed, or set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// As it is.
    #[default]
    Keep,
    /// Removed.
    Clear,
    /// Set.
    Set(T),
}

/// An account to add, or to renew when its e-mail address is known.
#[derive(Clone)]
pub struct PutAccount<'a> {
    /// A new id, or the existing one's; the credential is sealed for it.
    pub id: &'a AccountId,
    /// E-mail address; compared lower-cased.
    pub email: &'a str,
    /// How its token is obtained.
    pub source: Source,
    /// The sealed credential.
    pub sealed: &'a str,
    /// Project, kept when `None`.
    pub project: Option<&'a str>,
    /// Project the provider manages; it wins over `project`.
    pub managed_project: Option<&'a str>,
    /// Session id the upstream will know a new account by.
    pub session: &'a str,
    /// When a new account was first added elsewhere, ms since the epoch; `None` is now.
    pub added_at_ms: Option<i64>,
    /// Subscription, kept when `None`.
    pub subscription: Option<Subscription>,
    /// Path of the desktop application's database.
    pub database: Option<&'a str>,
    /// Operator's switch, kept when `None`; a new account is on.
    pub enabled: Option<bool>,
    /// Quota floor of the account, 0 to 1.
    pub threshold: Change<f64>,
    /// Quota floors by model; replaced as a whole.
    pub model_thresholds: Change<BTreeMap<String, f64>>,
}

impl<'a> PutAccount<'a> {
    /// An account of which nothing else is known; of one that exists, everything else is kept.
    #[must_use]
    pub fn new(id: &'a AccountId, email: &'a str, source: Source, sealed: &'a str, session: &'a str) -> Self {
        Self {
            id,
            email,
            source,
            sealed,
            project: None,
            managed_project: None,
            session,
            added_at_ms: None,
            subscription: None,
            database: None,
            enabled: None,
            threshold: Change::Keep,
            model_thresholds: Change::Keep,
        }
    }
}

impl fmt::Debug for PutAccount<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutAccount")
            .field("id", self.id)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// What an account's owner pays for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// `unknown`, `free`, `pro` or `ultra`.
    pub tier: String,
    /// The project it belongs to.
    pub project: Option<String>,
    /// When it was seen, ms since the epoch.
    pub seen_at_ms: Option<i64>,
}

/// What became of a [`PutAccount`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// A new account.
    Added {
        /// Its place in the order of accounts.
        number: u64,
    },
    /// The known account has a new credential and is valid again; what was damaged of it begins anew.
    Renewed {
        /// The credential's version.
        credential: CredentialVersion,
    },
    /// The address belongs to this account: seal the credential for it and put again with its id. Nothing
    /// was written.
    Reseal(AccountId),
    /// The pool has as many accounts as it may. Nothing was written.
    Full {
        /// `maxAccounts`.
        max: u32,
    },
    /// The id belongs to another address. Nothing was written.
    Taken,
}

/// A change of an account that exists.
#[derive(Clone, Debug, Default)]
pub struct SetAccount {
    /// The record's version as read; `None` changes it whatever it is.
    pub expected: Option<Version>,
    /// Operator's switch.
    pub enabled: Option<bool>,
    /// Quota floor of the account, 0 to 1.
    pub threshold: Change<f64>,
    /// Quota floors by model; replaced as a whole.
    pub model_thresholds: Change<BTreeMap<String, f64>>,
    /// Single ones of them, changed after that; `None` takes one away.
    pub models_changed: BTreeMap<String, Option<f64>>,
    /// Project.
    pub project: Change<String>,
    /// Project the provider manages.
    pub managed_project: Change<String>,
    /// `unknown`, `free`, `pro` or `ultra`, as just seen.
    pub tier: Option<String>,
    /// The subscription's project.
    pub tier_project: Change<String>,
}

impl SetAccount {
    /// Whether somebody asked for it; what was only seen of an account is no news.
    fn is_asked_for(&self) -> bool {
        let kept = matches!(self.threshold, Change::Keep)
            && matches!(self.model_thresholds, Change::Keep)
            && self.models_changed.is_empty()
            && matches!(self.project, Change::Keep);
        self.enabled.is_some() || !kept
    }
}

/// What became of a [`SetAccount`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetOutcome {
    /// Made; the record's version is now this.
    Done(Version),
    /// Somebody else changed it first; this is its version.
    Changed(Version),
    /// There is no such account.
    Gone,
}

/// What became of a verdict about an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidateOutcome {
    /// The account is invalid now.
    Done,
    /// It has a newer credential, or was invalid already.
    Stale,
    /// There is no such account.
    Gone,
}

/// What became of an account that was found to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClearOutcome {
    /// The account is valid again.
    Done,
    /// It has a newer credential, is invalid for a newer cause, or is valid.
    Stale,
    /// There is no such account.
    Gone,
}

impl Store {
    /// An account's sealed credential, for moving the account elsewhere.
    pub async fn get_credential(&self, account: &AccountId) -> Result<Option<String>, StoreError> {
        let call = Call::new(&GET_CREDENTIAL)
            .key(self.keys.named("meta"))
            .key(self.keys.named("cred"))
            .arg(account.as_str());
        let mut fields = self.run(self.timed(call)).await?;
        let (code, _) = fields.head()?;
        let sealed = match code.as_str() {
            "OK" => Some(fields.text("a sealed credential")?),
            "NONE" => None,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        Ok(sealed)
    }

    /// The account of an e-mail address.
    pub async fn find_account(&self, email: &str) -> Result<Option<AccountId>, StoreError> {
        let call = Call::new(&FIND_ACCOUNT)
            .key(self.keys.named("meta"))
            .key(self.keys.named("email"))
            .arg(plain(&FIND_ACCOUNT, "email", email)?.to_lowercase());
        let mut fields = self.run(self.timed(call)).await?;
        let (code, _) = fields.head()?;
        let found = match code.as_str() {
            "OK" => Some(fields.account()?),
            "NONE" => None,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        Ok(found)
    }

    /// Adds or renews an account; acknowledged when it is on disk.
    pub async fn put_account(&self, put: &PutAccount<'_>) -> Result<PutOutcome, StoreError> {
        let script = &PUT_ACCOUNT;
        let text = |field, text: Option<&str>| plain(script, field, text.unwrap_or_default()).map(Arg::from);
        let subscription = put.subscription.as_ref();
        let row = Row::new(None, || vec![FieldChange::to("account", "stored")]);
        let mut call = Call::new(script);
        for key in ["meta", "cfg", "roster", "email", "acct", "cred", "hot", "inv", "th"] {
            call = call.key(self.keys.named(key));
        }
        call = call
            .key(self.keys.token_failure(put.id))
            .key(self.keys.named("audit"))
            .arg(put.id.as_str())
            .arg(plain(script, "email", put.email)?.to_lowercase())
            .arg(put.source.as_str())
            .arg(put.sealed)
            .arg(text("project", put.project)?)
            .arg(text("managed project", put.managed_project)?)
            .arg(text("session", Some(put.session))?)
            .arg(put.added_at_ms)
            .arg(text("tier", subscription.map(|s| s.tier.as_str()))?)
            .arg(text("tier project", subscription.and_then(|s| s.project.as_deref()))?)
            .arg(subscription.and_then(|s| s.seen_at_ms))
            .arg(text("database", put.database)?)
            .arg(put.enabled)
            .arg(fraction(&put.threshold))
            .arg(thresholds(script, &put.model_thresholds)?);
        let call = self.configured(call).arg(self.keys.channel()).arg(&*row.text);
        let mut fields = self.run(self.timed(call)).await?;
        let (code, stamp) = fields.head()?;
        let outcome = match code.as_str() {
            "ADDED" | "RENEWED" => {
                fields.account()?;
                let credential = CredentialVersion(fields.number("a credential version")?);
                let number = fields.number("a number")?;
                row.kept();
                if code == "ADDED" {
                    PutOutcome::Added { number }
                } else {
                    PutOutcome::Renewed { credential }
                }
            }
            "RESEAL" => PutOutcome::Reseal(fields.account()?),
            "FULL" => PutOutcome::Full { max: fields.number("most accounts")? },
            "TAKEN" => PutOutcome::Taken,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        match outcome {
            PutOutcome::Added { .. } => {
                self.note(stamp, Notice::Account { id: put.id, kind: "account.added" });
            }
            PutOutcome::Renewed { .. } => {
                self.note(stamp, Notice::Account { id: put.id, kind: "account.renewed" });
            }
            PutOutcome::Reseal(_) | PutOutcome::Full { .. } | PutOutcome::Taken => {}
        }
        Ok(outcome)
    }

    /// Forgets an account and what is known of it for `models`; `false` when there was none.
    pub async fn remove_account(&self, account: &AccountId, models: &[String]) -> Result<bool, StoreError> {
        let mut call = Call::new(&REMOVE_ACCOUNT);
        for key in ["meta", "roster", "email", "acct", "cred", "hot", "inv", "tok", "quota", "th"] {
            call = call.key(self.keys.named(key));
        }
        call = call
            .key(self.keys.token_lock(account))
            .key(self.keys.token_failure(account))
            .key(self.keys.named("audit"));
        call = models.iter().fold(call, |call, model| call.key(self.keys.model(model)));
        let row = Row::new(None, || vec![FieldChange { field: "account".into(), ..FieldChange::default() }]);
        let call = call.arg(account.as_str()).arg(self.keys.channel()).arg(&*row.text);
        let removed = self.done(call).await?;
        if let Some(stamp) = removed {
            row.kept();
            self.note(stamp, Notice::Account { id: account, kind: "account.removed" });
        }
        Ok(removed.is_some())
    }

    /// Changes an account that exists and can be read; acknowledged when it is on disk.
    pub async fn set_account(&self, account: &AccountId, set: &SetAccount) -> Result<SetOutcome, StoreError> {
        let script = &SET_ACCOUNT;
        let row = Row::new(None, || told(set));
        let call = Call::new(script)
            .key(self.keys.named("meta"))
            .key(self.keys.named("acct"))
            .key(self.keys.named("hot"))
            .key(self.keys.named("th"))
            .key(self.keys.named("audit"))
            .arg(account.as_str())
            .arg(set.expected.map(|version| version.0))
            .arg(set.enabled)
            .arg(fraction(&set.threshold))
            .arg(thresholds(script, &set.model_thresholds)?)
            .arg(models(script, set.models_changed.iter().map(|(model, value)| (model, *value)))?)
            .arg(changed(script, "project", &set.project)?)
            .arg(changed(script, "managed project", &set.managed_project)?)
            .arg(plain(script, "tier", set.tier.as_deref().unwrap_or_default())?)
            .arg(changed(script, "tier project", &set.tier_project)?)
            .arg(self.keys.channel())
            .arg(&*row.text);
        let mut fields = self.run(self.timed(call)).await?;
        let (code, stamp) = fields.head()?;
        let outcome = match code.as_str() {
            "OK" | "SAME" => {
                row.kept();
                SetOutcome::Done(Version(fields.number("a version")?))
            }
            "CHANGED" => SetOutcome::Changed(Version(fields.number("a version")?)),
            "NONE" => SetOutcome::Gone,
            "DAMAGED" => return Err(StoreError::Damaged { account: account.clone() }),
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        if code == "OK" && set.is_asked_for() {
            self.note(stamp, Notice::Account { id: account, kind: "account.changed" });
        }
        Ok(outcome)
    }

    /// Marks an account as needing its owner, if `credential` is still the one it has.
    pub async fn invalidate_account(
        &self,
        account: &AccountId,
        credential: CredentialVersion,
        reason: InvalidReason,
        url: Option<&str>,
    ) -> Result<InvalidateOutcome, StoreError> {
        let call = Call::new(&INVALIDATE_ACCOUNT)
            .key(self.keys.named("meta"))
            .key(self.keys.named("hot"))
            .key(self.keys.named("inv"))
            .arg(account.as_str())
            .arg(credential.0)
            .arg(reason.as_str())
            .arg(plain(&INVALIDATE_ACCOUNT, "address", url.unwrap_or_default())?)
            .arg(self.keys.channel());
        let mut fields = self.run(self.timed(call)).await?;
        let (code, stamp) = fields.head()?;
        let outcome = match code.as_str() {
            "OK" => InvalidateOutcome::Done,
            "STALE" => InvalidateOutcome::Stale,
            "NONE" => InvalidateOutcome::Gone,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        if outcome == InvalidateOutcome::Done {
            self.note(stamp, Notice::AccountInvalid { id: account, reason });
        }
        Ok(outcome)
    }

    /// Makes an account valid again and its health new, if `credential`, which works, is still the one it has, and it has
    /// been invalid since `since_ms` (ms since the epoch, as [`Invalidity`](super::listing::Invalidity) told).
    pub async fn clear_invalid(
        &self,
        account: &AccountId,
        credential: CredentialVersion,
        since_ms: i64,
    ) -> Result<ClearOutcome, StoreError> {
        let call = Call::new(&CLEAR_INVALID)
            .key(self.keys.named("meta"))
            .key(self.keys.named("hot"))
            .key(self.keys.named("inv"))
            .key(self.keys.token_failure(account))
            .arg(account.as_str())
            .arg(credential.0)
            .arg(since_ms)
            .arg(self.keys.channel());
        let mut fields = self.run(self.timed(call)).await?;
        let (code, stamp) = fields.head()?;
        let outcome = match code.as_str() {
            "OK" => ClearOutcome::Done,
            "STALE" => ClearOutcome::Stale,
            "NONE" => ClearOutcome::Gone,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        if outcome == ClearOutcome::Done {
            self.note(stamp, Notice::Account { id: account, kind: "account.valid" });
        }
        Ok(outcome)
    }

    /// Runs a script that answers `OK` or `NONE`: when it was done, if it was.
    async fn done(&self, call: Call) -> Result<Option<Stamp>, StoreError> {
        let mut fields = self.run(self.timed(call)).await?;
        let (code, stamp) = fields.head()?;
        let done = match code.as_str() {
            "OK" => Some(stamp),
            "NONE" => None,
            other => return Err(fields.unknown(other)),
        };
        fields.end()?;
        Ok(done)
    }
}

/// What of a change an operator makes, for the audit trail.
fn told(set: &SetAccount) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    if let Some(enabled) = set.enabled {
        changes.push(FieldChange::to("enabled", enabled));
    }
    match &set.threshold {
        Change::Keep => {}
        Change::Clear => changes.push(FieldChange::to("quotaThreshold", ())),
        Change::Set(threshold) => changes.push(FieldChange::to("quotaThreshold", *threshold)),
    }
    match &set.model_thresholds {
        Change::Keep => {}
        Change::Clear => changes.push(FieldChange::to("modelQuotaThresholds", ())),
        Change::Set(thresholds) => {
            let rows: Vec<_> = thresholds.iter().map(|(model, value)| format!("{model}={value}")).collect();
            changes.push(FieldChange::to("modelQuotaThresholds", rows.join(" ")));
        }
    }
    changes.extend(
        set.models_changed
            .iter()
            .map(|(model, threshold)| FieldChange::to(&format!("modelQuotaThresholds.{model}"), *threshold)),
    );
    changes
}

fn fraction(change: &Change<f64>) -> String {
    match change {
        Change::Keep => String::new(),
        Change::Clear => "-".into(),
        Change::Set(value) if value.is_finite() => value.clamp(0.0, 1.0).to_string(),
        Change::Set(_) => "0".into(),
    }
}

fn thresholds(script: &'static Script, change: &Change<BTreeMap<String, f64>>) -> Result<String, StoreError> {
    let map = match change {
        Change::Keep => return Ok(String::new()),
        Change::Set(map) if !map.is_empty() => map,
        _ => return Ok("-".into()),
    };
    models(script, map.iter().map(|(model, value)| (model, Some(*value))))
}

fn models<'m>(
    script: &'static Script,
    floors: impl Iterator<Item = (&'m String, Option<f64>)>,
) -> Result<String, StoreError> {
    let mut rows = Vec::new();
    for (model, value) in floors {
        if model.is_empty() || model.contains([' ', '=']) {
            return Err(StoreError::BadArgument {
                script: script.name,
                field: "model threshold",
                problem: "a model name with blanks or `=`",
            });
        }
        rows.push(format!(
            "{}={}",
            plain(script, "model", model)?,
            fraction(&value.map_or(Change::Keep, Change::Set))
        ));
    }
    Ok(rows.join(" "))
}

fn changed(script: &'static Script, field: &'static str, change: &Change<String>) -> Result<Arg, StoreError> {
    match change {
        Change::Keep => Ok(Arg::from("")),
        Change::Set(text) if !text.is_empty() => plain(script, field, text).map(Arg::from),
        _ => Ok(Arg::from("-")),
    }
}
