//! What was left of the quotas, noted once per ten minutes.

use antigravity_proxy::account::capacity::history;
use antigravity_proxy::store::ops::capacity::{CapacityNote, ModelLeft, NOTES_KEPT_MS};

use crate::harness::{Pool, T, on_every_host};

const MINUTE: i64 = 60_000;
const SLOT: i64 = 10 * MINUTE;
const DAY: i64 = 24 * 60 * MINUTE;

fn left(model: &str, fraction: f64, accounts: u32) -> ModelLeft {
    ModelLeft { model: model.into(), fraction, accounts }
}

async fn noted(pool: &Pool, at: i64) -> Vec<CapacityNote> {
    let (stamp, mut notes) = pool.store.at(T).read_capacity(at).await.unwrap();
    assert_eq!(stamp.now_ms, T);
    notes.sort_by_key(|note| note.at_ms);
    notes
}

#[tokio::test]
pub(crate) async fn ten_minutes_are_noted_once() {
    on_every_host(async |pool: Pool| {
        let begins = T.div_euclid(SLOT) * SLOT;
        let note =
            async |at: i64, models: &[ModelLeft]| pool.store.at(T).note_capacity(at, models).await.unwrap();
        let first = [left("m", 0.123_456, 3), left("n", 1.0, 1)];
        assert!(note(begins, &first).await);
        assert!(!note(begins + SLOT - 1, &[left("m", 0.1, 3)]).await, "another replica was first");
        assert!(note(begins + SLOT, &[left("m", 7.0, 3)]).await);
        let at = |at_ms, models| CapacityNote { at_ms, models };
        assert_eq!(
            noted(&pool, T).await,
            [
                at(begins, vec![left("m", 0.1235, 3), left("n", 1.0, 1)]),
                at(begins + SLOT, vec![left("m", 1.0, 3)]),
            ]
        );
        let key = format!("capacity:{}", T.div_euclid(DAY));
        let life = pool.left(&key).await;
        let kept = NOTES_KEPT_MS + DAY;
        assert!((kept - MINUTE..=kept).contains(&life), "{life}");
        // Not longer with every note.
        assert!(note(begins + 2 * SLOT, &first).await);
        assert!(pool.left(&key).await <= life);
        assert!(pool.store.note_capacity(T, &[left("a\u{1f}b", 0.5, 1)]).await.is_err());
    })
    .await;
}

#[tokio::test]
pub(crate) async fn notes_of_several_days_are_one_history() {
    on_every_host(async |pool: Pool| {
        pool.add_all(&["a"]).await;
        let begins = T.div_euclid(SLOT) * SLOT;
        let store = pool.store.at(T);
        for (ago, fraction) in [(8 * DAY, 0.1), (DAY, 0.9), (20 * MINUTE, 0.6), (10 * MINUTE, 0.5), (0, 0.4)]
        {
            store.note_capacity(begins - ago, &[left("m", fraction, 2)]).await.unwrap();
        }
        store.note_capacity(begins - 30 * MINUTE, &[left("b", 0.5, 1)]).await.unwrap();
        let key = format!("capacity:{}", T.div_euclid(DAY));
        pool.put_field(&key, &format!("{}", begins / SLOT - 9), b"damaged").await;

        let told = history(&store, 25).await.unwrap();
        assert_eq!((told.now, told.from, told.step_ms), (T, T - 25 * 60 * MINUTE, SLOT));
        let [b, m] = &told.models[..] else { panic!("{told:?}") };
        assert_eq!((b.model.as_str(), b.points.len(), b.runs_out_at), ("b", 1, None));
        let points: Vec<_> = m.points.iter().map(|point| (begins - point.time, point.left)).collect();
        assert_eq!(points, [(DAY, 0.9), (20 * MINUTE, 0.6), (10 * MINUTE, 0.5), (0, 0.4)]);
        assert!((m.per_hour.unwrap() - 0.6).abs() < 1e-9, "{m:?}");
        assert_eq!(m.runs_out_at.unwrap() - begins, 40 * MINUTE);

        let told = history(&store, 1).await.unwrap();
        assert_eq!(told.models[1].points.len(), 3);
        let all = history(&store, u32::MAX).await.unwrap();
        assert_eq!((all.from, all.models[1].points.len()), (T - NOTES_KEPT_MS, 4));
    })
    .await;
}
