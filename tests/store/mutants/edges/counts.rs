//! What is counted, and the numbers it is counted with.

use std::collections::BTreeMap;

use antigravity_proxy::store::host::Call;
use antigravity_proxy::store::keys::CAPACITY_SLOT_MS;
use antigravity_proxy::store::ops::accounts::SetAccount;
use antigravity_proxy::store::ops::capacity::ModelLeft;
use antigravity_proxy::store::ops::release::Release;
use antigravity_proxy::store::ops::restore::Merge;
use antigravity_proxy::store::ops::settings::Scope;
use antigravity_proxy::store::ops::settle::{Outcome, UsageEntry};
use antigravity_proxy::store::script::Script;

use super::super::golden::Scribe;
use super::{renew, settle};
use crate::harness::{M, Pool, T, id, lease, ms};

/// Fills a hash with so many rows.
static FILL: Script = Script::periodic(
    "fill",
    "for i = 1, tonumber(ARGV[1]) do redis.call('HSET', KEYS[1], i, '1|0|0|0|0|0') end return 1",
);

/// Writes another number of requests in flight into the records of the accounts.
pub(super) async fn miscount(pool: &Pool) {
    for account in ["a", "b"] {
        let mut record = pool.field("hot", account).await.unwrap();
        record[9..17].copy_from_slice(&0_f64.to_le_bytes());
        pool.put_field("hot", account, &record).await;
    }
}

pub(super) async fn many_leases(pool: Pool, _: &Scribe) {
    pool.add_all(&["a", "b"]).await;
    for n in 0..330 {
        pool.admit(&format!("l{n}"), T + n % 2).await;
    }
    // Sixty-four are dropped by each.
    for n in 0..2 {
        pool.admit(&format!("k{n}"), T + 30_000 + n).await;
        pool.view("a", T).await;
    }
    for n in 0..3 {
        drop(pool.store.at(T + 40_000).heartbeat(&[lease(&format!("k{n}"))], ms(1000)).await);
        pool.view("a", T).await;
    }
    drop(pool.store.at(T + 40_999).heartbeat(&[], ms(1000)).await);
    drop(pool.store.at(T + 41_000).heartbeat(&[], ms(1000)).await);
    pool.view("b", T).await;
    // Its count is lower than what lapses.
    pool.admit("j1", T + 50_000).await;
    miscount(&pool).await;
    settle(&pool, "a", "j1", T + 50_000, Outcome::Success).await;
    settle(&pool, "b", "j1", T + 50_000, Outcome::Success).await;
    drop(pool.store.at(T + 50_000).release(Release { lease: &lease("j1"), model: M }).await);
    pool.admit("j2", T + 50_000).await;
    miscount(&pool).await;
    drop(pool.store.at(T + 50_000).release(Release { lease: &lease("j2"), model: M }).await);
    pool.admit("j3", T + 50_000).await;
    miscount(&pool).await;
    drop(pool.store.at(T + 900_000).heartbeat(&[], ms(1000)).await);
    pool.view("a", T).await;
    pool.view("b", T).await;
}

pub(super) async fn many_rows(pool: Pool, _: &Scribe) {
    pool.add_all(&["a"]).await;
    let (hour, day) = (T / 3_600_000, T / 86_400_000);
    for key in [format!("usage:{hour}"), format!("hourly:{day}"), format!("daily:{day}")] {
        let fill = Call::new(&FILL).key(pool.key(&key)).arg("9999");
        drop(pool.host.eval(vec![fill]).await);
    }
    for n in 0..4 {
        for key in ["x", "y"] {
            let usage =
                UsageEntry { client_key: key, input: 3, output: 5, latency: ms(7), ..UsageEntry::default() };
            let name = format!("l{n}{key}");
            pool.settle_with("a", &name, T, Outcome::Success, |settle| {
                settle.usage = Some(usage);
                settle.model = ["m", "n"][usize::from(n > 1)];
            })
            .await;
        }
    }
    for mode in [Merge::Add, Merge::Replace] {
        let more = u64::from(mode == Merge::Replace);
        for hour in [T, T - 3_600_000] {
            drop(pool.store.at(T).merge_usage(hour, mode, &[("z".to_owned(), 3 + more)]).await);
        }
    }
}

/// Rows that come one after the other, while the store's own clock goes on.
pub(super) async fn rows_with_time(pool: Pool, scribe: &Scribe) {
    pool.add_all(&["a"]).await;
    let hour_ms = T / 3_600_000 * 3_600_000;
    let usage = UsageEntry { client_key: "k", thinking: 1, ..UsageEntry::default() };
    for n in 0..4 {
        pool.settle_with("a", &format!("l{n}"), T, Outcome::Success, |settle| {
            settle.usage = Some(usage);
            settle.model = ["m", "m", "n", "m"][n];
        })
        .await;
        scribe.clock().advance_ms(1000);
    }
    // What another program counted lives on as long as the hour that it finds, or as long as it makes one live.
    for hour in [hour_ms, hour_ms - 3_600_000] {
        for (at, requests) in [(T, 5), (T + 1000, 6), (T + 60_000, 7)] {
            let more = [("m".to_owned(), requests), ("o".to_owned(), 1)];
            drop(pool.store.at(at).merge_usage(hour, Merge::Replace, &more).await);
            scribe.clock().advance_ms(1000);
        }
    }
    // A day's notes live as long as its first one makes them.
    for slot in 0..3 {
        let left = ModelLeft { model: "m".into(), fraction: 0.5, accounts: 1 };
        drop(pool.store.at(T).note_capacity(T + slot * CAPACITY_SLOT_MS, &[left]).await);
        scribe.clock().advance_ms(1000);
    }
    for damaged in ["x", "7", "7|1|2|3|4|5"] {
        let key = format!("usage:{}", hour_ms / 3_600_000);
        pool.put_field(&key, "m\u{1f}unknown\u{1f}migrated", damaged.as_bytes()).await;
        drop(pool.store.at(T).merge_usage(hour_ms, Merge::Add, &[("m".to_owned(), 8)]).await);
        drop(pool.store.at(T).merge_usage(hour_ms, Merge::Replace, &[("m".to_owned(), 8)]).await);
    }
}

/// Numbers at the bounds of what is a setting.
pub(super) async fn bounds(pool: Pool, _: &Scribe) {
    pool.add_all(&["a"]).await;
    let values = [
        "1e12",
        "-1e12",
        "999999999999.5",
        "-999999999999.5",
        "999999999999",
        "-999999999999",
        "1000000000000.5",
        "-1000000000000.5",
        "0",
        "-0.5",
        "7.9",
        "x",
        "",
    ];
    for value in values {
        for name in [
            "health.initial",
            "bucket.initial",
            "capacityLimitMs",
            "unauthorizedCooldownMs",
            "maxAccounts",
            "strategy",
        ] {
            let changes = BTreeMap::from([
                ((Scope::Selection, name.to_owned()), Some(value.to_owned())),
                ((Scope::Gateway, name.to_owned()), Some(value.to_owned())),
            ]);
            drop(pool.store.at(T).put_settings(None, &changes).await);
            pool.view("a", T).await;
            let settled = format!("l{name}{value}").replace(|c: char| !c.is_ascii_alphanumeric(), "-");
            settle(&pool, "a", &settled, T, Outcome::Capacity { jitter_ms: -1000 }).await;
            settle(&pool, "a", &format!("u{settled}"), T, Outcome::Unauthorized).await;
            pool.field("hot", "a").await;
            renew(&pool, "a", T).await;
        }
    }
    // Three settings in one change, and none.
    let changes = ["health.minUsable", "probeMs", "maxAccounts"]
        .map(|name| ((Scope::Selection, name.to_owned()), Some("1".to_owned())));
    drop(pool.store.at(T).put_settings(None, &changes.into()).await);
    drop(pool.store.at(T).put_settings(None, &BTreeMap::new()).await);
    drop(pool.store.at(T).get_settings(None).await);
    drop(pool.add("b", T).await);
}

/// One setting in each place where settings are, and what refunds make of it.
pub(super) async fn layers(pool: Pool, _: &Scribe) {
    use antigravity_proxy::config::SelectionConfig;
    let settings = || {
        BTreeMap::from([
            ("bucket.initial".to_owned(), "9".to_owned()),
            ("bucket.max".to_owned(), "5".to_owned()),
        ])
    };
    let base = SelectionConfig { base: settings(), ..SelectionConfig::default() };
    let pinned = SelectionConfig { pinned: settings(), ..SelectionConfig::default() };
    for (n, config) in [base, pinned, SelectionConfig::default()].iter().enumerate() {
        if n == 2 {
            let shared = settings().into_iter().map(|(name, value)| ((Scope::Selection, name), Some(value)));
            drop(pool.store.at(T).put_settings(None, &shared.collect()).await);
        }
        let pool = pool.with(config);
        for end in 0..2 {
            // Each on an account of its own, so that nothing comes after it.
            let (name, account) = (format!("l{n}{end}"), format!("a{n}{end}"));
            pool.add(&account, T).await;
            pool.admit(&name, T).await;
            if end == 0 {
                drop(pool.store.at(T).release(Release { lease: &lease(&name), model: M }).await);
            } else {
                settle(&pool, &account, &name, T, Outcome::Cancelled).await;
            }
            let off = SetAccount { enabled: Some(false), ..SetAccount::default() };
            drop(pool.store.at(T).set_account(&id(&account), &off).await);
        }
    }
}
