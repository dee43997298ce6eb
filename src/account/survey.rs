//! What accounts offer and what is left of their quotas, asked regularly so that selection has fresh data without
//! anybody watching.
//!
//! Each account has its own time: `accountSelection.quota.refreshIntervalMs` after its last answer less a share at
//! random, sooner after a limit of its quota was reported and when that limit ends. Replicas share the work: whoever
//! comes first holds the account's lock while asking, and the others see in the store that it was done. A visit also
//! finishes what an import leaves open: an account without a project is onboarded here, off any request's path.
//!
//! `schedule` says when, `visit` is one account's turn, `offer` makes the pool's models of the answers.

mod offer;
mod project;
mod schedule;
mod visit;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::project::Search;
use self::schedule::{Chance, Schedule, Want, after_reset};
pub(super) use self::visit::can_be_asked;
use self::visit::{LOOK_SOON, Turn};
use super::capacity;
use super::catalogue::Catalogue;
use crate::auth::tokens::Tokens;
use crate::clock::{Clock, jitter};
use crate::cloudcode::Client;
use crate::store::Store;
use crate::store::host::{DAMAGED, StoreError};
use crate::store::ident::{AccountId, OwnerId};
use crate::store::keys::CAPACITY_SLOT_MS;
use crate::store::ops::listing::AccountView;
use crate::store::ops::refreshes::quota_question;

/// The whole pool is looked at this often without a reason: what other replicas learnt, and events that were lost.
const LOOK: Duration = Duration::from_mins(2);
/// The least time between two looks, and this many times what the last one took: a look at many accounts is work for
/// the store.
const LOOK_PACE: Duration = Duration::from_millis(100);
const LOOK_SHARE: u32 = 20;
/// The least time between two fetches of everything on demand, and the pause after a failed look.
const SOON: Duration = Duration::from_secs(5);
/// The longest that anybody waits for all accounts.
const PASS: Duration = Duration::from_secs(30);
/// Accounts asked at once.
const PARALLEL: usize = 8;
/// Accounts of one page of the list.
const PAGE: u32 = 1000;

/// Surveys the pool. Cheap to clone.
#[derive(Clone)]
pub struct Survey(Arc<Parts>);

struct Parts {
    store: Store,
    catalogue: Catalogue,
    client: Client,
    tokens: Tokens,
    clock: Clock,
    owner: OwnerId,
    interval: watch::Receiver<Duration>,
    low: watch::Receiver<f64>,
    projects: Mutex<HashMap<AccountId, Search>>,
    /// Names of models that this process has seen.
    names: Mutex<HashMap<String, String>>,
    wishes: Mutex<Wishes>,
    wanted: Notify,
    /// Passes begun, and passes ended.
    begun: AtomicU64,
    ended: watch::Sender<u64>,
}

/// What the survey is asked to do beside its schedule.
#[derive(Default)]
struct Wishes {
    /// To look at the pool.
    look: bool,
    /// To say when every account was asked once.
    pass: bool,
    /// To ask all of them now.
    fresh: bool,
    /// To ask those whose quotas were fetched before this.
    since: Option<Instant>,
    /// Not to leave these alone any longer.
    changed: HashSet<AccountId>,
    /// To look at an account whose limit was reported at that time.
    limited: HashMap<AccountId, Instant>,
}

/// What a survey needs.
pub struct SurveyParts {
    /// Shared state.
    pub store: Store,
    /// Where the models go.
    pub catalogue: Catalogue,
    /// The upstream.
    pub client: Client,
    /// Access tokens.
    pub tokens: Tokens,
    /// Time.
    pub clock: Clock,
    /// This process, as the holder of locks.
    pub owner: OwnerId,
    /// How old the quotas of an account may become; followed when it changes.
    pub interval: watch::Receiver<Duration>,
    /// The share of a quota at which a warning is logged; followed when it changes.
    pub low: watch::Receiver<f64>,
}

/// Somebody waits until all of these had their turn.
struct Pass {
    number: u64,
    pending: HashSet<AccountId>,
    until: Instant,
}

/// A turn under way, and why.
type Turning = BoxFuture<'static, (AccountId, Want, Result<Turn, StoreError>)>;

/// What the loop knows.
struct State {
    schedule: Schedule,
    /// Accounts of which it was said that their records are damaged.
    damaged: HashSet<AccountId>,
    /// Whether the pool was looked at.
    looked: bool,
    /// The ten minutes for which it was noted what is left.
    noted: i64,
    pass: Option<Pass>,
    look_at: Instant,
    /// No look, and no fetch of everything, before these.
    earliest_look: Instant,
    earliest_fresh: Instant,
}

impl Survey {
    /// A survey that has not begun.
    #[must_use]
    pub fn new(parts: SurveyParts) -> Self {
        Self(Arc::new(Parts {
            store: parts.store,
            catalogue: parts.catalogue,
            client: parts.client,
            tokens: parts.tokens,
            clock: parts.clock,
            owner: parts.owner,
            interval: parts.interval,
            low: parts.low,
            projects: Mutex::default(),
            names: Mutex::default(),
            wishes: Mutex::default(),
            wanted: Notify::new(),
            begun: AtomicU64::new(0),
            ended: watch::Sender::new(0),
        }))
    }

    /// Asks for a look at the pool: accounts came in or changed.
    pub fn request(&self) {
        self.wish(|wishes| wishes.look = true);
    }

    /// An account has changed: it is looked at, and if it was left alone because it did not answer, that is over.
    pub fn changed(&self, account: &AccountId) {
        self.forget_pause(account);
        self.wish(|wishes| {
            wishes.look = true;
            wishes.changed.insert(account.clone());
        });
    }

    /// A limit of `account` was reported: if it is one of quota, its quotas are fetched in a few seconds, at most once
    /// a minute, and again when the limit ends.
    pub fn limited(&self, account: AccountId) {
        let now = self.0.clock.instant();
        self.wish(|wishes| _ = wishes.limited.insert(account, now));
    }

    /// Waits until every account of the pool was asked at least once, and the models are known that were named; at most
    /// `limit`.
    pub async fn known_within(&self, limit: Duration) {
        self.passed_within(limit, |wishes| wishes.pass = true).await;
    }

    /// Waits until every account of the pool was asked anew; at most `limit`.
    pub async fn completed_within(&self, limit: Duration) {
        self.passed_within(limit, |wishes| wishes.fresh = true).await;
    }

    /// Waits until no account's quotas are older than `age`, except of those that do not answer; at most `limit`. Whoever
    /// wants that where quotas are young causes no call, whichever replica fetched them.
    pub async fn younger_than(&self, age: Duration, limit: Duration) {
        let now = self.0.clock.instant();
        let since = now.checked_sub(age).unwrap_or(now);
        self.passed_within(limit, |wishes| wishes.since = wishes.since.max(Some(since))).await;
    }

    async fn passed_within(&self, limit: Duration, want: impl FnOnce(&mut Wishes)) {
        let mut ended = self.0.ended.subscribe();
        let mut wanted = 0;
        self.wish(|wishes| {
            want(wishes);
            // Passes begin with the wishes they grant: one that has begun does not grant this one.
            wanted = self.0.begun.load(Ordering::SeqCst) + 1;
        });
        // The caller looks at what there is either way.
        let _ = tokio::time::timeout(limit, ended.wait_for(|ended| *ended >= wanted)).await;
    }

    fn wish(&self, change: impl FnOnce(&mut Wishes)) {
        change(&mut self.wishes());
        self.0.wanted.notify_one();
    }

    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        // Each change is a single step.
        self.0.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Surveys until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let now = self.0.clock.instant();
        let mut state = State {
            schedule: Schedule::default(),
            damaged: HashSet::new(),
            looked: false,
            noted: 0,
            pass: None,
            look_at: now,
            earliest_look: now,
            earliest_fresh: now,
        };
        let mut turns = FuturesUnordered::<Turning>::new();
        let mut interval = self.0.interval.clone();
        loop {
            let every = *interval.borrow_and_update();
            self.grant(&mut state);
            if self.0.clock.instant() >= state.look_at {
                self.look(&mut state, every).await;
                // What it was too early for must not wait for the next look of all.
                self.grant(&mut state);
            }
            self.demand(&mut state);
            while turns.len() < PARALLEL
                && let Some((id, number, want)) = state.schedule.begin(self.0.clock.instant(), every)
            {
                let waited_for = state.pass.as_ref().is_some_and(|pass| pass.pending.contains(&id));
                let turn = self.clone().turn(id.clone(), number, want, every, waited_for);
                turns.push(async move { (id, want, turn.await) }.boxed());
            }
            let free = turns.len() < PARALLEL;
            let due = state.schedule.next_at(every).filter(|_| free);
            let wake = due.map_or(state.look_at, |due| due.min(state.look_at));
            let wake = state.pass.as_ref().map_or(wake, |pass| pass.until.min(wake));
            tokio::select! {
                () = stop.cancelled() => break,
                Some((id, want, turn)) = turns.next() => self.ended(&mut state, &id, want, turn),
                () = self.0.wanted.notified() => {}
                // Its sender is gone only with the process.
                Ok(()) = interval.changed() => {}
                () = tokio::time::sleep_until(wake) => {}
            }
            self.close(&mut state, every).await;
        }
        drop(turns);
        self.resign(&state.schedule).await;
    }

    /// Takes over what was wished for, as far as its time has come.
    fn grant(&self, state: &mut State) {
        let now = self.0.clock.instant();
        let mut wishes = self.wishes();
        for id in wishes.changed.drain() {
            state.schedule.end_rest(&id, now);
        }
        for (id, reported) in wishes.limited.drain() {
            state.schedule.wake(&id, reported + after_reset(chance()), Want::Limit(reported));
        }
        if std::mem::take(&mut wishes.look) || wishes.pass {
            state.look_at = state.look_at.min(state.earliest_look);
        }
        if wishes.fresh {
            state.look_at = state.look_at.min(state.earliest_look.max(state.earliest_fresh).max(now));
        }
    }

    /// Looks at the whole pool: who is in it, what it offers, and who waits for what.
    async fn look(&self, state: &mut State, every: Duration) {
        let begun = self.0.clock.instant();
        let (number, fresh) = {
            let mut wishes = self.wishes();
            let fresh = begun >= state.earliest_fresh && std::mem::take(&mut wishes.fresh);
            let pass = std::mem::take(&mut wishes.pass);
            (if pass || fresh { self.number() } else { 0 }, fresh)
        };
        let looked = self.view(state, every).await;
        let now = self.0.clock.instant();
        let took = now.saturating_duration_since(begun);
        state.earliest_look = now + LOOK_PACE.max(took * LOOK_SHARE);
        state.look_at = now + if looked.is_ok() { LOOK } else { SOON };
        state.looked |= looked.is_ok();
        match looked {
            Ok(()) => self.excuse(state),
            Err(error) => tracing::warn!(%error, "the accounts could not be looked at"),
        }
        if number == 0 {
            return;
        }
        let asked = if fresh {
            state.earliest_fresh = now + SOON;
            state.schedule.wake_all(now)
        } else {
            state.schedule.unknown(now)
        };
        self.wait_for(state, number, asked);
    }

    /// The number of a pass that begins; called with the wishes that it grants still locked.
    fn number(&self) -> u64 {
        self.0.begun.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Asks the accounts whose quotas are older than somebody wants them.
    fn demand(&self, state: &mut State) {
        if !state.looked {
            return;
        }
        let (since, number) = {
            let mut wishes = self.wishes();
            let Some(since) = wishes.since.take() else { return };
            (since, self.number())
        };
        let asked = state.schedule.wake_older(since, self.0.clock.instant());
        self.wait_for(state, number, asked);
    }

    /// The pass of that number ends when these accounts have had their turn.
    fn wait_for(&self, state: &mut State, number: u64, asked: Vec<AccountId>) {
        let now = self.0.clock.instant();
        let pass = state.pass.get_or_insert_with(|| Pass { number, pending: HashSet::new(), until: now });
        pass.number = number;
        pass.until = now + PASS;
        pass.pending.extend(asked);
        if pass.pending.is_empty() {
            // What this look has found is all that there is.
            state.pass = None;
            self.0.ended.send_replace(number);
        }
    }

    /// Nobody waits for accounts that have no turn any more: this look has found them answered by another replica, or
    /// gone.
    fn excuse(&self, state: &mut State) {
        let Some(pass) = &mut state.pass else { return };
        pass.pending.retain(|id| state.schedule.wanted(id));
        if pass.pending.is_empty() {
            self.0.ended.send_replace(pass.number);
            state.pass = None;
        }
    }

    /// Reads the pool and writes its models.
    async fn view(&self, state: &mut State, every: Duration) -> Result<(), StoreError> {
        let parts = &self.0;
        let (mut accounts, mut damaged, mut after, mut now_ms) = (Vec::new(), HashSet::new(), Some(0), 0);
        while let Some(from) = after {
            let page = parts.store.list_accounts(from, PAGE, &[]).await?;
            now_ms = page.stamp.now_ms;
            accounts.extend(page.accounts);
            damaged.extend(page.damaged.into_iter().map(|one| one.id));
            after = page.next;
        }
        for id in damaged.difference(&state.damaged) {
            tracing::error!(account.id = %id, "an account is left out: {DAMAGED}");
        }
        state.damaged = damaged;
        let usable = accounts.iter().filter(|account| can_be_asked(account));
        let known = usable.map(|one| (one.id.clone(), one.number, self.known(one, now_ms)));
        state.schedule.reconcile(known, parts.clock.instant(), chance);
        // An account that missed two turns does not answer.
        let recent_ms = i64::try_from(every.as_millis()).unwrap_or(i64::MAX).saturating_mul(2);
        self.offer(&accounts, now_ms, recent_ms).await?;
        self.note(state, &accounts, now_ms, recent_ms).await
    }

    /// Notes what is left of the quotas, for the charts of operators: once per ten minutes.
    async fn note(
        &self,
        state: &mut State,
        accounts: &[AccountView],
        now_ms: i64,
        recent_ms: i64,
    ) -> Result<(), StoreError> {
        let slot = now_ms.div_euclid(CAPACITY_SLOT_MS);
        let left = capacity::left(accounts, now_ms, recent_ms);
        if slot != state.noted && !left.is_empty() {
            self.0.store.note_capacity(now_ms, &left).await?;
            state.noted = slot;
        }
        Ok(())
    }

    async fn offer(&self, accounts: &[AccountView], now_ms: i64, recent_ms: i64) -> Result<(), StoreError> {
        let catalogue = &self.0.catalogue;
        catalogue.forget();
        let earlier = catalogue.models().await?;
        let names = self.names().clone();
        let models = offer::offer(accounts, &earlier, &names, now_ms, recent_ms);
        if !models.is_empty() && offer::differ(&earlier, &models) {
            catalogue.put(models).await?;
        }
        Ok(())
    }

    /// Takes over what came of an account's turn.
    fn ended(&self, state: &mut State, id: &AccountId, want: Want, turn: Result<Turn, StoreError>) {
        let now = self.0.clock.instant();
        let mut over = true;
        match turn {
            Ok(Turn::Fetched { known, models }) => {
                state.schedule.learnt(id, &known, chance());
                let mut names = self.names();
                let mut news = false;
                for model in models {
                    let name = model.display_name.unwrap_or_else(|| model.id.clone());
                    news |= names.insert(model.id, name.clone()).as_ref() != Some(&name);
                }
                if news {
                    state.look_at = state.look_at.min(state.earliest_look.max(now + LOOK_PACE));
                }
            }
            Ok(Turn::Fresh(known)) => state.schedule.learnt(id, &known, chance()),
            Ok(Turn::Later(known, at)) => {
                state.schedule.learnt(id, &known, chance());
                state.schedule.postpone(id, at, want);
            }
            Ok(Turn::Elsewhere(at)) => {
                // Somebody may wait since the turn has begun.
                let waited_for = state.pass.as_ref().is_some_and(|pass| pass.pending.contains(id));
                let at = if waited_for { at.min(now + LOOK_SOON + jitter(LOOK_SOON)) } else { at };
                state.schedule.elsewhere(id, at, want);
                over = false;
            }
            Ok(Turn::Silent(until)) => state.schedule.rest(id, until),
            Ok(Turn::Gone) => state.schedule.remove(id),
            Err(error) => {
                tracing::debug!(account.id = %id, %error, "the account's turn is put off");
                state.schedule.postpone(id, now + SOON + jitter(SOON), want);
            }
        }
        if over && let Some(pass) = &mut state.pass {
            pass.pending.remove(id);
        }
    }

    /// Ends the pass when all had their turn: with what they offered written, those who wait are told.
    async fn close(&self, state: &mut State, every: Duration) {
        let now = self.0.clock.instant();
        let over = |pass: &mut Pass| pass.pending.is_empty() || pass.until <= now;
        let Some(pass) = state.pass.take_if(over) else { return };
        if let Err(error) = self.view(state, every).await {
            tracing::warn!(%error, "the accounts could not be looked at");
        }
        self.0.ended.send_replace(pass.number);
    }

    /// Gives the locks back that this replica has; else they lapse.
    async fn resign(&self, schedule: &Schedule) {
        for id in schedule.under_way() {
            if let Err(error) = self.0.store.unlock(&quota_question(&id), &self.0.owner).await {
                tracing::debug!(%error, "locks of the survey lapse by themselves");
                return;
            }
        }
    }

    fn names(&self) -> MutexGuard<'_, HashMap<String, String>> {
        // Each change is a single step.
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Between 0 and 1; 0 when the system gives no randomness.
fn chance() -> Chance {
    jitter(Duration::from_secs(1)).as_secs_f64()
}

#[cfg(test)]
mod tests;
