//! The log subscriber: text or JSON lines on standard error, filtered by level, and the same as
//! [`records`](super::records); warnings that repeat are summed up, and what looks like a secret is blotted out.

use std::io;
use std::sync::OnceLock;

use tokio_util::sync::CancellationToken;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

use super::json::JsonLines;
use super::records::Records;
use super::repeats::Repeats;
use super::scope::Scopes;
use super::scrub;
use crate::clock::Clock;
use crate::config::{LogFormat, TelemetryConfig};

/// The target of lines about security that must all be there.
pub const AUDIT: &str = "antigravity_proxy::audit";

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

/// What the process's subscriber holds back, once there is one.
static REPEATS: OnceLock<Repeats> = OnceLock::new();

/// Starts logging for the whole process. `dev_mode` raises a plain level to at least `debug`.
pub fn init(config: &TelemetryConfig, dev_mode: bool) -> Result<(), LogsError> {
    let (subscriber, refilter, repeats) = subscriber(config, dev_mode, io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogsError::AlreadySet)?;
    REPEATS.set(repeats).map_err(|_| LogsError::AlreadySet)?;
    FILTER.set(refilter).map_err(|_| LogsError::AlreadySet)
}

/// Sums up the warnings that repeat, until `stop`; ends at once in a process that does not log.
pub async fn sum_up(stop: CancellationToken) {
    if let Some(repeats) = REPEATS.get() {
        repeats.clone().tell(stop).await;
    }
}

/// Changes the level of a process that logs; does nothing in one that does not. The format stays.
pub fn set_level(config: &TelemetryConfig, dev_mode: bool) -> Result<(), LogsError> {
    let Some(refilter) = FILTER.get() else { return Ok(()) };
    refilter(filter(config, dev_mode)?)
}

fn filter(config: &TelemetryConfig, dev_mode: bool) -> Result<EnvFilter, LogsError> {
    Ok(EnvFilter::builder().parse(directives(&config.level, dev_mode))?)
}

pub(super) type Logging = (Box<dyn Subscriber + Send + Sync>, Refilter, Repeats);

pub(super) fn subscriber<W>(config: &TelemetryConfig, dev_mode: bool, writer: W) -> Result<Logging, LogsError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter(config, dev_mode)?).with_writer(Scrubbing(writer));
    let repeats = Repeats::new(Clock::system());
    Ok(match config.format {
        LogFormat::Json => {
            let builder = builder.event_format(JsonLines).with_filter_reloading();
            let handle = builder.reload_handle();
            (
                Box::new(builder.finish().with(Scopes).with(repeats.clone()).with(Records)),
                Box::new(move |filter| Ok(handle.reload(filter)?)),
                repeats,
            )
        }
        LogFormat::Text => {
            let builder = builder.with_ansi(false).with_filter_reloading();
            let handle = builder.reload_handle();
            (
                Box::new(builder.finish().with(Scopes).with(repeats.clone()).with(Records)),
                Box::new(move |filter| Ok(handle.reload(filter)?)),
                repeats,
            )
        }
    })
}

/// Makes writers that write no secrets.
struct Scrubbing<W>(W);

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for Scrubbing<W> {
    type Writer = Scrubbed<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        Scrubbed(self.0.make_writer())
    }
}

/// Gets one whole line at a time from the subscriber.
struct Scrubbed<W>(W);

impl<W: io::Write> io::Write for Scrubbed<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Lines are text.
        let text = String::from_utf8_lossy(line);
        self.0.write_all(scrub::secrets(&text).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
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
        let (subscriber, ..) = subscriber(&config, dev_mode, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        lines.text()
    }

    #[test]
    fn the_level_can_be_changed_while_logging() {
        let lines = Lines::default();
        let writer = lines.clone();
        let config = |level: &str| TelemetryConfig { format: LogFormat::Text, level: level.into() };
        let (subscriber, refilter, _) = subscriber(&config("warn"), false, move || writer.clone()).unwrap();
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
    fn a_secret_in_somebody_elses_text_is_not_written() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged(format, "info", false, || {
                let error = r#"redis://:hunter2@db failed, {"access_token":"hunter3"}"#;
                tracing::error!(error, "Bearer hunter4-5");
            });
            assert!(text.contains("redis://***@db") && !text.contains("hunter"), "{text}");
        }
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
