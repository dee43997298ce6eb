//! What can be measured, and how it is asked for.

use std::str::FromStr as _;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value};

use crate::{Effort, beside_the_relay, fit, latency, scale, soak, streams};

/// A part of the bench.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    /// The gateway beside the relay, at full load.
    Beside,
    Latency,
    Fit,
    Streams,
    Scale,
    Soak {
        minutes: u64,
    },
}

impl Part {
    const ALL_BUT_SOAK: [Self; 5] = [Self::Beside, Self::Latency, Self::Fit, Self::Scale, Self::Streams];

    /// What the arguments name; without a name all but the soak, or the comparison with the relay when it has to be quick.
    pub(crate) fn asked(arguments: impl Iterator<Item = String>, quick: bool) -> Result<Vec<Self>> {
        let mut arguments = arguments.skip(1);
        let mut parts = Vec::new();
        while let Some(argument) = arguments.next() {
            parts.push(match argument.as_str() {
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
            parts = if quick { vec![Self::Beside] } else { Self::ALL_BUT_SOAK.into() };
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
            Part::Beside => Box::pin(beside_the_relay(effort)).await?,
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
