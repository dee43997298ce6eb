//! Which account is chosen (spec §5).

use super::account::Limit;
use super::admission::{Ask, Decision, Tier};
use super::settings::{Settings, Strategy};
use super::{Account, Pool, elapsed, number};

/// Pools up to this size are looked at as a whole.
const WHOLE: usize = 200;
/// Accounts that hybrid and sticky look at in a larger one.
const WINDOW: usize = 100;
/// How long a busy account is waited for, ms: nobody knows better.
const BUSY_WAIT: i64 = 1000;
/// Scores that differ by less may be told apart by rounding only.
const CLOSE: f64 = 1e-9;

/// What the pool says to an attempt.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    Chosen(Choice),
    /// None is usable, and the attempt may try whether a limit still holds.
    Probe(Choice),
    Refused(Decision),
}

#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) account: String,
    pub(super) tier: Tier,
    /// Where the window of a large pool stands from now on.
    pub(super) window: Option<usize>,
}

/// What keeps an enabled, valid account from being used for a model.
#[derive(Clone, Debug)]
enum Hindrance {
    /// Its limit or its cooldown, by its end.
    Until(i64, String),
    /// As many requests in flight as it may have.
    Busy,
    /// Its limit ended a moment ago, and requests come back by and by; ms until the next may.
    Recovering(i64),
}

impl Hindrance {
    fn wait(&self, now: i64) -> i64 {
        match self {
            Self::Until(at, _) => at - now,
            Self::Busy => BUSY_WAIT,
            Self::Recovering(ms) => *ms,
        }
    }

    fn why(&self) -> &str {
        match self {
            Self::Until(_, why) => why,
            Self::Busy => "busy",
            Self::Recovering(_) => "recovering",
        }
    }
}

/// What an admission would answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Explained {
    Chosen(String, Tier),
    Refused(Decision),
}

/// How an account looks to an attempt, for explanations.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) account: String,
    pub(crate) number: u64,
    /// `usable`, `disabled`, why it is invalid, or why it must be waited for.
    pub(crate) verdict: String,
    pub(crate) wait: i64,
    /// Tier, health and tokens of a usable one, and its score in hybrid.
    pub(crate) standing: Option<(Tier, f64, f64, f64)>,
}

/// One selection.
struct Selection<'p> {
    pool: &'p Pool,
    settings: &'p Settings,
    ask: &'p Ask,
    now: i64,
}

impl Pool {
    /// The verdict for `ask`, by the strategy in force.
    pub(super) fn choose(&self, ask: &Ask, now: i64) -> Verdict {
        let settings = self.settings();
        Selection { pool: self, settings: &settings, ask, now }.verdict()
    }

    /// What an admission would answer now, and how each account of a small pool looks to it. Changes nothing.
    pub(crate) fn explain(&self, ask: &Ask, now: i64) -> (Explained, Vec<Candidate>) {
        let settings = self.settings();
        let selection = Selection { pool: self, settings: &settings, ask, now };
        let outcome = match selection.verdict() {
            Verdict::Chosen(choice) | Verdict::Probe(choice) => {
                Explained::Chosen(choice.account, choice.tier)
            }
            Verdict::Refused(decision) => Explained::Refused(decision),
        };
        (outcome, self.accounts.iter().map(|account| selection.candidate(account)).collect())
    }
}

impl<'p> Selection<'p> {
    fn verdict(&self) -> Verdict {
        let accounts = &self.pool.accounts;
        if accounts.is_empty() {
            return Verdict::Refused(Decision::Empty);
        }
        if !accounts.iter().any(|account| account.enabled) {
            return Verdict::Refused(Decision::NoEnabled);
        }
        if !accounts.iter().any(|account| account.enabled && account.invalid.is_none()) {
            let reasons = ["revoked", "banned", "verification"].into_iter().filter(|reason| {
                let is =
                    |account: &Account| account.invalid.as_ref().is_some_and(|why| why.reason == *reason);
                accounts.iter().any(|account| account.enabled && is(account))
            });
            return Verdict::Refused(Decision::AllInvalid(reasons.map(str::to_owned).collect()));
        }
        if self.settings.strategy == Strategy::Sticky
            && let Some(verdict) = self.assigned().and_then(|account| self.stay(account))
        {
            return verdict;
        }
        self.best().map_or_else(|| self.wait(), Verdict::Chosen)
    }

    /// The best usable account; one that the request tried only when there is no other (spec §5.6).
    fn best(&self) -> Option<Choice> {
        let accounts: Vec<_> = self.pool.accounts.iter().collect();
        let (tried, untried): (Vec<_>, Vec<_>) = accounts
            .iter()
            .copied()
            .filter(|account| self.usable(account))
            .partition(|account| self.tried(account));
        let of = |accounts: &[&'p Account]| match self.settings.strategy {
            Strategy::Hybrid => self.by_score(accounts),
            Strategy::RoundRobin => self.next(accounts),
            Strategy::Sticky => self.least_taken(accounts),
        };
        let chosen = match self.window() {
            None => of(&untried),
            Some(window) => {
                let seen = |account: &&&Account| window.contains(&account.number);
                of(&untried.iter().filter(seen).copied().collect::<Vec<_>>()).or_else(|| of(&untried))
            }
        };
        let mut choice = chosen.or_else(|| of(&tried))?;
        choice.window = self.window_after();
        Some(choice)
    }

    /// Hybrid (spec §5.4): the first tier that has an account, there the highest score, then the oldest account.
    fn by_score(&self, accounts: &[&Account]) -> Option<Choice> {
        [Tier::Normal, Tier::Quota, Tier::Emergency, Tier::LastResort].into_iter().find_map(|tier| {
            let tier_mates = || accounts.iter().filter(|account| self.tier(account) == tier);
            let highest = tier_mates().map(|account| self.score(account)).fold(f64::NEG_INFINITY, f64::max);
            // Equal scores are equal; of those that are merely close, whoever wins by rounding may win.
            let favoured = |account: &&&Account| {
                highest - self.score(account) < CLOSE && self.ask.rounding.as_ref() == Some(&account.id)
            };
            let first = tier_mates().find(|account| highest - self.score(account) <= 0.0);
            let equal = tier_mates().filter(|account| highest - self.score(account) < CLOSE).count();
            let exact = tier_mates().filter(|account| highest - self.score(account) <= 0.0).count();
            let best = if equal > exact { tier_mates().find(favoured).or(first) } else { first };
            best.map(|account| Self::choice(account, tier))
        })
    }

    /// Round-robin (spec §5.3): the next one behind the account chosen last, around to itself. The oldest account
    /// counts as chosen last in the beginning, and when the one that was stood at the end and is gone.
    fn next(&self, accounts: &[&Account]) -> Option<Choice> {
        let all = &self.pool.accounts;
        let last =
            self.pool.cursor.filter(|cursor| all.last().is_some_and(|newest| *cursor <= newest.number));
        let last = last.or_else(|| all.first().map(|oldest| oldest.number))?;
        let behind = accounts.iter().find(|account| account.number > last);
        behind.or_else(|| accounts.first()).map(|next| Self::choice(next, Tier::Normal))
    }

    /// Sticky, for a conversation that needs another account: the best tier, then the fewest conversations, then
    /// the fewest requests in flight, then the next in order behind the account it had.
    fn least_taken(&self, accounts: &[&Account]) -> Option<Choice> {
        let last = self.assigned().map_or(0, |account| account.number);
        let best = accounts.iter().min_by_key(|account| {
            let (conversations, in_flight) =
                (self.pool.conversations.live.of(&account.id), self.pool.leases.of(&account.id));
            (self.tier(account), conversations, in_flight, account.number <= last, account.number)
        })?;
        Some(Self::choice(best, self.tier(best)))
    }

    /// Sticky keeps to the conversation's account while it is usable, whatever else is to be said of it, or will be
    /// within the time set.
    fn stay(&self, account: &Account) -> Option<Verdict> {
        if self.tried(account) {
            return None;
        }
        if self.usable(account) {
            return Some(Verdict::Chosen(Self::choice(account, Tier::Normal)));
        }
        let hindrance = self.hindrance(account)?;
        let (ms, why) = (hindrance.wait(self.now), hindrance.why().to_owned());
        let patient = ms <= self.settings.ms("sticky.waitMs");
        patient.then_some(Verdict::Refused(Decision::Wait { ms, why, own: true }))
    }

    /// Nothing is usable: until the first account is, or for the conversation's own when its limit ends soon
    /// (vector V25). A wait that is too long lets one attempt at a time probe the account that is free soonest.
    fn wait(&self) -> Verdict {
        if self.settings.strategy == Strategy::Sticky
            && let (Some(account), Some(max)) = (self.assigned(), self.ask.max_wait)
            && account.enabled
            && account.invalid.is_none()
            && let Some(limit) = self.pool.record(&self.ask.model, &account.id).limit
            && (1..=max).contains(&(limit.runs_until(self.now) - self.now))
        {
            let ms = limit.until - self.now;
            return Verdict::Refused(Decision::Wait { ms, why: limit.why, own: true });
        }
        let closed =
            self.pool.accounts.iter().filter_map(|account| Some((account, self.hindrance(account)?)));
        let closed: Vec<_> = closed.collect();
        let soonest = |closed: &&(&Account, Hindrance)| (closed.1.wait(self.now), closed.0.number);
        let first = closed.iter().min_by_key(soonest);
        let (ms, why) = first.map_or((0, String::new()), |(_, hindrance)| {
            (hindrance.wait(self.now), hindrance.why().to_owned())
        });
        let may_probe = self.ask.max_wait.is_some_and(|max| ms > max)
            && self.pool.prober(&self.ask.model, self.now).is_none();
        let probe = closed
            .iter()
            .filter(|(account, hindrance)| {
                let limited = matches!(hindrance, Hindrance::Until(..));
                may_probe && limited && !self.tried(account) && !self.full(account)
            })
            .min_by_key(soonest);
        match probe {
            Some((account, _)) => {
                let window = self.window_after();
                Verdict::Probe(Choice { window, ..Self::choice(account, Tier::Probe) })
            }
            None => Verdict::Refused(Decision::Wait { ms, why, own: false }),
        }
    }

    fn choice(account: &Account, tier: Tier) -> Choice {
        Choice { account: account.id.clone(), tier, window: None }
    }

    fn candidate(&self, account: &Account) -> Candidate {
        let hindrance = self.hindrance(account);
        let verdict = match (&account.invalid, &hindrance) {
            (_, Some(hindrance)) => hindrance.why().to_owned(),
            (Some(invalid), _) if account.enabled => invalid.reason.clone(),
            _ if !account.enabled => "disabled".to_owned(),
            _ => "usable".to_owned(),
        };
        let standing = (verdict == "usable").then(|| {
            let (health, tokens) =
                (account.health(self.settings, self.now), account.tokens(self.settings, self.now));
            (self.tier(account), self.score(account), health, tokens)
        });
        let wait = hindrance.map_or(0, |hindrance| hindrance.wait(self.now));
        Candidate { account: account.id.clone(), number: account.number, verdict, wait, standing }
    }

    /// The account that the conversation used last, where that is remembered.
    fn assigned(&self) -> Option<&'p Account> {
        let conversation = self.ask.conversation.as_ref().filter(|_| self.settings.remembers())?;
        self.pool.account(self.pool.conversations.account(conversation)?)
    }

    /// Of a large pool, the numbers of the accounts that hybrid and sticky look at first: as many as the window
    /// holds, around the end, and the conversation's own.
    fn window(&self) -> Option<Vec<u64>> {
        let accounts = &self.pool.accounts;
        self.window_after()?;
        let from = self.pool.window % accounts.len();
        let window = accounts.iter().cycle().skip(from).take(WINDOW);
        Some(window.chain(self.assigned()).map(|account| account.number).collect())
    }

    /// Where the window goes with an admission: on by its size.
    fn window_after(&self) -> Option<usize> {
        let total = self.pool.accounts.len();
        let windowed = self.settings.strategy != Strategy::RoundRobin && total > WHOLE;
        windowed.then(|| (self.pool.window % total + WINDOW) % total)
    }

    fn tried(&self, account: &Account) -> bool {
        self.ask.tried.contains(&account.id)
    }

    fn usable(&self, account: &Account) -> bool {
        account.enabled && account.invalid.is_none() && self.hindrance(account).is_none()
    }

    /// None when the account is switched off or invalid: those are not waited for.
    fn hindrance(&self, account: &Account) -> Option<Hindrance> {
        if !account.enabled || account.invalid.is_some() {
            return None;
        }
        let limit = self.pool.record(&self.ask.model, &account.id).limit;
        let until = limit.as_ref().map_or(0, |limit| limit.runs_until(self.now));
        let free = account.cooling_until.max(until);
        if free > self.now {
            let why = limit.filter(|_: &Limit| until > account.cooling_until);
            return Some(Hindrance::Until(free, why.map_or_else(|| "cooling".to_owned(), |limit| limit.why)));
        }
        if self.full(account) {
            return Some(Hindrance::Busy);
        }
        limit.and_then(|limit| self.recovering(account, &limit)).map(Hindrance::Recovering)
    }

    fn full(&self, account: &Account) -> bool {
        let max = self.settings.get("maxConcurrentPerAccount");
        max > 0.0 && f64::from(self.pool.leases.of(&account.id)) >= max
    }

    /// Behind a limit, recovery begins with the first request: one at first, and one more with each third of the
    /// ramp; ms until there is room for another.
    fn recovering(&self, account: &Account, limit: &Limit) -> Option<i64> {
        let ramp = self.settings.ms("recoveryRampMs");
        // A clock that stepped back counts as standing still.
        let since = elapsed(self.now, limit.until);
        if !limit.why.is_empty() || since >= ramp {
            return None;
        }
        let in_flight = i64::from(self.pool.leases.of(&account.id));
        let next_third = (in_flight * ramp + 2) / 3;
        (in_flight > 3 * since / ramp).then(|| next_third.min(ramp) - since)
    }

    /// The tier of a usable account (spec §5.4); its bucket counts in hybrid only, and round-robin has no tiers.
    fn tier(&self, account: &Account) -> Tier {
        let strategy = self.settings.strategy;
        if strategy == Strategy::RoundRobin {
            Tier::Normal
        } else if strategy == Strategy::Hybrid && account.tokens(self.settings, self.now) < 1.0 {
            Tier::LastResort
        } else if account.health(self.settings, self.now) < self.settings.get("health.minUsable") {
            Tier::Emergency
        } else if self.critical(account) {
            Tier::Quota
        } else {
            Tier::Normal
        }
    }

    /// Whether little is left of its quota, as far as is known and not old (spec §5.4).
    fn critical(&self, account: &Account) -> bool {
        let left = self.pool.record(&self.ask.model, &account.id).fraction;
        account.quotas_are_fresh(self.settings, self.now)
            && left.is_some_and(|left| left <= account.floor(&self.ask.model, self.settings))
    }

    /// The score (spec §5.4).
    fn score(&self, account: &Account) -> f64 {
        let weight = |name| self.settings.get(name);
        let fresh = account.quotas_are_fresh(self.settings, self.now);
        let quota = match self.pool.record(&self.ask.model, &account.id).fraction {
            None => self.settings.get("quota.unknownScore"),
            Some(left) if fresh => left * 100.0,
            Some(left) => left * 100.0 * 0.9,
        };
        let fill = account.tokens(self.settings, self.now) / self.settings.get("bucket.max") * 100.0;
        let rest = account.last_used.map_or(3_600_000, |used| elapsed(self.now, used).min(3_600_000));
        let affinity = self.assigned().is_some_and(|last| last.id == account.id);
        account.health(self.settings, self.now) * weight("weights.health")
            + fill * weight("weights.tokens")
            + quota * weight("weights.quota")
            + number(rest) / 1000.0 * weight("weights.lru")
            - f64::from(self.pool.leases.of(&account.id)) * weight("weights.inFlight")
            + if affinity { weight("weights.affinity") } else { 0.0 }
    }
}
