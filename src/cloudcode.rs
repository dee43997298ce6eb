//! The upstream: one Cloud Code endpoint called with one account.
//!
//! The rest of the program sees a narrow surface: [`Client::send`] for model calls, [`models`] and [`project`]
//! for an account's own data, and [`Failure`] for everything that can go wrong.

pub mod classify;
pub mod client;
pub mod failure;
mod google_error;
mod headers;
pub mod http;
pub mod identity;
pub mod models;
pub mod project;
pub mod reset;
mod split_body;

pub use classify::classify;
pub use client::{Client, ClientError, Method, UpstreamCall, UpstreamResponse};
pub use failure::{Failure, FailureClass, LimitKind, TransportKind};
