//! Wire types of the Messages API.

pub mod error;
