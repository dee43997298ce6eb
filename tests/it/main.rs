//! Tests of the whole crate.
#![cfg(test)]

#[cfg(feature = "simulator")]
mod account_limits;
#[cfg(feature = "simulator")]
mod answers;
#[cfg(feature = "simulator")]
mod cancel;
#[cfg(feature = "simulator")]
mod cardinality;
#[cfg(all(feature = "simulator", unix))]
mod claude;
mod cli;
#[cfg(feature = "simulator")]
#[path = "../support/collector.rs"]
mod collector;
#[cfg(feature = "simulator")]
mod concurrency;
#[cfg(feature = "simulator")]
mod config;
#[cfg(feature = "simulator")]
mod console;
#[cfg(feature = "simulator")]
mod count_tokens;
#[cfg(feature = "simulator")]
mod discovery;
#[cfg(feature = "simulator")]
mod doors;
#[cfg(feature = "simulator")]
mod failover;
#[cfg(feature = "simulator")]
#[path = "../support/fault_proxy.rs"]
mod fault_proxy;
#[cfg(feature = "simulator")]
mod herd;
mod hostile;
mod imports;
#[cfg(feature = "simulator")]
mod keys;
#[cfg(feature = "simulator")]
mod live_requests;
#[cfg(feature = "simulator")]
mod logs;
#[cfg(feature = "simulator")]
mod messages;
#[cfg(feature = "simulator")]
mod metrics;
#[cfg(feature = "simulator")]
mod model_changes;
#[cfg(feature = "simulator")]
mod poison;
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
#[path = "../support/routes.rs"]
mod routes;
#[cfg(feature = "simulator")]
mod selection;
mod settings;
#[cfg(feature = "simulator")]
mod settings_storm;
#[cfg(feature = "simulator")]
mod signin;
#[cfg(feature = "simulator")]
mod store_at_start;
#[cfg(feature = "simulator")]
mod store_faults;
#[cfg(feature = "simulator")]
mod support;
#[cfg(feature = "simulator")]
#[path = "../support/tls.rs"]
mod tls;

mod traces;

mod trust;
#[cfg(feature = "simulator")]
mod upkeep;
#[cfg(feature = "simulator")]
mod usage;
#[cfg(feature = "simulator")]
mod versions;
