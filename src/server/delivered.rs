//! A response body that tells how far it was handed over, when it is gone.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::telemetry::requests::Ending;

/// The body of an observed answer; the request ends when this is dropped.
pub(crate) struct Delivered {
    // Dropped first: a stream that is given up says so before the request ends.
    body: Body,
    ending: Ending,
}

impl Delivered {
    pub(crate) fn new(body: Body, mut ending: Ending) -> Self {
        if body.is_end_stream() {
            ending.complete();
        }
        Self { body, ending }
    }
}

impl HttpBody for Delivered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        // One that knows its length is not asked again after its last piece.
        if matches!(frame, Poll::Ready(None)) || self.body.is_end_stream() {
            self.ending.complete();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
