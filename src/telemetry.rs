//! Logs and metrics.
//!
//! Nothing secret can reach a log line by accident: tokens, keys and passwords are
//! [`secrecy::SecretString`] from the moment they are read, and its `Debug` output is a placeholder.
//! Prompts and e-mail addresses are never fields of a log line; accounts appear by their opaque id.
//!
//! Metrics are explicit handles in one struct with a registry of its own, so that tests read values
//! directly and two instances in one process do not meet.

pub mod logs;
pub mod metrics;
pub mod records;

pub use logs::{LogsError, init, set_level};
pub use metrics::Metrics;
