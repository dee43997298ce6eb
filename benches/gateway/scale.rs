//! `--scale`: several gateways on one Redis.
//!
//! One machine cannot show what many serve. What it can show is what a request costs the gateways and Redis, and from
//! that follows where the limit is: `min(replicas × cores / gateway's CPU, 1 / Redis's CPU)`, as long as neither cost
//! grows with the number of gateways, which is what is looked at here.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::line::float;
use crate::load::Load;
use crate::process::{Child, Upstream, gateway_sends};
use crate::report::{Case, Findings, Spread};
use crate::{Effort, body};

const REPLICAS: [usize; 4] = [1, 2, 4, 8];
/// Over all gateways: some for each of the eight.
const CONNECTIONS: usize = 32;
/// Of each replica, in the model.
const CORES: [u32; 3] = [1, 2, 4];

/// The gateways of one pool.
struct Fleet {
    gateways: Vec<Child>,
    loads: Vec<Load>,
    rates: Vec<f64>,
    gateway_micros: Vec<f64>,
    redis_micros: Vec<f64>,
}

impl Fleet {
    fn cpu_seconds(&self) -> Result<f64> {
        self.gateways.iter().map(|gateway| gateway.cpu_seconds()).sum()
    }
}

pub(crate) async fn run(effort: &Effort) -> Result<Findings> {
    let upstream = Upstream::start()?;
    let case = Case::all().into_iter().next().context("no case")?;
    let mut fleets = Vec::new();
    for replicas in REPLICAS {
        let gateways = upstream.replicas(replicas, &[])?;
        let loads = gateways.iter().map(|gateway| gateway_sends(gateway, body::messages(&case))).collect();
        fleets.push(Fleet {
            gateways,
            loads,
            rates: Vec::new(),
            gateway_micros: Vec::new(),
            redis_micros: Vec::new(),
        });
    }
    let bytes = fleets[0].loads[0].answer_bytes().await?;
    let redis = upstream.redis();
    for _ in 0..effort.rounds {
        for fleet in &mut fleets {
            Load::run_all(&fleet.loads, CONNECTIONS, effort.warm_up).await?;
            let before = (fleet.cpu_seconds()?, redis.cpu_seconds()?);
            let outcome = Load::run_all(&fleet.loads, CONNECTIONS, effort.measure).await?;
            let requests = float(outcome.bytes.max(1)) / float(bytes);
            fleet.rates.push(requests / outcome.elapsed.as_secs_f64());
            fleet.gateway_micros.push((fleet.cpu_seconds()? - before.0) * 1e6 / requests);
            fleet.redis_micros.push((redis.cpu_seconds()? - before.1) * 1e6 / requests);
        }
    }
    let mut text = format!(
        "{:<10} {:>22} {:>24} {:>12} {:>22} {:>12}\n",
        "gateways", "requests/s", "gateways CPU µs/request", "beside one", "Redis CPU", "beside one"
    );
    let one = (
        Spread::over(fleets[0].gateway_micros.clone()).median,
        Spread::over(fleets[0].redis_micros.clone()).median,
    );
    let mut found = Vec::new();
    for (replicas, fleet) in REPLICAS.into_iter().zip(fleets) {
        let rate = Spread::over(fleet.rates);
        let (gateway, redis) = (Spread::over(fleet.gateway_micros), Spread::over(fleet.redis_micros));
        let deviation = (percent(gateway.median, one.0), percent(redis.median, one.1));
        writeln!(
            text,
            "{replicas:<10} {rate:>22.0} {gateway:>24.0} {:>+11.1}% {redis:>22.0} {:>+11.1}%",
            deviation.0, deviation.1
        )?;
        found.push(json!({
            "gateways": replicas, "requests_per_second": rate.json(), "gateway_micros": gateway.json(),
            "redis_micros": redis.json(), "gateway_deviation_percent": deviation.0,
            "redis_deviation_percent": deviation.1,
        }));
    }
    writeln!(
        text,
        "model from one gateway: requests/s = min(gateways × cores / {:.0} µs, 1 / {:.0} µs)",
        one.0, one.1
    )?;
    write!(text, "{:<10}", "cores each")?;
    for replicas in REPLICAS {
        write!(text, " {replicas:>10}")?;
    }
    let mut model = Vec::new();
    for cores in CORES {
        write!(text, "\n{cores:<10}")?;
        for replicas in REPLICAS {
            let gateways = float(replicas as u64) * f64::from(cores) * 1e6 / one.0;
            let capacity = gateways.min(1e6 / one.1);
            write!(text, " {capacity:>10.0}")?;
            model.push(json!({"gateways": replicas, "cores": cores, "requests_per_second": capacity}));
        }
    }
    text.push('\n');
    let json = json!({"case": case.name, "runs": found, "model": model});
    Ok(Findings::new("scale", text, json))
}

/// How far `value` is from `base`.
fn percent(value: f64, base: f64) -> f64 {
    (value / base - 1.0) * 100.0
}
