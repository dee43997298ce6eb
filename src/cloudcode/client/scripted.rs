//! An upstream inside the process, so that a test's paused clock drives both sides: sockets and a paused clock do not
//! go together, because time moves on while bytes are on their way.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use reqwest::{Response, Url};

use super::{Client, Shared};
use crate::cloudcode::TransportKind;

/// What answers a call.
pub(crate) type Script =
    Arc<dyn Fn(Posted) -> BoxFuture<'static, Result<Response, TransportKind>> + Send + Sync>;

/// One call as it would have been sent.
pub(crate) struct Posted {
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// The answer of `script` to a call.
pub(super) async fn play(
    script: &Script,
    url: String,
    headers: HeaderMap,
    body: &[Bytes],
) -> Result<super::Response, TransportKind> {
    let posted = Posted { url: url.parse().expect("an address"), headers, body: body.concat() };
    script(posted).await.map(super::Response::Library)
}

impl Client {
    /// The same client; `script` answers its calls.
    pub(crate) fn scripted(self, script: Script) -> Self {
        // A client is scripted before it is shared.
        let shared = Arc::into_inner(self.shared).expect("the client is shared already");
        Self { shared: Arc::new(Shared { script: Some(script), ..shared }) }
    }
}
