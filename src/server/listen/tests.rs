//! Real connections on free ports.

mod operations;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use secrecy::SecretString;
use serde_json::{Map, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use super::{Limits, Listeners, Shutdown};
use crate::account::capacity::CapacityHistory;
use crate::account::directory::Refusals;
use crate::config::ServerConfig;
use crate::server::error::ApiError;
use crate::server::gateway::configuration::{
    ConfigBrief, ConfigView, Configuration, Configured, ModelChange, ModelConfigured, StrategyHealth,
};
use crate::server::gateway::{
    AccountView, ExportedAccount, Gateway, HealthReport, ImportReport, Incoming, MessagesReply, ModelEntry,
    ReplicaView, RotationView, SelectionQuestion, SelectionView, SettingsChange, SettingsChanged,
    SettingsView, SignInBegun, SignInCompleted, SignInView, Status,
};
use crate::server::migration::{AccountChange, Migration, MigrationReport, Trial};
use crate::server::pipe::PipeWriter;
use crate::server::state::AppState;
use crate::server::tests::{Fake, state};
use crate::store::feed::hub::Hub;
use crate::store::follow::PoolEvents;
use crate::usage::{History, Question, UsageReport};

const STREAM: &str = "POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                      content-length: 2\r\n\r\n{}";
const READYZ: &str = "GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(20);

/// Streams one event, then waits for `go_on`, then ends; tells when a stream is dropped.
#[derive(Clone, Default)]
struct Streaming {
    go_on: Arc<Notify>,
    dropped: Arc<Notify>,
    open: Arc<AtomicUsize>,
}

struct Open(Streaming);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
        self.0.dropped.notify_one();
    }
}

crate::server::tests::config::without_presets!(Streaming);

impl Configuration for Streaming {
    fn config_brief(&self) -> ConfigBrief {
        ConfigBrief { max_accounts: 0, dev_mode: false }
    }

    fn config_view(&self) -> BoxFuture<'_, ConfigView> {
        async { ConfigView::default() }.boxed()
    }

    fn configure(&self, _: Map<String, Value>) -> BoxFuture<'_, Result<Configured, ApiError>> {
        async { Err(ApiError::internal()) }.boxed()
    }

    fn configure_model<'a>(
        &'a self,
        _: &'a str,
        _: ModelChange,
    ) -> BoxFuture<'a, Result<ModelConfigured, ApiError>> {
        async { Err(ApiError::internal()) }.boxed()
    }

    fn strategy_health(&self) -> BoxFuture<'_, Result<StrategyHealth, ApiError>> {
        async { Err(ApiError::internal()) }.boxed()
    }
}

impl Gateway for Streaming {
    fn messages(&self, _incoming: Incoming) -> BoxFuture<'_, Result<MessagesReply, ApiError>> {
        self.open.fetch_add(1, Ordering::SeqCst);
        let guard = Open(self.clone());
        let events = stream::unfold((0, guard), |(step, guard)| async move {
            match step {
                0 => Some((Bytes::from_static(b"event: first\n\n"), (1, guard))),
                1 => {
                    guard.0.go_on.notified().await;
                    Some((Bytes::from_static(b"event: last\n\n"), (2, guard)))
                }
                _ => None,
            }
        });
        async move { Ok(MessagesReply::Stream(events.boxed())) }.boxed()
    }

    fn count_tokens(&self, _incoming: Incoming) -> BoxFuture<'_, Result<u64, ApiError>> {
        async { Ok(1) }.boxed()
    }

    fn models<'a>(&'a self, _: &'a [String]) -> BoxFuture<'a, Result<Vec<ModelEntry>, ApiError>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn aliases<'a>(&'a self, _: &'a [String]) -> BoxFuture<'a, Result<Vec<(String, String)>, ApiError>> {
        async { Ok(vec![("opus".to_owned(), "claude-a".to_owned())]) }.boxed()
    }

    fn health(&self, _refresh: bool) -> BoxFuture<'_, Result<HealthReport, ApiError>> {
        async { Err(ApiError::internal()) }.boxed()
    }

    fn accounts(&self) -> BoxFuture<'_, Result<Vec<AccountView>, ApiError>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn explain(&self, _question: SelectionQuestion) -> BoxFuture<'_, Result<SelectionView, ApiError>> {
        async { Err(ApiError::internal()) }.boxed()
    }

    fn import_accounts(&self, _document: Bytes) -> BoxFuture<'_, Result<ImportReport, ApiError>> {
        async { Ok(ImportReport::default()) }.boxed()
    }

    fn import_accounts_once(
        &self,
        _document: Bytes,
        _refusals: Refusals,
    ) -> BoxFuture<'_, Result<Option<ImportReport>, ApiError>> {
        async { Ok(None) }.boxed()
    }

    fn account_document(&self) -> BoxFuture<'_, Result<Value, ApiError>> {
        async { Ok(Value::Null) }.boxed()
    }

    fn change_account<'a>(
        &'a self,
        _email: &'a str,
        _change: AccountChange,
    ) -> BoxFuture<'a, Result<bool, ApiError>> {
        async { Ok(false) }.boxed()
    }

    fn verify_account<'a>(&'a self, _email: &'a str) -> BoxFuture<'a, Result<Option<Trial>, ApiError>> {
        async { Ok(None) }.boxed()
    }

    fn migrate(&self, _migration: Migration) -> BoxFuture<'_, Result<MigrationReport, ApiError>> {
        async { Ok(MigrationReport::default()) }.boxed()
    }

    fn remove_account<'a>(&'a self, _email: &'a str) -> BoxFuture<'a, Result<bool, ApiError>> {
        async { Ok(false) }.boxed()
    }

    fn begin_signin(&self, _expected: Option<String>) -> BoxFuture<'_, Result<SignInBegun, ApiError>> {
        async { Err(ApiError::internal()) }.boxed()
    }

    fn complete_signin<'a>(
        &'a self,
        _state: &'a str,
        _input: &'a SecretString,
    ) -> BoxFuture<'a, Result<SignInCompleted, ApiError>> {
        async { Err(ApiError::internal()) }.boxed()
    }

    fn signin_returned<'a>(&'a self, _query: &'a str) -> BoxFuture<'a, Result<SignInCompleted, ApiError>> {
        async { Err(ApiError::internal()) }.boxed()
    }

    fn signin_status<'a>(&'a self, _state: &'a str) -> BoxFuture<'a, Result<SignInView, ApiError>> {
        async { Err(ApiError::internal()) }.boxed()
    }

    fn export_accounts(&self) -> BoxFuture<'_, Result<Vec<ExportedAccount>, ApiError>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn rotate_keys(&self, _new_key: bool) -> BoxFuture<'_, Result<RotationView, ApiError>> {
        async { Err(ApiError::internal()) }.boxed()
    }

    fn export_store(&self, _out: PipeWriter) -> BoxFuture<'_, Result<(), ApiError>> {
        async { Ok(()) }.boxed()
    }

    fn replicas(&self) -> BoxFuture<'_, Result<Vec<ReplicaView>, ApiError>> {
        async { Err(ApiError::internal()) }.boxed()
    }

    fn usage(&self, _: Question) -> BoxFuture<'_, Result<UsageReport, ApiError>> {
        async { Err(ApiError::internal()) }.boxed()
    }

    fn usage_history(&self) -> BoxFuture<'_, Result<History, ApiError>> {
        async { Err(ApiError::internal()) }.boxed()
    }

    fn capacity_history(&self, _: u32) -> BoxFuture<'_, Result<CapacityHistory, ApiError>> {
        async { Err(ApiError::internal()) }.boxed()
    }

    fn settings(&self) -> BoxFuture<'_, Result<SettingsView, ApiError>> {
        async { Err(ApiError::internal()) }.boxed()
    }

    fn change_settings(&self, _change: SettingsChange) -> BoxFuture<'_, Result<SettingsChanged, ApiError>> {
        async { Err(ApiError::internal()) }.boxed()
    }

    fn feed(&self) -> Hub {
        Fake::default().feed()
    }

    fn pool_events(&self) -> PoolEvents {
        Fake::default().pool_events()
    }

    fn address<'a>(&'a self, _account: &'a str) -> BoxFuture<'a, Option<Arc<str>>> {
        async { None }.boxed()
    }

    fn status(&self) -> BoxFuture<'_, Result<Status, ApiError>> {
        async { Err(ApiError::internal()) }.boxed()
    }

    fn metrics(&self) -> String {
        String::new()
    }
}

struct Running {
    address: std::net::SocketAddr,
    metrics: std::net::SocketAddr,
    state: Arc<AppState>,
    tasks: TaskTracker,
}

fn config() -> ServerConfig {
    ServerConfig {
        host: "127.0.0.1".into(),
        port: 0,
        metrics_addr: Some(([127, 0, 0, 1], 0).into()),
        ..ServerConfig::default()
    }
}

async fn run(gateway: impl Gateway, limits: Limits, drain_delay: Duration, grace: Duration) -> Running {
    let config = config();
    let listeners = Listeners::bind(&config, None).await.unwrap().with_limits(limits);
    let state = state(&config, gateway);
    state.drain.mark_started();
    let tasks = TaskTracker::new();
    let running = Running {
        address: listeners.local_addr().unwrap(),
        metrics: listeners.metrics_addr().unwrap(),
        state: Arc::clone(&state),
        tasks: tasks.clone(),
    };
    tasks.spawn(async move { listeners.serve(&state, Shutdown { drain_delay, grace }).await });
    tasks.close();
    running
}

impl Running {
    async fn stopped(&self) {
        tokio::time::timeout(PATIENCE, self.tasks.wait()).await.expect("the shutdown ends");
    }
}

async fn exchange(address: std::net::SocketAddr, request: &str) -> String {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

async fn read_until(client: &mut TcpStream, text: &str) -> String {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(text) {
        let read =
            tokio::time::timeout(PATIENCE, client.read_buf(&mut seen)).await.expect("an answer").unwrap();
        assert_ne!(read, 0, "closed before {text}: {}", String::from_utf8_lossy(&seen));
    }
    String::from_utf8(seen).unwrap()
}

#[tokio::test]
async fn a_shutdown_goes_in_order() {
    let gateway = Streaming::default();
    let delay = Duration::from_millis(1500);
    let server = run(gateway.clone(), Limits::default(), delay, PATIENCE).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    read_until(&mut idle, "{\"status\":\"ok\"}").await;
    let mut busy = TcpStream::connect(server.address).await.unwrap();
    busy.write_all(STREAM.as_bytes()).await.unwrap();
    read_until(&mut busy, "event: first").await;
    assert!(exchange(server.address, READYZ).await.starts_with("HTTP/1.1 200"));

    server.state.drain.begin();
    let answer = exchange(server.address, READYZ).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "still accepted, not ready: {answer}");

    let mut rest = Vec::new();
    assert_eq!(idle.read_to_end(&mut rest).await.unwrap(), 0, "idle connections are closed after the delay");
    assert!(TcpStream::connect(server.address).await.is_err(), "the listener is closed");
    assert!(exchange(server.metrics, READYZ).await.starts_with("HTTP/1.1 503"), "observers are still served");
    assert_eq!(server.tasks.len(), 1, "the server waits for the stream");

    gateway.go_on.notify_one();
    assert!(read_until(&mut busy, "0\r\n\r\n").await.contains("event: last"), "the stream finishes");
    server.stopped().await;
    assert!(TcpStream::connect(server.metrics).await.is_err());
}

/// Who keeps connections, as load balancers do, is told before they end.
#[tokio::test]
async fn a_leaving_server_keeps_no_connection_that_is_used() {
    let livez = "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let server = run(Fake::default(), Limits::default(), PATIENCE * 10, PATIENCE).await;
    let mut kept = [
        TcpStream::connect(server.address).await.unwrap(),
        TcpStream::connect(server.address).await.unwrap(),
        TcpStream::connect(server.metrics).await.unwrap(),
    ];
    for client in &mut kept {
        client.write_all(livez.as_bytes()).await.unwrap();
        let answer = read_until(client, "{\"status\":\"ok\"}").await;
        assert!(!answer.contains("connection: close"), "{answer}");
    }
    let [mut used, mut idle, mut observer] = kept;

    server.state.drain.begin();
    used.write_all(livez.as_bytes()).await.unwrap();
    let mut rest = String::new();
    let ended = tokio::time::timeout(PATIENCE, used.read_to_string(&mut rest)).await;
    assert!(ended.is_ok(), "the connection is not kept");
    assert!(rest.starts_with("HTTP/1.1 200") && rest.contains("connection: close"), "{rest}");
    // Nobody was told of this one, so a request may be on its way there.
    let quiet = tokio::time::timeout(Duration::from_millis(200), idle.read_u8()).await;
    assert!(quiet.is_err(), "an idle connection is kept as long as new ones are taken: {quiet:?}");
    observer.write_all(livez.as_bytes()).await.unwrap();
    assert!(!read_until(&mut observer, "{\"status\":\"ok\"}").await.contains("connection: close"));
    server.state.drain.cut();
    server.stopped().await;
}

#[tokio::test]
async fn grace_ends() {
    let gateway = Streaming::default();
    let server = run(gateway.clone(), Limits::default(), Duration::ZERO, Duration::from_millis(50)).await;
    let mut busy = TcpStream::connect(server.address).await.unwrap();
    busy.write_all(STREAM.as_bytes()).await.unwrap();
    read_until(&mut busy, "event: first").await;
    server.state.drain.begin();
    server.stopped().await;
    assert_eq!(gateway.open.load(Ordering::SeqCst), 0, "the stream was dropped");
}

#[tokio::test]
async fn a_second_signal_waits_for_nothing() {
    let gateway = Streaming::default();
    let server = run(gateway.clone(), Limits::default(), PATIENCE * 10, PATIENCE * 10).await;
    let mut busy = TcpStream::connect(server.address).await.unwrap();
    busy.write_all(STREAM.as_bytes()).await.unwrap();
    read_until(&mut busy, "event: first").await;
    server.state.drain.begin();
    server.state.drain.cut();
    server.stopped().await;
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_stream_along() {
    let gateway = Streaming::default();
    let server = run(gateway.clone(), Limits::default(), Duration::ZERO, PATIENCE).await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    client.write_all(STREAM.as_bytes()).await.unwrap();
    read_until(&mut client, "event: first").await;
    drop(client);
    let gone = tokio::time::timeout(PATIENCE, gateway.dropped.notified()).await;
    gone.expect("the stream is dropped without another event");
    server.state.drain.begin();
    server.stopped().await;
}

#[tokio::test]
async fn slow_heads_are_cut() {
    let limits = Limits { first_request: Duration::from_millis(200), ..Limits::default() };
    let server = run(Fake::default(), limits, Duration::ZERO, PATIENCE).await;
    for beginning in ["", "P", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nx-slow:"] {
        let mut client = TcpStream::connect(server.address).await.unwrap();
        client.write_all(beginning.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, client.read_to_end(&mut rest)).await;
        // An end or a reset: either way the place is free again.
        assert!(ended.is_ok(), "{beginning:?} holds the connection");
    }
    server.state.drain.begin();
    server.stopped().await;
}

#[tokio::test]
async fn an_oversize_body_sees_its_answer() {
    let server = run(Fake::default(), Limits::default(), Duration::ZERO, PATIENCE).await;
    let size = 60 * 1024 * 1024;
    let chunk = vec![b' '; 1024 * 1024];
    for framing in [format!("content-length: {size}"), "transfer-encoding: chunked".to_owned()] {
        let mut client = TcpStream::connect(server.address).await.unwrap();
        let head = format!(
            "POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{framing}\r\n\r\n"
        );
        client.write_all(head.as_bytes()).await.unwrap();
        // Everything is sent before anything is read, as simple clients do.
        for _ in 0..size / chunk.len() {
            if framing.starts_with("transfer") {
                client.write_all(b"100000\r\n").await.unwrap();
            }
            client.write_all(&chunk).await.unwrap();
            if framing.starts_with("transfer") {
                client.write_all(b"\r\n").await.unwrap();
            }
        }
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 413"), "{framing}: {answer}");
        assert!(answer.contains("request_too_large") && answer.contains("connection: close"), "{answer}");
    }
    server.state.drain.begin();
    server.stopped().await;
}

/// A client whose body was once refused unread, and that then merely keeps its connection.
#[tokio::test]
async fn an_idle_connection_with_an_unread_body_does_not_hold_up_the_shutdown() {
    let server = run(Fake::default(), Limits::default(), Duration::ZERO, PATIENCE).await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    let refused = "POST /nowhere HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{}";
    client.write_all(refused.as_bytes()).await.unwrap();
    read_until(&mut client, "not_found_error").await;
    server.state.drain.begin();
    let ended = tokio::time::timeout(Duration::from_secs(5), server.tasks.wait()).await;
    assert!(ended.is_ok(), "the connection was lingered for");
    drop(client);
}

/// Connections that were silent until then, and such as had been answered before.
#[tokio::test]
async fn who_has_asked_when_it_closes_is_answered() {
    let server = run(Fake::default(), Limits::default(), Duration::ZERO, PATIENCE).await;
    let request = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut clients = Vec::new();
    for number in 0..32 {
        let mut client = TcpStream::connect(server.address).await.unwrap();
        if number % 2 == 1 {
            client.write_all(request).await.unwrap();
            read_until(&mut client, "{\"status\":\"ok\"}").await;
        }
        clients.push(client);
    }
    // Nothing waits here, so the server sees all of it at once.
    for client in &clients {
        assert_eq!(client.try_write(request).unwrap(), request.len());
    }
    server.state.drain.begin();
    for client in &mut clients {
        read_until(client, "{\"status\":\"ok\"}").await;
    }
    server.stopped().await;
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let server = run(Fake::default(), Limits::default(), Duration::ZERO, PATIENCE).await;
    let request = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx-long: {}\r\n\r\n", "a".repeat(60 * 1024));
    assert!(
        exchange(server.address, &request.replace("x-long", "connection: close\r\nx-long"))
            .await
            .contains("200 OK")
    );
    let mut client = TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx-long: {}", "a".repeat(100 * 1024));
    client.write_all(request.as_bytes()).await.unwrap();
    assert!(read_until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 431"));
    drop(client);
    // Whole, however it arrives.
    let request = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx-long: {}\r\n\r\n", "a".repeat(66 * 1024));
    for piece in [1_000, 16_000, 16_383, request.len()] {
        let mut client = TcpStream::connect(server.address).await.unwrap();
        for part in request.as_bytes().chunks(piece) {
            // Its rest may be refused already.
            let _ = client.write_all(part).await;
            tokio::task::yield_now().await;
        }
        let answer = read_until(&mut client, "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{piece}: {answer}");
    }
    server.state.drain.begin();
    server.stopped().await;
}

#[tokio::test]
async fn taken_addresses() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let mut config = ServerConfig { metrics_addr: Some(address), ..config() };
    assert_eq!(Listeners::bind(&config, None).await.unwrap().metrics_addr(), None);
    config.metrics_addr_explicit = true;
    let error = Listeners::bind(&config, None).await.err().unwrap().to_string();
    assert!(error.starts_with(&format!("cannot listen on {address} (METRICS_ADDR)")), "{error}");
    let config = ServerConfig { port: address.port(), metrics_addr: None, ..config };
    let error = Listeners::bind(&config, None).await.err().unwrap().to_string();
    assert!(error.starts_with(&format!("cannot listen on {address} (HOST, PORT)")), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn the_control_socket_is_private_and_replaced_when_dead() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let config = ServerConfig { metrics_addr: None, webui_password: Some("pass".into()), ..config() };
    let listeners = Listeners::bind(&config, Some(&path)).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(Listeners::bind(&config, Some(&path)).await.is_err(), "it is served");

    let state = state(&config, Fake::default());
    let drain = state.drain.clone();
    let tasks = TaskTracker::new();
    let shutdown = Shutdown::from(&config);
    tasks.spawn(async move { listeners.serve(&state, shutdown).await });
    tasks.close();
    let mut client = tokio::net::UnixStream::connect(&path).await.unwrap();
    client.write_all(b"GET /api/accounts HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("a@b"), "{answer}");
    drain.begin();
    tokio::time::timeout(PATIENCE, tasks.wait()).await.unwrap();
    assert!(!path.exists(), "removed at the end");
}
