//! Accounts come, change and go (spec §9.6: additions, edits, deletion, clearing, quotas).

use std::collections::BTreeMap;

use super::Pool;
use super::account::{Account, Invalid, Quota, Quotas};

/// A field of a change.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Edit<T> {
    #[default]
    Keep,
    Clear,
    Set(T),
}

impl<T: Clone> Edit<T> {
    fn apply(&self, field: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Clear => *field = None,
            Self::Set(value) => *field = Some(value.clone()),
        }
    }
}

/// An account to add or to renew. What is `None` is kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewAccount {
    pub(crate) id: String,
    /// Lower-cased.
    pub(crate) email: String,
    pub(crate) source: String,
    pub(crate) sealed: String,
    pub(crate) project: Option<String>,
    pub(crate) managed_project: Option<String>,
    pub(crate) session: String,
    pub(crate) added_at: Option<i64>,
    pub(crate) tier: Option<String>,
    pub(crate) tier_project: Option<String>,
    pub(crate) tier_seen_at: Option<i64>,
    pub(crate) database: Option<String>,
    pub(crate) enabled: Option<bool>,
    pub(crate) threshold: Edit<f64>,
    pub(crate) thresholds: Edit<BTreeMap<String, f64>>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    Added(u64),
    /// With the credential's version.
    Renewed(u64),
    /// The address belongs to this account.
    Reseal(String),
    /// With the most accounts there may be.
    Full(u64),
    /// The id belongs to another address.
    Taken,
}

/// A change of an account that exists.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    /// The version that the caller saw.
    pub(crate) expected: Option<u64>,
    pub(crate) enabled: Option<bool>,
    pub(crate) threshold: Edit<f64>,
    pub(crate) thresholds: Edit<BTreeMap<String, f64>>,
    /// Of single models, after that.
    pub(crate) models: BTreeMap<String, Option<f64>>,
    pub(crate) project: Edit<String>,
    pub(crate) managed_project: Edit<String>,
    pub(crate) tier: Option<String>,
    pub(crate) tier_project: Edit<String>,
}

/// What became of a change, with the record's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    Done(u64),
    Changed(u64),
    Gone,
}

impl Pool {
    /// Adds an account, or gives the known one of that address a new credential: it is valid again then.
    pub(crate) fn put_account(&mut self, new: &NewAccount, now: i64) -> Put {
        if let Some(owner) = self.accounts.iter().find(|account| account.email == new.email)
            && owner.id != new.id
        {
            return Put::Reseal(owner.id.clone());
        }
        if self.account(&new.id).is_some_and(|account| account.email != new.email) {
            return Put::Taken;
        }
        let known = self.account(&new.id).is_some();
        let most = self.settings().ms("maxAccounts");
        if !known && most > 0 && i64::try_from(self.accounts.len()).unwrap_or(i64::MAX) >= most {
            return Put::Full(most.unsigned_abs());
        }
        self.write(now);
        if !known {
            self.newest += 1;
            self.accounts.push(Account {
                id: new.id.clone(),
                number: self.newest,
                email: new.email.clone(),
                session: new.session.clone(),
                added_at: new.added_at.unwrap_or(now),
                tier: "unknown".to_owned(),
                enabled: true,
                ..Account::default()
            });
        }
        self.pauses.remove(&new.id);
        let (mut number, mut credential) = (0, 0);
        if let Some(account) = self.account_mut(&new.id) {
            account.renew(new);
            (number, credential) = (account.number, account.credential);
        }
        self.announce("account", &new.id);
        if known { Put::Renewed(credential) } else { Put::Added(number) }
    }

    /// Changes what an operator or discovery may change, if the record is as the caller saw it.
    pub(crate) fn set_account(&mut self, id: &str, changes: &Changes, now: i64) -> Set {
        let Some(account) = self.account_mut(id) else { return Set::Gone };
        if changes.expected.is_some_and(|expected| expected != account.version) {
            return Set::Changed(account.version);
        }
        let before = account.described();
        if let Some(enabled) = changes.enabled {
            account.enabled = enabled;
        }
        changes.threshold.apply(&mut account.threshold);
        account.set_thresholds(&changes.thresholds);
        for (model, threshold) in &changes.models {
            match threshold {
                Some(threshold) => account.thresholds.insert(model.clone(), *threshold),
                None => account.thresholds.remove(model),
            };
        }
        changes.project.apply(&mut account.project);
        changes.managed_project.apply(&mut account.managed_project);
        if let Some(tier) = changes.tier.as_ref().filter(|tier| **tier != account.tier) {
            account.tier.clone_from(tier);
            account.tier_seen_at = Some(now);
        }
        changes.tier_project.apply(&mut account.tier_project);
        if account.described() == before {
            return Set::Done(account.version);
        }
        account.version += 1;
        let version = account.version;
        self.write(now);
        self.announce("account", id);
        Set::Done(version)
    }

    /// Forgets an account and what is known of it for `models`. Its leases lapse.
    pub(crate) fn remove_account(&mut self, id: &str, models: &[String], now: i64) -> bool {
        if self.account(id).is_none() {
            return false;
        }
        self.write(now);
        self.accounts.retain(|account| account.id != id);
        self.leases.forget(id);
        self.conversations.live.forget(id);
        self.refreshers.remove(id);
        self.pauses.remove(id);
        for model in models {
            if let Some(records) = self.models.get_mut(model) {
                records.by_account.remove(id);
            }
        }
        self.announce("account", id);
        true
    }

    /// Whether the verdict made the account invalid; none when there is no such account.
    pub(crate) fn invalidate(
        &mut self,
        id: &str,
        credential: u64,
        reason: &str,
        url: &str,
        now: i64,
    ) -> Option<bool> {
        let done = self.account_mut(id)?.invalidate(credential, reason, url, now);
        if done {
            self.write(now);
            self.announce("account", id);
        }
        Some(done)
    }

    /// The credential works: valid again, and everything about its state starts anew, if it is still that credential and
    /// the cause that was seen; none when there is no such account.
    pub(crate) fn clear_invalid(&mut self, id: &str, credential: u64, since: i64, now: i64) -> Option<bool> {
        let account = self.account_mut(id)?;
        let seen = account.invalid.as_ref().is_some_and(|invalid| invalid.since == since);
        if !seen || account.credential != credential {
            return Some(false);
        }
        (account.invalid, account.health) = (None, None);
        (account.failures, account.cooling_until) = (0, 0);
        self.write(now);
        self.pauses.remove(id);
        self.announce("account", id);
        Some(true)
    }

    /// Replaces all quotas of an account; a model that is not listed becomes unknown.
    pub(crate) fn put_quota(&mut self, id: &str, rows: &[Quota], now: i64) -> bool {
        let Some(account) = self.account_mut(id) else { return false };
        account.quotas = Some(Quotas { at: now, rows: rows.to_vec() });
        self.write(now);
        for records in self.models.values_mut() {
            if let Some(record) = records.by_account.get_mut(id) {
                record.fraction = None;
            }
        }
        for row in rows {
            let record = super::Record { fraction: row.fraction, ..self.record(&row.model, id) };
            self.put_record(&row.model, id, record, now);
        }
        true
    }

    /// The account of an address.
    pub(crate) fn find(&self, email: &str) -> Option<String> {
        let account = self.accounts.iter().find(|account| account.email == email)?;
        Some(account.id.clone())
    }
}

impl Account {
    /// Takes over what `new` says. A new credential has no failures to answer for.
    fn renew(&mut self, new: &NewAccount) {
        self.source.clone_from(&new.source);
        self.sealed.clone_from(&new.sealed);
        self.credential += 1;
        self.version += 1;
        self.invalid = None::<Invalid>;
        (self.cooling_until, self.failures) = (0, 0);
        let keep = |field: &mut Option<String>, value: &Option<String>| {
            if value.is_some() {
                field.clone_from(value);
            }
        };
        keep(&mut self.project, &new.project);
        keep(&mut self.managed_project, &new.managed_project);
        keep(&mut self.tier_project, &new.tier_project);
        keep(&mut self.database, &new.database);
        if let Some(tier) = &new.tier {
            self.tier.clone_from(tier);
        }
        self.tier_seen_at = new.tier_seen_at.or(self.tier_seen_at);
        self.enabled = new.enabled.unwrap_or(self.enabled);
        new.threshold.apply(&mut self.threshold);
        self.set_thresholds(&new.thresholds);
    }

    fn set_thresholds(&mut self, change: &Edit<BTreeMap<String, f64>>) {
        match change {
            Edit::Keep => {}
            Edit::Clear => self.thresholds.clear(),
            Edit::Set(thresholds) => self.thresholds.clone_from(thresholds),
        }
    }

    /// What an operator sees and may change.
    fn described(&self) -> impl PartialEq + use<> {
        (
            self.enabled,
            self.threshold,
            self.thresholds.clone(),
            self.project.clone(),
            self.managed_project.clone(),
            (self.tier.clone(), self.tier_project.clone(), self.tier_seen_at),
        )
    }
}
