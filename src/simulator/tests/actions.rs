//! What scenarios can do to an exchange.

use std::time::Duration;

use serde_json::{Value, json};

use super::{CLAUDE, EMAIL, PATIENCE, Scenario, Talk, chunks, heard, scenario};
use crate::simulator::{Action, Event, Fault, Outcome, When};

/// A conversation whose next stream gets `then`.
async fn with(then: Value) -> Talk {
    let then: Action = serde_json::from_value(then).unwrap();
    let mut talk = Talk::new(CLAUDE, Scenario::default().with_rule(When::default(), then)).await;
    talk.say("write 40 words");
    talk
}

#[tokio::test]
async fn named_faults_have_the_real_shapes() {
    for (fault, status, reason) in [
        ("quota_exhausted", 429, Some("QUOTA_EXHAUSTED")),
        ("rate_limited", 429, Some("RATE_LIMIT_EXCEEDED")),
        ("capacity", 503, Some("MODEL_CAPACITY_EXHAUSTED")),
        ("validation_required", 403, Some("VALIDATION_REQUIRED")),
        ("banned", 403, None),
        ("unauthorized", 401, Some("ACCESS_TOKEN_EXPIRED")),
        ("server_error", 500, None),
        ("permission_denied", 403, None),
        ("not_found", 404, None),
        ("prompt_too_long", 400, None),
    ] {
        let talk = with(json!({"fault": fault, "reset_ms": 2500, "headers": {"retry-after": "3"}})).await;
        let response = talk.stream().await;
        assert_eq!(response.status(), status, "{fault}");
        assert_eq!(response.headers()["retry-after"], "3");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"]["code"], status, "{fault}");
        assert_eq!(body["error"]["details"][0]["reason"].as_str(), reason, "{fault}");
        if status == 429 {
            assert!(body.to_string().contains(r#""retryDelay":"2.500s""#), "{body}");
        }
    }
}

#[tokio::test]
async fn status_and_bodies_can_be_given() {
    let talk = with(json!({"status": 502, "body_text": "<html>bad gateway</html>"})).await;
    let response = talk.stream().await;
    assert_eq!(response.status(), 502);
    assert_eq!(response.text().await.unwrap(), "<html>bad gateway</html>");
    let talk = with(json!({"status": 418, "body": {"x": 1}, "gzip": true})).await;
    let response = talk.stream().await;
    assert_eq!((response.status().as_u16(), response.json::<Value>().await.unwrap()), (418, json!({"x": 1})));
}

#[tokio::test]
async fn connections_are_cut_after_a_chunk() {
    let talk = with(json!({"cut_after": 3})).await;
    let mut response = talk.stream().await;
    let mut text = String::new();
    let error = loop {
        match response.chunk().await {
            Ok(Some(bytes)) => text.push_str(std::str::from_utf8(&bytes).unwrap()),
            Ok(None) => panic!("the stream ended well"),
            Err(error) => break error,
        }
    };
    assert!(error.is_body() || error.is_decode(), "{error:?}");
    assert_eq!(chunks(&text).len(), 3);
    assert_eq!(talk.simulator.recorded()[0].outcome, Outcome::Cut);
}

#[tokio::test]
async fn connections_are_hung_up_before_the_head() {
    let talk = with(json!({"hang_up": true})).await;
    assert!(talk.post("streamGenerateContent?alt=sse", &talk.body()).send().await.is_err());
    assert_eq!(talk.simulator.counts().cut, 1);
}

#[tokio::test]
async fn a_stalled_stream_sees_its_client_go() {
    let talk = with(json!({"stall_after": 2})).await;
    let mut response = talk.stream().await;
    let mut text = String::new();
    while chunks(&text).len() < 2 {
        text.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
    }
    assert_eq!(talk.simulator.recorded()[0].outcome, Outcome::Open);
    let url = format!("{}/sim/wait?event=disconnect&timeout_ms=10000", talk.simulator.base_url());
    assert_eq!(talk.http.get(url.replace("10000", "1")).send().await.unwrap().status(), 408);
    drop(response);
    let waited = talk.http.get(url).send().await.unwrap();
    assert_eq!(waited.status(), 200);
    assert_eq!(waited.json::<Value>().await.unwrap()["disconnects"], 1);
    let recorded = &talk.simulator.recorded()[0];
    assert_eq!((recorded.outcome, recorded.bytes_sent), (Outcome::ClosedByClient, text.len() as u64));
}

#[tokio::test]
async fn a_client_that_goes_during_a_delay_is_seen() {
    let talk = with(json!({"delay_ms": 600_000})).await;
    let request = talk.post("streamGenerateContent?alt=sse", &talk.body()).send();
    let waited = talk.simulator.wait_for(Event::Request, 1, PATIENCE);
    tokio::select! {
        _ = request => panic!("answered"),
        seen = waited => assert!(seen),
    }
    assert!(talk.simulator.wait_for(Event::Disconnect, 1, PATIENCE).await);
}

#[tokio::test]
async fn streams_can_be_odd() {
    let whole = with(json!({})).await.hear().await.text();
    for odd in [
        json!({"crlf": true}),
        json!({"gzip": true}),
        json!({"no_final_newline": true}),
        json!({"drip": {"bytes": 7, "interval_ms": 0}}),
        json!({"drip": {"bytes": 700, "interval_ms": 1}, "gzip": true, "crlf": true}),
        json!({"delivery": {"mode": "burst"}}),
        json!({"delivery": {"mode": "paced", "interval_ms": 1, "chunk_chars": 100}}),
        json!({"delay_ms": 1}),
    ] {
        let text = with(odd.clone()).await.stream().await.text().await.unwrap();
        assert_eq!(heard(&text).text(), whole, "{odd}");
        assert_eq!(text.contains("\r\n"), odd["crlf"] == true);
        assert_eq!(text.ends_with('}'), odd["no_final_newline"] == true);
    }
}

#[tokio::test]
async fn streams_can_be_wrong() {
    let text = |then: Value| async move { with(then).await.stream().await.text().await.unwrap() };
    assert_eq!(text(json!({"empty": true})).await, "");
    let blocked = chunks(&text(json!({"blocked": "PROHIBITED_CONTENT"})).await);
    assert_eq!(blocked[0]["response"]["promptFeedback"]["blockReason"], "PROHIBITED_CONTENT");
    let broken = chunks(&text(json!({"error_after": 2, "in_stream": "capacity"})).await);
    assert_eq!((broken.len(), &broken[2]["error"]["code"]), (3, &json!(503)));
    for wrong in [json!({"garbage_after": 1}), json!({"malformed_after": 1})] {
        let text = text(wrong).await;
        let bad = |line: &&str| serde_json::from_str::<Value>(&line[5..]).is_err();
        assert_eq!(text.lines().filter(|line| !line.is_empty()).filter(bad).count(), 1);
    }
    let given = chunks(&text(json!({"chunks": [{"a": 1}, {"b": 2}]})).await);
    assert_eq!(given, [json!({"a": 1}), json!({"b": 2})]);
    let said = heard(&text(json!({"text": "as told", "finish_reason": "SAFETY"})).await);
    assert_eq!((said.text().as_str(), said.finish.as_deref()), ("as told", Some("SAFETY")));
    assert_eq!(heard(&text(json!({"finish_reason": ""})).await).finish, None);
    let fixed = chunks(&text(json!({"fixed": {"chunks": 12, "chars": 5}})).await);
    assert_eq!(fixed.len(), 12);
}

#[tokio::test]
async fn rules_choose_by_endpoint_account_and_count() {
    let mut talk = Talk::new(CLAUDE, Scenario::default()).await;
    talk.say("a secret word");
    let when = When {
        endpoint: Some(0),
        account: Some(EMAIL.into()),
        path: Some("streamGenerateContent".into()),
        text: Some("secret".into()),
        from: Some(2),
        times: Some(1),
        ..When::default()
    };
    talk.simulator.add_fault(when, Action { fault: Some(Fault::ServerError), ..Action::default() });
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(talk.stream().await.status().as_u16());
    }
    assert_eq!(statuses, [200, 500, 200]);
    let all = json!({"when": {"endpoint": 1}, "then": {"fault": "capacity"}});
    let sim = |path: &str| format!("{}/sim/{path}", talk.simulator.base_url());
    talk.http.post(sim("faults")).json(&all).send().await.unwrap().error_for_status().unwrap();
    assert_eq!(talk.stream().await.status(), 200);
    let second = talk.simulator.endpoint_urls().remove(1);
    let moved = talk.post("streamGenerateContent?alt=sse", &talk.body()).build().unwrap();
    let (_, rest) = moved.url().as_str().split_once("/v1internal").unwrap();
    let mut request = moved.try_clone().unwrap();
    *request.url_mut() = format!("{second}/v1internal{rest}").parse().unwrap();
    assert_eq!(talk.http.execute(request).await.unwrap().status(), 503);
    talk.http.delete(sim("faults")).send().await.unwrap().error_for_status().unwrap();
}

#[tokio::test]
async fn bench_answers_are_fixed_and_leave_no_trace() {
    let mut bench = Scenario::named("bench").unwrap();
    bench.accounts[0].email = EMAIL.to_owned();
    let mut talk = Talk::new("gemini-2000-burst", bench).await;
    talk.say("anything");
    let text = talk.stream().await.text().await.unwrap();
    assert_eq!(chunks(&text).len(), 2_000);
    talk.model = "gemini-20-flush";
    assert_eq!(chunks(&talk.stream().await.text().await.unwrap()).len(), 20);
    talk.token = "wrong".to_owned();
    assert_eq!(talk.stream().await.status(), 401);
    assert!(talk.simulator.recorded().is_empty());
    let paced = scenario(&json!({"delivery": {"mode": "paced", "interval_ms": 1}}));
    assert_eq!(Duration::from_millis(paced.delivery.interval_ms), Duration::from_millis(1));
}
