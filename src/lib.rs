//! Gateway that serves the Anthropic Messages API from a pool of Google Cloud Code accounts.
//!
//! The modules, from the pure core outwards; `tests/it/imports.rs` enforces who may import whom:
//!
//! | module | what it holds |
//! |---|---|
//! | [`anthropic`], [`google`] | wire types of the two sides |
//! | [`sse`], [`clock`] | bounded server-sent-event codec, injected time |
//! | [`mod@format`] | pure conversion between the two sides |
//! | [`config`] | typed settings |
//! | [`store`] | shared state: script hosts, Lua scripts, one typed wrapper per script |
//! | [`telemetry`] | logs, metrics and traces |
//! | [`cloudcode`] | the upstream client and the classification of its failures |
//! | [`auth`] | sealing of secrets, access tokens |
//! | [`account`] | the pool: accounts, leases, settlement, the models on offer |
//! | [`usage`] | what was asked of the pool and what it took |
//! | [`dispatch`] | the life of one request |
//! | [`server`], [`webui`] | HTTP: the model API, probes, the console's API and files |
//! | [`app`], [`cli`] | composition root and commands |
#![forbid(unsafe_code)]

pub mod account;
pub mod anthropic;
pub mod app;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod cloudcode;
pub mod config;
pub mod dispatch;
pub mod format;
pub mod google;
pub mod server;
#[cfg(feature = "simulator")]
pub mod simulator;
pub mod sse;
pub mod store;
pub mod telemetry;
pub mod usage;
pub mod webui;
