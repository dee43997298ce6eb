//! One upstream answer on its way to the client's events.

use bytes::BytesMut;

use crate::cloudcode::{Failure, FailureClass, TransportKind, UpstreamResponse, classify};
use crate::format::stream::{Sink, StreamConverter, StreamFault};
use crate::sse::Decoder;

/// The longest single event taken from the upstream: an inline image or a large tool call fits well.
const LARGEST_EVENT: usize = 64 * 1024 * 1024;

/// An answer whose body is still arriving.
pub(super) struct Reading {
    response: UpstreamResponse,
    framing: Framing,
    converter: StreamConverter,
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
        Self { response, framing, converter }
    }

    /// Waits for the next bytes and turns them into events. Cancel safe: nothing is lost between calls.
    ///
    /// What was produced before a failure in the same bytes is in `out` when the failure is returned.
    pub(super) async fn advance(&mut self, out: &mut impl Sink) -> Result<Progress, Failure> {
        match self.response.chunk().await? {
            Some(bytes) => match &mut self.framing {
                Framing::Events(decoder) => {
                    decoder.push(&bytes);
                    drain(decoder, &mut self.converter, out)?;
                    Ok(Progress::Open)
                }
                Framing::Document(body) => {
                    if body.len() + bytes.len() > LARGEST_EVENT {
                        return Err(protocol());
                    }
                    body.extend_from_slice(&bytes);
                    Ok(Progress::Open)
                }
            },
            None => {
                match &mut self.framing {
                    Framing::Events(decoder) => {
                        decoder.finish();
                        drain(decoder, &mut self.converter, out)?;
                    }
                    Framing::Document(body) => self.converter.push(body, out).map_err(failure)?,
                }
                self.converter.finish(out).map_err(failure)?;
                Ok(Progress::Complete)
            }
        }
    }

    /// The conversion's state: usage, stop reason, signatures learnt.
    pub(super) fn converter(&mut self) -> &mut StreamConverter {
        &mut self.converter
    }
}

fn drain(decoder: &mut Decoder, converter: &mut StreamConverter, out: &mut impl Sink) -> Result<(), Failure> {
    while let Some(event) = decoder.next() {
        let payload = event.map_err(|_| protocol())?;
        converter.push(payload, out).map_err(failure)?;
    }
    Ok(())
}

/// The failure behind a fault found inside a 200 answer.
fn failure(fault: StreamFault) -> Failure {
    let of = |class| Failure { class, status: None, reset: None, message: None };
    match fault {
        StreamFault::Empty => of(FailureClass::Empty),
        StreamFault::Blocked { reason } => of(FailureClass::Blocked { reason }),
        StreamFault::Upstream { body, .. } => classify::classify_stream_error(&body),
        StreamFault::Malformed { .. } => protocol(),
    }
}

fn protocol() -> Failure {
    Failure {
        class: FailureClass::Transport { kind: TransportKind::Protocol },
        status: None,
        reset: None,
        message: None,
    }
}
