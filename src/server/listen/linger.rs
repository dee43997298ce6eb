//! Closing a connection whose client is still sending.
//!
//! A socket closed with unread bytes resets the connection, and the reset can overtake the answer: a
//! client that sends 60 MB would see a broken pipe in place of its 413. So after such an answer we end
//! our direction only, and read and forget the rest for a bounded time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Longest time that a closing connection is read.
const LINGER: Duration = Duration::from_secs(30);
/// A client that has sent nothing for so long has nothing more to send: it merely keeps the connection.
const QUIET: Duration = Duration::from_secs(1);

/// Whether some request body of a connection was not read to its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Unread(Arc<AtomicBool>);

/// A request body that tells when it is given up.
pub(super) struct WatchedBody<B: Body> {
    body: B,
    unread: Unread,
    ended: bool,
}

impl<B: Body> WatchedBody<B> {
    pub(super) fn new(body: B, unread: Unread) -> Self {
        Self { body, unread, ended: false }
    }
}

impl<B: Body + Unpin> Body for WatchedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.ended |= !matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: Body> Drop for WatchedBody<B> {
    fn drop(&mut self) {
        if !self.ended && !self.body.is_end_stream() {
            self.unread.0.store(true, Ordering::Relaxed);
        }
    }
}

/// A connection that lingers when a body was not read.
pub(super) struct Lingering<I> {
    io: I,
    unread: Unread,
    closing: Option<Closing>,
}

/// The two ends of a lingering: at the latest, and when the client is quiet.
struct Closing {
    latest: Pin<Box<Sleep>>,
    quiet: Pin<Box<Sleep>>,
}

impl<I> Lingering<I> {
    pub(super) fn new(io: I, unread: Unread) -> Self {
        Self { io, unread, closing: None }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Lingering<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.closing.is_none() {
            ready!(Pin::new(&mut this.io).poll_shutdown(context))?;
            if !this.unread.0.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
        }
        let closing = this.closing.get_or_insert_with(|| Closing {
            latest: Box::pin(sleep(LINGER)),
            quiet: Box::pin(sleep(QUIET)),
        });
        let mut scratch = [0; 16 * 1024];
        loop {
            if closing.latest.as_mut().poll(context).is_ready()
                || closing.quiet.as_mut().poll(context).is_ready()
            {
                return Poll::Ready(Ok(()));
            }
            let mut buffer = ReadBuf::new(&mut scratch);
            // An error here means that the client is gone, which is what we wait for.
            let read = ready!(Pin::new(&mut this.io).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            closing.quiet = Box::pin(sleep(QUIET));
        }
    }
}
