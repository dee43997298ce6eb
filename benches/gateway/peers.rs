//! The peers: Envoy, which does what the relay does, and the Node.js program, which does what the gateway does.
//!
//! Envoy runs beside the relay in all cases. The reference has two of them, the usual answer to a small and to a large
//! request, with an upstream in the clear and with one that speaks TLS, and a gateway of its own beside it for the latter.
//! All take their turns in the rounds of relay and gateway.

use std::fmt::Write as _;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::front::Front;
use crate::load::Load;
use crate::process::{Child, Setup};
use crate::reference::{self, Way};
use crate::report::{Case, Sample, Spread};
use crate::tls::Authority;
use crate::{Effort, envoy};

/// What is to be done where a peer is not there.
pub(crate) const MISSING: &str = "run `scripts/install-deps.sh bench` (as `make bench` does) or measure without peers, \
                                  `cargo bench --features simulator --bench gateway -- --quick`";

/// What is wanted of the gateway beside the reference, upstream in the clear: the reference's CPU time is at least so many
/// times the gateway's, and so is its peak memory. Reported, not asserted.
const WANTED: [(&str, f64, Option<f64>); 2] =
    [("small/20 burst", 10.0, None), ("cc/20 burst", 18.0, Some(12.0))];

/// Whose figures these are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Envoy,
    Reference,
    /// The gateway before an upstream that speaks TLS.
    GatewayTls,
    /// The reference before the same.
    ReferenceTls,
}

impl Who {
    const fn name(self) -> &'static str {
        match self {
            Self::Envoy => "Envoy",
            Self::Reference => "reference",
            Self::GatewayTls => "gateway, TLS",
            Self::ReferenceTls => "reference, TLS",
        }
    }
}

/// The peers, running.
pub(crate) struct Peers {
    envoy: Child,
    reference: Child,
    gateway_tls: Child,
    reference_tls: Child,
    _front: Child,
    _authority: Authority,
}

impl Peers {
    /// Starts them before the simulator of `setup`.
    pub(crate) fn start(setup: &Setup) -> Result<Self> {
        let upstream = &setup.upstream;
        let simulator = &upstream.simulator;
        let folder = |name: &str| {
            let folder = upstream.data.path().join(name);
            std::fs::create_dir(&folder).map(|()| folder)
        };
        let envoy = envoy::start(simulator.address, &folder("envoy")?)?;
        let plain = Way::Plain { simulator: simulator.url.clone() };
        let reference = reference::start(upstream, &plain, &folder("reference")?)?;

        let authority = Authority::naming(Way::NAMES);
        let front = Front { upstream: simulator.address, identity: authority.identity(), http2: false };
        let front = Child::start(front.command()?)?;
        let tls = Way::Tls { proxy: front.url.clone(), authority: authority.root() };
        let gateway_tls = upstream.gateway(&tls.gateway())?;
        let reference_tls = reference::start(upstream, &tls, &folder("reference-tls")?)?;
        Ok(Self { envoy, reference, gateway_tls, reference_tls, _front: front, _authority: authority })
    }

    /// Those that take part in `case`; an answer of `whole` has as many bytes.
    pub(crate) async fn lanes(&self, setup: &Setup, case: &Case, whole: &Case) -> Result<Vec<Lane<'_>>> {
        let mut takers = vec![(Who::Envoy, &self.envoy)];
        if WANTED.iter().any(|(name, ..)| *name == case.name) {
            takers.push((Who::Reference, &self.reference));
            takers.push((Who::GatewayTls, &self.gateway_tls));
            takers.push((Who::ReferenceTls, &self.reference_tls));
        }
        let mut lanes = Vec::with_capacity(takers.len());
        for (who, child) in takers {
            let load = |case: &Case| match who {
                Who::Envoy => setup.relay_load(case),
                Who::Reference | Who::GatewayTls | Who::ReferenceTls => Ok(setup.gateway_load(case)),
            };
            let answer = load(whole)?.sent_to(child.address).answer().await?;
            if who != Who::Envoy {
                // A failure of the upstream is told within a stream whose status was 200.
                let over = memchr::memmem::find(&answer, b"message_stop").is_some();
                ensure!(over, "{}: {}", who.name(), String::from_utf8_lossy(&answer));
            }
            let load = load(case)?.sent_to(child.address);
            if matches!(who, Who::Reference | Who::ReferenceTls) {
                load.run(case.connections, reference::WARM_UP).await?;
            }
            lanes.push(Lane { who, child, load, answer_bytes: answer.len() as u64, samples: Vec::new() });
        }
        Ok(lanes)
    }
}

/// One of them in one case.
pub(crate) struct Lane<'a> {
    who: Who,
    child: &'a Child,
    load: Load,
    answer_bytes: u64,
    samples: Vec<Sample>,
}

impl Lane<'_> {
    /// Its turn.
    pub(crate) async fn round(&mut self, effort: &Effort, case: &Case) -> Result<()> {
        let sample = crate::round(effort, case, self.child, &self.load, self.answer_bytes).await?;
        self.samples.push(sample);
        Ok(())
    }
}

/// What they were found to take.
pub(crate) struct Figures {
    table: String,
    ratios: String,
    rows: Vec<Value>,
    beside: Vec<Value>,
}

impl Figures {
    pub(crate) fn new() -> Self {
        let table = format!(
            "{:<28} {:>22} {:>22} {:>22}  {}\n",
            "beside its peers", "CPU µs/request", "requests/s", "p50 / p99 ms", "gateway's CPU to this one's"
        );
        Self { table, ratios: String::new(), rows: Vec::new(), beside: Vec::new() }
    }

    /// Takes the rounds of a case, and those of the gateway that took turns with them.
    pub(crate) fn add(
        &mut self,
        case: &Case,
        child: &Child,
        gateway: &[Sample],
        lanes: &[Lane<'_>],
    ) -> Result<()> {
        let _ = writeln!(self.table, "{}", case.name);
        for lane in lanes {
            let of = |figure: fn(&Sample) -> f64| Spread::of(&lane.samples, figure);
            let (cpu, rate) = (of(|s| s.cpu_micros), of(|s| s.requests_per_second));
            let (p50, p99) = (of(|s| s.p50), of(|s| s.p99));
            let (ours, process, upstream) = match lane.who {
                Who::Envoy | Who::Reference => (Some(gateway), child, "plain"),
                Who::GatewayTls => (None, child, "TLS"),
                Who::ReferenceTls => {
                    let ours = lanes.iter().find(|lane| lane.who == Who::GatewayTls);
                    (ours.map(|lane| lane.samples.as_slice()), ours.map_or(child, |lane| lane.child), "TLS")
                }
            };
            let ratio = ours.map(|ours| Ratio::of(ours, &lane.samples));
            let _ = writeln!(
                self.table,
                "{:<28} {cpu:>22.0} {rate:>22.0} {:>22}  {}",
                format!("  {}", lane.who.name()),
                format!("{:.2} / {:.2}", p50.median, p99.median),
                ratio.map(Ratio::text).unwrap_or_default(),
            );
            self.rows.push(json!({
                "case": case.name, "process": lane.who.name(), "cpu_micros": cpu.json(),
                "requests_per_second": rate.json(), "p50_ms": p50.json(), "p99_ms": p99.json(),
                "gateway_cpu_ratio": ratio.map(|ratio| ratio.0.json()),
            }));
            if let (Some(ratio), Who::Reference | Who::ReferenceTls) = (ratio, lane.who) {
                self.reference(case, upstream, ratio, process, lane.child)?;
            }
        }
        Ok(())
    }

    /// One line about gateway and reference.
    fn reference(
        &mut self,
        case: &Case,
        upstream: &str,
        ratio: Ratio,
        gateway: &Child,
        reference: &Child,
    ) -> Result<()> {
        let wanted = WANTED.iter().find(|(name, ..)| *name == case.name);
        let wanted = wanted.filter(|_| upstream == "plain");
        let cpu = wanted.map(|(_, cpu, _)| format!(", wanted 1/{cpu}")).unwrap_or_default();
        let _ = write!(
            self.ratios,
            "gateway : reference, {} upstream, {}: CPU {}{cpu}",
            upstream,
            case.name,
            ratio.text()
        );
        let mut entry = json!({
            "case": case.name, "upstream": upstream, "cpu_ratio": ratio.0.json(),
            "cpu_wanted": wanted.map(|(_, cpu, _)| 1.0 / cpu),
        });
        // The larger request's is the peak: it comes after the smaller.
        if case.large {
            let (ours, theirs) = (megabytes(gateway.peak_kib()?), megabytes(reference.peak_kib()?));
            let wanted = wanted.and_then(|(_, _, memory)| *memory);
            let text = wanted.map(|memory| format!(", wanted 1/{memory}")).unwrap_or_default();
            let _ = write!(
                self.ratios,
                "; peak memory {} ({ours:.1} : {theirs:.1} MB{text})",
                fraction(ours / theirs)
            );
            entry["peak_mb"] = json!({"gateway": ours, "reference": theirs});
            entry["memory_ratio"] = json!(ours / theirs);
            entry["memory_wanted"] = json!(wanted.map(|memory| 1.0 / memory));
        }
        self.ratios.push('\n');
        self.beside.push(entry);
        Ok(())
    }

    /// As text and as JSON.
    pub(crate) fn finish(self) -> (String, Value) {
        (format!("{}\n{}", self.table, self.ratios), json!({"cases": self.rows, "reference": self.beside}))
    }
}

/// CPU time of one beside another's: of the medians, and the lowest and highest of rounds that followed each other.
#[derive(Clone, Copy)]
struct Ratio(Spread);

impl Ratio {
    fn of(ours: &[Sample], theirs: &[Sample]) -> Self {
        let each = ours.iter().zip(theirs).map(|(ours, theirs)| ours.cpu_micros / theirs.cpu_micros);
        let spread = Spread::over(each);
        let median = |samples: &[Sample]| Spread::of(samples, |sample| sample.cpu_micros).median;
        Self(Spread { median: median(ours) / median(theirs), ..spread })
    }

    fn text(self) -> String {
        let Spread { median, low, high } = self.0;
        format!("{} ({} to {})", fraction(median), fraction(low), fraction(high))
    }
}

/// `1/31`, or `0.63` where that says more.
fn fraction(ratio: f64) -> String {
    if ratio < 0.2 { format!("1/{:.1}", 1.0 / ratio) } else { format!("{ratio:.2}") }
}

/// Millions of bytes.
#[expect(clippy::cast_precision_loss, reason = "the size of a process")]
fn megabytes(kib: u64) -> f64 {
    kib as f64 * 1024.0 / 1e6
}
