//! Changes of accounts, settings and tokens, and losses of keys.

use std::collections::BTreeMap;

use antigravity_proxy::store::host::Call;
use antigravity_proxy::store::ident::{CredentialVersion, Generation, Version};
use antigravity_proxy::store::ops::accounts::{Change, PutAccount, SetAccount, Subscription};
use antigravity_proxy::store::ops::settings::{PutSettings, Scope};
use antigravity_proxy::store::ops::tokens::RefreshFailure;

use super::seen;
use super::stage::{Stage, conversation, same, told};
use super::steps::{Act, Losable, MODELS, SETTINGS};
use crate::harness::{T, UNLINK, id, ms, new_account, owner};
use crate::model::{self, Edit};

impl Stage {
    pub(super) async fn change(&mut self, act: &Act) -> Result<(), String> {
        let share = |percent: &u8| f64::from(*percent) / 100.0;
        let floor_of = |floor: &Option<u8>| match floor {
            None => (Change::Keep, Edit::Keep),
            Some(0) => (Change::Clear, Edit::Clear),
            Some(percent) => (Change::Set(share(percent)), Edit::Set(share(percent))),
        };
        let store = self.store.at(self.now);
        match act {
            Act::Put { account, address, enabled, floor, rich } => {
                let (account, email) =
                    (self.account(*account), format!("{}@example.com", &self.account(*address)[..1]));
                let (threshold, edit) = floor_of(floor);
                let sealed = format!("sealed {account} {}", self.pool.seq);
                let floors = BTreeMap::from([("m".to_owned(), 0.25), ("o".to_owned(), 0.5)]);
                let account_id = id(&account);
                let put = PutAccount {
                    sealed: &sealed,
                    project: rich.then_some("project"),
                    managed_project: (*rich && floor.is_some()).then_some("managed"),
                    session: &account,
                    added_at_ms: rich.then_some(T - 1),
                    subscription: rich.then(|| Subscription {
                        tier: "pro".to_owned(),
                        project: floor.map(|_| "tier-project".to_owned()),
                        seen_at_ms: enabled.map(|_| T - 2),
                    }),
                    database: rich.then_some("/db"),
                    enabled: *enabled,
                    threshold,
                    model_thresholds: if *rich { Change::Set(floors.clone()) } else { Change::Keep },
                    ..new_account(&account_id, &email)
                };
                let theirs = told(store.put_account(&put).await)?;
                let new = model::NewAccount {
                    id: account.clone(),
                    email: email.clone(),
                    source: put.source.as_str().to_owned(),
                    sealed: sealed.clone(),
                    project: put.project.map(str::to_owned),
                    managed_project: put.managed_project.map(str::to_owned),
                    session: put.session.to_owned(),
                    added_at: put.added_at_ms,
                    tier: put.subscription.as_ref().map(|subscription| subscription.tier.clone()),
                    tier_project: put
                        .subscription
                        .as_ref()
                        .and_then(|subscription| subscription.project.clone()),
                    tier_seen_at: put.subscription.as_ref().and_then(|subscription| subscription.seen_at_ms),
                    database: put.database.map(str::to_owned),
                    enabled: *enabled,
                    threshold: edit,
                    thresholds: if *rich { Edit::Set(floors) } else { Edit::Keep },
                };
                same("put", &seen::put(&theirs), &self.pool.put_account(&new, self.now))
            }
            Act::Set { account, expected, enabled, floor, model_floor, text } => {
                let account = self.account(*account);
                let (threshold, edit) = floor_of(floor);
                let floors = model_floor.map(|percent| {
                    let both = [("m".to_owned(), share(&percent)), ("n".to_owned(), 0.0)];
                    both.into_iter().take(usize::from(percent % 3)).collect::<BTreeMap<_, _>>()
                });
                // Of single ones, whether or not all are replaced.
                let models: BTreeMap<_, _> = match (text >> 5 & 3, floor) {
                    (0, Some(percent)) => {
                        [("m".to_owned(), Some(share(percent))), ("o".to_owned(), None)].into()
                    }
                    (1, _) => [("m".to_owned(), None), ("n".to_owned(), Some(0.5))].into(),
                    _ => BTreeMap::new(),
                };
                let word = |bit: u8| match text >> bit & 3 {
                    0 => (Change::Clear, Edit::Clear),
                    1 => (Change::Set("p".to_owned()), Edit::Set("p".to_owned())),
                    _ => (Change::Keep, Edit::Keep),
                };
                let ((project, our_project), (managed, our_managed), (tier, our_tier)) =
                    (word(0), word(2), word(4));
                let kind =
                    [None, None, Some("free"), Some("ultra")][usize::from(text >> 6)].map(str::to_owned);
                let set = SetAccount {
                    expected: expected.map(|version| Version(version.into())),
                    enabled: *enabled,
                    threshold,
                    model_thresholds: floors.clone().map_or(Change::Keep, Change::Set),
                    models_changed: models.clone(),
                    project,
                    managed_project: managed,
                    tier: kind.clone(),
                    tier_project: tier,
                };
                let theirs = told(store.set_account(&id(&account), &set).await)?;
                let changes = model::Changes {
                    expected: expected.map(u64::from),
                    enabled: *enabled,
                    threshold: edit,
                    thresholds: floors.map_or(Edit::Keep, Edit::Set),
                    models,
                    project: our_project,
                    managed_project: our_managed,
                    tier: kind,
                    tier_project: our_tier,
                };
                same("set", &seen::set(theirs), &self.pool.set_account(&account, &changes, self.now))
            }
            Act::Remove { account, all_models } => {
                let name = self.account(*account);
                let models: Vec<_> = MODELS
                    .iter()
                    .take(1 + usize::from(*all_models))
                    .map(|model| (*model).to_owned())
                    .collect();
                let theirs = told(store.remove_account(&id(&name), &models).await)?;
                if theirs {
                    self.lives[usize::from(*account)] += 1;
                }
                same("removed", &theirs, &self.pool.remove_account(&name, &models, self.now))
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn setting(&mut self, name: usize, value: usize, expected: bool) -> Result<(), String> {
        let (name, values) = SETTINGS[name];
        let value = values.get(value).map(|value| (*value).to_owned());
        let expected = expected.then_some(self.pool.seq % 4);
        let mut changes = BTreeMap::from([((Scope::Selection, name.to_owned()), value.clone())]);
        let mut ours = vec![(true, name.to_owned(), value.clone())];
        if name.len().is_multiple_of(2) {
            changes.insert((Scope::Gateway, "maxRetries".to_owned()), value.clone());
            ours.push((false, "maxRetries".to_owned(), value));
        }
        let outcome = told(self.store.at(self.now).put_settings(expected.map(Version), &changes).await)?;
        let theirs = match outcome {
            PutSettings::Done(generation) => Ok(generation.0),
            PutSettings::Changed(generation) => Err(generation.0),
        };
        same("settings", &theirs, &self.pool.put_settings(expected, &ours, self.now))
    }

    pub(super) async fn token(&mut self, act: &Act) -> Result<(), String> {
        let store = self.store.at(self.now);
        let who = |owner: &bool| if *owner { "me" } else { "you" };
        match act {
            Act::BeginRefresh { account, owner: holder, lock, due } => {
                let (account, holder) = (self.account(*account), who(holder));
                let lock = u64::from(*lock) + 1000;
                let (account_id, due) = (id(&account), *due);
                let begun =
                    told(store.begin_renewal(&account_id, &owner(holder), ms(lock), ms(due.into())).await)?;
                let lock = i64::try_from(lock).unwrap();
                let ours = self.pool.begin_refresh(&account, holder, lock, due.into(), self.now);
                same("refresh", &seen::begun(begun), &ours)
            }
            Act::FinishRefresh { account, owner: holder, old, life } => {
                let (account, holder) = (self.account(*account), who(holder));
                let credential = self.credential(&account, *old);
                let version = CredentialVersion(credential);
                let sealed = format!("sealed|{life}");
                let life = u64::from(*life);
                let finished = told(
                    store.finish_refresh(&id(&account), &owner(holder), version, ms(life), &sealed).await,
                )?;
                let life = i64::try_from(life).unwrap();
                let ours = self.pool.finish_refresh(&account, holder, credential, life, &sealed, self.now);
                same("fetched", &seen::finished(finished), &ours)
            }
            Act::FailRefresh { account, owner: holder, old, failure } => {
                let (account, holder) = (self.account(*account), who(holder));
                let credential = self.credential(&account, *old);
                let version = CredentialVersion(credential);
                let (failure, model) = match failure {
                    0 => (RefreshFailure::Revoked, model::RefreshFailure::Revoked),
                    1 => (RefreshFailure::Withdrawn, model::RefreshFailure::Withdrawn),
                    _ => (RefreshFailure::Transient, model::RefreshFailure::Transient),
                };
                let failed = told(store.fail_refresh(&id(&account), &owner(holder), version, failure).await)?;
                let ours = self.pool.fail_refresh(&account, holder, credential, model, self.now);
                same("not fetched", &seen::failed(failed), &ours)
            }
            Act::DropToken { account, older } => {
                let account = self.account(*account);
                let generation = self.pool.account(&account).map_or(0, |account| account.token.generation);
                let generation = generation.saturating_sub(u64::from(*older));
                let theirs = told(store.drop_token(&id(&account), Generation(generation)).await)?;
                same("dropped", &theirs, &self.pool.drop_token(&account, generation, self.now))
            }
            _ => Ok(()),
        }
    }

    pub(super) async fn lose(&mut self, key: Losable) -> Result<(), String> {
        let name = match key {
            Losable::Attempt(place) => {
                let lease = self.lease(place);
                self.pool.lose_attempt(&lease);
                format!("req:{lease}")
            }
            Losable::Probe(model) => {
                self.pool.lose_probe(MODELS[usize::from(model)]);
                format!("probe:{}", MODELS[usize::from(model)])
            }
            Losable::Model(model) => {
                self.pool.lose_model(MODELS[usize::from(model)]);
                format!("m:{}", MODELS[usize::from(model)])
            }
            Losable::Refresher(place) => {
                let account = self.account(place);
                self.pool.lose_refresher(&account);
                format!("tlock:{account}")
            }
            Losable::Pause(place) => {
                let account = self.account(place);
                self.pool.lose_pause(&account);
                format!("tfail:{account}")
            }
            Losable::Leases => {
                self.pool.leases.lose();
                "leases".to_owned()
            }
            Losable::Conversations => {
                self.pool.conversations.live.lose();
                "convs".to_owned()
            }
            Losable::Conversation(talk, model) => {
                let talk = conversation(talk, MODELS[usize::from(model)]);
                self.pool.conversations.lose(talk.as_str());
                format!("stick:{}", talk.as_str())
            }
        };
        let call = Call::new(&UNLINK).key(self.key(&name));
        told(self.host.eval(vec![call]).await).map(|_| ())
    }
}
