//! How an answer travels: a list of steps, carried out by the body's stream.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;

use super::recorder::{Exchange, Outcome};
use super::scenario::{Action, Delivery, Drip, Mode};

/// One thing to do with the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Send(Bytes),
    /// Let what was sent reach the socket before the next piece.
    Flush,
    Pause(Duration),
    /// Keep the connection and send nothing more.
    Stall,
    /// Close the connection in the middle of the body.
    Cut,
}

/// What is left in the socket's queue gets out before a cut.
const BEFORE_CUT: Duration = Duration::from_millis(10);

/// Turns chunks (one JSON text each) into the steps of an event stream.
pub(super) fn events(
    chunks: &[String],
    error: Option<&str>,
    action: &Action,
    delivery: Delivery,
) -> VecDeque<Step> {
    let newline = if action.crlf { "\r\n" } else { "\n" };
    let mut steps = VecDeque::new();
    let total = chunks.len();
    let mut ending = Ending::Whole;
    for at in 0..=total {
        if action.garbage_after == Some(at) {
            steps.push_back(Step::Send(Bytes::from(format!("data: }}this is no JSON{{{newline}{newline}"))));
        }
        if let Some(error) = error
            && action.error_after == Some(at)
        {
            steps.push_back(Step::Send(Bytes::from(format!("data: {error}{newline}{newline}"))));
            break;
        }
        if action.cut_after == Some(at) {
            ending = Ending::Cut;
            break;
        }
        if action.stall_after == Some(at) {
            ending = Ending::Stalled;
            break;
        }
        let Some(chunk) = chunks.get(at) else { break };
        let mut json = chunk.as_str();
        if action.malformed_after == Some(at) {
            let half = (0..=json.len() / 2).rev().find(|end| json.is_char_boundary(*end)).unwrap_or(0);
            json = &json[..half];
        }
        let last = at + 1 == total && action.no_final_newline;
        let end = if last { "" } else { newline };
        steps.push_back(Step::Send(Bytes::from(format!("data: {json}{end}{end}"))));
    }
    let steps = if action.gzip { gzip(steps, matches!(ending, Ending::Whole)) } else { steps };
    let mut steps = match action.drip {
        Some(drip) => dripped(steps, drip),
        None => spaced(steps, delivery),
    };
    match ending {
        Ending::Whole => {}
        Ending::Cut => steps.extend([Step::Pause(BEFORE_CUT), Step::Cut]),
        Ending::Stalled => steps.push_back(Step::Stall),
    }
    steps
}

/// The steps of an answer that is one JSON document (or any other text).
pub(super) fn document(text: Bytes, action: &Action) -> VecDeque<Step> {
    if action.cut_after.is_some() {
        let half = text.slice(..text.len() / 2);
        return VecDeque::from([Step::Send(half), Step::Pause(BEFORE_CUT), Step::Cut]);
    }
    if action.stall_after.is_some() {
        return VecDeque::from([Step::Send(text.slice(..text.len() / 2)), Step::Stall]);
    }
    let steps = VecDeque::from([Step::Send(text)]);
    let steps = if action.gzip { gzip(steps, true) } else { steps };
    match action.drip {
        Some(drip) => dripped(steps, drip),
        None => steps,
    }
}

enum Ending {
    Whole,
    Cut,
    Stalled,
}

fn spaced(steps: VecDeque<Step>, delivery: Delivery) -> VecDeque<Step> {
    let gap = match delivery.mode {
        Mode::Burst => return steps,
        Mode::Flush => Step::Flush,
        Mode::Paced => Step::Pause(Duration::from_millis(delivery.interval_ms)),
    };
    let mut spaced = VecDeque::with_capacity(steps.len() * 2);
    for step in steps {
        if !spaced.is_empty() {
            spaced.push_back(gap.clone());
        }
        spaced.push_back(step);
    }
    spaced
}

fn dripped(steps: VecDeque<Step>, drip: Drip) -> VecDeque<Step> {
    let mut slow = VecDeque::new();
    for step in steps {
        let Step::Send(mut bytes) = step else { continue };
        while !bytes.is_empty() {
            if !slow.is_empty() {
                slow.push_back(Step::Pause(Duration::from_millis(drip.interval_ms)));
            }
            slow.push_back(Step::Send(bytes.split_to(drip.bytes.clamp(1, bytes.len()))));
        }
    }
    slow
}

/// Wraps every piece into stored blocks of one gzip member (RFC 1951 §3.2.4, RFC 1952): valid for
/// every decoder, and pieces stay separate on the wire.
fn gzip(steps: VecDeque<Step>, whole: bool) -> VecDeque<Step> {
    let mut out = VecDeque::with_capacity(steps.len() + 2);
    out.push_back(Step::Send(Bytes::from_static(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff])));
    let (mut crc, mut length) = (!0_u32, 0_u32);
    for step in steps {
        let Step::Send(bytes) = step else {
            out.push_back(step);
            continue;
        };
        let mut block = Vec::with_capacity(bytes.len() + 8);
        for piece in bytes.chunks(usize::from(u16::MAX)) {
            let size = u16::try_from(piece.len()).unwrap_or(u16::MAX);
            block.push(0);
            block.extend_from_slice(&size.to_le_bytes());
            block.extend_from_slice(&(!size).to_le_bytes());
            block.extend_from_slice(piece);
            length = length.wrapping_add(u32::from(size));
            for byte in piece {
                crc ^= u32::from(*byte);
                for _ in 0..8 {
                    crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
                }
            }
        }
        out.push_back(Step::Send(Bytes::from(block)));
    }
    if whole {
        let mut tail = vec![1, 0, 0, 0xff, 0xff];
        tail.extend_from_slice(&(!crc).to_le_bytes());
        tail.extend_from_slice(&length.to_le_bytes());
        out.push_back(Step::Send(Bytes::from(tail)));
    }
    out
}

/// The body that carries out `steps` and tells `exchange` how it went.
pub(super) fn body(steps: VecDeque<Step>, exchange: Exchange) -> Body {
    Body::from_stream(stream::unfold((steps, exchange), |(mut steps, mut exchange)| async move {
        loop {
            match steps.pop_front() {
                None => {
                    exchange.end(Outcome::Complete);
                    return None;
                }
                Some(Step::Send(bytes)) => {
                    exchange.sent(bytes.len());
                    if steps.is_empty() {
                        // A body of known length is not asked for its end.
                        exchange.end(Outcome::Complete);
                    }
                    return Some((Ok(bytes), (steps, exchange)));
                }
                Some(Step::Flush) => tokio::task::yield_now().await,
                Some(Step::Pause(time)) => tokio::time::sleep(time).await,
                Some(Step::Stall) => std::future::pending().await,
                Some(Step::Cut) => {
                    exchange.end(Outcome::Cut);
                    steps.clear();
                    return Some((Err(io::Error::other("cut by the scenario")), (steps, exchange)));
                }
            }
        }
    }))
}
