//! The requests of this process that are being answered, for operators: which there are, and how to end one.
//!
//! A request is here from its arrival at dispatch to the last piece of its answer. To cancel one drops whatever works for it,
//! at once and also when its client reads nothing: the upstream call is closed and the attempt settles as cancelled, so no
//! account is blamed. Its client is told by an error, in a stream by the event that ends it.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::{BoxStream, StreamExt as _};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::error::DispatchError;
use super::tally::Tally;
use crate::anthropic::event::error_frame;
use crate::telemetry::Observation;
use crate::telemetry::requests::Seen;

/// Requests that have ended of which it is remembered that they were here.
const REMEMBERED: usize = 1024;

/// The requests in flight in this process. Cheap to clone.
#[derive(Clone, Default)]
pub struct InFlight(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    requests: HashMap<Arc<str>, Entry>,
    /// Ids of the last that ended, the newest last.
    ended: VecDeque<Arc<str>>,
}

struct Entry {
    arrived: Instant,
    observation: Observation,
    end: Arc<End>,
}

/// One request in flight.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What its answer's `request-id` is.
    pub id: Arc<str>,
    /// Since its arrival.
    pub age: Duration,
    /// Whether it was cancelled and only its client has not taken note of that.
    pub cancelled: bool,
    /// What is known of it.
    pub seen: Seen,
}

/// What came of cancelling a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// It is ended.
    Done,
    /// It was cancelled before.
    Before,
    /// It has ended by itself.
    Ended,
    /// It is, and lately was, none of this process.
    Unknown,
}

/// How a request is ended from outside.
#[derive(Default)]
struct End {
    token: CancellationToken,
    carrying: Mutex<Carrying>,
}

/// What the request works with when its answer has begun.
#[derive(Default)]
enum Carrying {
    /// It has not begun, or is a whole one.
    #[default]
    Nothing,
    Stream(Box<Open>),
    /// It was taken away.
    Cut,
}

/// A stream to a client.
struct Open {
    frames: BoxStream<'static, Bytes>,
    tally: Arc<Tally>,
    waker: Option<Waker>,
}

impl End {
    fn carrying(&self) -> MutexGuard<'_, Carrying> {
        // Each change is a single step.
        self.carrying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this was the first call.
    fn cancel(&self) -> bool {
        let first = !self.token.is_cancelled();
        self.token.cancel();
        let carried = {
            let mut carrying = self.carrying();
            match std::mem::take(&mut *carrying) {
                Carrying::Stream(open) => {
                    *carrying = Carrying::Cut;
                    Some(open)
                }
                other => {
                    *carrying = other;
                    None
                }
            }
        };
        if let Some(open) = carried {
            open.cut();
        }
        first
    }
}

impl Open {
    /// Ends the work, and wakes whoever waits for the next piece of the answer.
    fn cut(self) {
        // Said before the work ends: the first word counts.
        self.tally.failed(&DispatchError::Cancelled);
        let Self { frames, tally, waker } = self;
        drop(frames);
        drop(tally);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl InFlight {
    /// A request has arrived; it is in flight as long as the answer lives.
    pub(super) fn enter(&self, id: &Arc<str>, observation: Observation, now: Instant) -> Present {
        let end = Arc::new(End::default());
        let entry = Entry { arrived: now, observation, end: Arc::clone(&end) };
        self.table().requests.insert(Arc::clone(id), entry);
        Present { requests: self.clone(), id: Arc::clone(id), end }
    }

    /// The requests in flight, the oldest first.
    #[must_use]
    pub fn list(&self, now: Instant) -> Vec<Request> {
        let mut requests: Vec<_> = {
            let table = self.table();
            let request = |(id, entry): (&Arc<str>, &Entry)| Request {
                id: Arc::clone(id),
                age: now.saturating_duration_since(entry.arrived),
                cancelled: entry.end.token.is_cancelled(),
                seen: entry.observation.seen(),
            };
            table.requests.iter().map(request).collect()
        };
        requests.sort_by(|a, b| b.age.cmp(&a.age).then_with(|| a.id.cmp(&b.id)));
        requests
    }

    /// Ends the request of that id.
    #[must_use]
    pub fn cancel(&self, id: &str) -> Cancelled {
        let end = {
            let table = self.table();
            match table.requests.get(id) {
                Some(entry) => Arc::clone(&entry.end),
                None if table.ended.iter().any(|one| **one == *id) => return Cancelled::Ended,
                None => return Cancelled::Unknown,
            }
        };
        if end.cancel() { Cancelled::Done } else { Cancelled::Before }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Each change is a single step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's place among those in flight; it leaves when this is dropped.
pub(super) struct Present {
    requests: InFlight,
    id: Arc<str>,
    end: Arc<End>,
}

impl Present {
    /// Resolves when the request is cancelled.
    pub(super) async fn cancelled(&self) {
        self.end.token.cancelled().await;
    }

    /// The stream as the client gets it: it can be taken away, and keeps the request in flight to its end.
    pub(super) fn carry(
        self,
        frames: BoxStream<'static, Bytes>,
        tally: Arc<Tally>,
    ) -> BoxStream<'static, Bytes> {
        let open = Box::new(Open { frames, tally, waker: None });
        {
            let mut carrying = self.end.carrying();
            // Cancelled between its first piece and now.
            if self.end.token.is_cancelled() {
                *carrying = Carrying::Cut;
                drop(carrying);
                open.cut();
            } else {
                *carrying = Carrying::Stream(open);
            }
        }
        Carried { present: self, told: false }.boxed()
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        // What is carried refers to this request, not the other way round.
        let carried = std::mem::take(&mut *self.end.carrying());
        let mut table = self.requests.table();
        table.requests.remove(&self.id);
        if table.ended.len() == REMEMBERED {
            table.ended.pop_front();
        }
        table.ended.push_back(Arc::clone(&self.id));
        drop(table);
        drop(carried);
    }
}

/// A stream that can be taken away.
struct Carried {
    present: Present,
    /// Whether the client was told that it was.
    told: bool,
}

impl Stream for Carried {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        {
            let mut carrying = self.present.end.carrying();
            match &mut *carrying {
                Carrying::Stream(open) => {
                    let polled = open.frames.poll_next_unpin(context);
                    if polled.is_pending()
                        && !open.waker.as_ref().is_some_and(|known| known.will_wake(context.waker()))
                    {
                        open.waker = Some(context.waker().clone());
                    }
                    return polled;
                }
                Carrying::Nothing => return Poll::Ready(None),
                Carrying::Cut => {}
            }
        }
        if std::mem::replace(&mut self.told, true) {
            return Poll::Ready(None);
        }
        let error = DispatchError::Cancelled;
        Poll::Ready(Some(error_frame(error.answer().kind, &error.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use futures_util::FutureExt as _;
    use futures_util::stream::{once, pending};

    use super::*;
    use crate::clock::Clock;
    use crate::telemetry::metrics::Metrics;

    fn tally() -> Arc<Tally> {
        Tally::new(&Arc::new(Metrics::new().unwrap()), Observation::default())
    }

    fn enter(requests: &InFlight, id: &str) -> Present {
        requests.enter(&id.into(), Observation::default(), Clock::system().instant())
    }

    fn ids(requests: &InFlight) -> Vec<String> {
        requests.list(Clock::system().instant()).iter().map(|one| one.id.to_string()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_in_flight_from_arrival_to_their_last_piece() {
        let requests = InFlight::default();
        let first = enter(&requests, "a");
        tokio::time::advance(Duration::from_secs(1)).await;
        let second = enter(&requests, "b");
        assert_eq!(ids(&requests), ["a", "b"], "the oldest first");
        assert_eq!(requests.cancel("c"), Cancelled::Unknown);
        drop(first);
        assert_eq!(requests.cancel("a"), Cancelled::Ended);
        let mut stream = second.carry(once(async { Bytes::from_static(b"x") }).boxed(), tally());
        assert_eq!(stream.next().await.unwrap(), "x");
        assert_eq!(ids(&requests), ["b"]);
        assert_eq!(stream.next().await, None);
        drop(stream);
        assert!(ids(&requests).is_empty());
        for number in 0..REMEMBERED {
            drop(enter(&requests, &number.to_string()));
        }
        assert_eq!(requests.cancel("b"), Cancelled::Unknown, "that is long ago");
        assert_eq!(requests.cancel("0"), Cancelled::Ended);
    }

    #[tokio::test]
    async fn who_has_no_answer_yet_hears_of_it() {
        let requests = InFlight::default();
        let present = enter(&requests, "a");
        assert!(present.cancelled().now_or_never().is_none());
        assert_eq!(requests.cancel("a"), Cancelled::Done);
        assert_eq!(requests.cancel("a"), Cancelled::Before);
        assert!(present.cancelled().now_or_never().is_some());
        assert!(requests.list(Clock::system().instant())[0].cancelled);
        // The answer began in the same moment.
        let mut late = present.carry(once(async { Bytes::from_static(b"x") }).boxed(), tally());
        assert!(late.next().await.unwrap().starts_with(b"event: error\n"));
        assert_eq!(late.next().await, None);
    }

    /// Counts how often it is woken.
    #[derive(Default)]
    struct CountingWaker(Arc<Woken>);

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl CountingWaker {
        fn poll<F: Future>(&self, future: &mut Pin<Box<F>>) -> Poll<F::Output> {
            let waker = Waker::from(Arc::clone(&self.0));
            future.as_mut().poll(&mut Context::from_waker(&waker))
        }

        fn count(&self) -> usize {
            self.0.0.load(Ordering::Relaxed)
        }
    }

    /// Says when it is dropped.
    struct Watched(Arc<AtomicBool>);

    impl Drop for Watched {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_stream_is_taken_away_whether_it_is_read_or_not() {
        for read in [true, false] {
            let requests = InFlight::default();
            let dropped = Arc::new(AtomicBool::new(false));
            let watched = Watched(Arc::clone(&dropped));
            let frames = pending::<Bytes>().map(move |frame| {
                let _kept = &watched;
                frame
            });
            let mut stream = enter(&requests, "a").carry(frames.boxed(), tally());
            let mut reading = Box::pin(async { stream.by_ref().collect::<Vec<_>>().await });
            let waker = CountingWaker::default();
            assert!(!read || waker.poll(&mut reading).is_pending());
            assert_eq!(requests.cancel("a"), Cancelled::Done);
            assert!(dropped.load(Ordering::Relaxed), "the work ends at once");
            assert_eq!(waker.count(), usize::from(read), "who waits for the next piece is woken");
            {
                let told = reading.await;
                assert_eq!(told.len(), 1);
                let text = String::from_utf8(told[0].to_vec()).unwrap();
                assert!(text.contains("permission_error") && text.contains("cancelled"), "{text}");
            }
        }
    }
}
