//! Pure conversion between the Messages API and `generateContent`.

pub mod stream;
