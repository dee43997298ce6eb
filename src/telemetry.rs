//! Logs, metrics and traces.
//!
//! Nothing secret can reach a log line by accident: tokens, keys and passwords are
//! [`secrecy::SecretString`] from the moment they are read, and its `Debug` output is a placeholder. What looks like one
//! all the same, in the text of a foreign error for instance, is blotted out (`scrub`).
//! Prompts and e-mail addresses are never fields of a log line; accounts appear by their opaque id.
//!
//! Metrics are explicit handles in one struct with a registry of its own, so that tests read values
//! directly and two instances in one process do not meet.

mod json;
pub mod logs;
pub mod metrics;
pub mod records;
mod repeats;
pub mod requests;
mod scope;
mod scrub;
pub mod traces;

pub use logs::{LogsError, init, set_level, sum_up};
pub use metrics::Metrics;
pub use requests::Observation;
pub use traces::Traces;
