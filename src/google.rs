//! Wire types of Google's `generateContent` family and of the Cloud Code envelope around it.

pub mod model;
pub mod response;
