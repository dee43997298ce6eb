use super::*;

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
