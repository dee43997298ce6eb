//! Sign-in over HTTP.

use serde_json::json;

use super::{Answer, JSON, LOCAL, call, locked};
use crate::config::ServerConfig;

const PASS: (&str, &str) = ("x-webui-password", "pass");

async fn open(line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers: Vec<_> = headers.iter().copied().chain([LOCAL]).collect();
    call(&ServerConfig::default(), line, &headers, body.to_owned()).await
}

#[tokio::test]
async fn a_sign_in_is_begun_and_asked_after() {
    for line in ["GET /api/auth/url?email=a%2Bb%40c", "POST /api/auth/url?email=a%2Bb%40c"] {
        let begun = call(&locked(), line, &[PASS], "").await;
        assert_eq!(
            begun.json(),
            json!({
                "status": "ok", "url": "https://accounts.example.com/auth?login_hint=a+b@c",
                "state": "ab".repeat(16), "expiresAt": 600_000, "callbackListening": true,
                "redirectUri": "http://localhost:51121/oauth-callback",
            })
        );
        assert_eq!(begun.header("cache-control"), "no-store");
    }
    let plain = open("GET /api/auth/url", &[], "").await.json();
    assert_eq!(plain["url"], "https://accounts.example.com/auth?login_hint=");
    assert_eq!(open("GET /api/auth/url?email=nobody", &[], "").await.status, 400);
    // The reference's console hands the click over.
    assert_eq!(open("GET /api/auth/url?email=%5Bobject+PointerEvent%5D", &[], "").await.status, 200);
    for (site, status) in [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)] {
        let answer = open("GET /api/auth/url", &[("sec-fetch-site", site)], "").await;
        assert_eq!(answer.status.as_u16(), status, "{site}");
    }
    let done = open("GET /api/auth/status?state=known", &[], "").await.json();
    assert_eq!(done["state"], "completed");
    let done = done.as_object().unwrap();
    assert_eq!((&done["email"], done.get("error")), (&json!("a@b"), None));
    assert_eq!(open("GET /api/auth/status?state=other", &[], "").await.json()["state"], "expired");
    assert_eq!(open("GET /api/auth/status", &[], "").await.json()["error"], "Missing state");
}

#[tokio::test]
async fn a_completion_needs_both_its_parts_and_says_so() {
    for body in [r#"{"state":"s"}"#, r#"{"callbackInput":"c","state":""}"#, "{}"] {
        let answer = open("POST /api/auth/complete", &[JSON], body).await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.json(), json!({ "status": "error", "error": "Missing callbackInput or state" }));
    }
    for body in [r#"{"callbackInput":7,"state":"s"}"#, "4/0A-secret-code"] {
        let answer = open("POST /api/auth/complete", &[JSON], body).await;
        assert_eq!(answer.status, 400);
        assert!(answer.body.contains("callbackInput") && !answer.body.contains("secret"), "{}", answer.body);
    }
    assert_eq!(open("POST /api/auth/complete", &[], "{}").await.status, 415);
    let body = r#"{"callbackInput":"code","state":"s"}"#;
    assert_eq!(
        open("POST /api/auth/complete", &[JSON], body).await.json(),
        json!({
            "status": "ok", "email": "s/code", "reauth": false, "message": "Account s/code added successfully",
        })
    );
}

#[tokio::test]
async fn browsers_come_back_without_credentials_to_a_page_of_text() {
    for path in ["/oauth-callback", "/oauth/callback", "/oauth-callback/"] {
        let page = call(&locked(), &format!("GET {path}?good"), &[], "").await;
        assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html; charset=utf-8"));
        assert!(page.body.contains("Account &lt;b&gt;a@b&lt;/b&gt; signed in again."), "{}", page.body);
        assert!(!page.body.contains("<script") && !page.body.contains("<b>"), "{}", page.body);
        assert!(page.header("content-security-policy").starts_with("default-src 'none';"));
        assert_eq!(
            (page.header("cache-control"), page.header("referrer-policy")),
            ("no-store", "no-referrer")
        );
        assert_eq!(page.header("x-frame-options"), "DENY");
        let page = call(&locked(), &format!("GET {path}?%3Cscript%3E&'x'"), &[], "").await;
        assert_eq!(page.status, 400);
        assert!(page.body.contains("<p>not %3Cscript%3E&amp;&#39;x&#39;</p>"), "{}", page.body);
    }
    // What only looks ahead does not use a code up.
    assert_eq!(call(&locked(), "HEAD /oauth-callback?good", &[], "").await.status, 405);
    assert_eq!(call(&locked(), "POST /oauth-callback?good", &[], "").await.status, 405);
}
