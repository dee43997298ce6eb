//! A request body of some buffers that are sent one after the other without being joined.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Knows its exact length, so that it is sent with `Content-Length` and not chunked.
pub(super) struct SplitBody {
    /// None of them is empty.
    pieces: vec::IntoIter<Bytes>,
}

impl SplitBody {
    pub(super) fn new(pieces: &[Bytes]) -> Self {
        let filled: Vec<Bytes> = pieces.iter().filter(|piece| !piece.is_empty()).cloned().collect();
        Self { pieces: filled.into_iter() }
    }
}

impl Body for SplitBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.pieces.next().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.as_slice().is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.pieces.as_slice().iter().map(|piece| piece.len() as u64).sum())
    }
}
