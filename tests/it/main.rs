//! Tests of the whole crate.
#![cfg(test)]

#[cfg(feature = "simulator")]
mod answers;
#[cfg(feature = "simulator")]
mod cancel;
mod cli;
#[cfg(feature = "simulator")]
mod concurrency;
#[cfg(feature = "simulator")]
mod count_tokens;
#[cfg(feature = "simulator")]
mod failover;
#[cfg(feature = "simulator")]
#[path = "../support/fault_proxy.rs"]
mod fault_proxy;
#[cfg(feature = "simulator")]
mod hostile;
mod imports;
#[cfg(feature = "simulator")]
mod messages;
#[cfg(feature = "simulator")]
mod model_changes;
#[cfg(feature = "simulator")]
mod presence;
#[cfg(feature = "simulator")]
#[path = "../support/redis.rs"]
mod redis_server;
#[cfg(feature = "simulator")]
mod replicas;
#[cfg(feature = "simulator")]
mod round_trips;
#[cfg(feature = "simulator")]
mod settings;
#[cfg(feature = "simulator")]
mod store_at_start;
#[cfg(feature = "simulator")]
mod store_faults;
#[cfg(feature = "simulator")]
mod support;
#[cfg(feature = "simulator")]
mod versions;
