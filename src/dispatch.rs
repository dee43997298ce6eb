//! The life of one request, readable top to bottom: admit, convert, attempt, stream, settle.

pub mod policy;
