//! Shared state: script hosts, the scripts themselves, and one typed wrapper per script.

pub mod embedded;
pub mod host;
pub mod script;
