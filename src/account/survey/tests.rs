use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::*;
use crate::auth::oauth::OAuth;
use crate::auth::vault::Vault;
use crate::cloudcode::http;
use crate::config::{OAuthConfig, UpstreamConfig};
use crate::store::unsteady::Unsteady;
use crate::telemetry::metrics::Metrics;

const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

fn survey(store: &Store, clock: &Clock, owner: &OwnerId) -> Survey {
    let upstream = UpstreamConfig::default();
    let vault = Arc::new(Vault::new(&[KEY.into()]).unwrap());
    let oauth = OAuth::new(http::client(&upstream).unwrap(), OAuthConfig::default());
    let tracker = TaskTracker::new();
    Survey::new(SurveyParts {
        store: store.clone(),
        directory: Directory::new(store.clone(), Arc::clone(&vault), clock.clone()),
        catalogue: Catalogue::new(store.clone(), clock.clone(), Arc::new(Metrics::new().unwrap())),
        client: Client::new(&upstream, clock.clone()).unwrap(),
        tokens: Tokens::new(oauth, vault, store.clone(), clock.clone(), tracker),
        clock: clock.clone(),
        owner: owner.clone(),
    })
}

#[tokio::test(start_paused = true)]
async fn a_long_round_keeps_its_lock_until_another_replica_has_it() {
    let clock = Clock::manual(1_800_000_000_000);
    let store = Unsteady::new(clock.clone()).pool();
    let (me, other) = (OwnerId::new("me").unwrap(), OwnerId::new("other").unwrap());
    let survey = survey(&store, &clock, &me);
    assert_eq!(store.try_lock(WORK, &me, LOCK).await.unwrap(), Lock::Taken);
    let mut overtaken = Box::pin(survey.overtaken());
    for _ in 0..60 {
        clock.advance_ms(10_000);
        assert!(tokio::time::timeout(Duration::from_secs(10), &mut overtaken).await.is_err());
        assert!(matches!(store.try_lock(WORK, &other, LOCK).await.unwrap(), Lock::Held(_)));
    }
    // Frozen for longer than the lock lives.
    clock.advance_ms(120_000);
    assert_eq!(store.try_lock(WORK, &other, LOCK).await.unwrap(), Lock::Taken);
    tokio::time::timeout(LOCK, overtaken).await.unwrap();
    // What it gives back then is not the other's.
    survey.resign().await;
    assert!(matches!(store.try_lock(WORK, &me, LOCK).await.unwrap(), Lock::Held(_)));
}

#[test]
fn what_nobody_offers_is_remembered_for_a_day() {
    let model = |id: &str, offered_ms| Model { id: id.into(), name: id.into(), seen_ms: 1, offered_ms };
    let now_ms = 1_800_000_000_000;
    let earlier =
        [model("new", now_ms), model("old", now_ms - MEMORY_MS + 1), model("gone", now_ms - MEMORY_MS)];
    let kept: Vec<_> = remembered(&earlier, now_ms).map(|model| model.id).collect();
    assert_eq!(kept, ["new", "old"]);
    // The day of a model from an earlier version's list begins now.
    let kept: Vec<_> = remembered(&[model("undated", 0)], now_ms).collect();
    assert_eq!(kept, [model("undated", now_ms)]);
}
