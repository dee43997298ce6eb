//! Everything that can be seen of a pool.

use std::collections::{BTreeMap, BTreeSet};

use antigravity_proxy::store::host::Call;
use antigravity_proxy::store::ops::listing::Named;
use antigravity_proxy::store::ops::settings::Scope;

use super::seen::{self, Listed};
use super::stage::{Stage, same, told};
use super::steps::MODELS;
use crate::harness::{GET_HASH, id};
use crate::model::{self, Counters, Layer, Sums};

impl Stage {
    /// Everything that can be seen of the pool.
    pub(super) async fn look(&mut self) -> Result<(), String> {
        self.list(0, 1000).await?;
        let stored = told(self.store.at(self.now).get_settings(None).await)?.unwrap_or_default();
        let of = |wanted: Scope| -> Layer {
            let own = stored.values.iter().filter(|((scope, _), _)| *scope == wanted);
            own.map(|((_, name), value)| (name.clone(), value.clone())).collect()
        };
        let theirs = (stored.generation.0, of(Scope::Selection), of(Scope::Gateway));
        same(
            "settings",
            &theirs,
            &(self.pool.generation, self.pool.shared.clone(), self.pool.gateway.clone()),
        )?;
        let days: BTreeSet<_> = self.hours.iter().map(|hour| hour.div_euclid(24)).collect();
        let Counters { hours, hourly, daily } = self.pool.usage.clone();
        self.counted("usage", &self.hours, &hours).await?;
        self.counted("hourly", &days, &hourly).await?;
        self.counted("daily", &days, &daily).await
    }

    /// Compares counters of that name at those times.
    async fn counted(&self, name: &str, times: &BTreeSet<i64>, ours: &Sums) -> Result<(), String> {
        let mut rows = BTreeMap::new();
        for time in times {
            let call = Call::new(&GET_HASH).key(self.key(&format!("{name}:{time}")));
            let replies = told(self.host.eval(vec![call]).await)?;
            let items: Vec<_> =
                replies[0].as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect();
            for pair in items.chunks(2) {
                rows.insert((*time, pair[0].to_owned()), pair[1].to_owned());
            }
        }
        let ours = ours.iter().map(|((time, place), sums)| {
            ((*time, place.join("\u{1f}")), sums.map(|sum| sum.to_string()).join("|"))
        });
        same(name, &rows, &ours.collect())
    }

    /// One account, by its id and by its address.
    pub(super) async fn one(&mut self, account: &str, email: &str) -> Result<(), String> {
        let store = self.store.at(self.now);
        let owner = self.pool.accounts.iter().find(|account| account.email == email);
        for (named, ours) in [
            (Named::Id(&id(account)), self.pool.account(account)),
            (Named::Email(&email.to_uppercase()), owner),
        ] {
            let theirs = told(store.get_account(named).await)?;
            let stamp = model::Stamp { seq: self.pool.seq, now: self.now };
            let told = theirs.as_ref().map(|theirs| (seen::stamp(theirs.stamp), theirs.sealed.as_str()));
            same("account", &told, &ours.map(|ours| (stamp, ours.sealed.as_str())))?;
            if let (Some(theirs), Some(ours)) = (theirs, ours) {
                let ours = Listed::of_account(&self.pool, ours, &[], self.now);
                let theirs = Listed::of_view(&theirs.view);
                if !theirs.is(&ours) {
                    return Err(format!("one account\nscripts: {theirs:?}\nmodel:   {ours:?}"));
                }
            }
        }
        Ok(())
    }

    pub(super) async fn list(&mut self, behind: u64, cap: u32) -> Result<(), String> {
        let models = MODELS.map(str::to_owned);
        let page = told(self.store.at(self.now).list_accounts(behind, cap, &models).await)?;
        let all = &self.pool.accounts;
        let cap = usize::try_from(cap).unwrap();
        let rest: Vec<_> = all.iter().filter(|account| account.number > behind).take(cap).collect();
        let next = rest.last().filter(|_| rest.len() == cap).map(|account| account.number);
        let stamp = model::Stamp { seq: self.pool.seq, now: self.now };
        let theirs = (seen::stamp(page.stamp), page.total, page.next, page.accounts.len());
        same("list", &theirs, &(stamp, all.len() as u64, next, rest.len()))?;
        for (view, account) in page.accounts.iter().zip(rest) {
            let ours = Listed::of_account(&self.pool, account, &MODELS, self.now);
            let theirs = Listed::of_view(view);
            if !theirs.is(&ours) {
                return Err(format!("account\nscripts: {theirs:?}\nmodel:   {ours:?}"));
            }
        }
        Ok(())
    }
}
