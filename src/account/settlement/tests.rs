use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Asker, Attempt, Claim, Granted, Outcome, Settlements};
use crate::account::lease::Leases;
use crate::clock::Clock;
use crate::store::Store;
use crate::store::host::StoreError;
use crate::store::ident::{AccountId, LeaseId, Source};
use crate::store::ops::admit::{Admission, Admit, Decision, Grant};
use crate::store::unsteady::{Network, Unsteady, add_account, only_account};
use crate::telemetry::metrics::Metrics;

const TTL: Duration = Duration::from_secs(30);

/// One account, and a replica that uses it.
struct World {
    host: Arc<Unsteady>,
    store: Store,
    clock: Clock,
    leases: Leases,
    settlements: Settlements,
    worker: JoinHandle<()>,
    metrics: Arc<Metrics>,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "the test waits for its end")]
    async fn new() -> Self {
        let clock = Clock::manual(1_800_000_000_000);
        let host = Unsteady::new(clock.clone());
        let store = host.pool();
        add_account(&store, &AccountId::new("a").unwrap(), Source::Manual, "sealed").await;
        let (leases, metrics) = (Leases::default(), Arc::new(Metrics::new().unwrap()));
        let (settlements, worker) =
            Settlements::new(store.clone(), leases.clone(), clock.clone(), Arc::clone(&metrics));
        let worker = tokio::spawn(worker.run());
        host.batches();
        Self { host, store, clock, leases, settlements, worker, metrics }
    }

    fn claim(&self, name: &str) -> Claim {
        self.settlements.claim(LeaseId::new(name).unwrap(), "m".into())
    }

    async fn ask(&self, claim: &Claim) -> Result<Admission, StoreError> {
        let admit = Admit {
            lease: claim.lease(),
            lease_ttl: TTL,
            model: "m",
            tried: &[],
            known: &[],
            probe_after: None,
        };
        claim.ask(self.store.admit(&admit)).await
    }

    async fn begin(&self, name: &str) -> Attempt {
        self.begin_with(self.claim(name)).await
    }

    async fn begin_with(&self, claim: Claim) -> Attempt {
        let Admission { stamp, decision: Decision::Granted(grant) } = self.ask(&claim).await.unwrap() else {
            panic!("no account");
        };
        let Grant { account, credential, .. } = *grant;
        let granted = Granted { account, credential, admitted_at_ms: stamp.now_ms };
        claim.begin(granted, &Asker { client_key: "k".into(), arrived: self.clock.instant() })
    }

    /// Waits until everything queued is written.
    async fn quiet(&self) {
        while self.metrics.settlements_queued.get() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Requests in flight and whole bucket tokens, as the pool sees them.
    async fn account(&self) -> (u64, u32) {
        let view = only_account(&self.store).await;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 50")]
        (u64::from(view.in_flight), view.tokens.round() as u32)
    }

    /// Ends the replica as the application does.
    async fn close(self) -> Arc<Unsteady> {
        drop(self.settlements);
        self.worker.await.unwrap();
        self.host
    }
}

#[tokio::test(start_paused = true)]
async fn an_admission_whose_reply_is_lost_leaves_no_lease() {
    let world = World::new().await;
    world.host.set(Network::Deaf);
    let claim = world.claim("l1");
    assert!(world.ask(&claim).await.is_err());
    world.host.set(Network::Up);
    assert_eq!(world.account().await, (1, 49));
    drop(claim);
    world.quiet().await;
    assert_eq!(world.account().await, (0, 50));
}

#[tokio::test(start_paused = true)]
async fn an_admission_that_arrives_after_its_request_is_gone_is_refused() {
    let world = World::new().await;
    world.host.set(Network::Late);
    let claim = world.claim("l1");
    assert!(world.ask(&claim).await.is_err());
    world.host.set(Network::Up);
    drop(claim);
    world.quiet().await;
    world.host.arrive().await;
    assert_eq!(world.account().await, (0, 50));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_goes_away_while_it_is_admitted_leaves_no_lease() {
    let world = World::new().await;
    world.host.set(Network::Stalled);
    let claim = world.claim("l1");
    let asking = world.ask(&claim);
    assert!(tokio::time::timeout(Duration::from_secs(1), asking).await.is_err());
    drop(claim);
    world.host.set(Network::Up);
    world.quiet().await;
    let last = world.host.batches().pop();
    assert_eq!(last, Some(vec!["release"]));
}

#[tokio::test(start_paused = true)]
async fn a_clear_refusal_needs_no_release_but_one_after_a_doubt_does() {
    let world = World::new().await;
    let claim = world.claim("l1");
    world.ask(&claim).await.unwrap();
    world.host.batches();
    claim.declined();
    world.quiet().await;
    assert!(world.host.batches().is_empty());
    let claim = world.claim("l2");
    world.host.set(Network::Late);
    assert!(world.ask(&claim).await.is_err());
    world.host.set(Network::Up);
    claim.declined();
    world.quiet().await;
    world.host.arrive().await;
    assert_eq!(world.account().await.0, 1, "only what was granted is in flight");
}

#[tokio::test(start_paused = true)]
async fn an_admission_that_is_repeated_after_a_lost_reply_is_one_attempt() {
    let world = World::new().await;
    world.host.set(Network::Deaf);
    let claim = world.claim("l1");
    assert!(world.ask(&claim).await.is_err());
    world.host.set(Network::Up);
    world.begin_with(claim).await.finish(Outcome::Success);
    world.quiet().await;
    assert_eq!(world.account().await, (0, 49), "nothing was taken twice, nothing taken back");
}

#[tokio::test(start_paused = true)]
async fn settlements_travel_together_and_survive_an_outage_once_each() {
    let world = World::new().await;
    let mut attempts = Vec::new();
    for n in 0..200 {
        attempts.push(world.begin(&format!("l{n}")).await);
    }
    assert_eq!(world.account().await, (200, 0));
    world.host.batches();
    world.host.set(Network::Deaf);
    for attempt in attempts {
        attempt.finish(Outcome::Failure);
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let tries = world.host.batches();
    assert!((4..20).contains(&tries.len()), "{} tries in 5 s", tries.len());
    world.host.set(Network::Up);
    world.quiet().await;
    let rest: Vec<_> = world.host.batches().iter().map(Vec::len).collect();
    assert_eq!((rest.iter().sum::<usize>(), rest.len()), (200, 4), "64 in a round trip");
    let view = only_account(&world.store).await;
    assert_eq!((view.in_flight, view.failures), (0, 200), "each counted once");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_process_writes_what_is_left() {
    let world = World::new().await;
    let (one, two) = (world.begin("l1").await, world.begin("l2").await);
    let store = world.store.clone();
    world.host.set(Network::Cut);
    one.finish(Outcome::Success);
    drop(two);
    drop(world.claim("l3"));
    let host = Arc::clone(&world.host);
    let back = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        host.set(Network::Up);
    };
    tokio::join!(back, world.close());
    assert_eq!(only_account(&store).await.in_flight, 0);
    let written: Vec<_> = host.batches().into_iter().rev().nth(1).unwrap();
    assert_eq!(written, ["settle", "settle", "release"], "in the order of the ends");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_delays_a_rotation_only_a_moment() {
    let world = World::new().await;
    let attempt = world.begin("l1").await;
    world.host.set(Network::Stalled);
    let before = world.clock.instant();
    let rotation = attempt.rotate(Outcome::Unauthorized);
    rotation.await;
    let took = world.clock.instant() - before;
    assert!(took <= Duration::from_millis(510), "{took:?}");
    assert_eq!(world.metrics.settlements_queued.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_is_known_to_the_next_admission() {
    let world = World::new().await;
    world.begin("l1").await.rotate(Outcome::Unauthorized).await;
    let claim = world.claim("l2");
    let admission = world.ask(&claim).await.unwrap();
    assert!(matches!(admission.decision, Decision::Wait { .. }), "the account cools down");
    claim.declined();
}

/// A replica's heartbeat, until it is dropped.
struct Beating(CancellationToken, JoinHandle<()>);

impl Beating {
    #[expect(clippy::disallowed_methods, reason = "ended with its handle")]
    fn new(leases: &Leases, store: &Store) -> Self {
        let stop = CancellationToken::new();
        Self(stop.clone(), tokio::spawn(leases.clone().renew(store.clone(), TTL, stop)))
    }

    async fn end(self) {
        self.0.cancel();
        self.1.await.unwrap();
    }
}

/// Lets `seconds` pass on both clocks.
async fn pass(clock: &Clock, seconds: u32) {
    for _ in 0..seconds {
        clock.advance_ms(1000);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn leases_live_as_long_as_their_process() {
    let world = World::new().await;
    let beating = Beating::new(&world.leases, &world.store);
    let attempt = world.begin("l1").await;
    pass(&world.clock, 300).await;
    assert_eq!(world.account().await.0, 1);
    // The process dies, and an idle one lives on.
    beating.end().await;
    std::mem::forget(attempt);
    let survivor = Beating::new(&Leases::default(), &world.host.pool());
    pass(&world.clock, 15).await;
    assert_eq!(world.account().await.0, 1, "its time is not over");
    pass(&world.clock, 25).await;
    assert_eq!(world.account().await.0, 0, "gone after a lease time and a beat, without any request");
    survivor.end().await;
}

#[tokio::test(start_paused = true)]
async fn leases_that_lapsed_in_an_outage_live_again_when_it_ends() {
    let world = World::new().await;
    let beating = Beating::new(&world.leases, &world.store);
    let attempt = world.begin("l1").await;
    world.host.set(Network::Cut);
    pass(&world.clock, 60).await;
    world.host.set(Network::Up);
    // Another replica is first and sweeps.
    let swept = world.store.heartbeat(&[], TTL).await.unwrap();
    assert_eq!((swept.lapsed, world.account().await.0), (1, 0));
    pass(&world.clock, 2).await;
    assert_eq!(world.account().await.0, 1);
    attempt.finish(Outcome::Success);
    world.quiet().await;
    assert_eq!(world.account().await.0, 0);
    beating.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_process_asks_once_a_beat() {
    let world = World::new().await;
    let beating = Beating::new(&world.leases, &world.store);
    pass(&world.clock, 95).await;
    assert_eq!(world.host.batches().len(), 10);
    // A store that is away is asked every second.
    world.host.set(Network::Cut);
    pass(&world.clock, 20).await;
    assert!((12..=21).contains(&world.host.batches().len()));
    beating.end().await;
}
