use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::{ENTRY_BYTES, Memory, SigKey, SigKind};
use crate::account::pool::Pool;
use crate::auth::oauth::OAuth;
use crate::auth::tokens::Tokens;
use crate::auth::vault::Vault;
use crate::clock::Clock;
use crate::cloudcode::http;
use crate::config::{OAuthConfig, UpstreamConfig};
use crate::store::Store;
use crate::store::unsteady::{Network, Unsteady};
use crate::telemetry::metrics::Metrics;

const DAY: Duration = Duration::from_hours(24);
const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

struct World {
    host: Arc<Unsteady>,
    store: Store,
    metrics: Arc<Metrics>,
    memory: Memory,
}

impl World {
    fn new(room: usize) -> Self {
        let (host, metrics) = (Unsteady::new(Clock::system()), Arc::new(Metrics::new().unwrap()));
        let store = host.pool();
        let oauth = OAuth::new(http::client(&UpstreamConfig::default()).unwrap(), OAuthConfig::default());
        let vault = Arc::new(Vault::new(&[KEY.into()]).unwrap());
        let tokens = Tokens::new(oauth, vault, store.clone(), Clock::system(), TaskTracker::new());
        let pool = Pool::new(store.clone(), tokens, Duration::from_secs(30), DAY);
        let memory = Memory::new(
            pool,
            "k".into(),
            TaskTracker::new(),
            Arc::clone(&metrics),
            Clock::system(),
            Arc::new(Semaphore::new(room)),
            tracing::Span::none(),
        );
        Self { host, store, metrics, memory }
    }

    async fn known(&self, name: &str) -> Option<String> {
        self.store.get_signatures(&[key(name)], DAY).await.unwrap().remove(0)
    }
}

fn key(name: &str) -> SigKey {
    SigKey::new("k", SigKind::Tool, name)
}

#[tokio::test(start_paused = true)]
async fn a_signature_is_written_before_the_answer_ends() {
    let mut world = World::new(1000);
    world.memory.write(vec![(key("t"), "v".into())]);
    world.memory.settled_within(Duration::from_millis(250)).await;
    assert_eq!(world.known("t").await.as_deref(), Some("v"));
}

#[tokio::test(start_paused = true)]
async fn an_outage_delays_the_answer_a_moment_and_loses_nothing() {
    let mut world = World::new(1000);
    world.host.set(Network::Cut);
    let begin = Clock::system().instant();
    world.memory.write(vec![(key("t"), "v".into())]);
    world.memory.settled_within(Duration::from_millis(250)).await;
    assert_eq!((Clock::system().instant() - begin).as_millis(), 250);
    tokio::time::sleep(Duration::from_mins(2)).await;
    world.host.set(Network::Up);
    tokio::time::sleep(Duration::from_millis(101)).await;
    assert_eq!(world.known("t").await.as_deref(), Some("v"));
    assert_eq!(world.metrics.signature_put_failures.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_bounded_and_the_room_returns() {
    let mut world = World::new(2 * (ENTRY_BYTES + 1));
    world.host.set(Network::Cut);
    for name in ["one", "two", "three"] {
        world.memory.write(vec![(key(name), "v".into())]);
    }
    assert_eq!(world.metrics.signature_put_failures.get(), 1);
    world.host.set(Network::Up);
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.memory.write(vec![(key("four"), "v".into())]);
    world.memory.settled_within(Duration::from_secs(1)).await;
    assert_eq!(world.known("four").await.as_deref(), Some("v"));
    assert_eq!(world.known("three").await, None);
}
