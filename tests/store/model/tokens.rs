//! Locks, and access tokens with one refresher at a time (spec §6.6, §9.6).

use super::Pool;

/// Who may do something, until when.
#[derive(Clone, Debug)]
pub(crate) struct Lock {
    pub(crate) owner: String,
    pub(crate) until: i64,
}

/// After a failed refresh: when the next may start, and how long the pause was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pause {
    until: i64,
    ms: i64,
}

/// An account's access token, or the memory of one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Token {
    /// Counts the tokens the account has had.
    pub(crate) generation: u64,
    credential: u64,
    ends: i64,
    pub(crate) sealed: Option<String>,
}

impl Token {
    /// Ms for which it may be used with `credential`; none when it may not.
    pub(crate) fn left(&self, credential: u64, now: i64) -> Option<i64> {
        let fresh = self.sealed.is_some() && self.credential == credential && self.ends > now;
        fresh.then(|| self.ends - now)
    }
}

/// What a caller without a token gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    Token { credential: u64, generation: u64, left: i64, sealed: String },
    Granted { credential: u64, source: String, sealed: String },
    Wait(i64),
    Failed(i64),
    Invalid(String),
    Gone,
}

/// What became of a fetched token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FinishedRefresh {
    Kept(u64),
    Lost,
    Stale,
    Gone,
}

/// Why a refresh failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefreshFailure {
    Transient,
    Revoked,
    Withdrawn,
}

/// What a failed refresh led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailedRefresh {
    Paused(i64),
    Invalidated,
    Ignored,
    Gone,
}

impl Pool {
    /// Who probes `model`, if anybody does.
    pub(super) fn prober(&self, model: &str, now: i64) -> Option<&str> {
        let lock = &self.probes.get(model)?.value;
        (lock.until > now).then_some(lock.owner.as_str())
    }

    fn refresher(&self, id: &str, now: i64) -> Option<&Lock> {
        self.refreshers.get(id).map(|kept| &kept.value).filter(|lock| lock.until > now)
    }

    /// Hands out the token of `id`, or the right to fetch one for `ms`, also when it has no more than `due` left.
    pub(crate) fn begin_refresh(&mut self, id: &str, owner: &str, ms: i64, due: i64, now: i64) -> Begun {
        let Some(account) = self.account(id) else { return Begun::Gone };
        let credential = account.credential;
        if let Some(invalid) = &account.invalid {
            return Begun::Invalid(invalid.reason.clone());
        }
        if let (Some(left), Some(sealed)) = (account.token.left(credential, now), &account.token.sealed)
            && left > due
        {
            let (generation, sealed) = (account.token.generation, sealed.clone());
            return Begun::Token { credential, generation, left, sealed };
        }
        if let Some(pause) = self.pauses.get(id).map(|kept| kept.value)
            && pause.until > now
        {
            return Begun::Failed(pause.until - now);
        }
        if let Some(lock) = self.refresher(id, now)
            && lock.owner != owner
        {
            return Begun::Wait(lock.until - now);
        }
        let granted =
            Begun::Granted { credential, source: account.source.clone(), sealed: account.sealed.clone() };
        self.write(now);
        let lock = self.keep(Lock { owner: owner.to_owned(), until: now + ms }, ms);
        self.refreshers.insert(id.to_owned(), lock);
        granted
    }

    /// Keeps what the refresher fetched with `credential`, unless its time was over or the credential has changed.
    pub(crate) fn finish_refresh(
        &mut self,
        id: &str,
        owner: &str,
        credential: u64,
        ms: i64,
        sealed: &str,
        now: i64,
    ) -> FinishedRefresh {
        if self.account(id).is_none() {
            return FinishedRefresh::Gone;
        }
        if self.refresher(id, now).is_none_or(|lock| lock.owner != owner) {
            return FinishedRefresh::Lost;
        }
        self.write(now);
        self.refreshers.remove(id);
        let Some(account) = self.account_mut(id) else { return FinishedRefresh::Gone };
        if account.credential != credential {
            return FinishedRefresh::Stale;
        }
        let generation = account.token.generation + 1;
        account.token = Token { generation, credential, ends: now + ms, sealed: Some(sealed.to_owned()) };
        self.pauses.remove(id);
        FinishedRefresh::Kept(generation)
    }

    /// After a failed refresh nobody tries for 5 s, doubling to 60 s, and an account without a token rests; a revoked
    /// credential ends the account's use; what is not the account's fault changes nothing.
    pub(crate) fn fail_refresh(
        &mut self,
        id: &str,
        owner: &str,
        credential: u64,
        failure: RefreshFailure,
        now: i64,
    ) -> FailedRefresh {
        let revoked = failure == RefreshFailure::Revoked;
        if self.account(id).is_none() {
            return FailedRefresh::Gone;
        }
        let holds = self.refresher(id, now).is_some_and(|lock| lock.owner == owner);
        if !holds && !revoked {
            return FailedRefresh::Ignored;
        }
        self.write(now);
        if holds {
            self.refreshers.remove(id);
        }
        if revoked {
            let Some(account) = self.account_mut(id) else { return FailedRefresh::Gone };
            if !account.invalidate(credential, "revoked", "", now) {
                return FailedRefresh::Ignored;
            }
            self.announce("account", id);
            return FailedRefresh::Invalidated;
        }
        let Some(account) = self
            .account(id)
            .filter(|account| failure == RefreshFailure::Transient && account.credential == credential)
        else {
            return FailedRefresh::Ignored;
        };
        let fresh = account.token.left(credential, now).is_some();
        let ms = self.pauses.get(id).map_or(5000, |kept| (kept.value.ms * 2).min(60_000));
        let pause = self.keep(Pause { until: now + ms, ms }, ms + 60_000);
        self.pauses.insert(id.to_owned(), pause);
        if let Some(account) = self.account_mut(id).filter(|_| !fresh) {
            account.cooling_until = account.cooling_until.max(now + ms);
        }
        FailedRefresh::Paused(ms)
    }

    /// Forgets the token that was refused, unless a newer one took its place.
    pub(crate) fn drop_token(&mut self, id: &str, generation: u64, now: i64) -> bool {
        let Some(account) = self.account_mut(id) else { return false };
        if account.token.generation != generation || account.token.sealed.is_none() {
            return false;
        }
        account.token.sealed = None;
        self.write(now);
        true
    }
}
