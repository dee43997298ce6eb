//! The addresses of accounts, for what knows them by their ids only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Clock;
use crate::store::Store;
use crate::store::host::StoreError;
use crate::store::ident::AccountId;
use crate::store::ops::listing::Named;

/// Accounts that are remembered; beyond it all are asked for again.
const REMEMBERED: usize = 10_000;
/// How long it is believed that an account has no address. Ids of accounts that were removed do not come back, but a record
/// that is damaged may be mended.
const ABSENT: Duration = Duration::from_mins(1);

/// Asks the store once for each: an account's address never changes. Of one that has none, because it was removed or its
/// record is damaged, it asks again now and then.
pub(super) struct Addresses {
    store: Store,
    clock: Clock,
    known: Mutex<HashMap<AccountId, Known>>,
}

#[derive(Clone)]
enum Known {
    Address(Arc<str>),
    /// That there was none then.
    Absent(Instant),
}

impl Addresses {
    pub(super) fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock, known: Mutex::default() }
    }

    /// The address of an account; `None` when there is none, it is damaged or the store does not answer.
    pub(super) async fn of(&self, account: &str) -> Option<Arc<str>> {
        let id = AccountId::new(account).ok()?;
        let now = self.clock.instant();
        let known = self.known().get(&id).cloned();
        match known {
            Some(Known::Address(address)) => return Some(address),
            Some(Known::Absent(at)) if now.saturating_duration_since(at) < ABSENT => return None,
            _ => {}
        }
        let address: Option<Arc<str>> = match self.store.get_account(Named::Id(&id)).await {
            Ok(found) => found.map(|found| found.view.email.into()),
            Err(StoreError::Damaged { .. }) => None,
            // Nothing is known.
            Err(_) => return None,
        };
        let mut known = self.known();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(id, address.clone().map_or(Known::Absent(now), Known::Address));
        address
    }

    fn known(&self) -> MutexGuard<'_, HashMap<AccountId, Known>> {
        // Each change is a single step.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ident::Source;
    use crate::store::unsteady::{Network, Unsteady, add_account};

    fn id(name: &str) -> AccountId {
        AccountId::new(name).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_store_is_asked_once_also_for_those_that_are_gone() {
        let clock = Clock::following(1_800_000_000_000);
        let host = Unsteady::new(clock.clone());
        let addresses = Addresses::new(host.pool(), clock);
        add_account(&host.pool(), &id("a"), Source::Manual, "sealed").await;
        host.batches();
        for _ in 0..100 {
            assert_eq!(addresses.of("a").await.as_deref(), Some("a@example.com"));
            assert_eq!(addresses.of("gone").await, None);
            assert_eq!(addresses.of("no id").await, None);
        }
        assert_eq!(host.batches().len(), 2);
        // It turns up, as one does whose record is mended.
        add_account(&host.pool(), &id("gone"), Source::Manual, "sealed").await;
        tokio::time::sleep(Duration::from_secs(59)).await;
        assert_eq!(addresses.of("gone").await, None);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(addresses.of("gone").await.as_deref(), Some("gone@example.com"));
    }

    #[tokio::test(start_paused = true)]
    async fn that_the_store_does_not_answer_is_not_remembered() {
        let clock = Clock::following(1_800_000_000_000);
        let host = Unsteady::new(clock.clone());
        let addresses = Addresses::new(host.pool(), clock);
        add_account(&host.pool(), &id("a"), Source::Manual, "sealed").await;
        host.set(Network::Cut);
        assert_eq!(addresses.of("a").await, None);
        host.set(Network::Up);
        assert_eq!(addresses.of("a").await.as_deref(), Some("a@example.com"));
    }
}
