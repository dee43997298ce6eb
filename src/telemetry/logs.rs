//! The log subscriber: text or JSON lines on standard error, filtered by level, and the same as
//! [`records`](super::records).

use std::sync::OnceLock;

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

use super::records::Records;
use crate::config::{LogFormat, TelemetryConfig};

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The configured level is neither a level nor a filter.
    #[error("logLevel is not a usable filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The subscriber is gone.
    #[error("the log level cannot be changed: {0}")]
    Reload(#[from] tracing_subscriber::reload::Error),
    /// This process logs already.
    #[error("logging is set up already")]
    AlreadySet,
}

/// Replaces the filter of a subscriber that is at work.
type Refilter = Box<dyn Fn(EnvFilter) -> Result<(), LogsError> + Send + Sync>;

/// The filter of the process's subscriber, once there is one.
static FILTER: OnceLock<Refilter> = OnceLock::new();

/// Starts logging for the whole process. `dev_mode` raises a plain level to at least `debug`.
pub fn init(config: &TelemetryConfig, dev_mode: bool) -> Result<(), LogsError> {
    let (subscriber, refilter) = subscriber(config, dev_mode, std::io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogsError::AlreadySet)?;
    FILTER.set(refilter).map_err(|_| LogsError::AlreadySet)
}

/// Changes the level of a process that logs; does nothing in one that does not. The format stays.
pub fn set_level(config: &TelemetryConfig, dev_mode: bool) -> Result<(), LogsError> {
    let Some(refilter) = FILTER.get() else { return Ok(()) };
    refilter(filter(config, dev_mode)?)
}

fn filter(config: &TelemetryConfig, dev_mode: bool) -> Result<EnvFilter, LogsError> {
    Ok(EnvFilter::builder().parse(directives(&config.level, dev_mode))?)
}

fn subscriber<W>(
    config: &TelemetryConfig,
    dev_mode: bool,
    writer: W,
) -> Result<(Box<dyn Subscriber + Send + Sync>, Refilter), LogsError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(filter(config, dev_mode)?).with_writer(writer);
    Ok(match config.format {
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            (Box::new(builder.finish().with(Records)), Box::new(move |filter| Ok(handle.reload(filter)?)))
        }
        LogFormat::Text => {
            let builder = builder.with_ansi(false).with_filter_reloading();
            let handle = builder.reload_handle();
            (Box::new(builder.finish().with(Records)), Box::new(move |filter| Ok(handle.reload(filter)?)))
        }
    })
}

/// A plain level is about this program; libraries stay at `warn`. A filter is taken as it is.
fn directives(level: &str, dev_mode: bool) -> String {
    let own = match level {
        "error" | "warn" | "info" if dev_mode => "debug",
        "error" => return "error".into(),
        "warn" | "info" | "debug" | "trace" => level,
        filter => return filter.into(),
    };
    format!("warn,antigravity_proxy={own}")
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use secrecy::SecretString;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn logged(format: LogFormat, level: &str, dev_mode: bool, log: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let config = TelemetryConfig { format, level: level.into() };
        let (subscriber, _) = subscriber(&config, dev_mode, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        lines.text()
    }

    #[test]
    fn the_level_can_be_changed_while_logging() {
        let lines = Lines::default();
        let writer = lines.clone();
        let config = |level: &str| TelemetryConfig { format: LogFormat::Text, level: level.into() };
        let (subscriber, refilter) = subscriber(&config("warn"), false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            for (at, level) in ["warn", "debug", "warn"].into_iter().enumerate() {
                refilter(filter(&config(level), false).unwrap()).unwrap();
                tracing::debug!("line {at}");
            }
        });
        let text = lines.text();
        assert!(text.contains("line 1") && text.lines().count() == 1, "{text}");
    }

    #[test]
    fn levels() {
        assert_eq!(directives("info", false), "warn,antigravity_proxy=info");
        assert_eq!(directives("info", true), "warn,antigravity_proxy=debug");
        assert_eq!(directives("trace", true), "warn,antigravity_proxy=trace");
        assert_eq!(directives("h2=trace,info", true), "h2=trace,info");
        assert_eq!(directives("error", false), "error");
    }

    #[test]
    fn json_lines_are_flat_objects() {
        let text = logged(LogFormat::Json, "info", false, || {
            tracing::info!(account.id = "a1", "account admitted");
            tracing::debug!("not shown");
        });
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(line["message"], "account admitted");
        assert_eq!(line["account.id"], "a1");
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn a_secret_in_a_field_is_not_written() {
        let secret = SecretString::from("refresh-token-of-somebody");
        let config = crate::config::Config {
            server: crate::config::ServerConfig { api_keys: vec![secret.clone()], ..Default::default() },
            ..Default::default()
        };
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged(format, "trace", false, || tracing::error!(?secret, ?config, "failed"));
            assert!(text.contains("failed") && !text.contains("of-somebody"), "{text}");
        }
    }
}
