//! Accounts that serve only so many requests at once, and conversations that would rather have their own.

use std::time::Duration;

use futures_util::future::join;

use super::world::{Asked, MODEL, Say, World};
use crate::account::pool::{AccountId, ConversationKey, Decision, LeaseId};
use crate::store::ident::CredentialVersion;
use crate::store::ops::admit::{Admit, Grant};
use crate::store::ops::settle::{LimitKind, Outcome, Settle};

/// Room for one request on each account.
async fn narrow(accounts: &[&str], say: impl Fn(&Asked) -> Say + Send + Sync + 'static) -> World {
    World::with(accounts, say, |setup| {
        setup.selection.base.insert("maxConcurrentPerAccount".into(), "1".into());
    })
    .await
}

/// Another replica's request.
async fn admit(world: &World, name: &str, conversation: Option<&ConversationKey>) -> Grant {
    let lease = LeaseId::new(name).unwrap();
    let lease_ttl = Duration::from_mins(30);
    let admit = Admit {
        lease: &lease,
        lease_ttl,
        model: MODEL,
        tried: &[],
        known: &[],
        probe_after: None,
        conversation,
    };
    match world.store.admit(&admit).await.unwrap().decision {
        Decision::Granted(grant) => *grant,
        other => panic!("{other:?}"),
    }
}

async fn settle(world: &World, account: &AccountId, name: &str, outcome: Outcome) {
    let lease = LeaseId::new(name).unwrap();
    let settle = Settle {
        account,
        lease: &lease,
        credential: CredentialVersion(1),
        model: MODEL,
        admitted_at_ms: 0,
        outcome,
        received: false,
        usage: None,
    };
    world.store.settle(&settle).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_request_does_not_wait_for_room_that_it_holds_itself() {
    let world = narrow(&["a"], |_| Say::error(500, "")).await;
    let told = world.ask(true).await;
    world.called("0 a:D, 0 a:P, 1-1.1 a:D, 1-1.1 a:P");
    assert_eq!(told.status(), 502);
    world.untouched(&["a"]).await;
}

#[tokio::test(start_paused = true)]
async fn requests_do_not_wait_for_each_others_failed_accounts() {
    let world = narrow(&["a", "b"], |call| if call.before < 4 { Say::error(500, "") } else { Say::Ok }).await;
    let (one, other) = join(world.ask(true), world.ask(true)).await;
    assert_eq!((one.status(), other.status()), (200, 200));
    assert!(one.at < 5.0 && other.at < 5.0, "{} {}", one.at, other.at);
}

/// A sticky pool of two in which the conversation of [`World::ask`] has account a, and for up to `wait_ms` waits for it.
async fn attached(wait_ms: u64, most: &str) -> World {
    let most = most.to_owned();
    let world = World::with(
        &["a", "b"],
        |_| Say::Ok,
        move |setup| {
            let base = &mut setup.selection.base;
            for (name, value) in [
                ("strategy", "sticky".to_owned()),
                ("maxConcurrentPerAccount", most),
                ("sticky.waitMs", wait_ms.to_string()),
            ] {
                base.insert(name.into(), value);
            }
            setup.settings.dispatch.own_wait = Duration::from_millis(wait_ms);
        },
    )
    .await;
    assert_eq!(world.ask(true).await.status(), 200);
    world.called("0 a:D");
    world
}

#[tokio::test(start_paused = true)]
async fn a_conversation_waits_so_long_for_its_busy_account_and_no_longer() {
    let world = attached(3000, "1").await;
    // Of two that are new, one gets account a.
    for name in ["l1", "l2"] {
        let other = ConversationKey::new("k", name, MODEL);
        let grant = admit(&world, name, Some(&other)).await;
        if grant.account.as_str() == "b" {
            settle(&world, &grant.account, name, Outcome::Success).await;
        }
    }
    assert_eq!((world.account("a").await.in_flight, world.account("b").await.in_flight), (1, 0));
    let told = world.ask(true).await;
    assert_eq!(told.status(), 200);
    world.called("0 a:D, 2-4 b:D");
}

#[tokio::test(start_paused = true)]
async fn a_conversation_does_not_wait_for_what_waiting_does_not_heal() {
    let reset = Some(Duration::from_secs(200));
    for outcome in [Outcome::Forbidden, Outcome::RateLimited { kind: LimitKind::Quota, reset }] {
        let world = attached(600_000, "0").await;
        let name = format!("{}-1", outcome.name());
        settle(&world, &AccountId::new("a").unwrap(), &name, outcome).await;
        let told = world.ask(true).await;
        assert_eq!(told.status(), 200);
        world.called("0 a:D, 0 b:D");
    }
}

#[tokio::test(start_paused = true)]
async fn a_conversation_waits_for_its_limited_account_as_long_as_that_says() {
    let world = attached(20_000, "0").await;
    let limited = Outcome::RateLimited { kind: LimitKind::Quota, reset: Some(Duration::from_secs(10)) };
    settle(&world, &AccountId::new("a").unwrap(), "l1", limited).await;
    assert_eq!(world.ask(true).await.status(), 200);
    world.called("0 a:D, 10-12 a:D");
}
