//! `--latency`: what the gateway adds to the time of the first event, at half of what can be served.
//!
//! First each target's highest rate is looked for with clients that wait for their answers. Then both are offered half
//! of the smaller one, in rounds that alternate.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::json;

use crate::offer::{Offer, Offered};
use crate::process::Setup;
use crate::report::{Case, Findings, Spread, percentile};
use crate::{Effort, round};

/// Wanted of the median, ms.
const WANTED_P50: f64 = 0.3;
/// Wanted of the 99th percentile, ms.
const WANTED_P99: f64 = 2.0;

pub(crate) async fn run(effort: &Effort) -> Result<Findings> {
    let setup = Setup::start().await?;
    let mut text = format!(
        "added latency of the first event, wanted: p50 +{WANTED_P50} ms, p99 +{WANTED_P99} ms\n{:<16} {:>12} {:<10} {:>22} {:>22}\n",
        "case", "requests/s", "", "p50 ms", "p99 ms"
    );
    let mut cases = Vec::new();
    for case in Case::all().into_iter().filter(|case| case.name.ends_with("/20 burst")) {
        let (relay_load, gateway_load) = (setup.relay_load(&case)?, setup.gateway_load(&case));
        let mut highest = f64::INFINITY;
        for (child, load) in [(&setup.relay, &relay_load), (&setup.gateway, &gateway_load)] {
            let bytes = load.answer_bytes().await?;
            highest = highest.min(round(effort, &case, child, load, bytes).await?.requests_per_second);
        }
        let rate = highest / 2.0;
        let (relay, gateway) = (Offer::new([relay_load]), Offer::new([gateway_load]));
        let mut rounds: [Vec<(f64, f64)>; 2] = [Vec::new(), Vec::new()];
        for number in 0..effort.rounds * 2 {
            // Each begins as often as it ends.
            for turn in 0..2 {
                let which = (number + turn) % 2;
                let target = if which == 0 { &relay } else { &gateway };
                target.run(rate, effort.warm_up).await?;
                rounds[which].push(first_event(&target.run(rate, effort.measure).await?));
            }
        }
        let [relay, gateway] = &rounds;
        let added: Vec<_> = relay.iter().zip(gateway).map(|(r, g)| (g.0 - r.0, g.1 - r.1)).collect();
        for (who, figures) in [("relay", relay), ("gateway", gateway), ("added", &added)] {
            let p50 = Spread::over(figures.iter().map(|figure| figure.0));
            let p99 = Spread::over(figures.iter().map(|figure| figure.1));
            let _ = writeln!(text, "{:<16} {rate:>12.0} {who:<10} {p50:>22.2} {p99:>22.2}", case.name);
            cases.push(json!({
                "case": case.name, "requests_per_second": rate, "process": who,
                "p50_ms": p50.json(), "p99_ms": p99.json(),
            }));
        }
    }
    let wanted = json!({"p50_ms": WANTED_P50, "p99_ms": WANTED_P99});
    Ok(Findings::new("latency", text, json!({"wanted_added": wanted, "cases": cases})))
}

/// Median and 99th percentile, ms.
fn first_event(offered: &Offered) -> (f64, f64) {
    (percentile(&offered.first_byte, 0.5), percentile(&offered.first_byte, 0.99))
}
