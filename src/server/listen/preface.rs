//! Which protocol a connection speaks, and how much is read of it at once.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};

/// What HTTP/2 begins with (RFC 9113 §3.4); whatever begins otherwise is HTTP/1.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What is read at once at the most, a byte less than what hyper would take for a reason to double its buffer, which it
/// keeps for as long as the connection lives.
const READ_MOST: u64 = 16 * 1024 - 1;

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge (RFC 9113 §3.3).
    Http2,
}

/// A connection whose first bytes can be looked at before they are read.
pub(super) struct Prefaced<I> {
    io: Take<I>,
    /// What was looked at, of which `start..end` was not read yet.
    seen: [u8; PREFACE.len()],
    start: usize,
    end: usize,
}

impl<I: AsyncRead + Unpin> Prefaced<I> {
    pub(super) fn new(io: I) -> Self {
        Self { io: io.take(READ_MOST), seen: [0; PREFACE.len()], start: 0, end: 0 }
    }

    /// Waits for as many bytes as tell the protocols apart. One that ends before is HTTP/1.
    pub(super) async fn protocol(&mut self) -> io::Result<Protocol> {
        while self.end < PREFACE.len() {
            let read = self.io.get_mut().read(&mut self.seen[self.end..]).await?;
            self.end += read;
            if read == 0 || self.seen[..self.end] != PREFACE[..self.end] {
                return Ok(Protocol::Http1);
            }
        }
        Ok(Protocol::Http2)
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Prefaced<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.io.set_limit(READ_MOST);
        if this.start == this.end {
            return Pin::new(&mut this.io).poll_read(context, buffer);
        }
        let some = buffer.remaining().min(this.end - this.start);
        buffer.put_slice(&this.seen[this.start..this.start + some]);
        this.start += some;
        // Together with what follows. After what goes wrong there, the next read meets the end.
        if buffer.remaining() > 0 {
            let _ = Pin::new(&mut this.io).poll_read(context, buffer);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Prefaced<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.io.get_mut()).poll_write(context, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.io.get_mut()).poll_write_vectored(context, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.get_ref().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.io.get_mut()).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.io.get_mut()).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// What a connection is that brings `pieces`, and what is read of it then.
    async fn of(pieces: &[&[u8]]) -> (Protocol, Vec<u8>) {
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        let mut server = Prefaced::new(server);
        let sent = async {
            for piece in pieces {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            drop(client);
        };
        let read = async {
            let protocol = server.protocol().await.unwrap();
            let mut all = Vec::new();
            server.read_to_end(&mut all).await.unwrap();
            (protocol, all)
        };
        tokio::join!(sent, read).1
    }

    #[tokio::test]
    async fn told_by_the_first_bytes_which_are_read_again() {
        let requests: [(&[&[u8]], Protocol); 7] = [
            (&[b"GET / HTTP/1.1\r\n\r\n"], Protocol::Http1),
            (&[b"P", b"O", b"ST / HTTP/1.1\r\n\r\n"], Protocol::Http1),
            (&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04"], Protocol::Http2),
            (&[b"PRI * HTTP/2.0\r\n", b"\r\nSM\r\n\r\n", b"\0\0\0\x04"], Protocol::Http2),
            (&[b"PRI * HTTP/1.1\r\n\r\n"], Protocol::Http1),
            (&[b"PRI *"], Protocol::Http1),
            (&[], Protocol::Http1),
        ];
        for (pieces, protocol) in requests {
            assert_eq!(of(pieces).await, (protocol, pieces.concat()), "{pieces:?}");
        }
    }

    #[tokio::test]
    async fn a_long_body_is_read_in_pieces() {
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        let mut server = Prefaced::new(server);
        client.write_all(&vec![b'x'; 40_000]).await.unwrap();
        assert_eq!(server.protocol().await.unwrap(), Protocol::Http1);
        let mut room = vec![0; 64 * 1024];
        let mut lengths = Vec::new();
        while lengths.iter().sum::<usize>() < 40_000 {
            lengths.push(server.read(&mut room).await.unwrap());
        }
        assert!(lengths.iter().all(|&length| length < 16 * 1024 + PREFACE.len()), "{lengths:?}");
    }
}
