//! Server-sent events: a bounded incremental [`Decoder`] and the encoder.
//!
//! Only what the two sides of the gateway use is kept: the payload (`data`) of each event. Source of the
//! rules: spec
//! `conversion.md` §9.1 with W35 and W43 mended, and the event-stream format of the HTML standard.

mod decoder;
mod encoder;

pub use decoder::{Decoder, EventTooLarge};
pub use encoder::encode;
