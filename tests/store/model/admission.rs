//! Admission: one attempt gets an account, once (spec §9.6 ACQUIRE).

use super::account::{Limit, Record};
use super::leases::LAPSED_BY_ADMISSION;
use super::selection::{Choice, Verdict};
use super::settings::Strategy;
use super::settlement::Settlement;
use super::tokens::Lock;
use super::{ATTEMPT_KEPT, Pool, Refusal, Stamp};

/// One attempt asks for an account.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask {
    /// Id of the attempt.
    pub(crate) lease: String,
    /// How long its lease lives unless renewed, ms.
    pub(crate) lease_ms: i64,
    pub(crate) model: String,
    /// Accounts that the request tried.
    pub(crate) tried: Vec<String>,
    /// Tokens that the caller holds: account and generation.
    pub(crate) known: Vec<(String, u64)>,
    /// A longer wait lets one caller probe; none never.
    pub(crate) max_wait: Option<i64>,
    /// One client's conversation about this model.
    pub(crate) conversation: Option<String>,
    /// Who wins where scores are so close that only rounding tells them apart.
    pub(crate) rounding: Option<String>,
}

/// The answer, and when it was first given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Admission {
    pub(crate) stamp: Stamp,
    pub(crate) decision: Decision,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Granted(Grant),
    Wait {
        ms: i64,
        why: String,
        /// Whether it is the conversation's own account that is waited for.
        own: bool,
    },
    Empty,
    NoEnabled,
    /// With the reasons there are.
    AllInvalid(Vec<String>),
}

/// A leased account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) account: String,
    pub(crate) credential: u64,
    pub(crate) project: Option<String>,
    pub(crate) session: String,
    pub(crate) source: String,
    pub(crate) tier: Tier,
    pub(crate) throttle: i64,
    pub(crate) in_flight: u32,
    pub(crate) tried: bool,
    /// Accounts in the pool.
    pub(crate) accounts: usize,
    pub(crate) token: Held,
}

/// How good a choice is (spec §5.4), best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tier {
    Normal,
    Quota,
    Emergency,
    LastResort,
    Probe,
}

/// The account's access token, as the caller gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Missing,
    /// The caller has it.
    Known {
        generation: u64,
        left: i64,
    },
    Sent {
        generation: u64,
        left: i64,
        sealed: String,
    },
}

/// What is remembered of an attempt.
#[derive(Clone, Debug)]
pub(super) enum Attempt {
    Open(Open),
    /// Its settlement; of a release, one that says nothing.
    Ended(Settlement),
}

/// An attempt under way.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) account: String,
    pub(super) credential: u64,
    pub(super) tier: Tier,
    pub(super) throttle: i64,
    pub(super) tried: bool,
    /// Whether it cost its account a token.
    pub(super) token_taken: bool,
    pub(super) in_flight: u32,
    pub(super) accounts: usize,
    pub(super) stamp: Stamp,
}

impl Pool {
    /// Chooses an account for an attempt and leases it; an attempt that has an account keeps it.
    pub(crate) fn admit(&mut self, ask: &Ask, now: i64) -> Result<Admission, Refusal> {
        match self.attempts.get(&ask.lease).map(|kept| &kept.value) {
            Some(Attempt::Ended(_)) => return Err(Refusal::Settled),
            // An account that is gone cannot be the answer any more.
            Some(Attempt::Open(open)) if self.account(&open.account).is_some() => {
                return Ok(self.granted(&open.clone(), ask, now));
            }
            _ => {}
        }
        let stamp = self.write(now);
        self.leases.lapse(now, LAPSED_BY_ADMISSION);
        if !self.accounts.is_empty()
            && ask.conversation.is_some()
            && self.settings().strategy == Strategy::Sticky
        {
            self.conversations.live.lapse(now, LAPSED_BY_ADMISSION);
        }
        let (choice, probing) = match self.choose(ask, now) {
            Verdict::Chosen(choice) => (choice, false),
            Verdict::Probe(choice) => (choice, true),
            Verdict::Refused(decision) => return Ok(Admission { stamp, decision }),
        };
        let open = self.lease(ask, &choice, probing, stamp);
        let admission = self.granted(&open, ask, now);
        let record = self.keep(Attempt::Open(open), ATTEMPT_KEPT);
        self.attempts.insert(ask.lease.clone(), record);
        Ok(admission)
    }

    /// Makes the choice: token, lease, and what the strategy remembers.
    fn lease(&mut self, ask: &Ask, choice: &Choice, probing: bool, stamp: Stamp) -> Open {
        let (settings, now) = (self.settings(), stamp.now);
        if probing {
            let ms = settings.ms("probeMs");
            let lock = self.keep(Lock { owner: ask.lease.clone(), until: now + ms }, ms);
            self.probes.insert(ask.model.clone(), lock);
        }
        self.leases.put(&choice.account, &ask.lease, now + ask.lease_ms);
        self.remember(ask, choice, &settings, now);
        self.begin_recovery(ask, choice, &settings, now);
        let token_taken =
            !probing && settings.strategy == Strategy::Hybrid && choice.tier != Tier::LastResort;
        let in_flight = self.leases.of(&choice.account);
        let mut credential = 0;
        if let Some(account) = self.account_mut(&choice.account) {
            if token_taken {
                account.take_token(&settings, now);
            }
            account.last_used = Some(now);
            credential = account.credential;
        }
        Open {
            account: choice.account.clone(),
            credential,
            tier: choice.tier,
            throttle: match choice.tier {
                Tier::Emergency if token_taken => settings.ms("throttle.emergencyMs"),
                Tier::LastResort => settings.ms("throttle.lastResortMs"),
                _ => 0,
            },
            tried: ask.tried.contains(&choice.account),
            token_taken,
            in_flight,
            accounts: self.accounts.len(),
            stamp,
        }
    }

    /// The first request behind a limit that others may have waited for.
    fn begin_recovery(&mut self, ask: &Ask, choice: &Choice, settings: &super::Settings, now: i64) {
        let record = self.record(&ask.model, &choice.account);
        let untried = record.limit.as_ref().filter(|limit| limit.until <= now && !limit.why.is_empty());
        if untried.is_some_and(|limit| now - limit.until < 10 * settings.ms("recoveryRampMs")) {
            let limit = Some(Limit { until: now, why: String::new() });
            self.put_record(&ask.model, &choice.account, Record { limit, ..record }, now);
        }
    }

    /// Where round-robin goes on, and what a conversation used.
    fn remember(&mut self, ask: &Ask, choice: &Choice, settings: &super::Settings, now: i64) {
        if settings.strategy == Strategy::RoundRobin {
            self.cursor = self.account(&choice.account).map(|account| account.number);
        }
        if let Some(window) = choice.window {
            self.window = window;
        }
        let Some(conversation) = ask.conversation.as_deref().filter(|_| settings.remembers()) else { return };
        let ttl = settings.ms("sticky.ttlMs");
        if settings.strategy == Strategy::Sticky {
            if let Some(before) = self.conversations.account(conversation).map(str::to_owned)
                && before != choice.account
            {
                self.conversations.live.end(&before, conversation);
            }
            self.conversations.live.put(&choice.account, conversation, now + ttl);
        }
        self.conversations.assign(conversation, &choice.account, self.clock + ttl);
    }

    /// What the caller is told; token, project and session as they are now.
    fn granted(&self, open: &Open, ask: &Ask, now: i64) -> Admission {
        let Some(account) = self.account(&open.account) else {
            return Admission { stamp: open.stamp, decision: Decision::Empty };
        };
        let generation = account.token.generation;
        let token = match (account.token.left(open.credential, now), &account.token.sealed) {
            (Some(left), _) if ask.known.contains(&(account.id.clone(), generation)) => {
                Held::Known { generation, left }
            }
            (Some(left), Some(sealed)) => Held::Sent { generation, left, sealed: sealed.clone() },
            _ => Held::Missing,
        };
        let grant = Grant {
            account: account.id.clone(),
            credential: open.credential,
            project: account.managed_project.clone().or_else(|| account.project.clone()),
            session: account.session.clone(),
            source: account.source.clone(),
            tier: open.tier,
            throttle: open.throttle,
            in_flight: open.in_flight,
            tried: open.tried,
            accounts: open.accounts,
            token,
        };
        Admission { stamp: open.stamp, decision: Decision::Granted(grant) }
    }
}
