//! What admission costs a real Redis: server time per call from `INFO commandstats`, by size of the pool and number of
//! processes that ask, beside the same server's time for a script that only reads the pool's records (`HGETALL hot`).
//!
//! Rounds of both alternate, so that whatever else the machine does hits both; printed are medians, and the ratio's
//! spread. `cargo bench --bench admission [-- --quick]`.

#![expect(clippy::print_stdout, reason = "it prints what it measures")]

mod pool;
#[path = "../../tests/support/redis.rs"]
#[expect(clippy::unwrap_used, clippy::panic, reason = "shared with the tests")]
mod redis_server;
mod worker;

use antigravity_proxy::config::Strategy;
use anyhow::{Context as _, Result};

use self::pool::fill;
use self::redis_server::RedisServer;
use self::worker::{Talks, Worker};

/// Calls of each kind in a round.
const CALLS: usize = 200;

/// One line of the table.
struct Case {
    name: &'static str,
    strategy: Strategy,
    talks: Talks,
    accounts: usize,
    processes: usize,
}

fn cases() -> Vec<Case> {
    let kinds = [
        ("hybrid", Strategy::Hybrid, Talks::Few),
        ("round-robin", Strategy::RoundRobin, Talks::Few),
        ("sticky, conversation known", Strategy::Sticky, Talks::Few),
        ("sticky, conversation new", Strategy::Sticky, Talks::New),
    ];
    let sizes = kinds.iter().flat_map(|&(name, strategy, talks)| {
        [5, 20, 100, 1000].map(|accounts| Case { name, strategy, talks, accounts, processes: 1 })
    });
    let processes = [2, 4, 8].map(|processes| Case {
        name: "hybrid",
        strategy: Strategy::Hybrid,
        talks: Talks::Few,
        accounts: 100,
        processes,
    });
    sizes.chain(processes).collect()
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "worker") {
        return worker::serve(&arguments[at + 1..]);
    }
    let rounds = if arguments.iter().any(|argument| argument == "--quick") { 7 } else { 31 };
    println!("| Strategy | Accounts | Processes | HGETALL, µs | Admission, µs | Ratio (lowest–highest) |");
    println!("|---|---|---|---|---|---|");
    for case in cases() {
        measure(&case, rounds)?;
    }
    Ok(())
}

fn measure(case: &Case, rounds: usize) -> Result<()> {
    let redis = RedisServer::start();
    fill(&redis.url(), case.accounts)?;
    let mut connection = redis.connect();
    let mut workers: Vec<Worker> = (0..case.processes)
        .map(|number| Worker::start(&redis.url(), case.strategy, case.talks, number))
        .collect::<Result<_>>()?;
    let mut samples = Vec::with_capacity(rounds);
    for round in 0..=rounds {
        let yardstick = server_time(&mut connection, &mut workers, "read")?;
        let admission = server_time(&mut connection, &mut workers, "admit")?;
        for worker in &mut workers {
            worker.tell("settle")?;
            worker.done()?;
        }
        // The first round loads scripts and warms caches.
        if round > 0 {
            samples.push((yardstick, admission));
        }
    }
    let mut ratios: Vec<f64> = samples.iter().map(|(yardstick, admission)| admission / yardstick).collect();
    ratios.sort_by(f64::total_cmp);
    let median = |pick: fn(&(f64, f64)) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(pick).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!(
        "| {} | {} | {} | {:.0} | {:.0} | {:.1} ({:.1}–{:.1}) |",
        case.name,
        case.accounts,
        case.processes,
        median(|sample| sample.0),
        median(|sample| sample.1),
        ratios[ratios.len() / 2],
        ratios[0],
        ratios[ratios.len() - 1],
    );
    Ok(())
}

/// What a call of this kind costs the server, when all workers make theirs at once, µs.
fn server_time(connection: &mut redis::Connection, workers: &mut [Worker], kind: &str) -> Result<f64> {
    redis::cmd("CONFIG").arg("RESETSTAT").query::<()>(connection)?;
    let each = CALLS / workers.len();
    for worker in workers.iter_mut() {
        worker.tell(&format!("{kind} {each}"))?;
    }
    for worker in workers {
        worker.done()?;
    }
    micros_per_call(connection)
}

/// The server's own measurement of `EVALSHA` since the last reset.
fn micros_per_call(connection: &mut redis::Connection) -> Result<f64> {
    let info: String = redis::cmd("INFO").arg("commandstats").query(connection)?;
    let line =
        info.lines().find(|line| line.starts_with("cmdstat_evalsha:")).context("no EVALSHA was counted")?;
    let field =
        line.split(',').find_map(|field| field.strip_prefix("usec_per_call=")).context("no time per call")?;
    Ok(field.parse()?)
}
