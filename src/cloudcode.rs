//! The upstream: one Cloud Code endpoint called with one account.
//!
//! The rest of the program sees a narrow surface: [`Client::send`] for model calls, [`models`] and [`project`]
//! for an account's own data, and [`Failure`] for everything that can go wrong.

pub mod classify;
pub mod client;
mod collector;
pub mod failure;
mod google_error;
mod headers;
pub mod http;
pub mod identity;
mod latency;
pub mod models;
pub mod project;
pub mod reset;
mod split_body;
mod wire;

pub use classify::classify;
pub use client::{Client, ClientError, Method, Pace, UpstreamCall, UpstreamResponse};
pub use collector::Collector;
pub use failure::{Failure, FailureClass, LimitKind, TransportKind};
