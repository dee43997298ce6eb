//! Streams of server-sent events for browsers: head, heartbeat, bounds, end (WHATWG HTML §9.2; spec `http-api.md` §5.4).
//!
//! A [`Source`] says what comes next and remembers where it stands; here is how that reaches a client. The id of each
//! event is a place that any replica can go on from, so a stream may end at any time and be resumed elsewhere. A client
//! that does not read costs one unfinished piece of the stream, and for [`STALL`]: then it is left, and comes back
//! with the last id that it has seen.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream;
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::TaskTracker;

use crate::auth::client_keys::KeyDigest;
use crate::auth::console::Console;
use crate::clock::Clock;
use crate::server::drain::Drain;
use crate::server::error::ApiError;
use crate::sse;
use crate::store::ident::Version;

/// Streams of one replica at a time.
const STREAMS: usize = 50;
/// How often is looked whether who opened a stream may still do so.
const LOOK: Duration = Duration::from_secs(5);
/// Longest silence: below the 15 s that are promised.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long a client may take for one piece.
const STALL: Duration = Duration::from_secs(30);
/// How long a stream lasts that is opened at a replica about to end: enough for what is there already.
const LAST_LOOK: Duration = Duration::from_millis(500);
/// What begins each stream, so that its head is on its way at once. A client waits 3 s before it comes again.
const BEGIN: &[u8] = b": connected\nretry: 3000\n\n";
const END: &[u8] = b": this gateway is about to end\n\n";

/// What a stream is made of.
pub(crate) trait Source: Send + 'static {
    /// Appends what comes next to `out`; perhaps nothing, when the source only went on. Nothing is lost when the
    /// future is dropped before it is ready.
    fn next(&mut self, out: &mut BytesMut) -> impl Future<Output = ()> + Send;

    /// Where it stands, if no event since has said so.
    fn place(&mut self) -> Option<String>;
}

/// The session that let a stream's request in, if one did; set on the routes of streams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamSession(pub(crate) Option<KeyDigest>);

/// By what right a stream is open: it ends with the session, or with a change of the password, that opened it.
pub(crate) struct Right {
    console: Console,
    session: Option<KeyDigest>,
    generation: Option<Version>,
}

impl Right {
    /// Of a request that was let in by this session, or without one.
    pub(crate) fn of(console: &Console, session: Option<KeyDigest>) -> Self {
        Self { console: console.clone(), session, generation: console.generation() }
    }

    /// Returns when it has ended. While the store is away it has not.
    async fn ended(self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let ended = if let Some(session) = self.session {
                matches!(self.console.session_of(session).await, Ok(None))
            } else {
                self.console.is_closed().await;
                self.generation.is_some() && self.console.generation() != self.generation
            };
            if ended {
                return;
            }
        }
    }
}

/// The streams of this replica.
#[derive(Debug)]
pub(crate) struct Streams {
    free: Arc<Semaphore>,
    tasks: TaskTracker,
    drain: Drain,
    clock: Clock,
}

impl Streams {
    pub(crate) fn new(drain: Drain, clock: Clock) -> Self {
        Self { free: Arc::new(Semaphore::new(STREAMS)), tasks: TaskTracker::new(), drain, clock }
    }

    /// Answers with the stream that `source` makes, for as long as `right` lasts.
    pub(crate) fn open(&self, source: impl Source, right: Right) -> Result<Response, ApiError> {
        let permit = Arc::clone(&self.free).try_acquire_owned().map_err(|_none_free| {
            ApiError::unavailable(format!(
                "{STREAMS} event streams are open at this gateway, which is as many as it serves"
            ))
            .with_retry_after(3)
        })?;
        // The next piece is made while one is on its way.
        let (pieces, body) = mpsc::channel(1);
        let outlet = Outlet { pieces, clock: self.clock.clone(), _permit: permit };
        let drain = self.drain.clone();
        self.tasks.spawn(outlet.deliver(source, right, drain));
        let pieces =
            stream::unfold(
                body,
                |mut body| async move { Some((Ok::<_, Infallible>(body.recv().await?), body)) },
            );
        let mut response = Body::from_stream(pieces).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        Ok(response)
    }
}

/// The way to one client.
struct Outlet {
    pieces: mpsc::Sender<Bytes>,
    clock: Clock,
    _permit: OwnedSemaphorePermit,
}

/// The client is gone, or does not read.
struct Gone;

impl Outlet {
    async fn deliver(self, mut source: impl Source, right: Right, drain: Drain) {
        let leaving = async {
            let opened_late = drain.is_draining();
            drain.begun().await;
            if opened_late {
                tokio::time::sleep(LAST_LOOK).await;
            }
        };
        tokio::select! {
            biased;
            () = self.pieces.closed() => {}
            () = leaving => drop(self.pieces.try_send(Bytes::from_static(END))),
            () = right.ended() => {}
            Gone = self.run(&mut source) => {}
        }
    }

    async fn run(&self, source: &mut impl Source) -> Gone {
        match self.all(source).await {
            Ok(never) => match never {},
            Err(gone) => gone,
        }
    }

    async fn all(&self, source: &mut impl Source) -> Result<Infallible, Gone> {
        self.send(Bytes::from_static(BEGIN)).await?;
        let mut silence = self.clock.instant() + HEARTBEAT;
        loop {
            let mut out = BytesMut::new();
            if tokio::time::timeout_at(silence, source.next(&mut out)).await.is_err() {
                // What the source has gone past without an event need not be looked at again.
                frame(source.place().as_deref(), None, None, &mut out);
            }
            if !out.is_empty() {
                self.send(out.freeze()).await?;
                silence = self.clock.instant() + HEARTBEAT;
            }
        }
    }

    async fn send(&self, piece: Bytes) -> Result<(), Gone> {
        match tokio::time::timeout(STALL, self.pieces.send(piece)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_closed)) => Err(Gone),
            Err(_stalled) => {
                tracing::debug!("a client of an event stream does not read; it is left");
                Err(Gone)
            }
        }
    }
}

/// Appends one event to `out`: `id` is the place behind it. Without `data` it is a comment, which no client is told of,
/// though it remembers the id.
pub(crate) fn frame(id: Option<&str>, name: Option<&str>, data: Option<&[u8]>, out: &mut BytesMut) {
    if let Some(id) = id {
        out.put_slice(b"id: ");
        out.put_slice(id.as_bytes());
        out.put_u8(b'\n');
    }
    match data {
        Some(data) => sse::encode(name, data, out),
        None => out.put_slice(b": \n\n"),
    }
}

/// The last id that a client has seen, which its browser sends when it comes again.
pub(crate) fn last_id(headers: &HeaderMap) -> Option<&str> {
    let header = headers.get("last-event-id").map(|value| value.to_str().unwrap_or_default());
    // A browser that has seen none sends none, or an empty one.
    header.filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::config::ServerConfig;
    use crate::server::tests::{Fake, state};

    /// One event per `pause`, with its number as id and data.
    struct Numbers {
        pause: Duration,
        number: u64,
        told: bool,
    }

    impl Source for Numbers {
        async fn next(&mut self, out: &mut BytesMut) {
            tokio::time::sleep(self.pause).await;
            self.number += 1;
            self.told = self.number.is_multiple_of(2);
            if self.told {
                let text = self.number.to_string();
                frame(Some(&text), None, Some(text.as_bytes()), out);
            }
        }

        fn place(&mut self) -> Option<String> {
            (!std::mem::replace(&mut self.told, true)).then(|| self.number.to_string())
        }
    }

    fn numbers(seconds: u64) -> Numbers {
        Numbers { pause: Duration::from_secs(seconds), number: 0, told: true }
    }

    /// Of nobody in particular, for a console without a password.
    fn anybody() -> Right {
        let state = state(&ServerConfig::default(), Fake::default());
        Right { console: state.console.console().clone(), session: None, generation: None }
    }

    fn streams() -> (Streams, Drain) {
        let drain = Drain::new();
        (Streams::new(drain.clone(), Clock::system()), drain)
    }

    async fn piece(body: &mut Body) -> Option<String> {
        let frame = body.frame().await?.unwrap();
        Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_broken_and_places_are_told() {
        let (streams, _) = streams();
        let response = streams.open(numbers(4), anybody()).unwrap();
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        let mut body = response.into_body();
        let began = Clock::system().instant();
        let mut seen = Vec::new();
        for _ in 0..4 {
            let text = piece(&mut body).await.unwrap();
            seen.push((Clock::system().instant().duration_since(began).as_secs(), text));
        }
        let expected = [
            (0, String::from_utf8(BEGIN.to_vec()).unwrap()),
            (8, "id: 2\ndata: 2\n\n".into()),
            (16, "id: 4\ndata: 4\n\n".into()),
            (24, "id: 6\ndata: 6\n\n".into()),
        ];
        assert_eq!(seen, expected);

        // One event is passed over, then there is silence.
        let mut body = streams.open(numbers(7), anybody()).unwrap().into_body();
        let began = Clock::system().instant();
        piece(&mut body).await.unwrap();
        assert_eq!(piece(&mut body).await.unwrap(), "id: 1\n: \n\n");
        assert_eq!(Clock::system().instant().duration_since(began), HEARTBEAT);
        let mut body = streams.open(numbers(60), anybody()).unwrap().into_body();
        piece(&mut body).await.unwrap();
        assert_eq!(piece(&mut body).await.unwrap(), ": \n\n");
    }

    #[tokio::test(start_paused = true)]
    async fn streams_are_bounded_and_those_that_do_not_read_are_left() {
        let (streams, _) = streams();
        let mut bodies: Vec<_> =
            (0..STREAMS).map(|_| streams.open(numbers(1), anybody()).unwrap().into_body()).collect();
        let refused = streams.open(numbers(1), anybody()).unwrap_err();
        assert_eq!((refused.status().as_u16(), refused.retry_after()), (503, Some(3)));
        bodies.pop();
        tokio::time::sleep(Duration::from_secs(1)).await;
        bodies.push(streams.open(numbers(1), anybody()).unwrap().into_body());
        // Nobody reads.
        tokio::time::sleep(STALL * 2).await;
        assert!(streams.open(numbers(1), anybody()).is_ok());
        // What was under way is still there; then it ends.
        let mut left = Vec::new();
        while let Some(text) = piece(&mut bodies[0]).await {
            left.push(text);
        }
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_gateway_ends_its_streams_at_once() {
        let (streams, drain) = streams();
        let mut body = streams.open(numbers(1), anybody()).unwrap().into_body();
        piece(&mut body).await.unwrap();
        assert_eq!(piece(&mut body).await.unwrap(), "id: 2\ndata: 2\n\n");
        let before = Clock::system().instant();
        drain.begin();
        let end = String::from_utf8(END.to_vec()).unwrap();
        assert_eq!((piece(&mut body).await, piece(&mut body).await), (Some(end.clone()), None));
        assert_eq!(Clock::system().instant(), before);
        // One that comes now is told what there is, and sent on.
        let source = Numbers { pause: Duration::from_millis(100), number: 0, told: true };
        let mut body = streams.open(source, anybody()).unwrap().into_body();
        let mut seen = Vec::new();
        while let Some(text) = piece(&mut body).await {
            seen.push(text);
        }
        assert_eq!(seen.len(), 4, "{seen:?}");
        assert_eq!((seen[1].as_str(), seen.last()), ("id: 2\ndata: 2\n\n", Some(&end)));
    }

    #[test]
    fn the_browsers_word_goes_before_the_address() {
        let mut headers = HeaderMap::new();
        assert_eq!(last_id(&headers).or(Some("1-1")), Some("1-1"));
        headers.insert("last-event-id", HeaderValue::from_static(""));
        assert_eq!(last_id(&headers).or(Some("1-1")), Some("1-1"));
        headers.insert("last-event-id", HeaderValue::from_static("2-2"));
        assert_eq!(last_id(&headers).or(Some("1-1")), Some("2-2"));
    }
}
