use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    Asker, Attempt, Claim, Countable, Counting, Granted, Outcome, QUEUE, Settlements, StatusClass, Tokens,
};
use crate::account::lease::Leases;
use crate::clock::Clock;
use crate::store::Store;
use crate::store::host::StoreError;
use crate::store::ident::{AccountId, LeaseId, Source};
use crate::store::ops::admit::{Admission, Admit, Decision, Grant};
use crate::store::ops::usage::{Counters, UsageRow};
use crate::store::unsteady::{Network, Unsteady, add_account, only_account};
use crate::telemetry::Observation;
use crate::telemetry::metrics::Metrics;

const TTL: Duration = Duration::from_secs(30);
/// The store's time at the start.
const START: i64 = 1_800_000_000_000;

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
        let clock = Clock::manual(START);
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
            conversation: None,
        };
        claim.ask(self.store.admit(&admit)).await
    }

    async fn begin(&self, name: &str) -> Attempt {
        self.begin_with(self.claim(name)).await
    }

    async fn begin_with(&self, claim: Claim) -> Attempt {
        self.begin_for(claim, None).await
    }

    async fn begin_for(&self, claim: Claim, counting: Option<&Counting>) -> Attempt {
        let Admission { stamp, decision: Decision::Granted(grant) } = self.ask(&claim).await.unwrap() else {
            panic!("no account");
        };
        let Grant { account, credential, .. } = *grant;
        let granted = Granted { account, credential, admitted_at_ms: stamp.now_ms };
        claim.begin(
            granted,
            &Asker {
                client_key: "k".into(),
                arrived: self.clock.instant(),
                observation: Observation::default(),
                counting: counting.cloned(),
            },
        )
    }

    /// A request that is to be counted.
    fn request(&self, id: &str, listed: bool) -> Counting {
        let request = Countable {
            request_id: id.into(),
            model: "m".into(),
            listed,
            client_key: "k".into(),
            arrived: self.clock.instant(),
        };
        self.settlements.counting(request).unwrap()
    }

    /// What was counted around `at_ms`: model, status, then requests, output tokens and latency.
    async fn usage(&self, at_ms: i64) -> Vec<(String, u64, u64, u64)> {
        self.quiet().await;
        let mut rows = Vec::new();
        let each = |row: UsageRow| {
            assert_eq!(row.client_key.as_deref(), Some("k"));
            let name = format!("{} {}", row.model, row.status.unwrap_or_default());
            rows.push((name, row.sums.requests, row.sums.output, row.sums.latency_ms));
            ControlFlow::Continue(())
        };
        self.store.read_usage(&[Counters::Hour(at_ms)], each).await.unwrap();
        rows.sort();
        rows
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

#[tokio::test(start_paused = true)]
async fn what_the_queue_cannot_hold_is_dropped_and_counted() {
    let world = World::new().await;
    // Nothing is awaited, so that the worker takes nothing.
    for number in 0..QUEUE + 100 {
        drop(world.claim(&format!("l{number}")));
    }
    assert_eq!(world.metrics.settlements_dropped.get(), 100);
    assert_eq!(usize::try_from(world.metrics.settlements_queued.get()), Ok(QUEUE));
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

#[tokio::test(start_paused = true)]
async fn an_attempt_set_aside_gives_its_room_back_and_is_judged_later() {
    let world = World::new().await;
    for (name, verdict, failures) in
        [("l1", None, 0), ("l2", Some(Outcome::Released), 0), ("l3", Some(Outcome::Failure), 1)]
    {
        let mut attempt = world.begin(name).await;
        attempt.shelve();
        attempt.set_aside();
        attempt.set_aside();
        world.quiet().await;
        assert_eq!((world.account().await, world.leases.held()), ((0, 50), 0), "{name}");
        if let Some(verdict) = verdict {
            attempt.finish(verdict);
        }
        world.quiet().await;
        let view = only_account(&world.store).await;
        assert_eq!((view.in_flight, view.failures), (0, failures), "{name}");
    }
}

fn output(output: u64) -> Tokens {
    Tokens { output, ..Tokens::default() }
}

fn row(name: &str, requests: u64, output: u64, latency_ms: u64) -> (String, u64, u64, u64) {
    (name.to_owned(), requests, output, latency_ms)
}

#[tokio::test(start_paused = true)]
async fn a_request_counts_once_with_the_attempt_that_answers() {
    let world = World::new().await;
    let request = world.request("r", true);
    world.begin_for(world.claim("r-1"), Some(&request)).await.rotate(Outcome::ClientError).await;
    world.begin_for(world.claim("r-2"), Some(&request)).await.fail(Outcome::Released);
    let mut suspect = world.begin_for(world.claim("r-3"), Some(&request)).await;
    suspect.shelve();
    let mut answering = world.begin_for(world.claim("r-4"), Some(&request)).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    answering.consumed(output(5));
    answering.finish(Outcome::Success);
    suspect.fail(Outcome::Released);
    drop(request);
    assert_eq!(world.usage(START).await, [row("m success", 1, 5, 700)]);
    let calls = world.host.batches().concat();
    assert!(!calls.contains(&"count_request"), "with the settlement: {calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_no_attempt_answers_counts_as_it_ends() {
    let world = World::new().await;
    for (n, (ends, status)) in [
        (Some(StatusClass::RateLimited), "m rate_limited"),
        (Some(StatusClass::Unavailable), "m unavailable"),
        (None, "m cancelled"),
    ]
    .into_iter()
    .enumerate()
    {
        let request = world.request(&format!("r{n}"), true);
        if n > 0 {
            world.begin_for(world.claim(&format!("r{n}-1")), Some(&request)).await.fail(Outcome::Released);
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
        if let Some(status) = ends {
            request.ends(status);
            request.ends(StatusClass::Success);
        }
        let part = request.clone();
        drop(request);
        let counted = world.usage(START).await;
        assert!(counted.iter().all(|row| row.0 != status), "a part of it is still at work: {counted:?}");
        drop(part);
        let counted = world.usage(START).await;
        assert!(counted.contains(&row(status, 1, 0, 30)), "{status}: {counted:?}");
    }
}

type End = fn(Attempt);

#[tokio::test(start_paused = true)]
async fn answers_that_end_early_count_with_what_they_brought() {
    let world = World::new().await;
    let ends: [(&str, End); 4] = [
        ("gone", |attempt| drop(attempt)),
        ("cut", |attempt| attempt.break_off(Outcome::Failure)),
        ("stopped", |attempt| attempt.break_off(Outcome::Blocked)),
        ("refused", |attempt| attempt.finish(Outcome::Blocked)),
    ];
    for (n, (name, end)) in (1..).zip(ends) {
        let request = world.request(name, true);
        let mut attempt = world.begin_for(world.claim(&format!("{name}-1")), Some(&request)).await;
        attempt.received();
        attempt.consumed(output(n));
        drop(request);
        end(attempt);
    }
    let expected = [row("m cancelled", 1, 1, 0), row("m success", 1, 4, 0), row("m upstream_error", 2, 5, 0)];
    assert_eq!(world.usage(START).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_model_that_nobody_lists_counts_by_its_name_once_it_has_answered() {
    let world = World::new().await;
    drop(world.request("r1", false));
    let request = world.request("r2", false);
    drop(world.begin_for(world.claim("r2-1"), Some(&request)).await);
    drop(request);
    let request = world.request("r3", false);
    let mut attempt = world.begin_for(world.claim("r3-1"), Some(&request)).await;
    attempt.received();
    attempt.finish(Outcome::Success);
    drop(request);
    assert_eq!(world.usage(START).await, [row("m success", 1, 0, 0), row("other cancelled", 2, 0, 0)]);
}

#[tokio::test(start_paused = true)]
async fn hours_are_those_of_the_store() {
    let world = World::new().await;
    drop(world.request("r1", true));
    assert_eq!(world.usage(START).await.len(), 1);
    let later = START + 5 * 3_600_000;
    world.settlements.heard(later);
    drop(world.request("r2", true));
    assert_eq!(world.usage(later).await, [row("m cancelled", 1, 0, 0)]);
}

#[tokio::test(start_paused = true)]
async fn requests_that_end_in_an_outage_are_counted_once_when_it_is_over() {
    let world = World::new().await;
    // What is written arrives, and nobody learns it.
    world.host.set(Network::Deaf);
    for n in 0..100 {
        let request = world.request(&format!("r{n}"), true);
        request.ends(StatusClass::Unavailable);
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.host.set(Network::Up);
    assert_eq!(world.usage(START).await, [row("m unavailable", 100, 0, 0)]);
}
