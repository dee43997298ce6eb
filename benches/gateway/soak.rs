//! `--soak MINUTES`: a gateway at half of its load, and whether anything of it grows.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::line::{Line, float};
use crate::load::now;
use crate::offer::Offer;
use crate::process::{Upstream, gateway_sends};
use crate::report::{Case, Findings, Spread};
use crate::{Effort, body};

/// What it takes until everything has its size.
const WARM_UP: Duration = Duration::from_mins(2);
/// Between two looks.
const EVERY: Duration = Duration::from_secs(10);
/// The longest first and last part of the run that are compared.
const WINDOW_MINUTES: f64 = 5.0;

/// While the highest rate is looked for.
const CONNECTIONS: usize = 16;

/// One look at the process.
struct Look {
    minute: f64,
    resident_kib: f64,
    descriptors: f64,
    threads: f64,
}

/// One number of a look.
type Figure = fn(&Look) -> f64;

pub(crate) async fn run(effort: &Effort, minutes: u64) -> Result<Findings> {
    let upstream = Upstream::start()?;
    let gateway = upstream.gateway(&[])?;
    let mut loads = Vec::new();
    for (large, chunks) in [(false, 20), (true, 20), (false, 200), (true, 200)] {
        let model = format!("gemini-{chunks}-burst");
        let case = Case { name: String::new(), model, large, connections: CONNECTIONS };
        loads.push(gateway_sends(&gateway, body::messages(&case)));
    }
    // The highest rate at which all kinds come as often, from that of each alone.
    let mut seconds_each = 0.0;
    for load in &loads {
        load.run(CONNECTIONS, effort.warm_up).await?;
        let outcome = load.run(CONNECTIONS, effort.measure).await?;
        seconds_each += outcome.elapsed.as_secs_f64() / float(outcome.requests.max(1));
    }
    let rate = float(loads.len() as u64) / seconds_each / 2.0;
    let offer = Offer::new(loads);
    let begun = now();
    let (mut looks, mut requests) = (Vec::new(), 0);
    while begun.elapsed() < WARM_UP + Duration::from_mins(minutes) {
        requests += offer.run(rate, EVERY).await?.requests;
        if let Some(since) = begun.elapsed().checked_sub(WARM_UP) {
            looks.push(Look {
                minute: since.as_secs_f64() / 60.0,
                resident_kib: float(gateway.resident_kib()?),
                descriptors: float(gateway.descriptors()?),
                threads: float(gateway.threads()?),
            });
        }
    }
    ensure!(looks.len() > 5, "a soak takes a minute at least");
    let window = WINDOW_MINUTES.min(float(minutes) / 3.0);
    let end = looks.last().map_or(0.0, |look| look.minute);
    let mut text = format!(
        "soak of {minutes} min after a warm-up of {} min: {rate:.0} requests/s offered, {requests} answered; wanted: no growth\n{:<14} {:>22} {:>22} {:>12} {:>10}\n",
        WARM_UP.as_secs() / 60,
        "",
        format!("first {window:.0} min"),
        format!("last {window:.0} min"),
        "per minute",
        "highest"
    );
    let figures: [(&str, Figure); 3] = [
        ("resident kB", |look| look.resident_kib),
        ("descriptors", |look| look.descriptors),
        ("threads", |look| look.threads),
    ];
    let mut found = Vec::new();
    for (name, figure) in figures {
        let first = Spread::over(looks.iter().filter(|look| look.minute <= window).map(figure));
        let last = Spread::over(looks.iter().filter(|look| look.minute >= end - window).map(figure));
        let points: Vec<_> = looks.iter().map(|look| (look.minute, figure(look))).collect();
        let slope = Line::through(&points).slope;
        let highest = looks.iter().map(figure).fold(0.0, f64::max);
        writeln!(text, "{name:<14} {first:>22.0} {last:>22.0} {slope:>+12.2} {highest:>10.0}")?;
        found.push(json!({
            "figure": name, "first": first.json(), "last": last.json(), "per_minute": slope, "highest": highest,
        }));
    }
    let json =
        json!({"minutes": minutes, "requests_per_second": rate, "requests": requests, "figures": found});
    Ok(Findings::new("soak", text, json))
}
