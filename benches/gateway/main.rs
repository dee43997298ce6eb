//! `make bench`: the gateway beside a bare relay, on one machine, with one client.
//!
//! Three processes are started: the simulator, a relay that passes bytes through unchanged, and the gateway.
//! Rounds alternate between relay and gateway, so that whatever else the machine does hits both; what is
//! printed are ratios of medians with their spread. Absolute figures belong to the machine they were taken on.
//!
//! `make bench` does all that `parts` lists but the soak; a flag picks a part:
//! `cargo bench --features simulator --bench gateway -- --latency`. In the comparison with the relay two peers, Envoy and the
//! Node.js program, take their turns in the same rounds; `--peers` is that alone. `--traces` compares the gateway with
//! itself, with and without traces and log lines. `--quick` makes each short, and is without another flag the comparison
//! with the relay alone.

mod bodies;
mod body;
mod clients;
mod envoy;
mod fit;
mod front;
mod kernel;
mod latency;
mod limits;
mod line;
mod load;
mod offer;
mod parts;
mod peers;
mod process;
#[path = "../../tests/support/redis.rs"]
#[expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "shared with the tests")]
mod redis_server;
mod reference;
mod relay;
mod report;
mod scale;
mod soak;
mod streams;
#[path = "../../tests/support/tls.rs"]
#[expect(clippy::unwrap_used, clippy::expect_used, reason = "shared with the tests")]
mod tls;
mod traces;

use std::time::Duration;

use anyhow::{Result, bail};

use self::front::Front;
use self::line::float;
use self::load::Load;
use self::parts::{Company, Part};
use self::peers::{Figures, Peers};
use self::process::{Child, Setup};
use self::report::{Case, Findings, Report, Sample};

// The gateway's allocator, since the relay runs from this binary.
#[cfg(unix)]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Streams held open at once when their memory is measured.
const OPEN_STREAMS: usize = 256;
/// How often a round without a single answer is begun again.
const ATTEMPTS: usize = 3;

/// How long everything takes.
struct Effort {
    quick: bool,
    rounds: usize,
    warm_up: Duration,
    measure: Duration,
}

impl Effort {
    /// Of parts that have many rounds.
    const OF_PARTS: Self = Self {
        quick: false,
        rounds: 3,
        warm_up: Duration::from_millis(500),
        measure: Duration::from_secs(2),
    };
}

fn main() -> Result<()> {
    if let Some(upstream) = relay::role() {
        return relay::run(&upstream);
    }
    if let Some(front) = Front::role() {
        return front.run();
    }
    let given = |option: &str| std::env::args().any(|argument| argument == option);
    let quick = given("--quick");
    let effort = if quick {
        // Twelve cases of relay and gateway in less than two minutes.
        Effort { quick, rounds: 3, warm_up: Duration::from_millis(300), measure: Duration::from_millis(1200) }
    } else {
        Effort { quick, rounds: 5, warm_up: Duration::from_secs(1), measure: Duration::from_secs(5) }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if given("--traces") {
        return runtime.block_on(traces::run(&effort));
    }
    let parts = Part::asked(std::env::args(), quick)?;
    runtime.block_on(parts::run(&parts, &effort))
}

/// The gateway beside `company`.
async fn beside(company: Company, effort: &Effort) -> Result<Findings> {
    let setup = Setup::start().await?;
    let peers = if company == Company::Relay { None } else { Some(Peers::start(&setup)?) };
    let mut report = Report::new(&setup)?;
    let mut figures = Figures::new();
    for case in Case::all() {
        let relay_load = setup.relay_load(&case)?;
        let gateway_load = setup.gateway_load(&case);
        // An answer takes as many bytes however it is sent.
        let whole = Case { model: case.model.replace("paced", "burst"), name: String::new(), ..case };
        let mut lanes = match &peers {
            Some(peers) => peers.lanes(&setup, &case, &whole).await?,
            None => Vec::new(),
        };
        let relay_bytes = setup.relay_load(&whole)?.answer_bytes().await?;
        let gateway_bytes = setup.gateway_load(&whole).answer_bytes().await?;
        let (mut relay, mut gateway) = (Vec::new(), Vec::new());
        for _ in 0..effort.rounds {
            relay.push(round(effort, &case, &setup.relay, &relay_load, relay_bytes).await?);
            gateway.push(round(effort, &case, &setup.gateway, &gateway_load, gateway_bytes).await?);
            for lane in &mut lanes {
                lane.round(effort, &case).await?;
            }
        }
        report.add(&case, &relay, &gateway);
        figures.add(&case, &setup.gateway, &gateway, &lanes)?;
    }
    if company != Company::Relay {
        let (text, json) = figures.finish();
        report.peers(&text, json);
    }
    if company == Company::Peers {
        return Ok(report.findings());
    }
    for large in [false, true] {
        let streams = Case::open_streams(large);
        let relay = memory_per_stream(&setup.relay, &setup.relay_load(&streams)?).await?;
        let gateway = memory_per_stream(&setup.gateway, &setup.gateway_load(&streams)).await?;
        report.open_streams(large, OPEN_STREAMS, relay, gateway);
    }
    Ok(report.findings())
}

/// One warm-up and one measurement of one target.
async fn round(
    effort: &Effort,
    case: &Case,
    child: &Child,
    load: &Load,
    answer_bytes: u64,
) -> Result<Sample> {
    for _ in 0..ATTEMPTS {
        load.run(case.connections, effort.warm_up).await?;
        let before = child.cpu_seconds()?;
        let outcome = load.run(case.connections, effort.measure).await?;
        let cpu = child.cpu_seconds()? - before;
        outcome.whole(answer_bytes)?;
        // Of a round in which the machine stood still nothing can be said.
        if outcome.bytes >= answer_bytes {
            return Ok(Sample::new(&outcome, answer_bytes, cpu));
        }
    }
    bail!("{}: {} gives no answers", case.name, child.url)
}

/// Resident kilobytes that one open stream costs beyond the idle process.
async fn memory_per_stream(child: &Child, load: &Load) -> Result<f64> {
    let before = child.resident_kib()?;
    let held = load.hold(OPEN_STREAMS).await?;
    let during = child.resident_kib()?;
    drop(held);
    Ok(float(during.saturating_sub(before)) / float(OPEN_STREAMS as u64))
}
