//! A store for tests: in memory, with a network that fails in the ways a real one does.

use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::broadcast;

use super::Store;
use super::embedded::EmbeddedHost;
use super::host::{Call, Event, Reply, ScriptHost, StoreError};
use super::ident::{AccountId, Source};
use super::keys::Keys;
use super::ops::accounts::PutAccount;
use super::ops::listing::AccountView;
use super::registry;
use crate::clock::Clock;
use crate::config::SelectionConfig;

/// What becomes of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Network {
    /// It is answered.
    #[default]
    Up,
    /// It never reaches the store.
    Cut,
    /// It is carried out and the reply gets lost.
    Deaf,
    /// It is given up by the caller, and carried out when [`Unsteady::arrive`] says so.
    Late,
    /// Nothing happens until the caller gives up.
    Stalled,
}

/// The host.
pub(crate) struct Unsteady {
    store: EmbeddedHost,
    network: Mutex<Network>,
    late: Mutex<Vec<Vec<Call>>>,
    batches: Mutex<Vec<Vec<&'static str>>>,
}

impl Unsteady {
    /// An empty pool whose time is `clock`.
    pub(crate) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            store: EmbeddedHost::in_memory(clock, registry::ALL).unwrap(),
            network: Mutex::default(),
            late: Mutex::default(),
            batches: Mutex::default(),
        })
    }

    /// A replica's view of the pool.
    pub(crate) fn pool(self: &Arc<Self>) -> Store {
        Store::new(Arc::clone(self) as _, Keys::new("test").unwrap(), &SelectionConfig::default())
    }

    pub(crate) fn set(&self, network: Network) {
        *self.network.lock().unwrap() = network;
    }

    /// Carries out what was late.
    pub(crate) async fn arrive(&self) {
        let late = std::mem::take(&mut *self.late.lock().unwrap());
        for batch in late {
            self.store.eval(batch).await.unwrap();
        }
    }

    /// The scripts of every batch since the last look.
    pub(crate) fn batches(&self) -> Vec<Vec<&'static str>> {
        std::mem::take(&mut *self.batches.lock().unwrap())
    }
}

impl ScriptHost for Unsteady {
    fn eval(&self, batch: Vec<Call>) -> BoxFuture<'_, Result<Vec<Reply>, StoreError>> {
        let network = *self.network.lock().unwrap();
        self.batches.lock().unwrap().push(batch.iter().map(|call| call.script.name).collect());
        async move {
            let away = Err(StoreError::Unavailable { reason: "test".into() });
            match network {
                Network::Up => self.store.eval(batch).await,
                Network::Cut => away,
                Network::Deaf => self.store.eval(batch).await.and(away),
                Network::Late => {
                    self.late.lock().unwrap().push(batch);
                    away
                }
                Network::Stalled => std::future::pending().await,
            }
        }
        .boxed()
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.store.subscribe()
    }
}

/// Adds an account that signs in with `sealed`.
pub(crate) async fn add_account(store: &Store, id: &AccountId, source: Source, sealed: &str) {
    let email = format!("{id}@example.com");
    let put = PutAccount::new(id, &email, source, sealed, "session");
    store.put_account(&put).await.unwrap();
}

/// The pool's only account.
pub(crate) async fn only_account(store: &Store) -> AccountView {
    store.list_accounts(0, 1, &["m".to_owned()]).await.unwrap().accounts.remove(0)
}
