//! One history told to a store and to the model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use antigravity_proxy::clock::Clock;
use antigravity_proxy::config::SelectionConfig;
use antigravity_proxy::store::Store;
use antigravity_proxy::store::host::{Event, ScriptHost, StoreError};
use antigravity_proxy::store::ident::{CredentialVersion, InvalidReason};
use antigravity_proxy::store::keys::{ConversationKey, Keys};
use antigravity_proxy::store::ops::accounts::{ClearOutcome, InvalidateOutcome};
use antigravity_proxy::store::ops::models::ModelQuota;
use antigravity_proxy::store::ops::release::Release;
use tokio::sync::broadcast;

use super::seen;
use super::steps::{ACCOUNTS, ATTEMPTS, Act, History, MODELS, Step};
use crate::harness::{T, id, lease, ms, new_account};
use crate::model::{self, Layer, Pool};

/// Steps between two looks at everything.
const LOOK_EVERY: usize = 16;
pub(super) const LEASE_MS: i64 = 30_000;

/// A store and the model of it.
pub(crate) struct Stage {
    pub(super) host: Arc<dyn ScriptHost>,
    pub(super) store: Store,
    pub(super) keys: Keys,
    pub(super) clock: Option<Clock>,
    /// Of a store that publishes at once.
    pub(super) events: Option<broadcast::Receiver<Event>>,
    pub(super) pool: Pool,
    pub(super) now: i64,
    /// How often the account of each place was removed: its id is new then.
    pub(super) lives: [u32; ACCOUNTS as usize],
    pub(super) attempts: [Attempt; ATTEMPTS as usize],
    /// Hours whose usage may be there.
    pub(super) hours: BTreeSet<i64>,
    pub(super) tally: Tally,
}

/// How often each kind of answer was given.
pub(crate) type Tally = BTreeMap<String, usize>;

/// The last attempt of a place.
#[derive(Clone, Default)]
pub(super) struct Attempt {
    pub(super) round: u32,
    pub(super) model: usize,
    /// The account and its credential, once granted.
    pub(super) granted: Option<(String, u64)>,
    pub(super) ended: bool,
}

pub(super) fn conversation(talk: u8, model: &str) -> ConversationKey {
    ConversationKey::new("k", &talk.to_string(), model)
}

/// Compares what two sides say of one thing.
pub(super) fn same<T: std::fmt::Debug + PartialEq>(what: &str, store: &T, model: &T) -> Result<(), String> {
    if store == model { Ok(()) } else { Err(format!("{what}\nscripts: {store:?}\nmodel:   {model:?}")) }
}

pub(super) fn told<T>(answer: Result<T, StoreError>) -> Result<T, String> {
    answer.map_err(|error| error.to_string())
}

impl Stage {
    /// An empty pool of that name on `host`, which has `clock`, or one of its own.
    pub(crate) fn new(
        host: Arc<dyn ScriptHost>,
        name: &str,
        clock: Option<Clock>,
        history: &History,
    ) -> Self {
        let base = Layer::from([
            ("strategy".to_owned(), "hybrid".to_owned()),
            ("maxAccounts".to_owned(), (5 * u32::from(history.crowd == 0)).to_string()),
            ("throttle.emergencyMs".to_owned(), "300".to_owned()),
        ]);
        let pinned = Layer::from([("throttle.lastResortMs".to_owned(), "500".to_owned())]);
        let selection =
            SelectionConfig { base: base.clone(), pinned: pinned.clone(), ..SelectionConfig::default() };
        let keys = Keys::new(name).unwrap();
        let store = Store::new(Arc::clone(&host), keys.clone(), &selection);
        let mut pool = Pool::new(base, pinned);
        let events = clock.as_ref().map(|_| store.subscribe());
        if clock.is_some() {
            pool.advance(T);
        }
        debug_assert!(history.accounts <= ACCOUNTS);
        Self {
            host,
            store,
            keys,
            clock,
            events,
            pool,
            now: T,
            lives: [0; ACCOUNTS as usize],
            attempts: Default::default(),
            hours: BTreeSet::new(),
            tally: Tally::new(),
        }
    }

    /// Tells `history`: what kinds of answers there were, or the first difference as text.
    pub(crate) async fn tell(mut self, history: &History) -> Result<Tally, String> {
        for (name, value) in &history.settings {
            self.take(&Act::Setting { name: *name, value: *value, expected: false }).await?;
        }
        for number in 0..history.crowd {
            self.put_one(&format!("x{number}")).await?;
        }
        for account in 0..history.accounts {
            let put =
                Act::Put { account, address: account, enabled: None, floor: None, rich: account % 2 == 1 };
            self.take(&put).await?;
        }
        self.forget_events();
        for (number, step) in history.steps.iter().enumerate() {
            let told = self.step(step).await;
            let looked = if told.is_ok() && (number + 1).is_multiple_of(LOOK_EVERY) {
                self.look().await
            } else {
                Ok(())
            };
            told.and(looked).map_err(|difference| {
                format!("step {number}, {} ms after the start: {:?}\n{difference}", self.now - T, step.act)
            })?;
        }
        self.look().await.map_err(|difference| format!("at the end: {difference}"))?;
        Ok(self.tally)
    }

    /// What was published while the pool was made.
    fn forget_events(&mut self) {
        self.pool.events.clear();
        if let Some(events) = &mut self.events {
            while events.try_recv().is_ok() {}
        }
    }

    pub(super) fn count(&mut self, kind: impl Into<String>) {
        *self.tally.entry(kind.into()).or_default() += 1;
    }

    /// Adds an account of the crowd.
    async fn put_one(&mut self, name: &str) -> Result<(), String> {
        let (account, email) = (id(name), format!("{name}@example.com"));
        let put = new_account(&account, &email);
        let theirs = told(self.store.at(self.now).put_account(&put).await)?;
        let new = model::NewAccount {
            id: name.to_owned(),
            source: put.source.as_str().to_owned(),
            sealed: put.sealed.to_owned(),
            project: put.project.map(str::to_owned),
            session: put.session.to_owned(),
            email,
            ..model::NewAccount::default()
        };
        let ours = self.pool.put_account(&new, self.now);
        self.pool.events.clear();
        same("put", &seen::put(&theirs), &ours)
    }

    async fn step(&mut self, step: &Step) -> Result<(), String> {
        if step.at_end
            && let Some(end) = self.pool.next_end(self.now)
        {
            self.now = end;
        }
        self.now += step.later;
        if let Some(clock) = &self.clock {
            // A store's clock keeps to its time when a caller's steps back.
            clock.advance_ms((self.now - clock.epoch_ms()).max(0));
            self.pool.advance(self.now);
        }
        self.take(&step.act).await?;
        let Some(events) = &mut self.events else { return Ok(()) };
        let mut published = Vec::new();
        while let Ok(Event::Message { payload, .. }) = events.try_recv() {
            published.push(String::from_utf8(payload.to_vec()).unwrap());
        }
        same("events", &published, &std::mem::take(&mut self.pool.events))
    }

    async fn take(&mut self, act: &Act) -> Result<(), String> {
        match act {
            Act::Admit { .. } => self.admit(act).await,
            Act::Explain { model, max_wait, conversation } => {
                self.explain(MODELS[usize::from(*model)], *max_wait, *conversation).await
            }
            Act::Settle { attempt, outcome, received, stray, old, again } => {
                let attempt = if *again { *attempt } else { self.under_way(*attempt) };
                self.settle(attempt, outcome, *received, *stray, *old).await
            }
            Act::Release { attempt } => {
                let (lease_id, model) =
                    (self.lease(*attempt), MODELS[self.attempts[usize::from(*attempt)].model]);
                let release = Release { lease: &lease(&lease_id), model };
                let released = told(self.store.at(self.now).release(release).await)?;
                same("released", &seen::released(released), &self.pool.release(&lease_id, model, self.now))
            }
            Act::Heartbeat { attempts } => {
                let leases: Vec<_> = (0..ATTEMPTS)
                    .filter(|place| attempts & (1 << place) != 0)
                    .map(|place| self.lease(place))
                    .collect();
                let ids: Vec<_> = leases.iter().map(|id| lease(id)).collect();
                let beat = told(self.store.at(self.now).heartbeat(&ids, ms(30_000)).await)?;
                let renewals: Vec<_> = beat.renewals.into_iter().map(seen::renewal).collect();
                let ours = self.pool.heartbeat(&leases, LEASE_MS, self.now);
                same("heartbeat", &(renewals, usize::try_from(beat.lapsed).unwrap()), &ours)
            }
            Act::Put { .. } | Act::Set { .. } | Act::Remove { .. } => self.change(act).await,
            Act::Invalidate { account, reason, old } => {
                let account = self.account(*account);
                let reason = [InvalidReason::Revoked, InvalidReason::Banned, InvalidReason::Verification]
                    [usize::from(*reason)];
                let credential = self.credential(&account, *old);
                let url = (reason == InvalidReason::Verification).then_some("https://accounts.google.com/y");
                let store = self.store.at(self.now);
                let outcome = told(
                    store.invalidate_account(&id(&account), CredentialVersion(credential), reason, url).await,
                )?;
                let theirs = match outcome {
                    InvalidateOutcome::Done => Some(true),
                    InvalidateOutcome::Stale => Some(false),
                    InvalidateOutcome::Gone => None,
                };
                let url = url.unwrap_or_default();
                let ours = self.pool.invalidate(&account, credential, reason.as_str(), url, self.now);
                same("invalidated", &theirs, &ours)
            }
            Act::Clear { account, old, late } => {
                let account = self.account(*account);
                let credential = self.credential(&account, *old);
                let invalid = self.pool.account(&account).and_then(|account| account.invalid.as_ref());
                let since = invalid.map_or(0, |invalid| invalid.since) - i64::from(*late);
                let store = self.store.at(self.now);
                let outcome =
                    told(store.clear_invalid(&id(&account), CredentialVersion(credential), since).await)?;
                let theirs = match outcome {
                    ClearOutcome::Done => Some(true),
                    ClearOutcome::Stale => Some(false),
                    ClearOutcome::Gone => None,
                };
                let ours = self.pool.clear_invalid(&account, credential, since, self.now);
                self.count(if ours == Some(true) { "cleared" } else { "not cleared" }.to_owned());
                same("cleared", &theirs, &ours)
            }
            Act::Quota { account, fractions } => {
                let account = self.account(*account);
                let rows: Vec<_> = MODELS
                    .iter()
                    .zip(fractions)
                    .filter(|(_, fraction)| **fraction != Some(100))
                    .map(|(model, fraction)| ModelQuota {
                        model: (*model).to_owned(),
                        fraction: fraction.map(|percent| f64::from(percent) / 100.0),
                        reset: fraction.map(|_| "2027-01-15T08:00:00Z".to_owned()),
                        told: fraction.is_some(),
                    })
                    .collect();
                let theirs = told(self.store.at(self.now).put_quota(&id(&account), &rows).await)?;
                let rows: Vec<_> = rows
                    .into_iter()
                    .map(|row| model::Quota { model: row.model, fraction: row.fraction, reset: row.reset })
                    .collect();
                same("quota", &theirs, &self.pool.put_quota(&account, &rows, self.now))
            }
            Act::Setting { name, value, expected } => self.setting(*name, *value, *expected).await,
            Act::BeginRefresh { .. }
            | Act::FinishRefresh { .. }
            | Act::FailRefresh { .. }
            | Act::DropToken { .. } => self.token(act).await,
            Act::Find { account } => {
                let account = self.account(*account);
                let email = format!("{}@example.com", &account[..1]);
                let found = told(self.store.at(self.now).find_account(&email.to_uppercase()).await)?;
                let found = found.map(|account| account.to_string());
                same("found", &found, &self.pool.find(&email))?;
                let sealed = told(self.store.at(self.now).get_credential(&id(&account)).await)?;
                same(
                    "credential",
                    &sealed,
                    &self.pool.account(&account).map(|account| account.sealed.clone()),
                )?;
                self.one(&account, &email).await
            }
            Act::List { behind, cap } => {
                let behind = self
                    .pool
                    .accounts
                    .iter()
                    .map(|account| account.number)
                    .nth(usize::from(*behind))
                    .unwrap_or(0);
                self.list(behind, u32::from(*cap)).await
            }
            Act::Lose { key } => self.lose(*key).await,
        }
    }

    /// The place of an attempt that was granted and did not end, if there is any.
    pub(super) fn under_way(&self, attempt: u8) -> u8 {
        let open = |place: &u8| {
            let attempt = &self.attempts[usize::from(*place)];
            attempt.granted.is_some() && !attempt.ended
        };
        let open: Vec<_> = (0..ATTEMPTS).filter(open).collect();
        if open.is_empty() { attempt } else { open[usize::from(attempt) % open.len()] }
    }

    pub(super) fn account(&self, place: u8) -> String {
        format!("{}{}", char::from(b'a' + place), self.lives[usize::from(place)])
    }

    pub(super) fn lease(&self, place: u8) -> String {
        format!("l{place}-{}", self.attempts[usize::from(place)].round)
    }

    pub(super) fn credential(&self, account: &str, old: bool) -> u64 {
        self.pool.account(account).map_or(1, |account| account.credential).saturating_sub(u64::from(old))
    }

    pub(super) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.keys.prefix())
    }
}
