//! Ratios with their spread, as a table and as JSON.

use std::fmt::{self, Display, Formatter, Write as _};
use std::time::Duration;

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::load::Outcome;
use crate::process::Setup;

/// One combination of request and answer. The simulator's `bench` scenario ties the answer to the model.
pub(crate) struct Case {
    /// Request and number of chunks, and how they come: `cc/20 burst`.
    pub(crate) name: String,
    pub(crate) model: String,
    pub(crate) large: bool,
    /// Clients at once.
    pub(crate) connections: usize,
}

/// The ways in which the upstream sends an answer.
const DELIVERIES: [&str; 3] = ["burst", "flush", "paced"];

impl Case {
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for delivery in DELIVERIES {
            for (request, large) in [("small", false), ("cc", true)] {
                for chunks in [20, 2000] {
                    all.push(Self {
                        name: format!("{request}/{chunks} {delivery}"),
                        model: format!("gemini-{chunks}-{delivery}"),
                        large,
                        connections: if delivery == "paced" { 64 } else { 16 },
                    });
                }
            }
        }
        all
    }

    /// Streams that send one event and then nothing.
    pub(crate) fn open_streams(large: bool) -> Self {
        Self { name: "open streams".to_owned(), model: "gemini-idle".to_owned(), large, connections: 0 }
    }
}

/// One measured round.
pub(crate) struct Sample {
    pub(crate) requests_per_second: f64,
    pub(crate) cpu_micros: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    first_byte_p50: f64,
}

impl Sample {
    #[expect(clippy::cast_precision_loss, reason = "counts of one round")]
    pub(crate) fn new(outcome: &Outcome, answer_bytes: u64, cpu_seconds: f64) -> Self {
        // Of those that were not over yet, too, as much as arrived of them.
        let requests = outcome.bytes.max(1) as f64 / answer_bytes as f64;
        Self {
            requests_per_second: requests / outcome.elapsed.as_secs_f64(),
            cpu_micros: cpu_seconds * 1e6 / requests,
            p50: percentile(&outcome.total, 0.5),
            p99: percentile(&outcome.total, 0.99),
            first_byte_p50: percentile(&outcome.first_byte, 0.5),
        }
    }
}

/// Milliseconds below which the given share of `times` lies.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an index into the times of one round"
)]
pub(crate) fn percentile(times: &[Duration], share: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

/// Median, lowest and highest of a figure over the rounds.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    pub(crate) fn of<T>(samples: &[T], figure: impl Fn(&T) -> f64) -> Self {
        Self::over(samples.iter().map(figure))
    }

    pub(crate) fn over(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or_default();
        Self { median: at(values.len() / 2), low: at(0), high: at(values.len().saturating_sub(1)) }
    }

    pub(crate) fn json(self) -> Value {
        json!({"median": self.median, "low": self.low, "high": self.high})
    }
}

/// `median (low-high)`, each with the precision that is asked for.
impl Display for Spread {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let precision = f.precision().unwrap_or(0);
        let text =
            format!("{:.precision$} ({:.precision$}-{:.precision$})", self.median, self.low, self.high);
        f.pad_integral(true, "", &text)
    }
}

/// What a part of the bench found.
pub(crate) struct Findings {
    pub(crate) text: String,
    pub(crate) json: Map<String, Value>,
}

impl Findings {
    /// A part of this name.
    pub(crate) fn new(name: &str, text: String, json: Value) -> Self {
        Self { text, json: Map::from_iter([(name.to_owned(), json)]) }
    }
}

/// Collects cases and prints them together.
pub(crate) struct Report {
    text: String,
    cases: Vec<Value>,
    process: Value,
    streams: Vec<Value>,
    peers: Value,
}

impl Report {
    pub(crate) fn new(setup: &Setup) -> Result<Self> {
        let binary_bytes = std::fs::metadata(setup.gateway_binary)?.len();
        let process = json!({
            "idle_resident_kib": setup.idle_kib,
            "start_ms": setup.gateway.ready_after.as_secs_f64() * 1e3,
            "binary_bytes": binary_bytes,
        });
        let mut text = String::new();
        writeln!(
            text,
            "gateway: idle {} kB resident, ready after {:.0} ms, binary {:.1} MB\n",
            setup.idle_kib,
            setup.gateway.ready_after.as_secs_f64() * 1e3,
            f64::from(u32::try_from(binary_bytes / 1024)?) / 1024.0,
        )?;
        writeln!(
            text,
            "{:<28} {:>22} {:>15} {:>22} {:>20} {:>18}",
            "case", "CPU µs/request", "CPU ratio", "requests/s", "p50 / p99 ms", "first byte p50 ms"
        )?;
        Ok(Self { text, cases: Vec::new(), process, streams: Vec::new(), peers: Value::Null })
    }

    pub(crate) fn add(&mut self, case: &Case, relay: &[Sample], gateway: &[Sample]) {
        let ratios: Vec<f64> =
            relay.iter().zip(gateway).map(|(relay, gateway)| gateway.cpu_micros / relay.cpu_micros).collect();
        let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let high = ratios.iter().copied().fold(0.0, f64::max);
        for (who, samples) in [("relay", relay), ("gateway", gateway)] {
            let of = |figure: fn(&Sample) -> f64| Spread::of(samples, figure);
            let (cpu, rate) = (of(|s| s.cpu_micros), of(|s| s.requests_per_second));
            let (p50, p99, first) = (of(|s| s.p50), of(|s| s.p99), of(|s| s.first_byte_p50));
            let ratio = if who == "gateway" {
                let relay_cpu = Spread::of(relay, |s| s.cpu_micros);
                format!("{:.2} ({low:.2}-{high:.2})", cpu.median / relay_cpu.median)
            } else {
                "1".into()
            };
            let _ = writeln!(
                self.text,
                "{:<28} {:>22} {:>15} {:>22} {:>20} {:>18}",
                if who == "relay" { case.name.clone() } else { format!("  {who}") },
                format!("{:.0} ({:.0}-{:.0})", cpu.median, cpu.low, cpu.high),
                ratio,
                format!("{:.0} ({:.0}-{:.0})", rate.median, rate.low, rate.high),
                format!("{:.2} / {:.2}", p50.median, p99.median),
                format!("{:.2}", first.median),
            );
            self.cases.push(json!({
                "case": case.name, "process": who, "cpu_micros": cpu.json(), "requests_per_second": rate.json(),
                "p50_ms": p50.json(), "p99_ms": p99.json(), "first_byte_p50_ms": first.json(),
            }));
        }
    }

    pub(crate) fn open_streams(&mut self, large: bool, count: usize, relay_kib: f64, gateway_kib: f64) {
        let request = if large { "cc" } else { "small" };
        let _ = writeln!(
            self.text,
            "{count} open streams of {request}: relay {relay_kib:.0} kB each, gateway {gateway_kib:.0} kB each"
        );
        self.streams.push(
            json!({"request": request, "streams": count, "relay_kib": relay_kib, "gateway_kib": gateway_kib}),
        );
    }

    /// What is said of the peers, as text and as JSON.
    pub(crate) fn peers(&mut self, text: &str, peers: Value) {
        let _ = write!(self.text, "\n{text}");
        self.peers = peers;
    }

    pub(crate) fn findings(self) -> Findings {
        let json = [
            ("process".to_owned(), self.process),
            ("cases".to_owned(), self.cases.into()),
            ("open_streams".to_owned(), self.streams.into()),
            ("peers".to_owned(), self.peers),
        ];
        Findings { text: self.text, json: json.into_iter().collect() }
    }
}
