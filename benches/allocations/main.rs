//! What the gateway allocates: per request, and per chunk of an answer, which should be nothing.
//!
//! First the conversion of answers alone. Then whole processes, gateway and relay, that count what they allocate: this
//! program is started again in their roles, and asked for its counts over a socket. The simulator, Redis and the client
//! are other processes, whose allocations do not count.
//!
//! The counting allocator stands on the system's; how often memory is asked for is the same with the gateway's own.

#[path = "../convert/answer.rs"]
#[expect(clippy::unwrap_used, reason = "shared with a bench that ends at the first thing that goes wrong")]
mod answer;
#[path = "../gateway/bodies.rs"]
#[expect(dead_code, reason = "shared with the bench of the gateway")]
mod bodies;
#[path = "../gateway/body.rs"]
mod body;
mod counts;
#[path = "../gateway/kernel.rs"]
#[expect(dead_code, reason = "shared with the bench of the gateway")]
mod kernel;
#[path = "../gateway/line.rs"]
mod line;
#[path = "../gateway/load.rs"]
#[expect(dead_code, reason = "shared with the bench of the gateway")]
mod load;
#[path = "../gateway/process.rs"]
#[expect(dead_code, reason = "shared with the bench of the gateway")]
mod process;
#[path = "../../tests/support/redis.rs"]
#[expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "shared with the tests")]
mod redis_server;
#[path = "../gateway/relay.rs"]
mod relay;
#[path = "../gateway/report.rs"]
#[expect(dead_code, reason = "shared with the bench of the gateway")]
mod report;

use std::fmt::Write as _;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use antigravity_proxy::cli::{self, Cli};
use anyhow::{Context as _, Result};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use self::counts::Counts;
use self::line::{Line, float};
use self::load::{Load, now};
use self::process::{Child, Setup};
use self::report::{Case, Spread};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

/// Wanted per chunk.
const WANTED: f64 = 0.05;
const ROUNDS: usize = 3;
/// Answers of one round.
const REQUESTS: u32 = 100;
/// How long a process is watched that does nothing, before its requests.
const IDLE: Duration = Duration::from_millis(500);
/// What is asked for, and in how many chunks the answers come.
const SERIES: [(&str, bool, &str, &[u64]); 3] = [
    ("small, burst", false, "burst", &[20, 200, 1_000, 2_000, 4_000]),
    ("cc, burst", true, "burst", &[20, 200, 1_000, 2_000, 4_000]),
    ("small, flush", false, "flush", &[20, 2_000]),
];

fn main() -> Result<ExitCode> {
    if let Some(upstream) = relay::role() {
        counts::answer()?;
        relay::run(&upstream)?;
        return Ok(ExitCode::SUCCESS);
    }
    if counts::gateway_role() {
        counts::answer()?;
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let cli = Cli::read().map_err(|_| anyhow::anyhow!("a gateway without arguments"))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        return Ok(runtime.block_on(cli::run(cli)).into());
    }
    let mut text =
        format!("{:<16} {:<11} {:>7} {:>22} {:>22}\n", "answer", "who", "chunks", "allocations", "bytes");
    let mut series = vec![conversion(&mut text)];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(whole(&mut text, &mut series))?;
    print(&text);
    print(&json!({"wanted_per_chunk": WANTED, "series": series}).to_string());
    Ok(ExitCode::SUCCESS)
}

/// The conversion alone, on one thread.
fn conversion(text: &mut String) -> Value {
    let mut points = Vec::new();
    for chunks in [20, 200, 2_000_u32] {
        let bytes = answer::answer(chunks as usize);
        let rounds: Vec<_> = (0..ROUNDS)
            .map(|_| {
                let before = Counts::now();
                answer::convert(&bytes, "claude-sonnet-4-6", |sent| _ = black_box(sent));
                Counts::now().since(before)
            })
            .collect();
        row(text, ("conversion", "alone"), chunks.into(), &rounds, &mut points);
    }
    line(text, ("conversion", "alone"), &points)
}

/// Relay and gateway, each a process.
async fn whole(text: &mut String, series: &mut Vec<Value>) -> Result<()> {
    let program = std::env::current_exe()?;
    let setup = Setup::with_gateway(|upstream| {
        upstream.run(&program, 1, &[counts::gateway_environment()])?.pop().context("no gateway")
    })
    .await?;
    for (name, large, delivery, lengths) in SERIES {
        for who in ["relay", "gateway"] {
            let mut points = Vec::new();
            for &chunks in lengths {
                let model = format!("gemini-{chunks}-{delivery}");
                let case = Case { name: String::new(), model, large, connections: 1 };
                let (child, load) = if who == "relay" {
                    (&setup.relay, setup.relay_load(&case)?)
                } else {
                    (&setup.gateway, setup.gateway_load(&case))
                };
                let mut rounds = Vec::new();
                for _ in 0..ROUNDS {
                    rounds.push(round(child, &load).await?);
                }
                row(text, (name, who), chunks, &rounds, &mut points);
            }
            series.push(line(text, (name, who), &points));
        }
    }
    Ok(())
}

/// What `child` allocates for one request, beyond what it allocates anyway.
async fn round(child: &Child, load: &Load) -> Result<Counts> {
    let mut sender = load.connect().await?;
    let mut ask = async |count: u32| -> Result<()> {
        for _ in 0..count {
            let mut body = load.send(&mut sender).await?;
            while let Some(frame) = body.frame().await {
                frame?;
            }
        }
        Ok(())
    };
    ask(REQUESTS / 4).await?;
    let quiet = Counts::of(child)?;
    tokio::time::sleep(IDLE).await;
    let before = Counts::of(child)?;
    let begun = now();
    ask(REQUESTS).await?;
    let all = Counts::of(child)?.since(before);
    let share = begun.elapsed().as_secs_f64() / IDLE.as_secs_f64();
    Ok(all.less(before.since(quiet), share).per(REQUESTS))
}

/// Adds what the rounds found to the table, and to the points of the line.
fn row(
    text: &mut String,
    (name, who): (&str, &str),
    chunks: u64,
    rounds: &[Counts],
    points: &mut Vec<(f64, f64)>,
) {
    let allocations = Spread::over(rounds.iter().map(|counts| counts.allocations));
    let bytes = Spread::over(rounds.iter().map(|counts| counts.bytes));
    let _ = writeln!(text, "{name:<16} {who:<11} {chunks:>7} {allocations:>22.1} {bytes:>22.0}");
    points.push((float(chunks), allocations.median));
}

fn line(text: &mut String, (name, who): (&str, &str), points: &[(f64, f64)]) -> Value {
    let line = Line::through(points);
    let _ = writeln!(text, "  {line}; wanted per chunk: at most {WANTED}\n");
    json!({"answer": name, "process": who, "points": points, "line": line.json()})
}

#[expect(clippy::print_stdout, reason = "the report is what a bench is for")]
fn print(text: &str) {
    println!("{text}");
}
