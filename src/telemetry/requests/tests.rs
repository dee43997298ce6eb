use std::io;
use std::sync::Mutex as StdMutex;

use http::HeaderValue;
use serde_json::{Value, json};

use super::*;
use crate::config::{LogFormat, TelemetryConfig};
use crate::telemetry::logs::subscriber;

#[derive(Clone, Default)]
struct Lines(Arc<StdMutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is written while `work` has its way with a request.
fn written(format: LogFormat, work: impl FnOnce(Observation, Ending, &Clock)) -> String {
    let lines = Lines::default();
    let writer = lines.clone();
    let config = TelemetryConfig { format, level: "info".into() };
    let (subscriber, ..) = subscriber(&config, false, move || writer.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        let clock = Clock::system();
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("Bearer hunter2"));
        let arrival = Arrival {
            id: &"req_1".into(),
            method: "POST",
            route: "/v1/messages",
            headers: &headers,
            authority: None,
            welcome: true,
            peer: Some([127, 0, 0, 1].into()),
        };
        let (observation, ending) = Observation::begin(&Traces::off(), &clock, &arrival);
        work(observation, ending, &clock);
    });
    let text = lines.0.lock().unwrap().clone();
    String::from_utf8(text).unwrap()
}

fn line(work: impl FnOnce(Observation, Ending, &Clock)) -> Value {
    let text = written(LogFormat::Json, work);
    let lines: Vec<_> = text.lines().collect();
    let [line] = lines[..] else { panic!("{text}") };
    serde_json::from_str(line).unwrap()
}

#[test]
fn a_served_request_is_one_flat_line() {
    let mut line = line(|observation, mut ending, _| {
        observation.came_from(&"k1".into(), &"ann".into());
        observation.wants(true, 0xfeed);
        observation.asks_for("opus");
        observation.served_by("claude-opus");
        drop(observation.attempt("a1"));
        drop(observation.attempt("a2"));
        observation.waited(Duration::from_millis(30));
        observation.first_event();
        observation.stopped("end_turn");
        observation.used(Used { input: 10, output: 20, cache_read: 5, thinking: 7 });
        observation.ended(Outcome::Served, None);
        // A later word about the same does not count.
        observation.ended(Outcome::Cancelled, None);
        ending.answered(200, None);
        ending.complete();
    });
    for time in ["timestamp", "first_event_ms", "total_ms"] {
        assert!(line.as_object_mut().unwrap().remove(time).is_some(), "{time}");
    }
    assert_eq!(
        line,
        json!({
            "level": "INFO", "message": "POST /v1/messages 200 served", "target": TARGET, "request_id": "req_1",
            "outcome": "served", "status": 200, "method": "POST", "route": "/v1/messages", "peer": "127.0.0.1",
            "client.key.id": "k1", "client.key.name": "ann", "session": "000000000000feed", "stream": true,
            "model.asked": "opus", "model.served": "claude-opus", "account.id": "a2", "attempts": 2,
            "stop_reason": "end_turn", "wait_ms": 30,
            "tokens.input": 10, "tokens.output": 20, "tokens.cache_read": 5, "tokens.thinking": 7,
        })
    );
}

#[test]
fn a_wait_counts_while_it_goes_on() {
    let clock = Clock::system();
    let arrival = Arrival {
        id: &"req_1".into(),
        method: "POST",
        route: "/v1/messages",
        headers: &HeaderMap::new(),
        authority: None,
        welcome: true,
        peer: None,
    };
    let (observation, _ending) = Observation::begin(&Traces::off(), &clock, &arrival);
    let seen = || {
        let seen = observation.seen();
        (seen.waits, seen.attempts, seen.waited)
    };
    assert_eq!(seen(), (false, 0, Duration::ZERO));
    observation.waits();
    std::thread::sleep(Duration::from_millis(2));
    let (waits, _, first) = seen();
    assert!(waits && first >= Duration::from_millis(2), "{first:?}");
    observation.waited(Duration::from_secs(3));
    drop(observation.attempt("a1"));
    assert_eq!(seen(), (false, 1, Duration::from_secs(3)));
    // After a try that failed.
    observation.waits();
    let (waits, attempts, second) = seen();
    assert!(waits && attempts == 1 && second >= Duration::from_secs(3), "{second:?}");
}

#[test]
fn every_field_is_in_the_manual() {
    let manual = include_str!("../../../docs/logging.md");
    let line = line(|observation, mut ending, _| {
        observation.came_from(&"k1".into(), &"ann".into());
        observation.wants(true, 1);
        observation.asks_for("opus");
        observation.served_by("claude-opus");
        drop(observation.attempt("a1"));
        observation.first_event();
        observation.stopped("end_turn");
        observation.used(Used::default());
        observation.ended(Outcome::Broken, Some("transport"));
        ending.answered(200, None);
    });
    for field in line.as_object().unwrap().keys() {
        assert!(manual.contains(&format!("`{field}`")), "{field}");
    }
    for outcome in Outcome::ALL {
        assert!(manual.contains(&format!("`{}`", outcome.label())), "{outcome:?}");
    }
}

#[test]
fn the_text_is_one_line_for_people() {
    let text = written(LogFormat::Text, |observation, mut ending, _| {
        observation.asks_for("opus\nINFO forged");
        observation.ended(Outcome::RateLimited, Some("quota_exhausted"));
        ending.answered(429, None);
    });
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(
        text.contains("POST /v1/messages 429 rate_limited") && text.contains("request_id=\"req_1\""),
        "{text}"
    );
    assert!(text.contains("error.type=\"quota_exhausted\"") && !text.contains("hunter2"), "{text}");
}

#[test]
fn who_says_nothing_is_judged_by_how_far_the_answer_came() {
    type Fate = fn(&mut Ending);
    let fates: [(Fate, &str, u16, &str, Value); 7] = [
        (|_| {}, "cancelled", 499, "INFO", json!("cancelled")),
        (|ending| ending.answered(200, None), "cancelled", 200, "INFO", json!("cancelled")),
        (
            |ending| {
                ending.answered(200, None);
                ending.complete();
            },
            "served",
            200,
            "INFO",
            Value::Null,
        ),
        (
            |ending| ending.answered(401, Some("authentication_error")),
            "client_error",
            401,
            "WARN",
            json!("authentication_error"),
        ),
        (|ending| ending.answered(413, None), "client_error", 413, "WARN", json!("client_error")),
        (|ending| ending.answered(500, Some("api_error")), "internal", 500, "ERROR", json!("api_error")),
        (|ending| ending.answered(529, None), "overloaded", 529, "WARN", json!("overloaded")),
    ];
    for (fate, outcome, status, level, error) in fates {
        let line = line(|_, mut ending, _| fate(&mut ending));
        let told = (&line["outcome"], &line["status"], &line["level"], &line["error.type"]);
        assert_eq!(told, (&json!(outcome), &json!(status), &json!(level), &error), "{line}");
        assert_eq!(line.get("tokens.input"), None, "nothing was answered");
    }
}

#[test]
fn the_lines_of_a_request_have_its_id() {
    let text = written(LogFormat::Json, |observation, ending, _| {
        observation.scope().in_scope(|| tracing::warn!("the store is away"));
        tracing::warn!("elsewhere");
        drop(ending);
    });
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<_> = lines.iter().map(|line| line["request_id"].as_str()).collect();
    assert_eq!(ids, [Some("req_1"), None, Some("req_1")]);
    assert!(lines.iter().all(|line| line.get("trace_id").is_none()), "there is no trace");
}

#[test]
fn what_nobody_observes_is_told_nobody() {
    let nobody = Observation::default();
    nobody.ended(Outcome::Served, None);
    assert!(nobody.scope().is_disabled() && nobody.trace_id().is_none());
    assert!(!nobody.attempt("a").is_recorded() && !nobody.phase("admit").is_recorded());
}
