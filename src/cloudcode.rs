//! The upstream: one Cloud Code endpoint called with one account.

pub mod failure;

pub use failure::{Failure, FailureClass, LimitKind, TransportKind};
