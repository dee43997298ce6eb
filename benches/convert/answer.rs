//! Answers as a busy model streams them, and the way they take through the gateway.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::sync::Arc;

use antigravity_proxy::format::stream::{MessageIds, SseSink, StreamConverter};
use antigravity_proxy::google::model::ModelId;
use antigravity_proxy::sse::Decoder;
use bytes::Bytes;
use serde_json::json;

use crate::bodies;

/// One read of a busy connection.
const READ: usize = 16 * 1024;

/// An upstream answer of `chunks` events of 24 characters each.
pub(crate) fn answer(chunks: usize) -> Vec<u8> {
    let mut stream = String::new();
    for n in 0..chunks {
        let part = json!({"text": bodies::sentence(n, 24)});
        let mut chunk = json!({"response": {"candidates": [{"content": {"role": "model", "parts": [part]}}],
            "usageMetadata": {"promptTokenCount": 30_000, "candidatesTokenCount": n, "totalTokenCount": 30_000 + n}},
            "traceId": "0123456789abcdef"});
        if n + 1 == chunks {
            chunk["response"]["candidates"][0]["finishReason"] = json!("STOP");
        }
        // Writing to a string cannot fail.
        let _ = write!(stream, "data: {chunk}\r\n\r\n");
    }
    stream.into_bytes()
}

/// Hands each event of `bytes` to `take`, read by read.
pub(crate) fn decode(bytes: &[u8], mut take: impl FnMut(&[u8]), mut read_done: impl FnMut()) {
    let mut decoder = Decoder::new(usize::MAX);
    for read in bytes.chunks(READ) {
        decoder.push(read);
        while let Some(event) = decoder.next() {
            take(event.unwrap());
        }
        read_done();
    }
}

/// Converts the answer `bytes`, read by read, and hands on what the client would be sent after each.
pub(crate) fn convert(bytes: &[u8], model: &str, mut sent: impl FnMut(Bytes)) {
    let mut converter = StreamConverter::new(ModelId::new(model), Arc::new(()), MessageIds::new([7; 32]));
    let sink = RefCell::new(SseSink::new());
    decode(
        bytes,
        |event| converter.push(event, &mut *sink.borrow_mut()).unwrap(),
        || sent(sink.borrow_mut().take()),
    );
    converter.finish(&mut *sink.borrow_mut()).unwrap();
    sent(sink.borrow_mut().take());
}
