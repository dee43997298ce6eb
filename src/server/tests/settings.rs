//! `/api/settings` on the wire.

use serde_json::json;

use super::{JSON, LOCAL, call};
use crate::config::ServerConfig;

#[tokio::test]
async fn settings_over_the_console_api() {
    let open = ServerConfig::default();
    let list = call(&open, "GET /api/settings", &[LOCAL], "").await;
    assert_eq!(list.header("cache-control"), "no-store");
    let list = list.json();
    assert_eq!((&list["status"], &list["generation"]), (&json!("ok"), &json!(3)));
    assert_eq!(list["rows"].as_array().unwrap().len(), 2);
    assert_eq!(list["settings"], json!({ "a": 1, "b": 1 }));
    assert!(list.get("rejected").is_none());
    let change = async |body: &str| {
        let answer = call(&open, "PATCH /api/settings", &[LOCAL, JSON], body.to_owned()).await;
        (answer.status.as_u16(), answer.json())
    };
    let (status, done) = change(r#"{"generation": 3, "settings": {"a": 1}}"#).await;
    assert_eq!((status, &done["status"], &done["generation"]), (200, &json!("ok"), &json!(3)));
    assert_eq!(
        (done["rows"].as_array().unwrap().len(), &done["settings"]),
        (1, &json!({ "a": 1 })),
        "what was changed"
    );
    let (status, conflict) = change(r#"{"generation": 2, "settings": {"a": null}}"#).await;
    assert_eq!((status, &conflict["status"], &conflict["generation"]), (409, &json!("error"), &json!(3)));
    assert_eq!(conflict["rows"].as_array().unwrap().len(), 2, "the current ones");
    let (status, invalid) = change(r#"{"settings": {"b": 1}}"#).await;
    assert_eq!((status, &invalid["error"]), (400, &json!("Nothing was changed. b: is not a")));
    assert_eq!(invalid["problems"], json!([{ "key": "b", "reason": "is not a" }]));
    for body in ["", "[]", "{}", r#"{"settings": 1}"#, r#"{"settings": {}, "more": 1}"#] {
        assert_eq!(change(body).await.0, 400, "{body}");
    }
    assert_eq!(call(&open, "PATCH /api/settings", &[LOCAL], "{}").await.status, 415);
}
