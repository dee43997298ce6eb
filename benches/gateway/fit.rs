//! `--fit`: on what the cost of a request depends: the length of the request, the chunks of its answer, and the
//! accounts of the pool.

use std::fmt::Write as _;

use anyhow::Result;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::bodies::conversation;
use crate::line::{Line, float};
use crate::process::{Child, Setup, Upstream, gateway_sends};
use crate::report::{Case, Findings, Spread};
use crate::{Effort, body, round};

/// Lengths of requests in kB.
const LENGTHS: [usize; 6] = [1, 15, 60, 120, 480, 2_000];
/// Chunks of answers; the simulator has a model for each.
const CHUNKS: [usize; 5] = [20, 200, 1_000, 2_000, 4_000];
const ACCOUNTS: [usize; 4] = [5, 50, 200, 1_000];
const STRATEGIES: [&str; 2] = ["hybrid", "round-robin"];

/// One request, and where it stands on the line.
struct Point {
    x: usize,
    case: Case,
    body: Bytes,
}

pub(crate) async fn run(effort: &Effort) -> Result<Findings> {
    let setup = Setup::start().await?;
    let mut text = String::new();
    let lengths = LENGTHS.map(|length| Point::new(length, length, 20));
    let chunks = CHUNKS.map(|chunks| Point::new(chunks, 1, chunks));
    let by_length = line(effort, &setup, "kB of request (20 chunks)", &lengths, &mut text).await?;
    let by_chunks = line(effort, &setup, "chunks of answer (1 kB)", &chunks, &mut text).await?;
    drop(setup);
    let by_accounts = accounts(effort, &mut text).await?;
    let json = json!({"kilobytes": by_length, "chunks": by_chunks, "accounts": by_accounts});
    Ok(Findings::new("fit", text, json))
}

impl Point {
    fn new(x: usize, kilobytes: usize, chunks: usize) -> Self {
        let model = format!("gemini-{chunks}-burst");
        let body = conversation(&model, kilobytes * 1_000).to_string().into();
        Self { x, case: Case { name: String::new(), model, large: false, connections: 16 }, body }
    }
}

/// CPU time per request of relay and gateway for each point, and the lines through them.
async fn line(
    effort: &Effort,
    setup: &Setup,
    what: &str,
    points: &[Point],
    text: &mut String,
) -> Result<Value> {
    writeln!(text, "{what:<28} {:>26} {:>26}", "relay CPU µs/request", "gateway CPU µs/request")?;
    let (mut all, mut found) = ([Vec::new(), Vec::new()], Vec::new());
    for point in points {
        let relay = setup.relay_sends(body::converted(&point.body, &point.case.model, &setup.project)?);
        let gateway = gateway_sends(&setup.gateway, point.body.clone());
        let mut cpu = [Vec::new(), Vec::new()];
        let bytes = [relay.answer_bytes().await?, gateway.answer_bytes().await?];
        for _ in 0..effort.rounds {
            for (at, (child, load)) in
                [(&setup.relay, &relay), (&setup.gateway, &gateway)].into_iter().enumerate()
            {
                cpu[at].push(round(effort, &point.case, child, load, bytes[at]).await?.cpu_micros);
            }
        }
        let cpu = cpu.map(Spread::over);
        writeln!(text, "{:<28} {:>26.0} {:>26.0}", point.x, cpu[0], cpu[1])?;
        for (line, cpu) in all.iter_mut().zip(cpu) {
            line.push((float(point.x as u64), cpu.median));
        }
        found.push(json!({"x": point.x, "relay_micros": cpu[0].json(), "gateway_micros": cpu[1].json()}));
    }
    let [relay, gateway] = all.map(|points| Line::through(&points));
    writeln!(text, "  relay: {relay}\n  gateway: {gateway}\n")?;
    Ok(json!({"points": found, "relay": relay.json(), "gateway": gateway.json()}))
}

/// A pool of one size, with a gateway for each strategy.
struct Pool {
    accounts: usize,
    upstream: Upstream,
    gateways: Vec<(&'static str, Child)>,
}

/// CPU time per request of gateway and Redis by the size of the pool.
async fn accounts(effort: &Effort, text: &mut String) -> Result<Value> {
    let mut pools = Vec::new();
    for accounts in ACCOUNTS {
        let upstream = Upstream::with_accounts(accounts)?;
        let mut gateways = Vec::new();
        for strategy in STRATEGIES {
            gateways.push((strategy, upstream.gateway(&[("STRATEGY", strategy.to_owned())])?));
        }
        pools.push(Pool { accounts, upstream, gateways });
    }
    let point = Point::new(0, 1, 20);
    let count = ACCOUNTS.len() * STRATEGIES.len();
    let (mut gateway_cpu, mut redis_cpu) = (vec![Vec::new(); count], vec![Vec::new(); count]);
    // Before the first rounds each account has to get its token.
    for number in 0..=effort.rounds {
        let all = pools.iter().flat_map(|pool| pool.gateways.iter().map(move |one| (pool, &one.1)));
        for (at, (pool, gateway)) in all.enumerate() {
            let load = gateway_sends(gateway, point.body.clone());
            let bytes = load.answer_bytes().await?;
            load.run(point.case.connections, effort.warm_up).await?;
            let redis = pool.upstream.redis();
            let before = (gateway.cpu_seconds()?, redis.cpu_seconds()?);
            let outcome = load.run(point.case.connections, effort.measure).await?;
            let requests = float(outcome.bytes.max(1)) / float(bytes);
            if number > 0 {
                gateway_cpu[at].push((gateway.cpu_seconds()? - before.0) * 1e6 / requests);
                redis_cpu[at].push((redis.cpu_seconds()? - before.1) * 1e6 / requests);
            }
        }
    }
    writeln!(text, "{:<10} {:<14} {:>26} {:>26}", "accounts", "strategy", "gateway CPU µs/request", "Redis")?;
    let mut found = Vec::new();
    let cells = pools.iter().flat_map(|pool| pool.gateways.iter().map(|one| (pool.accounts, one.0)));
    for ((accounts, strategy), (gateway, redis)) in cells.zip(gateway_cpu.into_iter().zip(redis_cpu)) {
        let (gateway, redis) = (Spread::over(gateway), Spread::over(redis));
        writeln!(text, "{accounts:<10} {strategy:<14} {gateway:>26.0} {redis:>26.0}")?;
        found.push(json!({
            "accounts": accounts, "strategy": strategy,
            "gateway_micros": gateway.json(), "redis_micros": redis.json(),
        }));
    }
    Ok(found.into())
}
