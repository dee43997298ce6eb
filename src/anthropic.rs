//! Wire types of the Anthropic Messages API.

pub mod json;
pub mod request;
