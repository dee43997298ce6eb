//! `make bench` with `--traces`: what tracing and the log cost, in CPU time of the gateway.
//!
//! Gateways that differ in nothing else run beside each other, and rounds alternate between them. A ratio is that of
//! rounds that followed each other, so that whatever else the machine does hits both alike; what is printed is the median
//! of the ratios, and between which two half of them lie.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, ensure};
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use tokio::task::JoinSet;

use crate::process::{Child, Upstream, gateway_sends};
use crate::report::Case;
use crate::{Effort, body};

/// What arrived at the collector.
#[derive(Default)]
struct Arrived {
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// A collector in this process, whose work is not the gateway's.
struct Collector {
    url: String,
    arrived: Arc<Arrived>,
    _serving: JoinSet<()>,
}

impl Collector {
    async fn start() -> Result<Self> {
        let arrived = Arc::new(Arrived::default());
        let routes = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&arrived));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            // Ends with the bench.
            let _ = axum::serve(listener, routes).await;
        });
        Ok(Self { url, arrived, _serving: serving })
    }
}

async fn take(State(arrived): State<Arc<Arrived>>, body: Bytes) {
    arrived.requests.fetch_add(1, Ordering::Relaxed);
    arrived.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
}

/// One way to run the gateway.
struct Variant {
    name: &'static str,
    gateway: Child,
    /// CPU time per request of each round, µs.
    cpu: Vec<f64>,
}

/// Measures and prints.
pub(crate) async fn run(effort: &Effort) -> Result<()> {
    // What is looked for is small: many short rounds tell more than few long ones.
    let effort = &Effort {
        quick: effort.quick,
        rounds: effort.rounds * 12,
        warm_up: effort.warm_up / 5,
        measure: effort.measure / 6,
    };
    let upstream = Upstream::start()?;
    let collector = Collector::start().await?;
    let traced = |share: &str| {
        vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.clone()),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio".to_owned()),
            ("OTEL_TRACES_SAMPLER_ARG", share.to_owned()),
        ]
    };
    let logged = vec![("LOG_LEVEL", "info".to_owned()), ("LOG_FORMAT", "json".to_owned())];
    let mut variants = Vec::new();
    for (name, change) in [
        ("no traces", Vec::new()),
        ("10 % traced", traced("0.1")),
        ("all traced", traced("1")),
        ("no traces, a line each", logged),
    ] {
        variants.push(Variant { name, gateway: upstream.gateway(&change)?, cpu: Vec::new() });
    }
    let mut text = format!("{:<26} {:<24} {:>24} {:>22}\n", "case", "gateway", "CPU µs/request", "ratio");
    for case in Case::all().into_iter().filter(|case| case.name.ends_with("/20 burst")) {
        for round in 0..effort.rounds {
            // Each begins as often as it ends.
            for at in 0..variants.len() {
                let variant = (at + round) % variants.len();
                let cpu = measure(effort, &variants[variant].gateway, &case).await?;
                variants[variant].cpu.push(cpu);
            }
        }
        let base = variants[0].cpu.clone();
        for variant in &mut variants {
            let ratios: Vec<_> = variant.cpu.iter().zip(&base).map(|(cpu, base)| cpu / base).collect();
            let (cpu, ratio) = (quartiles(&variant.cpu), quartiles(&ratios));
            let _ = writeln!(
                text,
                "{:<26} {:<24} {:>24} {:>22}",
                case.name,
                variant.name,
                format!("{:.1} ({:.1}-{:.1})", cpu.1, cpu.0, cpu.2),
                format!("{:.3} ({:.3}-{:.3})", ratio.1, ratio.0, ratio.2),
            );
            variant.cpu.clear();
        }
    }
    let (requests, bytes) =
        (collector.arrived.requests.load(Ordering::Relaxed), collector.arrived.bytes.load(Ordering::Relaxed));
    ensure!(requests > 0, "no trace reached the collector");
    print(&format!("{text}\nthe collector took {requests} requests, {} kB", bytes / 1024));
    Ok(())
}

/// CPU time per request, µs.
async fn measure(effort: &Effort, gateway: &Child, case: &Case) -> Result<f64> {
    let load = gateway_sends(gateway, body::messages(case));
    load.run(case.connections, effort.warm_up).await?;
    let before = gateway.thread_seconds()?;
    let outcome = load.run(case.connections, effort.measure).await?;
    let cpu = gateway.thread_seconds()? - before;
    #[expect(clippy::cast_precision_loss, reason = "requests of one round")]
    Ok(cpu * 1e6 / outcome.requests.max(1) as f64)
}

/// Lower quartile, median and upper quartile.
fn quartiles(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |quarter: usize| sorted.get(sorted.len() * quarter / 4).copied().unwrap_or_default();
    (at(1), at(2), at(3))
}

#[expect(clippy::print_stdout, reason = "the report is what a bench is for")]
fn print(text: &str) {
    println!("{text}");
}
