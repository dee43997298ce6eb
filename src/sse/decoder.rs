//! Reading events, whatever the borders of the network chunks.

use std::ops::Range;

use memchr::memchr;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One event is larger than the decoder's bound. The stream cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a server-sent event exceeds {limit} bytes")]
pub struct EventTooLarge {
    /// The bound that was given to [`Decoder::new`], in bytes.
    pub limit: usize,
}

/// Incremental decoder: [`push`](Self::push) bytes, then take payloads with [`next`](Self::next) until it
/// yields none.
///
/// - Lines end in LF or CRLF; a byte order mark at the start is skipped.
/// - Several `data` lines of one event are joined with LF; an event without data is no event.
/// - Comments and all other fields are ignored.
/// - After [`finish`](Self::finish) a last event that lacks its blank line, or even its LF, is delivered too.
///
/// Work is linear in the bytes pushed: each byte is searched for a line end once. Memory is bounded by the
/// limit plus the largest chunk pushed.
#[derive(Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Where the event being read starts; everything before it is done with.
    event_start: usize,
    /// Where the line being read starts.
    line_start: usize,
    /// Up to here there is no LF from `line_start` on.
    scanned: usize,
    data: Data,
    /// Where several data lines are joined; kept to be used again.
    joined: Vec<u8>,
    limit: usize,
    state: State,
}

/// What the event being read has brought so far.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Data {
    None,
    /// One line, where it lies in the buffer.
    Line(Range<usize>),
    /// Several lines, joined in [`Decoder::joined`].
    Joined,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing has been read: a byte order mark may come.
    Fresh,
    Reading,
    Failed,
}

impl Decoder {
    /// A decoder that refuses events of more than `max_event_bytes`, counted from the start of the first data
    /// line to the LF that dispatches the event.
    #[must_use]
    pub fn new(max_event_bytes: usize) -> Self {
        Self {
            buffer: Vec::new(),
            event_start: 0,
            line_start: 0,
            scanned: 0,
            data: Data::None,
            joined: Vec::new(),
            limit: max_event_bytes,
            state: State::Fresh,
        }
    }

    /// Adds bytes as they came from the network. Take all payloads that are ready before the next call, else
    /// they pile up.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.state == State::Failed {
            return;
        }
        self.drop_consumed();
        self.buffer.extend_from_slice(bytes);
    }

    /// Tells that no more bytes will come; [`next`](Self::next) then delivers what was left incomplete.
    pub fn finish(&mut self) {
        if self.state != State::Failed && self.event_start < self.buffer.len() {
            // The missing line ends. A surplus blank line ends no event and does no harm.
            self.buffer.extend_from_slice(b"\n\n");
        }
    }

    /// The payload of the next complete event, or `None` when more bytes are needed. After an error there is
    /// nothing more.
    #[expect(clippy::should_implement_trait, reason = "the payload is lent from the buffer, not copied")]
    pub fn next(&mut self) -> Option<Result<&[u8], EventTooLarge>> {
        if self.state == State::Failed {
            return None;
        }
        loop {
            let Some(found) = memchr(b'\n', &self.buffer[self.scanned..]) else {
                self.scanned = self.buffer.len();
                if self.scanned - self.event_start > self.limit {
                    return Some(Err(self.fail()));
                }
                return None;
            };
            let line_feed = self.scanned + found;
            if line_feed - self.event_start > self.limit {
                return Some(Err(self.fail()));
            }
            let line = self.line_start..line_feed;
            self.line_start = line_feed + 1;
            self.scanned = self.line_start;
            if self.read_line(line) {
                break;
            }
        }
        match std::mem::replace(&mut self.data, Data::None) {
            Data::None => None,
            Data::Line(range) => Some(Ok(&self.buffer[range])),
            Data::Joined => Some(Ok(&self.joined)),
        }
    }

    /// Takes one line, its LF cut off; true when it ends an event that has data.
    fn read_line(&mut self, mut line: Range<usize>) -> bool {
        if self.state == State::Fresh {
            self.state = State::Reading;
            if self.buffer[line.clone()].starts_with(BYTE_ORDER_MARK) {
                line.start += BYTE_ORDER_MARK.len();
            }
        }
        if self.buffer[line.clone()].ends_with(b"\r") {
            line.end -= 1;
        }
        if line.is_empty() {
            self.event_start = self.line_start;
            if matches!(&self.data, Data::Line(value) if value.is_empty()) {
                self.data = Data::None;
            }
            return self.data != Data::None;
        }
        if let Some(value) = self.data_field(line) {
            self.data = match self.data.clone() {
                Data::None => Data::Line(value),
                Data::Line(first) => {
                    self.joined.clear();
                    self.joined.extend_from_slice(&self.buffer[first]);
                    self.join(value)
                }
                Data::Joined => self.join(value),
            };
        } else if self.data == Data::None {
            // Comments and other fields ahead of the data are not kept and do not count.
            self.event_start = self.line_start;
        }
        false
    }

    fn join(&mut self, value: Range<usize>) -> Data {
        self.joined.push(b'\n');
        self.joined.extend_from_slice(&self.buffer[value]);
        Data::Joined
    }

    /// Where the value of a `data` line lies; `None` for every other line.
    fn data_field(&self, line: Range<usize>) -> Option<Range<usize>> {
        let rest = self.buffer[line.clone()].strip_prefix(b"data")?;
        let value_start = match rest {
            [] => line.end,
            [b':', b' ', ..] => line.start + 6,
            [b':', ..] => line.start + 5,
            _ => return None,
        };
        Some(value_start..line.end)
    }

    fn drop_consumed(&mut self) {
        let consumed = self.event_start;
        if consumed == 0 {
            return;
        }
        self.buffer.drain(..consumed);
        self.event_start = 0;
        self.line_start -= consumed;
        self.scanned -= consumed;
        if let Data::Line(range) = &mut self.data {
            *range = range.start - consumed..range.end - consumed;
        }
    }

    fn fail(&mut self) -> EventTooLarge {
        self.state = State::Failed;
        self.buffer = Vec::new();
        self.data = Data::None;
        EventTooLarge { limit: self.limit }
    }
}

#[cfg(test)]
mod tests {
    use super::{Decoder, EventTooLarge};
    use proptest::prelude::*;

    fn decode(chunks: &[&[u8]], limit: usize) -> Vec<Result<Vec<u8>, EventTooLarge>> {
        let mut decoder = Decoder::new(limit);
        let mut events = Vec::new();
        for chunk in chunks {
            decoder.push(chunk);
            while let Some(event) = decoder.next() {
                events.push(event.map(<[u8]>::to_vec));
            }
        }
        decoder.finish();
        while let Some(event) = decoder.next() {
            events.push(event.map(<[u8]>::to_vec));
        }
        events
    }

    fn payloads(text: &str) -> Vec<String> {
        decode(&[text.as_bytes()], 1 << 20)
            .into_iter()
            .map(|event| String::from_utf8(event.unwrap()).unwrap())
            .collect()
    }

    #[test]
    fn lines_and_fields() {
        for (stream, wanted) in [
            ("", &[] as &[&str]),
            ("data: a\n\ndata:b\r\n\r\n", &["a", "b"]),
            ("\u{feff}data: a\n\n", &["a"]),
            ("data:  two blanks\n\n", &[" two blanks"]),
            ("event: x\nid: 1\n: note\ndata: a\nretry: 5\n\n", &["a"]),
            ("data: a\ndata: b\ndata\ndata: c\n\ndata: d\n\n", &["a\nb\n\nc", "d"]),
            ("data\n\ndata:\n\ndata: \n\n", &[]),
            ("data\ndata\n\n", &["\n"]),
            ("dataset: a\ndat: b\n\n", &[]),
            ("data: a\n", &["a"]),
            ("data: a", &["a"]),
            ("data: a\r", &["a"]),
            ("data: a\n\ndata: b\ndata: c", &["a", "b\nc"]),
            (": only a comment", &[]),
            ("\n\n\n", &[]),
        ] {
            assert_eq!(payloads(stream), wanted, "{stream:?}");
        }
    }

    #[test]
    fn an_event_over_the_bound_is_an_error_and_the_end() {
        let stream = b"data: 12\n\ndata: 123\n\ndata: 1\n\n";
        let wanted = vec![Ok(b"12".to_vec()), Err(EventTooLarge { limit: 9 })];
        assert_eq!(decode(&[stream], 9), wanted);
        assert_eq!(decode(&stream.chunks(1).collect::<Vec<_>>(), 9), wanted);

        let mut decoder = Decoder::new(8);
        decoder.push(b"data: 123");
        assert!(matches!(decoder.next(), Some(Err(_))));
        decoder.push(b"\n\ndata: 1\n\n");
        decoder.finish();
        assert_eq!(decoder.next(), None);
    }

    #[test]
    fn comments_between_events_never_reach_the_bound() {
        let heartbeats = b": beat\n".repeat(100);
        assert_eq!(decode(&[&heartbeats, b"data: a\n\n"], 9), vec![Ok(b"a".to_vec())]);
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_events(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "data: ", "data:", "data", "x", "é", "{\"a\":1}", "\n", "\r\n", "\n\n", "\r", ": c", "event: e", "\u{feff}", " ",
            ]), 0..60),
            cuts in prop::collection::vec(1_usize..7, 1..20),
            limit in 4_usize..60,
        ) {
            let stream = pieces.concat().into_bytes();
            let whole = decode(&[&stream], limit);
            let mut chunks = Vec::new();
            let mut rest = &stream[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (chunk, tail) = rest.split_at((*cut).min(rest.len()));
                chunks.push(chunk);
                rest = tail;
            }
            prop_assert_eq!(decode(&chunks, limit), whole);
        }

        #[test]
        fn what_the_encoder_writes_is_read_back(events in prop::collection::vec("[a-z\\{\\}\": \n]{1,40}", 0..10)) {
            let mut stream = bytes::BytesMut::new();
            for event in &events {
                crate::sse::encode(Some("e"), event.as_bytes(), &mut stream);
            }
            let read = decode(&[&stream], 1 << 16);
            prop_assert_eq!(read, events.iter().map(|event| Ok(event.clone().into_bytes())).collect::<Vec<_>>());
        }
    }
}
