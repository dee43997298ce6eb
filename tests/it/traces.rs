//! Traces of requests, as a collector receives them.

use std::time::Duration;

use antigravity_proxy::config::{Config, Strategy, TraceSampler};
use antigravity_proxy::simulator::{Event, Scenario};
use serde_json::{Value, json};

use crate::collector::{Collector, Mood, Span, Trace};
use crate::support::client::Answer;
use crate::support::replicas::until;
use crate::support::{GEMINI, PLAIN, TestGateway, ask};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// Sends traces to `collector` soon, tries accounts in turn and waits for nothing long.
fn traced(collector: &Collector) -> impl FnOnce(&mut Config) {
    let endpoint = collector.endpoint();
    move |config| {
        config.tracing.endpoint = Some(endpoint);
        config.tracing.delay = Duration::from_millis(20);
        config.tracing.timeout = Duration::from_secs(1);
        config.selection.strategy = Strategy::RoundRobin;
        config.selection.pinned.insert("strategy".into(), "round-robin".into());
        config.dispatch.retry_base = Duration::from_millis(10);
        config.dispatch.capacity_tiers = vec![Duration::from_millis(20)];
        config.dispatch.capacity_budget = Duration::from_millis(100);
    }
}

async fn gateway(accounts: usize, collector: &Collector) -> TestGateway {
    TestGateway::start(Scenario::default().with_accounts(accounts), traced(collector)).await
}

/// The trace of an answer.
async fn trace(collector: &Collector, answer: &Answer) -> Trace {
    let trace = collector.trace_of(answer.header("request-id").unwrap()).await;
    trace.assert_consistent();
    assert_eq!(answer.header("x-trace-id"), Some(trace.root.trace.as_str()));
    // Nothing is told that the manual does not name.
    let manual = include_str!("../../docs/tracing.md");
    for span in trace.phases.iter().chain([&trace.root]) {
        for key in span.attributes.keys() {
            assert!(manual.contains(&format!("`{key}`")), "{key} of {}", span.name);
        }
    }
    trace
}

/// What tells of the tries.
fn tries(trace: &Trace) -> Vec<(&str, &str)> {
    trace
        .attempts()
        .into_iter()
        .map(|span| (span.get("antigravity_proxy.outcome"), span.get("http.response.status_code")))
        .collect()
}

#[tokio::test]
async fn a_stream_is_one_root_with_all_its_phases() {
    let collector = Collector::start().await;
    let gateway = gateway(1, &collector).await;
    let answer = gateway.client.send(&ask(GEMINI, "hello", true)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let trace = trace(&collector, &answer).await;
    assert_eq!(trace.names(), ["admit", "convert", "attempt 1", "stream", "settle"]);

    let root = &trace.root;
    assert!(root.parent.is_empty() && !root.failed);
    let account = trace.attempts()[0].get("antigravity_proxy.account.id").to_owned();
    for (key, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/v1/messages"),
        ("url.path", "/v1/messages"),
        ("url.scheme", "http"),
        ("http.response.status_code", "200"),
        ("server.address", "127.0.0.1"),
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "gcp.gen_ai"),
        ("gen_ai.request.model", GEMINI),
        ("gen_ai.response.model", GEMINI),
        ("gen_ai.request.stream", "true"),
        ("gen_ai.response.finish_reasons", "end_turn"),
        ("antigravity_proxy.outcome", "served"),
        ("antigravity_proxy.client.key.id", "open"),
        ("antigravity_proxy.account.id", account.as_str()),
        ("antigravity_proxy.attempts", "1"),
        ("error.type", ""),
    ] {
        assert_eq!(root.get(key), value, "{key}");
    }
    let usage = &answer.body["usage"];
    let tokens = |key: &str| usage[key].as_u64().unwrap_or_default();
    let read = tokens("input_tokens") + tokens("cache_read_input_tokens");
    assert_eq!(root.get("gen_ai.usage.input_tokens"), read.to_string());
    assert_eq!(root.get("gen_ai.usage.output_tokens"), tokens("output_tokens").to_string());
    assert!(read > 0 && tokens("output_tokens") > 0, "{usage}");
    let first: f64 = root.get("gen_ai.response.time_to_first_chunk").parse().unwrap();
    assert!(first > 0.0 && first <= root.took().as_secs_f64(), "{first}");

    let admit = trace.phase("admit");
    assert_eq!(admit.get("antigravity_proxy.admission.decision"), "normal");
    assert_eq!(admit.get("antigravity_proxy.admission.strategy"), "round_robin");
    assert_eq!(admit.get("antigravity_proxy.admission.asked"), "1");
    assert!(admit.get("antigravity_proxy.store.round_trip_ms").parse::<f64>().unwrap() > 0.0);
    let attempt = trace.phase("attempt 1");
    assert_eq!(attempt.events.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["first byte"]);
    assert_eq!((attempt.get("server.address"), attempt.get("gen_ai.request.model")), ("127.0.0.1", GEMINI));
    assert!(attempt.get("server.port").parse::<u16>().unwrap() > 0);
    assert_eq!(tries(&trace), [("success", "200")]);
    // The client's stream begins with the upstream's first event and outlasts the upstream's answer.
    let stream = trace.phase("stream");
    assert!(attempt.events[0].1 <= stream.begin && attempt.end <= stream.end);

    let resource = &root.resource;
    assert_eq!(resource["service.name"], "antigravity-proxy");
    assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
    assert!(!resource["service.instance.id"].is_empty());
}

#[tokio::test]
async fn every_try_is_there_whatever_ended_it() {
    let collector = Collector::start().await;
    for stream in [true, false] {
        let gateway = gateway(2, &collector).await;
        // The second account, whose turn it is, is out of quota; the token of the other one is refused once.
        let limited = json!({"account": "dev2@example.com"});
        gateway.fault(&limited, &json!({"fault": "rate_limited", "reset_ms": 40_000}));
        gateway.fault(&json!({"account": "dev1@example.com", "times": 1}), &json!({"fault": "unauthorized"}));
        let answer = gateway.client.send(&ask(PLAIN, "hello", stream)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let trace = trace(&collector, &answer).await;
        assert_eq!(tries(&trace), [("rate_limited", "429"), ("unauthorized", "401"), ("success", "200")]);
        let begin = ["admit", "convert", "attempt 1", "settle", "admit", "attempt 2", "attempt 3"];
        let end: &[&str] = if stream { &["stream", "settle"] } else { &["settle"] };
        assert_eq!(trace.names(), [&begin, end].concat());
        assert_eq!(trace.root.get("antigravity_proxy.outcome"), "served");
        let failed: Vec<_> = trace.attempts().iter().map(|span| span.failed).collect();
        assert_eq!(failed, [true, true, false]);
        let again: Vec<_> =
            trace.attempts().iter().map(|span| span.get("http.request.resend_count")).collect();
        assert_eq!(again, ["", "1", "2"]);
        gateway.settled().await;
    }
}

#[tokio::test]
async fn tries_over_endpoints_and_accounts_name_each_of_them() {
    let collector = Collector::start().await;
    let gateway = gateway(3, &collector).await;
    gateway.fault(&json!({"times": 3}), &json!({"fault": "server_error"}));
    let answer = gateway.client.send(&ask(PLAIN, "hello", true)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let trace = trace(&collector, &answer).await;
    // Two endpoints of one account, then the next account.
    assert_eq!(gateway.route().len(), trace.attempts().len());
    let status = tries(&trace)[0].1.to_owned();
    assert!(status.starts_with('5'), "{status}");
    let places: Vec<_> = trace
        .attempts()
        .iter()
        .map(|span| (span.get("antigravity_proxy.account.id").to_owned(), span.get("server.port").to_owned()))
        .collect();
    assert_eq!(places[0].0, places[1].0);
    assert_ne!(places[0].1, places[1].1);
    assert_ne!(places[1].0, places[2].0);
    assert_eq!(trace.root.get("antigravity_proxy.account.id"), places.last().unwrap().0);
}

#[tokio::test]
async fn a_model_that_stands_in_is_the_one_that_answered() {
    let collector = Collector::start().await;
    let change = traced(&collector);
    let gateway = TestGateway::start(Scenario::default().with_accounts(2), |config| {
        change(config);
        config.dispatch.fallback = true;
    })
    .await;
    gateway.fault(&json!({"model": PLAIN}), &json!({"fault": "quota_exhausted", "reset_ms": 7_200_000}));
    let answer = gateway.client.send(&ask(PLAIN, "hello", true)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let trace = trace(&collector, &answer).await;
    assert_eq!(trace.root.get("gen_ai.request.model"), PLAIN);
    let served = trace.root.get("gen_ai.response.model");
    assert!(!served.is_empty() && served != PLAIN, "{served}");
    let models: Vec<_> =
        trace.attempts().iter().map(|span| span.get("gen_ai.request.model").to_owned()).collect();
    assert_eq!((models.first().unwrap().as_str(), models.last().unwrap().as_str()), (PLAIN, served));
    assert_eq!(trace.names().iter().filter(|name| **name == "convert").count(), 2);
}

#[tokio::test]
async fn refusals_have_a_trace_of_their_own_without_tries() {
    let collector = Collector::start().await;
    let change = traced(&collector);
    let gateway = TestGateway::start(Scenario::default(), |config| {
        change(config);
        config.server.request_body_limit = 100_000;
    })
    .await;
    let mut bad = ask(PLAIN, "hello", false);
    bad["messages"] = json!("none");
    let large = json!({"model": PLAIN, "messages": "x".repeat(200_000)});
    for (body, status, reason) in [
        (&bad, 400, "invalid_request"),
        (&ask("no-such-model", "hello", true), 400, "model_unknown"),
        (&large, 413, "request_too_large"),
    ] {
        let answer = gateway.client.send(body).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        let trace = trace(&collector, &answer).await;
        let root = &trace.root;
        assert_eq!((root.get("error.type"), root.get("antigravity_proxy.outcome")), (reason, "client_error"));
        assert_eq!(root.get("http.response.status_code"), status.to_string());
        assert!(!root.failed && trace.phases.is_empty(), "{:?}", trace.names());
    }
}

#[tokio::test]
async fn failures_of_the_gateway_and_its_upstream_are_errors() {
    let collector = Collector::start().await;
    let gateway = gateway(1, &collector).await;
    for (fault, status, outcome, reason, failed) in [
        (json!({"fault": "invalid_argument"}), 400, "client_error", "client_error", false),
        (json!({"hang_up": true}), 503, "upstream_error", "transport", true),
        (
            json!({"fault": "quota_exhausted", "reset_ms": 7_200_000}),
            429,
            "rate_limited",
            "quota_exhausted",
            false,
        ),
    ] {
        gateway.fault(&json!({"times": 10}), &fault);
        let answer = gateway.client.send(&ask(PLAIN, "hello", true)).await;
        gateway.simulator.clear_faults();
        assert_eq!(answer.status, status, "{}", answer.body);
        let trace = trace(&collector, &answer).await;
        let root = &trace.root;
        assert_eq!((root.get("antigravity_proxy.outcome"), root.get("error.type")), (outcome, reason));
        assert_eq!(root.failed, failed, "{outcome}");
        assert!(!trace.attempts().is_empty() && trace.attempts().iter().all(|span| span.failed));
    }
}

#[tokio::test]
async fn a_stream_that_breaks_is_an_error_after_200() {
    let collector = Collector::start().await;
    let gateway = gateway(1, &collector).await;
    gateway
        .fault(&json!({"times": 1}), &json!({"cut_after": 2, "text": "one two three four five six seven"}));
    let answer = gateway.client.send(&ask(GEMINI, "write 100 words", true)).await;
    assert_eq!((answer.status, answer.count("error")), (200, 1));
    let trace = trace(&collector, &answer).await;
    assert_eq!(trace.root.get("antigravity_proxy.outcome"), "broken");
    assert_eq!(trace.root.get("error.type"), "transport");
    assert!(trace.root.failed && trace.phase("stream").failed && trace.phase("attempt 1").failed);
    assert_eq!(trace.names(), ["admit", "convert", "attempt 1", "stream", "settle"]);
}

#[tokio::test]
async fn a_wait_for_room_is_part_of_the_admission() {
    let collector = Collector::start().await;
    let change = traced(&collector);
    let gateway = TestGateway::start(Scenario::default(), |config| {
        change(config);
        config.selection.pinned.insert("maxConcurrentPerAccount".into(), "1".into());
    })
    .await;
    gateway.fault(&json!({"times": 1}), &json!({"stall_after": 2}));
    let mut first = gateway.client.begin(&ask(GEMINI, "write 500 words", true)).await;
    assert!(first.chunk().await.unwrap().is_some());
    let body = ask(GEMINI, "hello", true);
    let second = gateway.client.send(&body);
    let making_room = async {
        assert!(
            until(async || gateway.scrape().sum("pool_waiters", &[]) > 0.5).await,
            "the second one waits"
        );
        drop(first);
    };
    let (answer, ()) = tokio::join!(second, making_room);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let trace = trace(&collector, &answer).await;
    assert_eq!(trace.names(), ["admit", "convert", "attempt 1", "stream", "settle"]);
    let admit = trace.phase("admit");
    let number = |span: &Span, key: &str| span.get(key).parse::<u64>().unwrap();
    assert_eq!(admit.get("antigravity_proxy.admission.decision"), "normal");
    assert!(number(admit, "antigravity_proxy.admission.asked") >= 2, "{admit:?}");
    let waited = number(admit, "antigravity_proxy.wait_ms");
    assert!(waited > 0 && u128::from(waited) <= admit.took().as_millis(), "{admit:?}");
    assert!(number(&trace.root, "antigravity_proxy.wait_ms") > 0);
}

#[tokio::test]
async fn a_deadline_is_an_error_and_its_try_is_there() {
    let collector = Collector::start().await;
    let change = traced(&collector);
    let gateway = TestGateway::start(Scenario::default(), |config| {
        change(config);
        config.dispatch.deadline = Duration::from_millis(700);
        config.server.stream_keepalive = Duration::from_millis(100);
    })
    .await;
    gateway.fault(&json!({}), &json!({"stall_after": 0}));
    for (stream, status) in [(true, 200), (false, 529)] {
        let answer = gateway.client.send(&ask(GEMINI, "hello", stream)).await;
        // The stream has had pings.
        assert_eq!((answer.status, answer.count("error")), (status, usize::from(stream)), "{}", answer.body);
        let trace = trace(&collector, &answer).await;
        assert_eq!(trace.root.get("antigravity_proxy.outcome"), "deadline");
        assert!(trace.root.failed);
        assert_eq!(tries(&trace), [("deadline", "")]);
    }
}

#[tokio::test]
async fn a_client_that_leaves_has_a_whole_trace_without_error() {
    let collector = Collector::start().await;
    let gateway = gateway(1, &collector).await;
    gateway.fault(&json!({}), &json!({"stall_after": 2}));
    let mut response = gateway.client.begin(&ask(GEMINI, "write 500 words", true)).await;
    let id = response.headers()["request-id"].to_str().unwrap().to_owned();
    assert!(response.chunk().await.unwrap().is_some());
    let before = gateway.simulator.counts().disconnects;
    drop(response);
    assert!(gateway.simulator.wait_for(Event::Disconnect, before + 1, Duration::from_secs(5)).await);
    let trace = collector.trace_of(&id).await;
    trace.assert_consistent();
    let root = &trace.root;
    assert_eq!((root.get("antigravity_proxy.outcome"), root.failed), ("cancelled", false));
    assert_eq!(root.get("http.response.status_code"), "200");
    assert_eq!(trace.phase("stream").get("error.type"), "cancelled");
    gateway.settled().await;
}

#[tokio::test]
async fn strangers_decide_nothing() {
    let collector = Collector::start().await;
    let traced = traced(&collector);
    let gateway = TestGateway::start(Scenario::default().with_accounts(1), |config| {
        traced(config);
        config.server.api_keys = vec!["a key of somebody".to_owned().into()];
        config.tracing.sampler = TraceSampler { parent_based: true, ratio: 0.0 };
    })
    .await;
    let send = async |key: &'static str| {
        let request = gateway.client.request(reqwest::Method::POST, "/v1/messages").header("x-api-key", key);
        let request = request.header("traceparent", format!("00-{TRACE}-{PARENT}-01"));
        request.json(&ask(PLAIN, "hello", false)).send().await.unwrap()
    };
    let refused = send("guessed").await;
    assert_eq!((refused.status().as_u16(), refused.headers().get("x-trace-id")), (401, None));
    let served = send("a key of somebody").await;
    assert_eq!(served.status(), 200);
    // What comes first would have arrived first.
    let trace = collector.trace_of(served.headers()["request-id"].to_str().unwrap()).await;
    assert_eq!(trace.root.trace, TRACE);
    assert!(collector.spans().iter().all(|span| span.get("http.response.status_code") != "401"));
}

#[tokio::test]
async fn a_clients_trace_goes_on_and_its_decision_counts() {
    let collector = Collector::start().await;
    let gateway = gateway(1, &collector).await;
    let send = async |parent: &str| {
        let request = gateway.client.request(reqwest::Method::POST, "/v1/messages");
        let request = request
            .header("traceparent", parent)
            .header("tracestate", "vendor=1")
            .header("tracestate", "b=2");
        request.json(&ask(PLAIN, "hello", false)).send().await.unwrap()
    };
    let id = |response: &reqwest::Response| response.headers()["request-id"].to_str().unwrap().to_owned();

    let sampled = send(&format!("00-{TRACE}-{PARENT}-01")).await;
    let trace = collector.trace_of(&id(&sampled)).await;
    trace.assert_consistent();
    assert_eq!((trace.root.trace.as_str(), trace.root.parent.as_str()), (TRACE, PARENT));
    assert_eq!(trace.root.state, "vendor=1,b=2");
    assert_eq!(sampled.headers()["x-trace-id"], TRACE);

    // The client does not record; its id is told all the same, and Google hears nothing of either.
    let quiet = send(&format!("00-{TRACE}-{PARENT}-00")).await;
    assert_eq!(quiet.headers()["x-trace-id"], TRACE);
    let malformed = send(&format!("00-{TRACE}-{PARENT}-1")).await;
    let own = collector.trace_of(&id(&malformed)).await;
    assert!(own.root.trace != TRACE && own.root.parent.is_empty());
    let roots = |spans: &[Span], id: &str| {
        spans.iter().filter(|span| span.get("antigravity_proxy.request.id") == id).count()
    };
    assert_eq!(roots(&collector.spans(), &id(&quiet)), 0);
    for call in gateway.model_calls() {
        assert!(!call.headers.iter().any(|(name, _)| name.starts_with("trace")), "{:?}", call.headers);
    }
}

#[tokio::test]
async fn a_share_is_taken_of_whole_traces() {
    let collector = Collector::start().await;
    let change = traced(&collector);
    let gateway = TestGateway::start(Scenario::default(), |config| {
        change(config);
        config.tracing.sampler = TraceSampler { parent_based: false, ratio: 0.5 };
    })
    .await;
    let mut taken = 0;
    for _ in 0..40 {
        let answer = gateway.client.send(&ask(PLAIN, "hello", false)).await;
        // Who is not traced has no id.
        if answer.header("x-trace-id").is_some() {
            taken += 1;
            assert_eq!(trace(&collector, &answer).await.names().len(), 4);
        }
    }
    // 40 throws of a coin: outside of this once in ten million.
    assert!((4..=36).contains(&taken), "{taken}");
    let roots = collector.spans().iter().filter(|span| span.server).count();
    assert_eq!(roots, taken);
}

#[tokio::test]
async fn headers_and_compression_reach_the_collector() {
    let collector = Collector::start().await;
    let change = traced(&collector);
    let gateway = TestGateway::start(Scenario::default(), |config| {
        change(config);
        config.tracing.headers = vec![("authorization".into(), "Bearer collector-key".to_owned().into())];
        config.tracing.resource = vec![("k8s.pod.name".into(), "agp-0".into())];
        config.tracing.service_name = "gateway".into();
        config.tracing.gzip = true;
    })
    .await;
    let answer = gateway.client.send(&ask(PLAIN, "hello", false)).await;
    let root = trace(&collector, &answer).await.root;
    assert_eq!(
        (root.resource["service.name"].as_str(), root.resource["k8s.pod.name"].as_str()),
        ("gateway", "agp-0")
    );
    for (headers, _) in collector.requests() {
        assert_eq!(headers["authorization"], "Bearer collector-key");
        assert_eq!(headers["content-type"], "application/x-protobuf");
        assert_eq!(headers["content-encoding"], "gzip");
    }
}

#[tokio::test]
async fn a_collector_that_fails_costs_spans_and_nothing_else() {
    for mood in [Mood::Refusing(500), Mood::Refusing(401), Mood::Silent] {
        let collector = Collector::start().await;
        collector.feel(mood);
        let change = traced(&collector);
        let gateway = TestGateway::start(Scenario::default().with_accounts(2), |config| {
            change(config);
            config.tracing.timeout = Duration::from_millis(300);
            config.tracing.queue = 16;
            config.tracing.batch = 8;
        })
        .await;
        for number in 0..20 {
            let answer = gateway.client.send(&ask(PLAIN, "hello", number % 2 == 0)).await;
            assert_eq!(answer.status, 200, "{mood:?}: {}", answer.body);
        }
        let lost = lost_until(&gateway, |lost| lost > 0.5).await;
        assert!(lost > 0.5, "{mood:?}");
        gateway.settled().await;
        // It comes back, and so do the traces.
        collector.feel(Mood::Well);
        let caught = async {
            loop {
                let answer = gateway.client.send(&ask(PLAIN, "hello", false)).await;
                assert_eq!(answer.status, 200);
                tokio::time::sleep(Duration::from_millis(50)).await;
                if collector.spans().iter().any(|span| span.server) {
                    return;
                }
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(20), caught).await.is_ok(), "{mood:?}");
    }
}

#[tokio::test]
async fn nobody_at_the_collectors_address_hurts_nobody() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let collector = Collector::start().await;
    let change = traced(&collector);
    let gateway = TestGateway::start(Scenario::default(), |config| {
        change(config);
        config.tracing.endpoint = Some(format!("http://{gone}/v1/traces"));
    })
    .await;
    for stream in [true, false] {
        assert_eq!(gateway.client.send(&ask(PLAIN, "hello", stream)).await.status, 200);
    }
    assert!(lost_until(&gateway, |lost| lost > 9.5).await > 9.5);
    assert_eq!(collector.spans().len(), 0);
}

/// Waits until so many spans are counted as lost; returns how many there are.
async fn lost_until(gateway: &TestGateway, enough: impl Fn(f64) -> bool) -> f64 {
    let count = || gateway.scrape().sum("spans_dropped_total", &[]);
    for _ in 0..1000 {
        if enough(count()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    count()
}

#[tokio::test]
async fn the_end_sends_what_is_left() {
    let collector = Collector::start().await;
    let change = traced(&collector);
    let gateway = TestGateway::start(Scenario::default(), |config| {
        change(config);
        // Nothing is sent before the end.
        config.tracing.delay = Duration::from_mins(10);
    })
    .await;
    let answer = gateway.client.send(&ask(PLAIN, "hello", true)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(collector.spans().len(), 0);
    gateway.shutdown().await;
    assert_eq!(trace(&collector, &answer).await.names().len(), 5);
}

#[tokio::test]
async fn no_prompt_no_address_and_no_secret_leaves_with_a_trace() {
    let collector = Collector::start().await;
    let gateway = gateway(2, &collector).await;
    let marker = "marker-of-a-prompt";
    let mut ids = Vec::new();
    for (number, fault) in [
        json!(null),
        json!({"fault": "unauthorized"}),
        json!({"fault": "validation_required", "validation_url": "https://accounts.google.com/marker-of-a-link"}),
        json!({"status": 400, "body": {"error": {"code": 400, "message": marker, "status": "INVALID_ARGUMENT"}}}),
        json!({"cut_after": 1, "text": marker}),
    ]
    .into_iter()
    .enumerate()
    {
        if !fault.is_null() {
            gateway.fault(&json!({"times": 1}), &fault);
        }
        let mut body = ask(GEMINI, &format!("{marker}: reply with exactly: {marker}"), number % 2 == 0);
        body["system"] = json!(marker);
        body["metadata"] = json!({"user_id": format!("{marker}-user_session_{marker}")});
        let request = gateway.client.request(reqwest::Method::POST, "/v1/messages?key=marker-of-a-query");
        let request = request.header("x-claude-code-session-id", format!("{marker}-session")).json(&body);
        let response = request.header("x-api-key", "marker-of-a-key").send().await.unwrap();
        ids.push(response.headers()["request-id"].to_str().unwrap().to_owned());
        response.text().await.unwrap();
    }
    for id in &ids {
        collector.trace_of(id).await.assert_consistent();
    }
    let text: Vec<u8> = collector.requests().into_iter().flat_map(|(_, body)| body).collect();
    for secret in ["marker-of", "@example.com", "ya29.", "1//"] {
        let found = text.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!found, "{secret}");
    }
}

#[tokio::test]
async fn without_an_endpoint_there_is_no_trace_of_anything() {
    let gateway = TestGateway::of(1).await;
    let request = gateway.client.request(reqwest::Method::POST, "/v1/messages");
    let request = request.header("traceparent", format!("00-{TRACE}-{PARENT}-01"));
    let response = request.json(&ask(PLAIN, "hello", false)).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.headers().get("x-trace-id").is_none());
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["type"], "message");
}
