//! The store's suites: scripts on every host.

mod behaviour;
mod harness;
mod redis;
mod scripts;
mod vectors;
