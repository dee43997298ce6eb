//! Presets by name, and what trackers say of accounts.

use std::collections::BTreeMap;

use antigravity_proxy::config::{SelectionConfig, Strategy};
use antigravity_proxy::store::ops::presets::{ChangePreset, PresetChange, PutPreset};
use antigravity_proxy::store::ops::restore::{Merge, Presets, Row};
use antigravity_proxy::store::ops::settings::Scope;
use antigravity_proxy::store::ops::settle::{LimitKind, Outcome};
use antigravity_proxy::store::ops::trackers::Tracker;

use crate::harness::{Pool, State, T, fresh, on_every_host, reference};

const SERVER: Presets = Presets::Server;
const CLAUDE: Presets = Presets::Claude;

async fn put(pool: &Pool, family: Presets, name: &str, json: &str) -> PutPreset {
    pool.store.at(T).put_preset(family, name, json, 3).await.unwrap()
}

async fn change(pool: &Pool, [name, known, new_name, json]: [&str; 4]) -> ChangePreset {
    let change = PresetChange { name, known, new_name, json };
    pool.store.at(T).change_preset(SERVER, &change).await.unwrap()
}

async fn all(pool: &Pool, family: Presets) -> Vec<(String, String)> {
    pool.store.at(T).list_presets(family).await.unwrap().into_iter().collect()
}

fn rows(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter().map(|&(name, json)| (name.to_owned(), json.to_owned())).collect()
}

#[tokio::test]
pub(crate) async fn presets_are_kept_by_name_up_to_a_bound() {
    on_every_host(async |pool: Pool| {
        assert_eq!(all(&pool, SERVER).await, []);
        for name in ["b", "a", "ä \"x\""] {
            assert_eq!(put(&pool, SERVER, name, "{}").await, PutPreset::Done);
        }
        assert_eq!(put(&pool, SERVER, "d", "{}").await, PutPreset::Full);
        assert_eq!(put(&pool, SERVER, "a", "{\"x\":1}").await, PutPreset::Done, "it replaces the other");
        assert_eq!(put(&pool, CLAUDE, "d", "{}").await, PutPreset::Done, "another family");
        assert_eq!(all(&pool, SERVER).await, rows(&[("a", "{\"x\":1}"), ("b", "{}"), ("ä \"x\"", "{}")]));
        assert_eq!(all(&pool, CLAUDE).await, rows(&[("d", "{}")]));
        assert_eq!(pool.hash("meta").await["seq"], "5");
    })
    .await;
}

#[tokio::test]
pub(crate) async fn a_preset_is_changed_as_it_was_read_or_not_at_all() {
    on_every_host(async |pool: Pool| {
        assert_eq!(change(&pool, ["a", "", "b", "{}"]).await, ChangePreset::Gone, "nothing is there");
        put(&pool, SERVER, "a", "1").await;
        put(&pool, SERVER, "b", "2").await;
        assert_eq!(change(&pool, ["a", "2", "a", "3"]).await, ChangePreset::Changed);
        assert_eq!(change(&pool, ["a", "2", "b", "3"]).await, ChangePreset::Changed);
        assert_eq!(change(&pool, ["a", "1", "b", "3"]).await, ChangePreset::Taken);
        assert_eq!(change(&pool, ["c", "1", "d", "3"]).await, ChangePreset::Gone);
        assert_eq!(all(&pool, SERVER).await, rows(&[("a", "1"), ("b", "2")]), "nothing was changed");
        assert_eq!(pool.hash("meta").await["seq"], "2");
        assert_eq!(change(&pool, ["a", "1", "a", "3"]).await, ChangePreset::Done);
        assert_eq!(change(&pool, ["b", "2", "c", "4"]).await, ChangePreset::Done);
        assert_eq!(all(&pool, SERVER).await, rows(&[("a", "3"), ("c", "4")]));
        assert_eq!(pool.hash("meta").await["seq"], "4");
    })
    .await;
}

#[tokio::test]
pub(crate) async fn what_is_removed_is_gone_built_in_or_not() {
    on_every_host(async |pool: Pool| {
        let remove = async |name: &str, built_in: bool| {
            pool.store.at(T).remove_preset(CLAUDE, name, built_in).await.unwrap()
        };
        assert!(!remove("a", false).await, "it is not there");
        put(&pool, CLAUDE, "a", "1").await;
        assert!(remove("a", false).await);
        assert!(!remove("a", false).await);
        assert_eq!(all(&pool, CLAUDE).await, []);
        // A built-in one is there without being kept; it comes back when it is written.
        assert!(remove("b", true).await);
        assert!(!remove("b", true).await);
        assert_eq!(all(&pool, CLAUDE).await, rows(&[("b", "")]));
        assert_eq!(put(&pool, CLAUDE, "b", "2").await, PutPreset::Done);
        assert_eq!(all(&pool, CLAUDE).await, rows(&[("b", "2")]));
        assert!(remove("b", true).await);
        assert_eq!(all(&pool, CLAUDE).await, rows(&[("b", "")]));
        assert_eq!(pool.hash("meta").await["seq"], "5");
        // What a migration brings does not undo that by itself.
        let merged = pool.store.at(T).merge_presets(CLAUDE, Merge::Add, &rows(&[("b", "9")])).await.unwrap();
        assert_eq!(merged, [Row::Differs]);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn trackers_say_what_selection_goes_by() {
    on_every_host(async |pool: Pool| {
        let page = pool.store.at(T).list_trackers(0, 10).await.unwrap();
        assert_eq!((page.trackers.len(), page.next, page.strategy), (0, None, Strategy::Hybrid));
        pool.arrange(&[
            State { health: 49.5, tokens: 0.5, used_ago: Some(7), ..fresh("a") },
            State { enabled: false, ..fresh("b") },
            State { health: 50.0, tokens: 1.0, invalid: true, ..fresh("c") },
            fresh("d"),
        ])
        .await;
        let limited = Outcome::RateLimited { kind: LimitKind::Rate, reset: None };
        pool.settle("d", "l", T, limited).await;
        let page = pool.store.at(T).list_trackers(0, 10).await.unwrap();
        assert_eq!((page.bucket, page.next), (50.0, None));
        let tracker = |name: &str, health, healthy, tokens, has_tokens| Tracker {
            email: format!("{name}@example.com"),
            health,
            healthy,
            tokens,
            has_tokens,
            failures: 0,
            in_flight: 0,
            last_used_ms: None,
        };
        let a = Tracker { last_used_ms: Some(T - 7), ..tracker("a", 49.5, false, 0.5, false) };
        let d = Tracker { failures: 1, ..tracker("d", 60.0, true, 50.0, true) };
        assert_eq!(page.trackers, [a.clone(), tracker("c", 50.0, true, 1.0, true), d.clone()]);

        // By the list of accounts, and by the clock.
        for tracker in &page.trackers {
            let name = tracker.email.split('@').next().unwrap();
            let view = pool.view(name, T).await;
            assert_eq!(
                (tracker.health, tracker.tokens, tracker.failures),
                (view.health, view.tokens, view.failures)
            );
        }
        pool.grant("k", T).await;
        let later = pool.store.at(T + 180_000).list_trackers(0, 10).await.unwrap().trackers;
        assert_eq!((later[0].health, later[0].healthy), (50.0, true), "0.5 regained in 3 min");
        assert_eq!((later[0].tokens, later[0].has_tokens), (18.5, true));
        assert_eq!(later.iter().map(|one| one.in_flight).sum::<u32>(), 1);

        let first = pool.store.at(T).list_trackers(0, 2).await.unwrap();
        assert_eq!((first.trackers.len(), first.next), (1, Some(2)), "a disabled one counts for the page");
        let rest = pool.store.at(T).list_trackers(2, 2).await.unwrap();
        assert_eq!((rest.trackers.len(), rest.next), (2, Some(4)));
        assert_eq!(pool.store.at(T).list_trackers(4, 2).await.unwrap().next, None);

        let own = [("health.minUsable", "49"), ("bucket.max", "30")];
        let page =
            pool.with(&reference(Strategy::Sticky, &own)).store.at(T).list_trackers(0, 10).await.unwrap();
        assert_eq!((page.strategy, page.bucket, page.trackers[0].healthy), (Strategy::Sticky, 30.0, true));
        assert_eq!(
            (page.trackers[2].tokens, page.next),
            (30.0, None),
            "more than a bucket holds is not kept"
        );
        let page =
            pool.with(&reference(Strategy::RoundRobin, &[])).store.at(T).list_trackers(0, 1).await.unwrap();
        assert_eq!(page.strategy, Strategy::RoundRobin);

        // The shared settings lie above the file's and below those of the environment.
        let shared = |value: &str| {
            BTreeMap::from([((Scope::Selection, "bucket.max".to_owned()), Some(value.to_owned()))])
        };
        pool.store.at(T).put_settings(None, &shared("40")).await.unwrap();
        let filed = reference(Strategy::Hybrid, &[("bucket.max", "30"), ("health.minUsable", "49")]);
        let page = pool.with(&filed).store.at(T).list_trackers(0, 10).await.unwrap();
        assert_eq!((page.bucket, page.trackers[0].healthy), (40.0, true));
        let pinned = [("bucket.max", "60"), ("health.minUsable", "50")];
        let pinned = pinned.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let page =
            pool.with(&SelectionConfig { pinned, ..filed }).store.at(T).list_trackers(0, 10).await.unwrap();
        assert_eq!((page.bucket, page.trackers[0].healthy), (60.0, false));

        // A record that cannot be read hides nobody else.
        pool.put_field("hot", "d", b"damaged").await;
        let page = pool.store.at(T).list_trackers(0, 4).await.unwrap();
        assert_eq!((page.trackers.len(), page.next), (2, Some(4)));
        pool.put_field("acct", "c", b"damaged").await;
        let page = pool.store.at(T).list_trackers(0, 4).await.unwrap();
        assert_eq!((page.trackers.len(), page.next), (1, Some(4)));
        let state: BTreeMap<_, _> = pool.hash("meta").await;
        pool.store.at(T + 1).list_trackers(0, 4).await.unwrap();
        assert_eq!(pool.hash("meta").await, state, "reading changes nothing");
    })
    .await;
}
