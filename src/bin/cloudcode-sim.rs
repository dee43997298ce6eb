//! The stand-in for Google's services as a program.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use antigravity_proxy::clock::Clock;
use antigravity_proxy::simulator::{Scenario, Simulator};
use anyhow::Context;
use clap::Parser;

/// Simulates Google Cloud Code and OAuth on loopback. For tests and for trying out.
#[derive(Parser)]
#[command(name = "cloudcode-sim", version)]
struct Arguments {
    /// Port of the first endpoint; 0 picks a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Address to listen on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// A built-in scenario's name, or a file.
    #[arg(long, default_value = "default")]
    scenario: String,
    /// Replaces the scenario's accounts by so many sample ones.
    #[arg(long)]
    accounts: Option<usize>,
    /// Writes the accounts in the form that `accounts import` reads.
    #[arg(long, value_name = "FILE")]
    write_accounts: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut scenario = if Scenario::names().any(|name| name == arguments.scenario) {
        Scenario::named(&arguments.scenario)?
    } else {
        let text = std::fs::read_to_string(&arguments.scenario).with_context(|| {
            let names: Vec<_> = Scenario::names().collect();
            format!("{} is neither a file nor one of {}", arguments.scenario, names.join(", "))
        })?;
        Scenario::parse(&text)?
    };
    if let Some(count) = arguments.accounts {
        scenario = scenario.with_accounts(count);
    }
    let first = SocketAddr::new(arguments.host, arguments.port);
    let simulator = Simulator::start_at(scenario, Clock::system(), first)
        .await
        .with_context(|| format!("listening on {first}"))?;
    if let Some(file) = &arguments.write_accounts {
        let text = serde_json::to_string_pretty(&simulator.accounts_json())?;
        std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
    }
    let ready = serde_json::json!({"baseUrl": simulator.base_url(), "endpoints": simulator.endpoint_urls()});
    let mut out = std::io::stdout();
    writeln!(out, "{ready}")?;
    out.flush()?;
    stopped().await?;
    simulator.shutdown().await;
    Ok(())
}

#[cfg(unix)]
async fn stopped() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminated.recv() => {}
    }
    Ok(())
}

#[cfg(not(unix))]
async fn stopped() -> anyhow::Result<()> {
    Ok(tokio::signal::ctrl_c().await?)
}
