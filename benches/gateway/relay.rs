//! The bare relay: axum in front of reqwest on the gateway's own runtime and allocator settings, bytes
//! unchanged in both directions, `TCP_NODELAY` on both sides. It is the practical limit for this stack.

use std::io::Write as _;

use anyhow::Result;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt as _;
use http::StatusCode;

const ROLE: &str = "ANTIGRAVITY_BENCH_RELAY";

/// The upstream's base URL when this process is to be the relay.
#[expect(clippy::disallowed_methods, reason = "a bench's own switch between its two roles")]
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// The variable and value that make a child the relay in front of `upstream`.
pub(crate) fn environment(upstream: &str) -> (&'static str, String) {
    (ROLE, upstream.to_owned())
}

/// Serves until the process is ended; prints its address as one JSON line first.
#[expect(clippy::print_stdout, reason = "the parent reads the address from standard output")]
pub(crate) fn run(upstream: &str) -> Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = reqwest::Client::builder().tcp_nodelay(true).no_proxy().build()?;
        let router = Router::new().fallback(pass).with_state((client, upstream.to_owned()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{{\"url\":\"http://{}\"}}", listener.local_addr()?);
        std::io::stdout().flush()?;
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        Ok(axum::serve(listener, router).await?)
    })
}

async fn pass(State((client, upstream)): State<(reqwest::Client, String)>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut headers = parts.headers;
    headers.remove(http::header::HOST);
    let sent = client
        .request(parts.method, format!("{upstream}{path}"))
        .headers(headers)
        .body(reqwest::Body::wrap_stream(body.into_data_stream()))
        .send()
        .await;
    match sent {
        Ok(answer) => {
            let (status, headers) = (answer.status(), answer.headers().clone());
            let mut response = Response::new(Body::from_stream(answer.bytes_stream()));
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            response.headers_mut().remove(http::header::TRANSFER_ENCODING);
            response
        }
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}
