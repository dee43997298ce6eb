//! How many series a gateway exports, and what may never stand in a label.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use antigravity_proxy::server::openapi;
use antigravity_proxy::simulator::Scenario;
use antigravity_proxy::store::registry;
use antigravity_proxy::telemetry::metrics::label::{Label, Outcome, TokenKind, UpstreamMethod, Values};
use antigravity_proxy::telemetry::metrics::{Metrics, TABLE, process, runtime};
use futures_util::StreamExt as _;
use futures_util::stream::iter;
use serde_json::json;

use crate::support::{Scrape, TestGateway, ask};

/// Fewer series than this, whatever happens.
const BUDGET: usize = 5000;

/// Status and outcome of every end that a request can have.
const ENDS: &[(u16, Outcome)] = &[
    (200, Outcome::Served),
    (400, Outcome::ClientError),
    (403, Outcome::ClientError),
    (404, Outcome::ClientError),
    (413, Outcome::ClientError),
    (429, Outcome::RateLimited),
    (400, Outcome::RateLimited),
    (200, Outcome::RateLimited),
    (529, Outcome::Overloaded),
    (200, Outcome::Overloaded),
    (502, Outcome::UpstreamError),
    (503, Outcome::UpstreamError),
    (403, Outcome::UpstreamError),
    (404, Outcome::UpstreamError),
    (200, Outcome::UpstreamError),
    (503, Outcome::NoAccount),
    (200, Outcome::NoAccount),
    (529, Outcome::Deadline),
    (200, Outcome::Deadline),
    (200, Outcome::Broken),
    (200, Outcome::Cancelled),
    (499, Outcome::Cancelled),
    (500, Outcome::Internal),
    (200, Outcome::Internal),
];

/// The patterns of all routes, as the description of the API has them, and what stands for no route.
fn routes() -> BTreeSet<String> {
    let mut routes: BTreeSet<_> = openapi::document().paths.paths.into_keys().collect();
    routes.extend(["/metrics", "unmatched"].map(str::to_owned));
    assert!(routes.len() > 30, "{routes:?}");
    routes
}

#[test]
fn every_value_of_every_label_stays_within_the_budget() {
    let metrics = Arc::new(Metrics::new().unwrap());
    let models: Vec<String> = (0..60).map(|n| format!("model-{n}")).collect();
    metrics.set_models(models.iter().map(String::as_str));
    for id in models.iter().map(String::as_str).chain(["who@example.com", ""]) {
        let model = metrics.model(id);
        for (status, outcome) in ENDS {
            model.ended(*status, *outcome);
        }
        model.began_after(Duration::from_secs(1));
        model.streamed_for(Duration::from_secs(1));
        for kind in TokenKind::ALL {
            model.used(*kind, 1);
        }
    }
    for route in routes() {
        for status in [200, 304, 404, 500] {
            metrics.http_request(&route, status, Duration::from_millis(1));
        }
    }
    for script in registry::ALL {
        metrics.store_calls.with_label_values(&[script.name]).inc();
        metrics.store_errors.with_label_values(&[script.name]).inc();
        metrics.store_seconds.with_label_values(&[script.name]).observe(0.001);
    }
    for endpoint in (0..4).map(|n| format!("host-{n}.example.com")).chain(["other".to_owned()]) {
        for method in UpstreamMethod::ALL {
            let labels = [endpoint.as_str(), method.label()];
            metrics.upstream_header_seconds.with_label_values(&labels).observe(1.0);
        }
    }
    let scrape = Scrape::of(&metrics.render());
    assert!(scrape.len() < BUDGET, "{} series: {:#?}", scrape.len(), scrape.by_metric());
    let labelled = scrape.values("model");
    assert_eq!(labelled.len(), 51, "50 models and all others");
    assert!(!labelled.contains("who@example.com"));
    let exported: BTreeSet<String> = scrape.by_metric().into_keys().collect();
    for metric in TABLE {
        assert!(exported.contains(metric.name), "{} is not exported", metric.name);
    }
}

/// Of each label with listed values no other value appears, and none of the open ones has what clients made up.
fn check_labels(scrape: &Scrape, models: &BTreeSet<&str>) {
    for (name, labels) in scrape.series() {
        let Some(metric) = TABLE.iter().find(|metric| name.starts_with(metric.name)) else {
            let others = process::TABLE.iter().chain(runtime::TABLE);
            assert!(
                others.map(|metric| metric.name).any(|known| known == name),
                "{name} is not in the manual"
            );
            continue;
        };
        for (label, value) in labels.iter().filter(|(label, _)| *label != "le") {
            let values = metric.labels.iter().find(|(known, _)| known == label).map(|(_, values)| values);
            match values {
                Some(Values::Closed(values)) => {
                    assert!(values.iter().any(|known| known.name == value), "{name} {label}={value}");
                }
                Some(Values::Open(_)) => {}
                None => panic!("{name} has no label {label}"),
            }
        }
    }
    assert!(scrape.values("model").is_subset(models), "{:?}", scrape.values("model"));
    let routes = routes();
    let routes = routes.iter().map(String::as_str).collect();
    assert!(scrape.values("route").is_subset(&routes), "{:?}", scrape.values("route"));
    let scripts = registry::ALL.iter().map(|script| script.name).collect();
    assert!(scrape.values("script").is_subset(&scripts), "{:?}", scrape.values("script"));
    assert_eq!(scrape.values("endpoint"), BTreeSet::from(["127.0.0.1"]));
    for value in scrape.all_values() {
        assert!(!value.contains('@') && !value.contains("dev1") && !value.contains("surprise"), "{value}");
    }
}

/// What `docs/metrics.md` says of it: about 650.
#[tokio::test]
async fn a_gateway_that_has_just_started_exports_what_matters_and_no_more() {
    let scrape = TestGateway::of(3).await.scrape();
    assert!((500..800).contains(&scrape.len()), "{} series: {:#?}", scrape.len(), scrape.by_metric());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_accounts_and_fifty_models_in_use() {
    let ids: Vec<String> = (0..50).map(|n| format!("gemini-9.{n}-flash")).collect();
    let offers: Vec<_> = ids.iter().map(|id| json!({"id": id})).collect();
    let scenario = json!({"models": offers, "record": false}).to_string();
    let scenario = Scenario::parse(&scenario).unwrap().with_accounts(500);
    let gateway = TestGateway::start(scenario, |config| config.dispatch.max_retries = 2).await;
    let faults = [
        json!({"fault": "quota_exhausted", "reset_ms": 3_600_000}),
        json!({"fault": "capacity"}),
        json!({"fault": "server_error"}),
        json!({"fault": "unauthorized"}),
        json!({"fault": "prompt_too_long"}),
        json!({"hang_up": true}),
        json!({"cut_after": 1}),
    ];
    for (number, fault) in faults.iter().enumerate() {
        gateway.fault(&json!({"text": format!("fault {number}"), "times": 3}), fault);
    }
    // Every model answers in both ways, and some fail.
    let asked = ids.iter().enumerate().flat_map(|(number, id)| {
        let failing = ask(id, &format!("fault {}", number % faults.len()), number.is_multiple_of(2));
        [ask(id, "hello", true), ask(id, "hello", false), failing]
    });
    let asked: Vec<_> = asked.collect();
    iter(&asked).for_each_concurrent(8, async |body| _ = gateway.client.send(body).await).await;
    for number in 0..20 {
        let surprise = format!("surprise-{number}@example.com");
        assert_eq!(gateway.client.send(&ask(&surprise, "hello", true)).await.status, 400);
        for path in ["/", "/v1/", "/api/", "/api/accounts/", "/js/", "/v1/models/"] {
            let path = format!("{path}{surprise}");
            for method in [reqwest::Method::GET, reqwest::Method::POST, reqwest::Method::DELETE] {
                gateway.client.request(method, &path).body("{}").send().await.unwrap();
            }
        }
    }
    let scrape = gateway.scrape();
    assert!(scrape.len() < BUDGET, "{} series: {:#?}", scrape.len(), scrape.by_metric());
    let models: BTreeSet<&str> = ids.iter().map(String::as_str).chain(["other"]).collect();
    check_labels(&scrape, &models);
    assert_eq!(scrape.values("model"), models, "each model was asked");
    assert!((scrape.sum("requests_total", &[]) - 170.0).abs() < 0.5, "each request has ended once");
    let unmatched = scrape.sum("http_requests_total", &[("route", "unmatched")]);
    assert!(unmatched > 100.0, "{unmatched} requests without a route under one label");
}
