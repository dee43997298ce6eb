//! The client: HTTP/1.1 keep-alive connections, each sending the same request again and again.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

/// Where requests go.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
}

/// One request, ready to be sent any number of times.
#[derive(Clone)]
pub(crate) struct Load(Arc<Shape>);

struct Shape {
    target: Target,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

/// What one run saw.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    /// Of all bodies, also of those that were not over at the end.
    pub(crate) bytes: u64,
    pub(crate) elapsed: Duration,
    /// Time to the first byte of the body, per request.
    pub(crate) first_byte: Vec<Duration>,
    /// Time to the last byte, per request.
    pub(crate) total: Vec<Duration>,
}

impl Outcome {
    /// Fails where answers had less than `answer_bytes`: a stream that failed had begun with a 200.
    pub(crate) fn whole(&self, answer_bytes: u64) -> Result<()> {
        let owed = self.requests * answer_bytes;
        ensure!(self.bytes >= owed - owed / 100, "{} bytes in {} answers", self.bytes, self.requests);
        Ok(())
    }
}

impl Load {
    pub(crate) fn new(target: Target, headers: Vec<(&'static str, String)>, body: Bytes) -> Self {
        Self(Arc::new(Shape { target, headers, body }))
    }

    /// Sends requests over `connections` for `duration`; every answer must be a 200. What is not over then is given up.
    pub(crate) async fn run(&self, connections: usize, duration: Duration) -> Result<Outcome> {
        Self::run_all(std::slice::from_ref(self), connections, duration).await
    }

    /// The same with several requests, which the connections take in turn: each has one of them.
    pub(crate) async fn run_all(loads: &[Self], connections: usize, duration: Duration) -> Result<Outcome> {
        let begun = now();
        let mut tasks = JoinSet::new();
        for load in loads.iter().cycle().take(connections) {
            let load = load.clone();
            tasks.spawn(async move {
                let mut sender = load.connect().await?;
                let (mut first, mut total, mut bytes) = (Vec::new(), Vec::new(), 0);
                let all = async {
                    loop {
                        let sent = now();
                        let mut body = load.send(&mut sender).await?;
                        let mut seen = false;
                        while let Some(frame) = body.frame().await {
                            bytes += frame?.data_ref().map_or(0, Bytes::len) as u64;
                            if !seen {
                                first.push(sent.elapsed());
                                seen = true;
                            }
                        }
                        total.push(sent.elapsed());
                    }
                };
                let left = duration.saturating_sub(begun.elapsed());
                let ended: Result<Result<Infallible>, Elapsed> = timeout(left, all).await;
                if let Ok(Err(error)) = ended {
                    return Err(error);
                }
                Ok((first, total, bytes))
            });
        }
        let mut outcome = Outcome::default();
        while let Some(done) = tasks.join_next().await {
            let (first, total, bytes) = done??;
            outcome.bytes += bytes;
            outcome.requests += total.len() as u64;
            outcome.first_byte.extend(first);
            outcome.total.extend(total);
        }
        outcome.elapsed = begun.elapsed();
        Ok(outcome)
    }

    /// The same request, sent to another address.
    pub(crate) fn sent_to(&self, address: SocketAddr) -> Self {
        let Shape { target, headers, body } = &*self.0;
        Self::new(Target { address, path: target.path.clone() }, headers.clone(), body.clone())
    }

    /// The body of one answer.
    pub(crate) async fn answer(&self) -> Result<Bytes> {
        let mut sender = self.connect().await?;
        Ok(self.send(&mut sender).await?.collect().await?.to_bytes())
    }

    /// How many bytes the body of one answer has.
    pub(crate) async fn answer_bytes(&self) -> Result<u64> {
        Ok(self.answer().await?.len() as u64)
    }

    /// Opens `count` streams and reads the first bytes of each; they stay open while the result lives.
    pub(crate) async fn hold(&self, count: usize) -> Result<Vec<(SendRequest<Full<Bytes>>, Incoming)>> {
        let mut held = Vec::with_capacity(count);
        for _ in 0..count {
            let mut sender = self.connect().await?;
            let mut body = self.send(&mut sender).await?;
            body.frame().await.context("the stream ended at once")??;
            held.push((sender, body));
        }
        Ok(held)
    }

    /// A new connection.
    pub(crate) async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(self.0.target.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        drive(connection);
        Ok(sender)
    }

    /// Sends the request; the answer must be a 200.
    pub(crate) async fn send(&self, sender: &mut SendRequest<Full<Bytes>>) -> Result<Incoming> {
        let shape = &self.0;
        let mut request = Request::post(&shape.target.path)
            .header("host", shape.target.address.to_string())
            .header("content-type", "application/json");
        for (name, value) in &shape.headers {
            request = request.header(*name, value);
        }
        let answer = sender.send_request(request.body(Full::new(shape.body.clone()))?).await?;
        let status = answer.status();
        let body = answer.into_body();
        if !status.is_success() {
            let text = body.collect().await?.to_bytes();
            ensure!(false, "{} answered {status}: {}", shape.target.path, String::from_utf8_lossy(&text));
            unreachable!("ensure has returned");
        }
        Ok(body)
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "ends with its connection, before the bench does")]
fn drive(connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
    drop(tokio::task::spawn(connection));
}
