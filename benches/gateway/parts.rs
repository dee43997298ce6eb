//! What can be measured, and how it is asked for.

use std::str::FromStr as _;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value};

use crate::{Effort, beside, clients, fit, latency, scale, soak, streams};

/// A part of the bench.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    /// The gateway at full load, beside others.
    Beside(Company),
    Latency,
    Fit,
    Streams,
    Scale,
    /// The client of the hot path alone.
    Clients,
    Soak {
        minutes: u64,
    },
}

/// Who takes turns with the gateway.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Company {
    Relay,
    /// The relay and the peers, but only for what is said about the peers.
    Peers,
    All,
}

impl Part {
    const ALL_BUT_SOAK: [Self; 6] =
        [Self::Beside(Company::All), Self::Clients, Self::Latency, Self::Fit, Self::Scale, Self::Streams];

    /// What the arguments name; without a name all but the soak, or the comparison with the relay when it has to be quick.
    pub(crate) fn asked(arguments: impl Iterator<Item = String>, quick: bool) -> Result<Vec<Self>> {
        let mut arguments = arguments.skip(1);
        let mut parts = Vec::new();
        while let Some(argument) = arguments.next() {
            parts.push(match argument.as_str() {
                "--peers" => Self::Beside(Company::Peers),
                "--clients" => Self::Clients,
                "--latency" => Self::Latency,
                "--fit" => Self::Fit,
                "--streams" => Self::Streams,
                "--scale" => Self::Scale,
                "--soak" => {
                    let minutes = arguments.next().context("--soak MINUTES")?;
                    Self::Soak { minutes: u64::from_str(&minutes).context("--soak MINUTES")? }
                }
                // Cargo's own, and those that are no part.
                _ => continue,
            });
        }
        if parts.is_empty() {
            parts = if quick { vec![Self::Beside(Company::Relay)] } else { Self::ALL_BUT_SOAK.into() };
        }
        Ok(parts)
    }
}

/// Measures the parts, prints a table for each and in the end one JSON line.
pub(crate) async fn run(parts: &[Part], effort: &Effort) -> Result<()> {
    let many = &Effort { quick: effort.quick, ..Effort::OF_PARTS };
    let mut all = Map::new();
    for part in parts {
        let findings = match part {
            Part::Beside(company) => Box::pin(beside(*company, effort)).await?,
            Part::Clients => Box::pin(clients::run(many)).await?,
            Part::Latency => Box::pin(latency::run(many)).await?,
            Part::Fit => Box::pin(fit::run(many)).await?,
            Part::Streams => Box::pin(streams::run(many)).await?,
            Part::Scale => Box::pin(scale::run(many)).await?,
            Part::Soak { minutes } => Box::pin(soak::run(many, *minutes)).await?,
        };
        print(&findings.text);
        all.extend(findings.json);
    }
    print(&Value::Object(all).to_string());
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the report is what a bench is for")]
fn print(text: &str) {
    println!("{text}");
}
