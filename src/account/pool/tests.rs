use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::join_all;

use super::{AccountId, Decision, LeaseId, News, Source};
use crate::clock::Clock;
use crate::config::SelectionConfig;
use crate::store::Store;
use crate::store::ident::CredentialVersion;
use crate::store::ops::admit::Admit;
use crate::store::ops::settle::{LimitKind, Outcome, Settle};
use crate::store::unsteady::{Unsteady, add_account};

fn news(store: &Store) -> News {
    News { events: store.subscribe(), channel: store.keys().channel().into() }
}

async fn settle(store: &Store, lease: &str, outcome: Outcome) {
    let settle = Settle {
        account: &AccountId::new("a").unwrap(),
        lease: &LeaseId::new(lease).unwrap(),
        credential: CredentialVersion(1),
        model: "m",
        admitted_at_ms: 0,
        outcome,
        received: true,
        usage: None,
    };
    store.settle(&settle).await.unwrap();
}

fn limited(minutes: u64) -> Outcome {
    Outcome::RateLimited { kind: LimitKind::Quota, reset: Some(Duration::from_mins(minutes)) }
}

async fn admit(store: &Store, lease: &str, probe_after: Option<Duration>) -> Decision {
    let lease = LeaseId::new(lease).unwrap();
    let lease_ttl = Duration::from_secs(30);
    let admit = Admit {
        lease: &lease,
        lease_ttl,
        model: "m",
        tried: &[],
        known: &[],
        probe_after,
        conversation: None,
    };
    store.admit(&admit).await.unwrap().decision
}

#[tokio::test(start_paused = true)]
async fn waiters_come_back_when_a_limit_is_lifted_and_not_when_it_grows() {
    // The store's clock stands still, so everybody is let in at once.
    let mut selection = SelectionConfig::default();
    selection.base.insert("recoveryRampMs".into(), "0".into());
    let store = Unsteady::new(Clock::manual(1_800_000_000_000)).pool().with_selection(&selection);
    add_account(&store, &AccountId::new("a").unwrap(), Source::Manual, "sealed").await;
    settle(&store, "first", limited(1)).await;
    let probe = Some(Duration::ZERO);
    assert!(matches!(admit(&store, "probe", probe).await, Decision::Granted(_)));
    let admissions = Arc::new(AtomicU32::new(0));
    let waiters = (0..100).map(|n| {
        let (store, admissions) = (store.clone(), Arc::clone(&admissions));
        async move {
            for turn in 0.. {
                let news = news(&store);
                admissions.fetch_add(1, Ordering::SeqCst);
                if let Decision::Granted(_) = admit(&store, &format!("w{n}-{turn}"), None).await {
                    return;
                }
                news.changed_within(Duration::from_mins(30)).await;
            }
        }
    });
    let begin = Clock::system().instant();
    let upstream = async {
        for minutes in 2..20 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            settle(&store, &format!("l{minutes}"), limited(minutes)).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(admissions.load(Ordering::SeqCst), 100, "each has asked once");
        settle(&store, "probe", Outcome::Success).await;
    };
    tokio::join!(upstream, join_all(waiters));
    assert_eq!(admissions.load(Ordering::SeqCst), 200, "and once again");
    let took = Clock::system().instant() - begin;
    assert!((19_000..19_040).contains(&took.as_millis()), "at once: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_happens_between_the_question_and_the_wait_is_not_missed() {
    let store = Unsteady::new(Clock::manual(1_800_000_000_000)).pool();
    let news = news(&store);
    assert_eq!(admit(&store, "l1", None).await, Decision::Empty);
    add_account(&store, &AccountId::new("a").unwrap(), Source::Manual, "sealed").await;
    let begin = Clock::system().instant();
    news.changed_within(Duration::from_mins(1)).await;
    assert!(Clock::system().instant() - begin <= Duration::from_millis(500));
}
