//! A bounded pipe from a blocking writer to a response body.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

/// Bytes collected before they are handed over.
const CHUNK: usize = 64 * 1024;
/// Chunks in flight; a slow client holds up the writer, not the memory.
const CHUNKS: usize = 4;

/// The writing end: [`io::Write`] for a blocking thread. Call `flush` at the end: what is not flushed is lost.
pub struct PipeWriter {
    chunk: BytesMut,
    chunks: mpsc::Sender<Bytes>,
}

/// A pipe; the receiver ends when the writer is dropped.
pub(crate) fn pipe() -> (PipeWriter, mpsc::Receiver<Bytes>) {
    let (chunks, receiver) = mpsc::channel(CHUNKS);
    (PipeWriter { chunk: BytesMut::new(), chunks }, receiver)
}

impl io::Write for PipeWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(data);
        if self.chunk.len() >= CHUNK {
            self.flush()?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = self.chunk.split().freeze();
        self.chunks.blocking_send(chunk).map_err(|_gone| io::ErrorKind::BrokenPipe.into())
    }
}
