//! The audit trail: records beside the changes they are of, their order, their bounds.

use std::collections::BTreeMap;

use antigravity_proxy::store::Store;
use antigravity_proxy::store::audit::{Action, Actor, Author, Entry, FieldChange, Outcome, tell};
use antigravity_proxy::store::host::Call;
use antigravity_proxy::store::ident::Version;
use antigravity_proxy::store::ops::accounts::{Change, SetAccount};
use antigravity_proxy::store::ops::audit::Record;
use antigravity_proxy::store::ops::clients::{ClientChange, Edit, Expiry};
use antigravity_proxy::store::ops::settings::Scope;
use antigravity_proxy::store::registry::{APPEND_AUDIT, END_ATTEMPT};
use futures_util::future::LocalBoxFuture;
use serde_json::{Value, json};

use crate::clients::{client, new_client};
use crate::harness::{Pool, T, id, ms, new_account, on_every_host};

const DAY: i64 = 86_400_000;

pub(crate) fn entry(action: Action) -> Entry {
    let author =
        Author { actor: Actor::Session("ab12".into()), from: Some("192.0.2.1".into()), request: None };
    Entry::new(author, action, Some("asked for".into()))
}

/// Does `work` as an operator who is answered 200.
pub(crate) async fn as_operator<T>(pool: &Pool, action: Action, at: i64, work: impl Future<Output = T>) -> T {
    let done = |_: &T| Some((Outcome::Done, Some(200)));
    pool.store.at(at).recorded(entry(action), work, done).await.unwrap()
}

/// The whole trail, the newest first.
pub(crate) async fn trail(pool: &Pool) -> Vec<Record> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = pool.store.at(T).list_audit(before, 200).await.unwrap();
        all.extend(page.records);
        before = page.next;
        if before.is_none() {
            return all;
        }
    }
}

/// Field, before and after of each change.
fn changes(record: &Record) -> Value {
    let rows = record.told.changes.iter().map(|one| {
        let FieldChange { field, before, after } = one;
        (field.clone(), json!([before, after]))
    });
    Value::Object(rows.collect())
}

#[tokio::test]
pub(crate) async fn a_change_and_its_record_are_one() {
    on_every_host(async |pool: Pool| {
        let store = pool.store.at(T + 7);
        let does = async |action: &'static str, work: LocalBoxFuture<'static, ()>| {
            as_operator(&pool, Action::scripted(action), T + 9, work).await;
        };
        let put = |store: Store| async move {
            store.put_account(&new_account(&id("a"), "A@example.com")).await.unwrap();
        };
        does("signin.complete", Box::pin(put(store.clone()))).await;
        does("signin.complete", Box::pin(put(store.clone()))).await;
        let change = async |set: SetAccount| {
            let s = store.clone();
            let set = async move {
                s.set_account(&id("a"), &set).await.unwrap();
            };
            does("account.change", Box::pin(set)).await;
        };
        let set = SetAccount {
            enabled: Some(false),
            threshold: Change::Set(0.25),
            model_thresholds: Change::Set(BTreeMap::from([("m".to_owned(), 0.5)])),
            ..SetAccount::default()
        };
        change(set).await;
        let single = SetAccount {
            models_changed: [("m".to_owned(), None), ("n".to_owned(), Some(0.75))].into(),
            ..SetAccount::default()
        };
        change(single).await;
        let clear = SetAccount {
            enabled: Some(false),
            threshold: Change::Clear,
            model_thresholds: Change::Clear,
            ..SetAccount::default()
        };
        change(clear).await;
        let s = store.clone();
        does(
            "key.create",
            Box::pin(async move {
                s.put_client(&new_client(&client("k"), "ada")).await.unwrap();
            }),
        )
        .await;
        let change = ClientChange {
            name: Some("bea".into()),
            expires: Edit::Set(Expiry::At(T + 5000)),
            models: Edit::Set(vec!["m".into()]),
            rotate: Some(("d2".into(), ms(1000))),
            ..ClientChange::default()
        };
        let s = store.clone();
        does(
            "key.rotate",
            Box::pin(async move {
                s.change_client(&client("k"), &change).await.unwrap();
            }),
        )
        .await;
        let revoke = ClientChange { expires: Edit::Clear, revoke: true, ..ClientChange::default() };
        let s = store.clone();
        does(
            "key.revoke",
            Box::pin(async move {
                s.change_client(&client("k"), &revoke).await.unwrap();
            }),
        )
        .await;
        let s = store.clone();
        does(
            "settings.change",
            Box::pin(async move {
                let changes = BTreeMap::from([
                    ((Scope::Selection, "health.initial".to_owned()), Some("60".to_owned())),
                    ((Scope::Gateway, "maxRetries".to_owned()), None),
                ]);
                s.put_settings(None, &changes).await.unwrap();
            }),
        )
        .await;
        let s = store.clone();
        does(
            "account.remove",
            Box::pin(async move {
                s.remove_account(&id("a"), &[]).await.unwrap();
            }),
        )
        .await;

        let trail = trail(&pool).await;
        let numbers: Vec<_> = trail.iter().map(|record| record.number).collect();
        assert_eq!(numbers, (1..=10).rev().collect::<Vec<_>>());
        let seqs: Vec<_> = trail.iter().rev().map(|record| record.seq).collect();
        assert_eq!(seqs, (1..=10).collect::<Vec<_>>(), "each has the place of its change");
        assert!(trail.iter().all(|record| record.at_ms == T + 7 && record.told.outcome == Outcome::Done));
        assert!(trail.iter().all(|record| record.told.actor == "session" && record.told.status.is_none()));
        let told: Vec<_> = trail
            .iter()
            .rev()
            .map(|one| {
                (one.told.action.as_str(), one.told.target.as_deref().unwrap(), one.generation, changes(one))
            })
            .collect();
        assert_eq!(
            told,
            [
                ("signin.complete", "a@example.com", None, json!({ "account": [null, "stored"] })),
                ("signin.complete", "a@example.com", None, json!({ "account": ["known", "stored"] })),
                (
                    "account.change",
                    "a@example.com",
                    None,
                    json!({ "enabled": [true, false], "quotaThreshold": [null, 0.25],
                            "modelQuotaThresholds": [null, "m=0.5"] })
                ),
                (
                    "account.change",
                    "a@example.com",
                    None,
                    json!({ "modelQuotaThresholds.m": [0.5, null], "modelQuotaThresholds.n": [null, 0.75] })
                ),
                (
                    "account.change",
                    "a@example.com",
                    None,
                    json!({ "quotaThreshold": [0.25, null], "modelQuotaThresholds": ["n=0.75", null] })
                ),
                ("key.create", "ada", Some(1), json!({ "id": [null, "k"], "models": [null, ""] })),
                (
                    "key.rotate",
                    "bea",
                    Some(2),
                    json!({ "id": [null, "k"], "name": ["ada", "bea"], "expiresAt": [null, T + 5000],
                            "models": [null, "m"], "secret": [null, "new"], "graceMs": [null, 1000] })
                ),
                (
                    "key.revoke",
                    "bea",
                    Some(3),
                    json!({ "id": [null, "k"], "expiresAt": [T + 5000, null], "state": [null, "revoked"] })
                ),
                (
                    "settings.change",
                    "asked for",
                    Some(1),
                    json!({ "accountSelection.healthScore.initial": [null, 60], "maxRetries": [null, null] })
                ),
                ("account.remove", "a@example.com", None, json!({ "account": ["known", null] })),
            ]
        );
    })
    .await;
}

#[tokio::test]
pub(crate) async fn an_account_that_cannot_be_read_is_told_of_by_its_address() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a", "b"]).await;
        let damage = async |name: &str| pool.put_field("acct", name, b"?").await;
        let (store, a, b) = (pool.store.at(T), id("a"), id("b"));
        let remove = Action::scripted("account.remove");
        damage("a").await;
        let renewed = async { store.put_account(&new_account(&a, "a@example.com")).await.unwrap() };
        as_operator(&pool, Action::scripted("signin.complete"), T, renewed).await;
        damage("a").await;
        assert!(as_operator(&pool, remove, T, async { store.remove_account(&a, &[]).await.unwrap() }).await);
        // Nobody knows its address any more: it is what was asked for.
        damage("b").await;
        pool.put_field("email", "b@example.com", b"other").await;
        assert!(as_operator(&pool, remove, T, async { store.remove_account(&b, &[]).await.unwrap() }).await);
        let trail = trail(&pool).await;
        let told: Vec<_> =
            trail.iter().rev().map(|one| (one.told.target.as_deref().unwrap(), changes(one))).collect();
        assert_eq!(
            told,
            [
                ("a@example.com", json!({ "account": ["known", "stored"] })),
                ("a@example.com", json!({ "account": ["known", null] })),
                ("asked for", json!({ "account": ["known", null] })),
            ]
        );
    })
    .await;
}

#[tokio::test]
pub(crate) async fn what_was_refused_is_recorded_after_it_and_changes_nothing() {
    on_every_host(async |pool: Pool| {
        let store = pool.store.at(T);
        let (a, k) = (id("a"), client("k"));
        let refused = async {
            assert!(!store.remove_account(&a, &[]).await.unwrap());
            drop(store.set_account(&a, &SetAccount { enabled: Some(true), ..SetAccount::default() }).await);
            drop(store.change_client(&k, &ClientChange { revoke: true, ..ClientChange::default() }).await);
            drop(store.put_settings(Some(Version(9)), &BTreeMap::new()).await);
            tell(FieldChange::to("field", 1));
            tell(FieldChange::to("field", 2));
        };
        let outcome = |(): &()| Some((Outcome::Refused, Some(404)));
        store.recorded(entry(Action::scripted("account.remove")), refused, outcome).await.unwrap();
        let trail = trail(&pool).await;
        assert_eq!(trail.len(), 1, "{trail:?}");
        assert_eq!((trail[0].seq, trail[0].told.status), (0, Some(404)));
        assert_eq!(
            (trail[0].told.outcome, changes(&trail[0])),
            (Outcome::Refused, json!({ "field": [null, 2] }))
        );
        // What changes nothing is as good as done; what is not to be recorded is not.
        pool.add_all(&["a"]).await;
        let same = async {
            drop(store.set_account(&a, &SetAccount { enabled: Some(true), ..SetAccount::default() }).await);
        };
        let untold = |(): &()| None;
        store.recorded(entry(Action::scripted("account.change")), same, untold).await.unwrap();
        assert_eq!(crate::audit::trail(&pool).await.len(), 1);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn what_takes_many_calls_is_recorded_around_them() {
    on_every_host(async |pool: Pool| {
        let store = pool.store.at(T);
        let work = async {
            pool.add_all(&["a", "b"]).await;
            let changes = BTreeMap::from([((Scope::Gateway, "maxRetries".to_owned()), Some("7".to_owned()))]);
            store.put_settings(None, &changes).await.unwrap();
            tell(FieldChange::to("added", 2));
        };
        as_operator(&pool, Action::ahead("migrate"), T + 1, work).await;
        // Nobody's own work leaves no record.
        pool.add_all(&["c"]).await;
        let trail = trail(&pool).await;
        let told: Vec<_> = trail
            .iter()
            .rev()
            .map(|one| (one.told.outcome, one.told.status, one.generation, changes(one)))
            .collect();
        assert_eq!(
            told,
            [
                (Outcome::Begun, None, None, json!({})),
                // Of settings every change is recorded, in the order of their generations.
                (Outcome::Done, None, Some(1), json!({ "maxRetries": [null, 7] })),
                (Outcome::Done, Some(200), None, json!({ "added": [null, 2] })),
            ]
        );
    })
    .await;
}

async fn append(pool: &Pool, at: i64, row: &str) {
    pool.store.at(at).append_audit(row).await.unwrap();
}

/// A stranger's record: the `n`th wrong credential of one peer.
async fn fail(pool: &Pool, at: i64, count: usize) {
    let call = |number: usize| {
        Call::new(&END_ATTEMPT)
            .key(pool.key("meta"))
            .key(pool.key(&format!("tries:{number}")))
            .key(pool.key("audit:strangers"))
            .arg("m")
            .arg("0")
            .arg("0")
            .arg("5")
            .arg("60000")
            .arg(row("login.failed"))
            .arg(row("login.locked"))
            .arg(at)
    };
    for start in (0..count).step_by(250) {
        let batch = (start..count.min(start + 250)).map(call).collect();
        pool.host.eval(batch).await.unwrap();
    }
}

fn row(action: &'static str) -> String {
    entry(Action::after(action)).row(Outcome::Refused)
}

#[tokio::test]
pub(crate) async fn the_trail_is_read_in_pages_from_its_end() {
    on_every_host(async |pool: Pool| {
        let empty = pool.store.at(T).list_audit(None, 5).await.unwrap();
        assert_eq!((empty.records.len(), empty.next), (0, None));
        // Of operators and strangers in turn: one trail.
        for at in 0..4 {
            append(&pool, T + at, &row("operator")).await;
            pool.lose("tries:0").await;
            fail(&pool, T + at, 1).await;
        }
        let numbers = async |before: Option<u64>, most: usize| {
            let page = pool.store.at(T).list_audit(before, most).await.unwrap();
            (page.records.iter().map(|one| one.number).collect::<Vec<_>>(), page.next)
        };
        assert_eq!(numbers(None, 3).await, (vec![8, 7, 6], Some(6)));
        assert_eq!(numbers(Some(6), 3).await, (vec![5, 4, 3], Some(3)));
        assert_eq!(numbers(Some(3), 3).await, (vec![2, 1], None));
        assert_eq!(numbers(Some(1), 3).await, (vec![], None));
        assert_eq!(numbers(Some(99), 200).await.0.len(), 8);
        assert_eq!(numbers(None, 0).await.0, [8], "at least one");
        let trail = trail(&pool).await;
        let actions: Vec<_> = trail.iter().take(3).map(|one| one.told.action.as_str()).collect();
        assert_eq!(actions, ["login.failed", "operator", "login.failed"]);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn what_is_too_old_goes_with_what_comes() {
    on_every_host(async |pool: Pool| {
        for (at, name) in [(T, "a"), (T + 1, "b"), (T + 2, "c")] {
            append(&pool, at, &row(["x", "y", "z"][usize::from(name.as_bytes()[0] - b'a')])).await;
        }
        append(&pool, T + 90 * DAY, &row("later")).await;
        assert_eq!(trail(&pool).await.len(), 4, "not older than 90 days");
        append(&pool, T + 90 * DAY + 1, &row("later")).await;
        assert_eq!(trail(&pool).await.len(), 4);
        append(&pool, T + 90 * DAY + 3, &row("later")).await;
        append(&pool, T + 90 * DAY + 3, &row("later")).await;
        let kept: Vec<_> = trail(&pool).await.iter().map(|one| one.number).collect();
        assert_eq!(kept, [7, 6, 5, 4], "one by one");
        // A record that nobody can read any more is left out, and the rest is read.
        append(&pool, T + 90 * DAY + 3, "{}").await;
        append(&pool, T + 90 * DAY + 3, &row("later")).await;
        let kept: Vec<_> = trail(&pool).await.iter().map(|one| one.number).collect();
        assert_eq!(kept, [9, 7, 6, 5, 4]);
    })
    .await;
}

#[tokio::test]
pub(crate) async fn strangers_push_nothing_out_but_each_other() {
    on_every_host(async |pool: Pool| {
        append(&pool, T, &row("operator")).await;
        fail(&pool, T, 1_003).await;
        let trail = trail(&pool).await;
        assert_eq!(trail.len(), 1_001);
        assert_eq!((trail[999].number, trail[1_000].number), (5, 1));
        assert_eq!(trail[1_000].told.action, "operator");
    })
    .await;
}

#[tokio::test]
async fn operators_have_ten_thousand_records() {
    on_every_host(async |pool: Pool| {
        let text = row("operator");
        for _ in 0..21 {
            let call = || {
                Call::new(&APPEND_AUDIT)
                    .key(pool.key("meta"))
                    .key(pool.key("audit"))
                    .arg(text.as_str())
                    .arg(T)
            };
            let batch = (0..477).map(|_| call()).collect();
            pool.host.eval(batch).await.unwrap();
        }
        let trail = trail(&pool).await;
        assert_eq!((trail.len(), trail[0].number, trail[9_999].number), (10_000, 10_017, 18));
    })
    .await;
}
