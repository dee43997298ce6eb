//! Where account and store commands go: to the running gateway of this data directory, else to the store itself.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;

use super::exchange;
use super::exit::Unavailable;
use crate::app::offline;
use crate::config::Loaded;
use crate::server::gateway::SettingsChange;

/// The one of the two that serves a command.
#[derive(Debug)]
pub(super) enum Backend<'c> {
    /// A gateway listens on this control socket.
    #[cfg_attr(not(unix), expect(dead_code, reason = "control sockets exist on Unix only"))]
    Control(PathBuf),
    /// No gateway runs; the command opens the store.
    Offline(&'c Loaded),
}

impl<'c> Backend<'c> {
    /// Looks whether a gateway listens in the data directory of `loaded`.
    ///
    /// # Errors
    ///
    /// The socket is there but this user may not use it.
    #[cfg(unix)]
    pub(super) async fn open(loaded: &'c Loaded) -> anyhow::Result<Self> {
        use std::io::ErrorKind;
        let socket = loaded.config.store.control_socket();
        match tokio::net::UnixStream::connect(&socket).await {
            Ok(_) => Ok(Self::Control(socket)),
            // A refusing socket is what a killed gateway leaves behind.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                Ok(Self::Offline(loaded))
            }
            Err(error) => Err(Unavailable(format!("{}: {error}", socket.display())).into()),
        }
    }

    /// Control sockets exist on Unix only.
    #[cfg(not(unix))]
    pub(super) async fn open(loaded: &'c Loaded) -> anyhow::Result<Self> {
        std::future::ready(Ok(Self::Offline(loaded))).await
    }

    /// `POST /api/accounts/import`.
    pub(super) async fn import(&self, document: Value) -> anyhow::Result<Value> {
        match self {
            Self::Control(socket) => {
                let body = Bytes::from(serde_json::to_vec(&document)?);
                call(socket, Method::POST, "/api/accounts/import", body).await
            }
            Self::Offline(loaded) => offline::import(&loaded.config, document).await,
        }
    }

    /// `GET /api/accounts`.
    pub(super) async fn list(&self) -> anyhow::Result<Value> {
        match self {
            Self::Control(socket) => call(socket, Method::GET, "/api/accounts", Bytes::new()).await,
            Self::Offline(loaded) => offline::list(&loaded.config).await,
        }
    }

    /// `DELETE /api/accounts/{email}`.
    pub(super) async fn remove(&self, email: &str) -> anyhow::Result<Value> {
        match self {
            Self::Control(socket) => {
                let path = format!("/api/accounts/{}", percent_encode(email));
                call(socket, Method::DELETE, &path, Bytes::new()).await
            }
            Self::Offline(loaded) => offline::remove(&loaded.config, email).await,
        }
    }

    /// `GET /api/settings`.
    pub(super) async fn settings(&self) -> anyhow::Result<Value> {
        match self {
            Self::Control(socket) => call(socket, Method::GET, "/api/settings", Bytes::new()).await,
            Self::Offline(loaded) => offline::settings(loaded).await,
        }
    }

    /// `PATCH /api/settings`.
    pub(super) async fn change_settings(&self, change: &SettingsChange) -> anyhow::Result<Value> {
        match self {
            Self::Control(socket) => {
                let body = Bytes::from(serde_json::to_vec(change)?);
                call(socket, Method::PATCH, "/api/settings", body).await
            }
            Self::Offline(loaded) => offline::change_settings(loaded, change).await,
        }
    }

    /// `GET /api/store/export`, streamed.
    pub(super) async fn export(&self, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
        match self {
            Self::Control(socket) => {
                let (status, body) =
                    exchange::download(connect(socket).await?, "/api/store/export", out).await?;
                if status.is_success() { Ok(()) } else { Err(refusal(status, &body)) }
            }
            Self::Offline(loaded) => offline::export(&loaded.config, out).await,
        }
    }
}

async fn call(socket: &PathBuf, method: Method, path: &str, body: Bytes) -> anyhow::Result<Value> {
    let (status, body) = exchange::exchange(connect(socket).await?, method, path, body).await?;
    if !status.is_success() {
        return Err(refusal(status, &body));
    }
    serde_json::from_slice(&body).context("the gateway's answer is not JSON")
}

#[cfg(unix)]
async fn connect(socket: &PathBuf) -> anyhow::Result<tokio::net::UnixStream> {
    tokio::net::UnixStream::connect(socket)
        .await
        .map_err(|error| Unavailable(format!("{}: {error}", socket.display())).into())
}

#[cfg(not(unix))]
async fn connect(socket: &PathBuf) -> anyhow::Result<tokio::net::TcpStream> {
    let reason = format!("{}: control sockets exist on Unix only", socket.display());
    std::future::ready(Err(Unavailable(reason).into())).await
}

/// The gateway's own sentence: `{"error": "text"}` or `{"error": {"message": "text"}}`.
fn refusal(status: StatusCode, body: &[u8]) -> anyhow::Error {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = answer["error"].as_str().or_else(|| answer["error"]["message"].as_str());
    let text = text.map_or_else(|| format!("the gateway answered {status}"), str::to_owned);
    match status {
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY => Unavailable(text).into(),
        _ if status.as_u16() == 529 => Unavailable(text).into(),
        _ => anyhow::Error::msg(text),
    }
}

/// Everything but unreserved characters, as one path segment.
fn percent_encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.extend(['%', hex(byte >> 4), hex(byte & 15)]);
        }
        encoded
    })
}

fn hex(digit: u8) -> char {
    char::from_digit(u32::from(digit), 16).unwrap_or('0').to_ascii_uppercase()
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;

    use super::*;
    use crate::cli::Exit;
    use crate::config::Config;

    /// Answers one connection that probes and one that asks; returns the request's head and body so far.
    async fn gateway(listener: UnixListener, answer: &'static str) -> String {
        let (_probe, _) = listener.accept().await.unwrap();
        let (mut asked, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let read = asked.read(&mut request).await.unwrap();
        asked.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&request[..read]).into_owned()
    }

    fn loaded(dir: &tempfile::TempDir) -> Loaded {
        let mut config = Config::default();
        dir.path().clone_into(&mut config.store.data_dir);
        config.into()
    }

    #[tokio::test]
    async fn a_running_gateway_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let loaded = loaded(&dir);
        let listener = UnixListener::bind(loaded.config.store.control_socket()).unwrap();
        let ask = async {
            let backend = Backend::open(&loaded).await.unwrap();
            backend.remove("a+b@example.com").await.unwrap()
        };
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"status\":\"ok\"}";
        let (value, request) = tokio::join!(ask, gateway(listener, answer));
        assert_eq!(value["status"], "ok");
        assert!(request.starts_with("DELETE /api/accounts/a%2Bb%40example.com HTTP/1.1\r\n"), "{request}");
    }

    #[tokio::test]
    async fn an_export_is_streamed_and_a_refusal_is_said() {
        for (answer, expected) in [
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nSET\r\n2\r\n a\r\n0\r\n\r\n",
                Ok("SET a"),
            ),
            (
                "HTTP/1.1 409 Conflict\r\ncontent-length: 14\r\n\r\n{\"error\":\"no\"}",
                Err(("no", Exit::Failed)),
            ),
            (
                "HTTP/1.1 503 Away\r\ncontent-length: 16\r\n\r\n{\"error\":\"gone\"}",
                Err(("gone", Exit::Unavailable)),
            ),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let loaded = loaded(&dir);
            let listener = UnixListener::bind(loaded.config.store.control_socket()).unwrap();
            let mut out = Vec::new();
            let ask = async { Backend::open(&loaded).await.unwrap().export(&mut out).await };
            let (outcome, request) = tokio::join!(ask, gateway(listener, answer));
            assert!(request.starts_with("GET /api/store/export "), "{request}");
            match (outcome, expected) {
                (Ok(()), Ok(text)) => assert_eq!(out, text.as_bytes()),
                (Err(error), Err((text, exit))) => {
                    assert_eq!((error.to_string().as_str(), Exit::of(&error)), (text, exit));
                }
                (outcome, expected) => panic!("{outcome:?} instead of {expected:?}"),
            }
        }
    }

    #[tokio::test]
    async fn without_a_gateway_the_store_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let loaded = loaded(&dir);
        assert!(matches!(Backend::open(&loaded).await.unwrap(), Backend::Offline(_)));
        drop(UnixListener::bind(loaded.config.store.control_socket()).unwrap());
        assert!(matches!(Backend::open(&loaded).await.unwrap(), Backend::Offline(_)), "a socket left behind");
    }
}
