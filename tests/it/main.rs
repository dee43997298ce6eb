//! Tests of the whole crate.
#![cfg(test)]

#[cfg(feature = "simulator")]
mod cancel;
mod cli;
#[cfg(feature = "simulator")]
mod concurrency;
#[cfg(feature = "simulator")]
mod failover;
mod imports;
#[cfg(feature = "simulator")]
mod messages;
#[cfg(feature = "simulator")]
#[path = "../support/redis.rs"]
mod redis_server;
#[cfg(feature = "simulator")]
mod settings;
#[cfg(feature = "simulator")]
mod support;
