//! `GET /api/store/export`: the whole store as RESP commands, over the control socket only.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, stream};
use http::header::{CONTENT_TYPE, HeaderValue};
use tokio::sync::mpsc;

use crate::server::error::ApiError;
use crate::server::pipe;
use crate::server::state::AppState;

/// The whole store as RESP commands.
///
/// For `redis-cli --pipe`. What fails before the first byte is an error answer; what fails later cuts the connection, so
/// that nobody takes half an export for a whole one.
#[utoipa::path(
    get,
    path = "/api/store/export",
    operation_id = "exportStore",
    tag = "operations",
    responses((status = 200, description = "The commands", body = Vec<u8>, content_type = "application/octet-stream"))
)]
pub(crate) async fn export(State(state): State<Arc<AppState>>) -> Result<Response, ApiError> {
    let (writer, chunks) = pipe::pipe();
    let gateway = Arc::clone(&state.gateway);
    let mut export = Export { chunks, work: Some(async move { gateway.export_store(writer).await }.boxed()) };
    let first = export.next().await.transpose()?;
    let rest = stream::unfold(export, |mut export| async move { Some((export.next().await?, export)) });
    let body = stream::StreamExt::chain(stream::iter(first.map(Ok)), rest);
    let mut response = Response::new(Body::from_stream(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok(response)
}

struct Export {
    chunks: mpsc::Receiver<Bytes>,
    work: Option<BoxFuture<'static, Result<(), ApiError>>>,
}

impl Export {
    /// The next chunk while the work goes on; its failure after the last chunk.
    async fn next(&mut self) -> Option<Result<Bytes, ApiError>> {
        while let Some(work) = &mut self.work {
            tokio::select! {
                biased;
                Some(chunk) = self.chunks.recv() => return Some(Ok(chunk)),
                done = work => {
                    self.work = None;
                    if let Err(error) = done {
                        return Some(Err(error));
                    }
                }
            }
        }
        self.chunks.recv().await.map(Ok)
    }
}
