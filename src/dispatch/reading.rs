//! One upstream answer on its way to the client's events.

use bytes::{Bytes, BytesMut};

use super::attempt::broken;
use crate::cloudcode::{Failure, FailureClass, TransportKind, UpstreamResponse};
use crate::format::stream::{Sink, StreamConverter, StreamFault};
use crate::sse::Decoder;

/// The longest single event taken from the upstream: an inline image or a large tool call fits well.
const LARGEST_EVENT: usize = 64 * 1024 * 1024;

/// The most that is read of an answer which must be kept whole for a client that does not stream.
const LARGEST_ANSWER: usize = 256 * 1024 * 1024;

/// An answer whose body is still arriving.
pub(super) struct Reading {
    response: UpstreamResponse,
    framing: Framing,
    converter: StreamConverter,
    /// What may still be read; `None` without bound.
    left: Option<usize>,
}

enum Framing {
    /// Server-sent events, one JSON document each.
    Events(Decoder),
    /// One JSON document.
    Document(BytesMut),
}

/// How far an answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More may follow.
    Open,
    /// All events were produced.
    Complete,
}

impl Reading {
    /// Reads `response` as events, or as one document when `document`.
    pub(super) fn new(response: UpstreamResponse, converter: StreamConverter, document: bool) -> Self {
        let framing = if document {
            Framing::Document(BytesMut::new())
        } else {
            Framing::Events(Decoder::new(LARGEST_EVENT))
        };
        Self { response, framing, converter, left: None }
    }

    /// Bounds what is read from now on, for an answer that is kept whole.
    pub(super) fn bound(&mut self) {
        self.left = Some(LARGEST_ANSWER);
    }

    /// Waits for the next bytes and turns them into events. Cancel safe: nothing is lost between calls.
    ///
    /// What was produced before a failure in the same bytes is in `out` when the failure is returned.
    pub(super) async fn advance(&mut self, out: &mut impl Sink) -> Result<Progress, Failure> {
        let bytes = self.response.chunk().await?;
        self.take(bytes.as_ref(), out)
    }

    /// The same with bytes that are there already; `None` when there are none.
    pub(super) async fn advance_ready(&mut self, out: &mut impl Sink) -> Option<Result<Progress, Failure>> {
        let bytes = self.response.ready_chunk().await?;
        Some(bytes.and_then(|bytes| self.take(bytes.as_ref(), out)))
    }

    fn take(&mut self, bytes: Option<&Bytes>, out: &mut impl Sink) -> Result<Progress, Failure> {
        let done = bytes.is_none();
        if let (Some(left), Some(bytes)) = (&mut self.left, bytes) {
            *left = left.checked_sub(bytes.len()).ok_or_else(|| broken(TransportKind::Protocol))?;
        }
        let converted = match &mut self.framing {
            Framing::Events(decoder) => {
                match bytes {
                    Some(bytes) => decoder.push(bytes),
                    None => decoder.finish(),
                }
                drain(decoder, &mut self.converter, out)
            }
            Framing::Document(body) => match bytes {
                Some(bytes) if body.len() + bytes.len() > LARGEST_EVENT => Err(Stop::TooLarge),
                Some(bytes) => {
                    body.extend_from_slice(bytes);
                    Ok(())
                }
                None => self.converter.push(body, out).map_err(Stop::Fault),
            },
        };
        let finished = match converted {
            Ok(()) if done => self.converter.finish(out).map_err(Stop::Fault),
            other => other,
        };
        match finished {
            Ok(()) if done => Ok(Progress::Complete),
            Ok(()) => Ok(Progress::Open),
            Err(stop) => Err(self.failure(stop)),
        }
    }

    /// The failure behind a fault found inside a 200 answer.
    fn failure(&self, stop: Stop) -> Failure {
        let of = |class| Failure { class, status: None, reset: None, message: None };
        match stop {
            Stop::Fault(StreamFault::Empty) => of(FailureClass::Empty),
            Stop::Fault(StreamFault::Blocked { reason }) => of(FailureClass::Blocked { reason }),
            Stop::Fault(StreamFault::Upstream { body, .. }) => self.response.classify_error(&body),
            Stop::Fault(StreamFault::Malformed { .. }) | Stop::TooLarge => broken(TransportKind::Protocol),
        }
    }

    /// The conversion's state: usage, stop reason, signatures learnt.
    pub(super) fn converter(&mut self) -> &mut StreamConverter {
        &mut self.converter
    }
}

/// Converts every event that is complete.
fn drain(decoder: &mut Decoder, converter: &mut StreamConverter, out: &mut impl Sink) -> Result<(), Stop> {
    while let Some(event) = decoder.next() {
        let payload = event.map_err(|_| Stop::TooLarge)?;
        converter.push(payload, out).map_err(Stop::Fault)?;
    }
    Ok(())
}

/// Why an answer cannot be read on.
enum Stop {
    TooLarge,
    Fault(StreamFault),
}
