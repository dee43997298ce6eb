//! Wire types of the Anthropic Messages API.

pub mod error;
pub mod event;
pub mod json;
pub mod message;
pub mod request;
pub mod usage;
