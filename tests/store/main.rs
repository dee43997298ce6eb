//! The store's suites: scripts on every host.

mod behaviour;
mod differential;
mod harness;
mod redis;
mod scripts;
mod vectors;
