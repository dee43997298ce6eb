use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::super::google_error::GoogleError;
use super::{MAX_RESET, parse};

/// 2026-11-23T12:00:00Z.
const NOW: i64 = 1_795_435_200_000;

fn reset(headers: &[(&'static str, &str)], body: &str) -> Option<u64> {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect();
    let error = GoogleError::parse(body.as_bytes()).unwrap_or_default();
    parse(&headers, &error, &body.to_ascii_lowercase(), NOW)
        .map(|wait| u64::try_from(wait.as_millis()).unwrap())
}

#[test]
fn headers() {
    let future = (NOW / 1000 + 30).to_string();
    let past = (NOW / 1000 - 30).to_string();
    let in_ms = (NOW + 30_000).to_string();
    let date = httpdate::fmt_http_date(
        std::time::UNIX_EPOCH + Duration::from_millis(u64::try_from(NOW + 90_000).unwrap()),
    );
    for (headers, body, expected) in [
        (vec![("retry-after", "7")], "", Some(7000)),
        (vec![("retry-after", "1.9")], "", Some(1000)),
        (vec![("retry-after", "-5")], "", Some(500)),
        (vec![("retry-after", date.as_str())], "", Some(90_000)),
        (vec![("retry-after", "2026-11-23T12:01:00Z")], "", Some(60_000)),
        (vec![("retry-after", "2025-01-15T00:00:00Z")], "", None),
        (vec![("retry-after", "soon")], "", None),
        (vec![("x-ratelimit-reset", future.as_str())], "", Some(30_000)),
        (vec![("x-ratelimit-reset", in_ms.as_str())], "", Some(30_000)),
        (vec![("x-ratelimit-reset", past.as_str())], "", None),
        (vec![("x-ratelimit-reset-after", "12")], "", Some(12_000)),
        (vec![("retry-after", "3")], r#""retryDelay":"9s""#, Some(3000)),
        (vec![("retry-after", "0")], r#""retryDelay":"3s""#, Some(3000)),
        (vec![("retry-after", "0")], "", Some(500)),
        (vec![("retry-after", "0"), ("x-ratelimit-reset", past.as_str())], "", None),
        (vec![("retry-after", "99999999999999999")], "", Some(691_200_000)),
    ] {
        assert_eq!(reset(&headers, body), expected, "{headers:?} {body}");
    }
}

#[test]
fn bodies() {
    for (body, expected) in [
        (r#""quotaResetDelay":"754.43ms""#, Some(755)),
        (r#""quotaResetDelay":"1.5s""#, Some(1500)),
        (r#"\"quotaResetDelay\":\"1.5s\""#, Some(1500)),
        (r#""quotaResetDelay":"120.2ms""#, Some(321)),
        (r#""quotaResetTimeStamp":"2020-01-01T00:00:00Z""#, Some(500)),
        (r#""quotaResetTimeStamp":"2026-11-23T12:00:40.5Z""#, Some(40_500)),
        (r#""quotaResetTimeStamp":"2026-11-23T12:00:40""#, Some(40_000)),
        (r#""quotaResetTimeStamp":"2026-11-23T13:00:40+01:00""#, Some(40_000)),
        (r#""retryDelay":"7739.23s""#, Some(7_739_230)),
        (r#""retryDelay":"1500ms""#, Some(1500)),
        ("retry-after-ms: 900", Some(900)),
        ("retryAfterMs: 900", Some(900)),
        ("retry_after_ms=900", None),
        (r#""retryDelay":"12.5ms""#, Some(213)),
        // Spec §3.3: nothing is half a second, and little is a little more.
        ("retry-after-ms: 0", Some(500)),
        ("retry-after-ms: 1", Some(201)),
        ("retry-after-ms: 499", Some(699)),
        ("retry-after-ms: 500", Some(500)),
        ("please retry after 60 seconds", Some(60_000)),
        ("retry 8 sec", Some(8000)),
        ("reset after 1h23m45s", Some(5_025_000)),
        ("retry in 12s", Some(12_000)),
        ("Your quota will reset after 2h.", Some(7_200_000)),
        ("reset: 2026-11-23T12:00:40Z", Some(40_000)),
        ("reset: 2020-11-23T12:00:40Z", None),
        // Known wrong answers of spec §3.2.
        (r#""quotaResetDelay":"2h7m23.3s""#, Some(7_643_300)),
        ("reset after 1h15m42.87s", Some(4_542_870)),
        ("reset after 1h30s", Some(3_630_000)),
        ("reset after 2h5m", Some(7_500_000)),
        ("reset after 2h", Some(7_200_000)),
        ("request id ab77s failed", None),
        ("max 65500 tokens, code 429, 503", None),
        ("in 3 months", None),
        ("gemini 3s", None),
        ("after 12.5", None),
        ("retry after 5 attempts", None),
        // Structured members go before words in the message.
        (
            r#"{"error":{"message":"reset after 9s","details":[{"metadata":{"quotaResetDelay":"2s"}}]}}"#,
            Some(2000),
        ),
        (
            r#"{"error":{"message":"retryDelay 9s","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"3.2s"}]}}"#,
            Some(3200),
        ),
        (r#"{"error":{"details":[{"metadata":{"quotaResetDelay":"5000h"}}]}}"#, Some(691_200_000)),
    ] {
        assert_eq!(reset(&[], body), expected, "{body}");
    }
}

proptest! {
    #[test]
    fn any_text_gives_a_capped_answer(text in "(retry|reset|after|in|quotaResetDelay|[0-9.:hmsTZ \"µ-]|\\PC){0,40}") {
        if let Some(ms) = reset(&[], &text) {
            prop_assert!((200..=u64::try_from(MAX_RESET.as_millis()).unwrap()).contains(&ms));
        }
    }
}
