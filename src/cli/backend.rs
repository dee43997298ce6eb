//! Where account and store commands go: to the running gateway of this data directory, else to the store itself.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};

use super::exchange;
use super::exit::Unavailable;
use crate::account::directory::Refusals;
use crate::app::offline;
use crate::auth::client_keys::NewKey;
use crate::config::Loaded;
use crate::server::gateway::SettingsChange;
use crate::server::gateway::presets::NewPreset;
use crate::server::migration::{AccountChange, Migration, MigrationReport, Trial};
use crate::store::ops::clients::Expiry;

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

    /// The control socket of the running gateway, when there is one.
    pub(super) fn socket(&self) -> Option<&PathBuf> {
        match self {
            Self::Control(socket) => Some(socket),
            Self::Offline(_) => None,
        }
    }

    /// `POST /api/accounts/import`; `once` leaves a document alone that was imported before.
    pub(super) async fn import(&self, document: Value, once: Option<Refusals>) -> anyhow::Result<Value> {
        match self {
            Self::Control(socket) => {
                let body = Bytes::from(serde_json::to_vec(&document)?);
                let query = match once {
                    None => "",
                    Some(Refusals::Retry) => "?once=true",
                    Some(Refusals::Allow) => "?once=true&allowRefused=true",
                };
                call(socket, Method::POST, &format!("/api/accounts/import{query}"), body).await
            }
            Self::Offline(loaded) => offline::import(&loaded.config, document, once).await,
        }
    }

    /// `POST /api/drain`. Only a running gateway can.
    pub(super) async fn drain(&self) -> anyhow::Result<Value> {
        match self {
            Self::Control(socket) => call(socket, Method::POST, "/api/drain", Bytes::new()).await,
            Self::Offline(loaded) => {
                let socket = loaded.config.store.control_socket();
                Err(Unavailable(format!("{}: no gateway listens here (DATA_DIR)", socket.display())).into())
            }
        }
    }

    /// `GET /api/accounts`.
    pub(super) async fn list(&self) -> anyhow::Result<Value> {
        match self {
            Self::Control(socket) => call(socket, Method::GET, "/api/accounts", Bytes::new()).await,
            Self::Offline(loaded) => offline::list(&loaded.config).await,
        }
    }

    /// `GET /api/strategy/explain`.
    pub(super) async fn explain(
        &self,
        model: Option<&str>,
        session: Option<&str>,
        key: Option<&str>,
    ) -> anyhow::Result<Value> {
        match self {
            Self::Control(socket) => {
                let parameters: Vec<_> = [("model", model), ("session", session), ("clientKey", key)]
                    .into_iter()
                    .filter_map(|(name, value)| Some(format!("{name}={}", percent_encode(value?))))
                    .collect();
                let path = format!("/api/strategy/explain?{}", parameters.join("&"));
                call(socket, Method::GET, &path, Bytes::new()).await
            }
            Self::Offline(loaded) => offline::explain(&loaded.config, model, session, key).await,
        }
    }

    /// Takes lost encryption keys off the pool's list when nothing needs them; a gateway that runs has all keys.
    pub(super) async fn forget_lost_keys(&self) -> anyhow::Result<()> {
        if let Self::Offline(loaded) = self {
            offline::forget_lost_keys(&loaded.config).await?;
        }
        Ok(())
    }

    /// `GET /api/accounts/export?full=true`.
    pub(super) async fn document(&self) -> anyhow::Result<Value> {
        match self {
            Self::Control(socket) => {
                call(socket, Method::GET, "/api/accounts/export?full=true", Bytes::new()).await
            }
            Self::Offline(loaded) => offline::document(&loaded.config).await,
        }
    }

    /// `POST /api/accounts/{email}/toggle`.
    pub(super) async fn toggle(&self, email: &str, enabled: bool) -> anyhow::Result<()> {
        match self {
            Self::Control(socket) => {
                let path = format!("/api/accounts/{}/toggle", percent_encode(email));
                let body = serde_json::json!({ "enabled": enabled }).to_string().into();
                call(socket, Method::POST, &path, body).await.map(|_| ())
            }
            Self::Offline(loaded) => {
                let change = AccountChange { enabled: Some(enabled), ..AccountChange::default() };
                offline::change(&loaded.config, email, change).await
            }
        }
    }

    /// `PATCH /api/accounts/{email}` with this body.
    pub(super) async fn patch(&self, email: &str, body: Value) -> anyhow::Result<()> {
        match self {
            Self::Control(socket) => {
                let path = format!("/api/accounts/{}", percent_encode(email));
                call(socket, Method::PATCH, &path, body.to_string().into()).await.map(|_| ())
            }
            Self::Offline(loaded) => {
                offline::change(&loaded.config, email, serde_json::from_value(body)?).await
            }
        }
    }

    /// `POST /api/accounts/{email}/verify`, one after the other.
    pub(super) async fn verify(&self, emails: &[String]) -> anyhow::Result<Vec<Trial>> {
        let unknown = |email: &String| Trial {
            email: email.clone(),
            works: false,
            reason: Some("there is no such account".into()),
            cleared: false,
        };
        match self {
            Self::Control(socket) => {
                let mut trials = Vec::with_capacity(emails.len());
                for email in emails {
                    let path = format!("/api/accounts/{}/verify", percent_encode(email));
                    let (status, body) =
                        exchange::exchange(connect(socket).await?, Method::POST, &path, Bytes::new()).await?;
                    trials.push(match status {
                        StatusCode::NOT_FOUND => unknown(email),
                        _ if status.is_success() => {
                            serde_json::from_slice(&body).context("the gateway's answer is no trial")?
                        }
                        _ => return Err(refusal(status, &body)),
                    });
                }
                Ok(trials)
            }
            Self::Offline(loaded) => {
                let trials = offline::verify(loaded, emails).await?;
                let pairs = trials.into_iter().zip(emails);
                Ok(pairs.map(|(trial, email)| trial.unwrap_or_else(|| unknown(email))).collect())
            }
        }
    }

    /// `POST /api/migrate`.
    pub(super) async fn migrate(&self, migration: Migration) -> anyhow::Result<MigrationReport> {
        match self {
            Self::Control(socket) => {
                let body = Bytes::from(serde_json::to_vec(&migration)?);
                let answer = call(socket, Method::POST, "/api/migrate", body).await?;
                serde_json::from_value(answer).context("the gateway's answer is no report")
            }
            Self::Offline(loaded) => offline::migrate(loaded, migration).await,
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

    /// `GET /api/keys`.
    pub(super) async fn keys(&self) -> anyhow::Result<Value> {
        match self {
            Self::Control(socket) => call(socket, Method::GET, "/api/keys", Bytes::new()).await,
            Self::Offline(loaded) => offline::keys(&loaded.config).await,
        }
    }

    /// `POST /api/keys`.
    pub(super) async fn create_key(&self, new: &NewKey) -> anyhow::Result<Value> {
        match self {
            Self::Control(socket) => {
                let mut body = json!({ "name": new.name, "models": new.models });
                match new.expires {
                    Some(Expiry::At(ms)) => body["expiresAt"] = json!(ms),
                    Some(Expiry::After(left)) => body["expiresInMs"] = json!(millis(left)),
                    None => {}
                }
                call(socket, Method::POST, "/api/keys", body.to_string().into()).await
            }
            Self::Offline(loaded) => offline::create_key(&loaded.config, new).await,
        }
    }

    /// `DELETE /api/keys/{id}`.
    pub(super) async fn revoke_key(&self, key: &str) -> anyhow::Result<Value> {
        match self {
            Self::Control(socket) => {
                let path = format!("/api/keys/{}", percent_encode(key));
                call(socket, Method::DELETE, &path, Bytes::new()).await
            }
            Self::Offline(loaded) => offline::revoke_key(&loaded.config, key).await,
        }
    }

    /// `POST /api/keys/{id}/rotate`.
    pub(super) async fn rotate_key(&self, key: &str, grace: Duration) -> anyhow::Result<Value> {
        match self {
            Self::Control(socket) => {
                let path = format!("/api/keys/{}/rotate", percent_encode(key));
                let body = json!({ "graceMs": millis(grace) });
                call(socket, Method::POST, &path, body.to_string().into()).await
            }
            Self::Offline(loaded) => offline::rotate_key(&loaded.config, key, grace).await,
        }
    }

    /// `POST /api/accounts/rotate-keys`.
    pub(super) async fn rotate_keys(&self, new_key: bool) -> anyhow::Result<Value> {
        match self {
            Self::Control(socket) => {
                let body = Bytes::from(serde_json::json!({ "newKey": new_key }).to_string());
                call(socket, Method::POST, "/api/accounts/rotate-keys", body).await
            }
            Self::Offline(loaded) => offline::rotate_keys(&loaded.config, new_key).await,
        }
    }

    /// `POST /api/config/password`; `None` removes it.
    pub(super) async fn set_password(&self, new: Option<&SecretString>) -> anyhow::Result<()> {
        match self {
            Self::Control(socket) => {
                let new = new.map(SecretString::expose_secret).unwrap_or_default();
                let body = json!({ "newPassword": new, "clear": new.is_empty() });
                call(socket, Method::POST, "/api/config/password", body.to_string().into()).await.map(|_| ())
            }
            Self::Offline(loaded) => offline::set_password(&loaded.config, new).await,
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

    /// `GET /api/config`.
    pub(super) async fn config(&self) -> anyhow::Result<Value> {
        match self {
            Self::Control(socket) => call(socket, Method::GET, "/api/config", Bytes::new()).await,
            Self::Offline(loaded) => offline::presets::config(loaded).await,
        }
    }

    /// `POST /api/config`.
    pub(super) async fn configure(&self, change: &Map<String, Value>) -> anyhow::Result<Value> {
        match self {
            Self::Control(socket) => {
                call(socket, Method::POST, "/api/config", json!(change).to_string().into()).await
            }
            Self::Offline(loaded) => offline::presets::configure(loaded, change).await,
        }
    }

    /// `GET /api/server/presets`.
    pub(super) async fn presets(&self) -> anyhow::Result<Value> {
        match self {
            Self::Control(socket) => call(socket, Method::GET, "/api/server/presets", Bytes::new()).await,
            Self::Offline(loaded) => offline::presets::list(loaded).await,
        }
    }

    /// `POST /api/server/presets`.
    pub(super) async fn save_preset(
        &self,
        name: &str,
        config: Map<String, Value>,
        description: Option<String>,
    ) -> anyhow::Result<Value> {
        match self {
            Self::Control(socket) => {
                let body = json!({ "name": name, "config": config, "description": description });
                call(socket, Method::POST, "/api/server/presets", body.to_string().into()).await
            }
            Self::Offline(loaded) => {
                let new = NewPreset { name: name.to_owned(), config, description };
                offline::presets::save(loaded, new).await
            }
        }
    }

    /// `DELETE /api/server/presets/{name}`.
    pub(super) async fn delete_preset(&self, name: &str) -> anyhow::Result<Value> {
        match self {
            Self::Control(socket) => {
                let path = format!("/api/server/presets/{}", percent_encode(name));
                call(socket, Method::DELETE, &path, Bytes::new()).await
            }
            Self::Offline(loaded) => offline::presets::remove(loaded, name).await,
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

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// One exchange with a running gateway: its answer, or its own sentence as the error.
pub(super) async fn call(socket: &PathBuf, method: Method, path: &str, body: Bytes) -> anyhow::Result<Value> {
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
pub(super) fn percent_encode(text: &str) -> String {
    const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, &RESERVED).to_string()
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
