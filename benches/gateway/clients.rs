//! `--clients`: the client of the hot path beside the library's, without a gateway around them.
//!
//! Both send what a gateway sends and read the answer to its end, in this process, whose CPU time is taken. The upstream is
//! the simulator in the clear, or behind one that ends TLS; there the library's client is measured with HTTP/1.1 and with
//! HTTP/2, of which it takes what the server offers first.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use antigravity_proxy::clock::Clock;
use antigravity_proxy::cloudcode::{Client, Method, UpstreamCall, http as library};
use antigravity_proxy::config::UpstreamConfig;
use antigravity_proxy::google::model::ModelId;
use anyhow::{Result, anyhow, ensure};
use bytes::Bytes;
use secrecy::SecretString;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::front::Front;
use crate::kernel::Process;
use crate::line::float;
use crate::process::{Child, STREAM, Setup};
use crate::report::{Case, Findings, Spread};
use crate::tls::Authority;
use crate::{Effort, body, load};

/// Who the server says it is.
const HOST: &str = "upstream.test";

/// Measures all.
pub(crate) async fn run(effort: &Effort) -> Result<Findings> {
    let setup = Setup::start().await?;
    let simulator = &setup.upstream.simulator;
    let authority = Authority::naming("DNS:upstream.test");
    let front = |http2| {
        let front = Front { upstream: simulator.address, identity: authority.identity(), http2 };
        Child::start(front.command()?)
    };
    let (http1, http2) = (front(false)?, front(true)?);
    let within = |front: &Child| {
        let mut config = UpstreamConfig {
            endpoints: vec![format!("https://{HOST}")],
            extra_roots: Some(authority.root()),
            ..UpstreamConfig::default()
        };
        config.proxy.https = Some(front.url.clone().into());
        config
    };
    let clear = UpstreamConfig { endpoints: vec![simulator.url.clone()], ..UpstreamConfig::default() };
    // The third is the place of the one that each is compared with.
    let contenders: [(&str, Contender, usize); 5] = [
        ("own, in the clear", Contender::own(&clear)?, 0),
        ("library's, in the clear", Contender::library(&clear)?, 0),
        ("own, TLS", Contender::own(&within(&http1))?, 2),
        ("library's, TLS, HTTP/1.1", Contender::library(&within(&http1))?, 2),
        ("library's, TLS, HTTP/2", Contender::library(&within(&http2))?, 2),
    ];
    // The gateway's kind of runtime.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut table =
        format!("{:<28} {:>24} {:>20} {:>16}\n", "client", "CPU µs/request", "requests/s", "CPU beside own");
    let mut rows = Vec::new();
    for case in Case::all().into_iter().filter(measured) {
        let request = Arc::new(Request {
            model: ModelId::new(&case.model),
            body: [body::upstream(&case, &setup.project)?],
            token: setup.access_token.clone().into(),
            headers: setup.upstream_headers(),
        });
        let mut samples: [Vec<Sample>; 5] = Default::default();
        for _ in 0..effort.rounds {
            for ((_, contender, _), samples) in contenders.iter().zip(&mut samples) {
                let round = |time| contender.round(runtime.handle(), &request, case.connections, time);
                round(effort.warm_up).await?;
                samples.push(round(effort.measure).await?);
            }
        }
        let _ = writeln!(table, "{}", case.name);
        for ((name, _, beside), own) in contenders.iter().zip(&samples) {
            let (cpu, rate) = (Spread::of(own, |one| one.cpu_micros), Spread::of(own, |one| one.rate));
            let pairs: Vec<_> = own.iter().zip(&samples[*beside]).collect();
            let ratio = Spread::of(&pairs, |(one, other)| one.cpu_micros / other.cpu_micros);
            let _ = writeln!(table, "  {name:<26} {cpu:>24.0} {rate:>20.0} {ratio:>16.2}");
            rows.push(json!({
                "case": case.name, "client": name, "cpu_micros": cpu.json(), "requests_per_second": rate.json(),
                "cpu_beside_own": ratio.json(),
            }));
        }
    }
    // Not to be dropped where others are waited for.
    runtime.shutdown_background();
    Ok(Findings::new("clients", table, rows.into()))
}

/// Whether a round has time for many of `case`.
fn measured(case: &Case) -> bool {
    !case.name.ends_with("flush") && !case.name.ends_with("2000 paced")
}

/// One client.
#[derive(Clone)]
enum Contender {
    Own(Client),
    Library(reqwest::Client, String),
}

/// What is sent.
struct Request {
    model: ModelId,
    body: [Bytes; 1],
    token: SecretString,
    /// Of which the own client makes its own.
    headers: Vec<(&'static str, String)>,
}

/// One round of one client.
struct Sample {
    cpu_micros: f64,
    rate: f64,
}

impl Contender {
    fn own(config: &UpstreamConfig) -> Result<Self> {
        Ok(Self::Own(Client::new(config, Clock::system())?))
    }

    fn library(config: &UpstreamConfig) -> Result<Self> {
        Ok(Self::Library(library::client(config)?, format!("{}{STREAM}", config.endpoints[0])))
    }

    /// Sends requests for `time`, `tasks` at once.
    async fn round(
        &self,
        runtime: &Handle,
        request: &Arc<Request>,
        tasks: usize,
        time: Duration,
    ) -> Result<Sample> {
        let (cpu, begun) = (Process::own().cpu_seconds()?, load::now());
        let mut sending = JoinSet::new();
        for _ in 0..tasks {
            let (client, request) = (self.clone(), Arc::clone(request));
            let work = async move {
                let mut done = 0_u64;
                let all = async {
                    loop {
                        client.exchange(&request).await?;
                        done += 1;
                    }
                };
                let ended: Result<Result<Infallible>, Elapsed> = timeout(time, all).await;
                if let Ok(Err(error)) = ended {
                    return Err(error);
                }
                Ok(done)
            };
            sending.spawn_on(work, runtime);
        }
        let mut done = 0;
        while let Some(one) = sending.join_next().await {
            done += one??;
        }
        let cpu = Process::own().cpu_seconds()? - cpu;
        let requests = float(done.max(1));
        Ok(Sample { cpu_micros: cpu * 1e6 / requests, rate: requests / begun.elapsed().as_secs_f64() })
    }

    async fn exchange(&self, request: &Request) -> Result<()> {
        let mut read = 0;
        match self {
            Self::Own(client) => {
                let call = UpstreamCall {
                    endpoint: 0,
                    method: Method::StreamGenerate,
                    model: &request.model,
                    body: &request.body,
                    token: &request.token,
                    session_id: body::SESSION,
                };
                let failed = |failure| anyhow!("{failure:?}");
                let mut answer = client.send(&call).await.map_err(failed)?;
                while let Some(piece) = answer.chunk().await.map_err(failed)? {
                    read += piece.len();
                }
            }
            Self::Library(client, url) => {
                let mut sent = client.post(url).header("content-type", "application/json");
                for (name, value) in &request.headers {
                    sent = sent.header(*name, value);
                }
                let sent = sent.body(request.body[0].clone());
                let mut answer = sent.send().await?.error_for_status()?;
                while let Some(piece) = answer.chunk().await? {
                    read += piece.len();
                }
            }
        }
        ensure!(read > 0, "an answer without a body");
        Ok(())
    }
}
