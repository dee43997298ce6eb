//! Logs and metrics.

use super::values::Values;

/// Logs and metrics.
#[derive(Clone, Debug)]
pub struct TelemetryConfig {
    /// `LOG_FORMAT` / `logFormat`.
    pub format: LogFormat,
    /// `LOG_LEVEL` / `logLevel`: `error`, `warn`, `info` (default), `debug`, `trace` or a tracing filter.
    pub level: String,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".into() }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl TelemetryConfig {
    pub(super) fn apply(&mut self, values: &Values) {
        values.string("logLevel", &mut self.level);
        if let Some(word) = values.text("logFormat") {
            self.format = if word == "json" { LogFormat::Json } else { LogFormat::Text };
        }
    }
}
