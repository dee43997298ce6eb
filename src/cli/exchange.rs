//! One HTTP exchange over a connection that is already open.

use std::io::Write;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::exit::Unavailable;

/// Longest silence before the answer's head.
const HEAD_TIMEOUT: Duration = Duration::from_mins(1);
/// Largest answer that is kept in memory.
const MAX_ANSWER: usize = 256 << 20;

/// Sends one request and returns status and whole body.
pub(super) async fn exchange<C>(
    connection: C,
    method: Method,
    path: &str,
    body: Bytes,
) -> anyhow::Result<(StatusCode, Bytes)>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    send(connection, request(method, path, body)?).await
}

/// A request to the other end, whatever its name.
pub(super) fn request(method: Method, path: &str, body: Bytes) -> http::Result<Request<Full<Bytes>>> {
    Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::HOST, "localhost")
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
}

/// Sends `request` and returns status and whole body.
pub(super) async fn send<C>(
    connection: C,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<(StatusCode, Bytes)>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    with_answer(connection, request, async |status, body| {
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| broken(&*error))?;
        Ok((status, body.to_bytes()))
    })
    .await
}

/// Sends one `GET` and copies the body of a successful answer to `out` as it arrives.
pub(super) async fn download<C>(
    connection: C,
    path: &str,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<(StatusCode, Bytes)>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let request = request(Method::GET, path, Bytes::new())?;
    with_answer(connection, request, async |status, mut body: Incoming| {
        if !status.is_success() {
            let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| broken(&*error))?;
            return Ok((status, body.to_bytes()));
        }
        while let Some(frame) = body.frame().await {
            if let Some(data) = frame.map_err(|error| broken(&error))?.data_ref() {
                out.write_all(data).context("writing the export")?;
            }
        }
        out.flush().context("writing the export")?;
        Ok((status, Bytes::new()))
    })
    .await
}

/// Drives the connection and the exchange in this task, so that nothing outlives the call.
async fn with_answer<C, T>(
    connection: C,
    request: Request<Full<Bytes>>,
    read: impl AsyncFnOnce(StatusCode, Incoming) -> anyhow::Result<T>,
) -> anyhow::Result<T>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(connection)).await.map_err(|error| broken(&error))?;
    let exchange = async move {
        let response = tokio::time::timeout(HEAD_TIMEOUT, sender.send_request(request))
            .await
            .map_err(|_| Unavailable("the gateway does not answer".into()))?
            .map_err(|error| broken(&error))?;
        let status = response.status();
        read(status, response.into_body()).await
        // Dropping the sender lets the connection's future end.
    };
    let (answer, _) = futures_util::future::join(exchange, connection).await;
    answer
}

fn broken(error: &(dyn std::error::Error + 'static)) -> Unavailable {
    Unavailable(format!("the connection to the gateway broke: {error}"))
}
