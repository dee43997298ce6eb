//! When which token is renewed ahead of its end. Pure: times and chances come from the caller.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::TokenRequest;
use crate::clock::jitter;
use crate::store::ident::{AccountId, CredentialVersion, Generation};

/// A token is due in the last fifth of its life, but no earlier than at half of it.
const SHARE: u32 = 5;
/// What a renewal may need in any case.
const LEAST: Duration = Duration::from_secs(2);
/// How long after its end a token that could not be renewed is still tried.
const PERSISTENCE: Duration = Duration::from_mins(2);

/// The tokens of this process's accounts. One that no request has used since it was fetched is left to end.
#[derive(Debug, Default)]
pub(super) struct Plan {
    entries: HashMap<AccountId, Entry>,
    /// The accounts in use, by the time at which they are looked at.
    times: BTreeSet<(Instant, AccountId)>,
}

#[derive(Debug)]
struct Entry {
    request: TokenRequest,
    generation: Generation,
    ends: Instant,
    window: Duration,
    /// When it is looked at; none while nobody uses it, or while it is being looked at.
    at: Option<Instant>,
    used: bool,
}

/// A token that is due.
#[derive(Clone, Debug)]
pub(super) struct Due {
    /// Whose it is.
    pub(super) request: TokenRequest,
    /// Which one.
    pub(super) generation: Generation,
    /// It is renewed when it has no more than this left.
    pub(super) window: Duration,
}

/// How long before its end a token of which `left` was left when it was first seen is due.
fn window(left: Duration) -> Duration {
    (left / SHARE).max(LEAST).min(left / 2)
}

impl Plan {
    /// A token was fetched, or came from the store: `left` is left of it.
    pub(super) fn learnt(
        &mut self,
        request: &TokenRequest,
        generation: Generation,
        ends: Instant,
        left: Duration,
    ) {
        let same =
            |known: &Entry| known.generation == generation && known.request.credential == request.credential;
        if self.entries.get(&request.account).is_some_and(same) {
            return;
        }
        self.forget(&request.account);
        let request = TokenRequest { admitted: None, ..request.clone() };
        let entry = Entry { generation, ends, window: window(left), at: None, used: false, request };
        self.entries.insert(entry.request.account.clone(), entry);
    }

    /// A request uses the account's token. Answers whether that changes what comes first.
    pub(super) fn used(&mut self, account: &AccountId) -> bool {
        let Some(entry) = self.entries.get_mut(account).filter(|entry| !entry.used) else { return false };
        entry.used = true;
        // Replicas that share the account look at different moments of the first half of the window.
        let at = entry.ends - entry.window + jitter(entry.window / 2);
        self.put(account, at)
    }

    fn put(&mut self, account: &AccountId, at: Instant) -> bool {
        let Some(entry) = self.entries.get_mut(account) else { return false };
        if let Some(old) = entry.at.replace(at) {
            self.times.remove(&(old, account.clone()));
        }
        let first = self.times.first().is_none_or(|(first, _)| at < *first);
        self.times.insert((at, account.clone()));
        first
    }

    /// The token that is to be looked at by `now`; it is not named again until [`Plan::again`].
    pub(super) fn begin(&mut self, now: Instant) -> Option<Due> {
        let (at, account) = self.times.first().filter(|(at, _)| *at <= now)?.clone();
        self.times.remove(&(at, account.clone()));
        let entry = self.entries.get_mut(&account)?;
        entry.at = None;
        Some(Due { request: entry.request.clone(), generation: entry.generation, window: entry.window })
    }

    /// Looks at the token again at `at`, unless a new one has come or it has been over for long.
    pub(super) fn again(&mut self, due: &Due, at: Instant) {
        let Some(entry) = self.entries.get(&due.request.account) else { return };
        if entry.generation != due.generation || entry.request.credential != due.request.credential {
            return;
        }
        if at > entry.ends + PERSISTENCE {
            self.forget(&due.request.account);
        } else {
            self.put(&due.request.account, at);
        }
    }

    /// Forgets the account, unless it has another credential by now.
    pub(super) fn gone(&mut self, account: &AccountId, credential: CredentialVersion) {
        if self.entries.get(account).is_some_and(|entry| entry.request.credential == credential) {
            self.forget(account);
        }
    }

    /// Forgets the account.
    pub(super) fn forget(&mut self, account: &AccountId) {
        if let Some(Entry { at: Some(at), .. }) = self.entries.remove(account) {
            self.times.remove(&(at, account.clone()));
        }
    }

    /// When the next token is looked at.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.times.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::store::ident::Source;

    fn request(account: &str) -> TokenRequest {
        TokenRequest {
            account: AccountId::new(account).unwrap(),
            source: Source::OAuth,
            credential: CredentialVersion(1),
            admitted: None,
        }
    }

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn windows() {
        for (left, expected) in
            [(300_000, 60_000), (3_600_000, 720_000), (10_000, 2000), (3000, 1500), (0, 0)]
        {
            assert_eq!(window(Duration::from_millis(left)), Duration::from_millis(expected), "{left}");
        }
    }

    #[test]
    fn only_what_is_used_is_due_and_each_token_once() {
        let (mut plan, now) = (Plan::default(), Clock::system().instant());
        let (a, b) = (request("a"), request("b"));
        plan.learnt(&a, Generation(1), now + 5 * MINUTE, 5 * MINUTE);
        plan.learnt(&b, Generation(1), now + 5 * MINUTE, 5 * MINUTE);
        assert_eq!(plan.next_at(), None);
        assert!(plan.used(&a.account) && !plan.used(&a.account), "once");
        let at = plan.next_at().unwrap();
        assert!((4 * MINUTE..=4 * MINUTE + MINUTE / 2).contains(&(at - now)), "{:?}", at - now);
        // Seen again as the store's: nothing new.
        plan.learnt(&a, Generation(1), now + 5 * MINUTE, MINUTE);
        assert_eq!(plan.next_at(), Some(at));
        assert!(plan.begin(now).is_none());
        let due = plan.begin(at).unwrap();
        assert_eq!((&due.request.account, due.window), (&a.account, MINUTE));
        assert!(plan.begin(at).is_none() && plan.next_at().is_none());
        // Its successor begins unused.
        plan.learnt(&a, Generation(2), at + 5 * MINUTE, 5 * MINUTE);
        plan.again(&due, at);
        assert_eq!(plan.next_at(), None);
        assert!(plan.used(&a.account));
        plan.forget(&a.account);
        assert_eq!(plan.next_at(), None);
    }

    #[test]
    fn what_fails_is_tried_again_but_not_for_ever() {
        let (mut plan, now) = (Plan::default(), Clock::system().instant());
        let a = request("a");
        plan.learnt(&a, Generation(1), now + MINUTE, MINUTE);
        plan.used(&a.account);
        let due = plan.begin(now + MINUTE).unwrap();
        plan.again(&due, now + 2 * MINUTE);
        assert_eq!(plan.next_at(), Some(now + 2 * MINUTE));
        let due = plan.begin(now + 2 * MINUTE).unwrap();
        plan.again(&due, now + 4 * MINUTE);
        assert_eq!(plan.next_at(), None);
        assert!(!plan.used(&a.account), "it is known no more");
    }
}
