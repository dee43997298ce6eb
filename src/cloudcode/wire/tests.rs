use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::uri::PathAndQuery;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::super::failure::TransportKind;
use super::super::http::{HttpError, Trust};
use super::super::split_body::SplitBody;
use super::{Answer, Wire, WireError};
use crate::clock::Clock;
use crate::config::UpstreamConfig;

/// What a peer does with the next request that it has read.
#[derive(Clone, Copy)]
enum Turn {
    /// Answers, and keeps the connection.
    Answer,
    /// Answers, and closes the connection a moment later, without having said so.
    AnswerAndLeave,
    /// Closes the connection instead.
    Leave,
}

/// A peer that speaks HTTP/1.1 by the letter: it counts connections and shows what it read.
struct Peer {
    address: String,
    connections: Arc<AtomicUsize>,
    requests: mpsc::UnboundedReceiver<String>,
    /// Told when a connection was closed by either side.
    closed: mpsc::UnboundedReceiver<()>,
    _task: AbortOnDropHandle<()>,
}

#[expect(clippy::disallowed_methods, reason = "the test's own peer, ended with its handle")]
async fn peer(turns: &'static [Turn]) -> Peer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let connections = Arc::new(AtomicUsize::new(0));
    let (seen, requests) = mpsc::unbounded_channel();
    let (gone, closed) = mpsc::unbounded_channel();
    let turns = Arc::new(std::sync::Mutex::new(turns.iter().copied()));
    let counted = Arc::clone(&connections);
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            let (seen, gone, turns) = (seen.clone(), gone.clone(), Arc::clone(&turns));
            tokio::spawn(async move {
                serve(stream, &seen, || turns.lock().unwrap().next().unwrap_or(Turn::Answer)).await;
                let _ = gone.send(());
            });
        }
    });
    Peer { address, connections, requests, closed, _task: AbortOnDropHandle::new(task) }
}

async fn serve(mut stream: TcpStream, seen: &mpsc::UnboundedSender<String>, next: impl Fn() -> Turn) {
    while let Some(request) = read(&mut stream).await {
        let _ = seen.send(request);
        let turn = next();
        if matches!(turn, Turn::Leave) {
            return;
        }
        let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        if matches!(turn, Turn::AnswerAndLeave) {
            return;
        }
    }
}

/// One request with its body, as it came; `None` when there are no more.
async fn read(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let mut piece = [0; 1024];
        let count = stream.read(&mut piece).await.ok().filter(|count| *count > 0)?;
        text.extend_from_slice(&piece[..count]);
        let told = String::from_utf8(text.clone()).unwrap();
        let Some((head, body)) = told.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return Some(told);
        }
    }
}

fn wire(endpoint: &str, config: &UpstreamConfig, clock: Clock) -> Wire {
    let trust = Trust::new(config).unwrap();
    Wire::new(config, &trust, &[endpoint.parse().unwrap()], clock).unwrap()
}

fn to(peer: &Peer) -> Wire {
    wire(&format!("http://{}", peer.address), &UpstreamConfig::default(), Clock::system())
}

async fn post(wire: &Wire) -> Result<Answer, WireError> {
    let body = SplitBody::new(&[&b"{\"a\":"[..], b"", b"1", b"}"].map(Bytes::from_static));
    wire.post(0, &PathAndQuery::from_static("/v1internal:x?alt=sse"), HeaderMap::new(), body).await
}

async fn whole(wire: &Wire) -> Result<String, WireError> {
    let mut answer = post(wire).await?;
    let mut text = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        text.extend_from_slice(&chunk);
    }
    Ok(String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn one_connection_serves_what_comes_one_after_the_other() {
    let mut peer = peer(&[]).await;
    let wire = to(&peer);
    for _ in 0..3 {
        assert_eq!(whole(&wire).await.unwrap(), "onetwo");
    }
    assert_eq!(peer.connections.load(Ordering::Relaxed), 1);
    let request = peer.requests.recv().await.unwrap();
    assert!(request.starts_with("POST /v1internal:x?alt=sse HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("\r\nhost: {}\r\n", peer.address)), "{request}");
    assert!(request.ends_with("\r\n\r\n{\"a\":1}"), "{request}");

    // At once they have one each, and both are kept.
    let (first, second) = tokio::join!(post(&wire), post(&wire));
    for mut answer in [first.unwrap(), second.unwrap()] {
        while answer.chunk().await.unwrap().is_some() {}
    }
    assert_eq!(peer.connections.load(Ordering::Relaxed), 2);
    tokio::join!(async { whole(&wire).await.unwrap() }, async { whole(&wire).await.unwrap() });
    assert_eq!(peer.connections.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn one_that_was_closed_while_it_waited_is_not_used() {
    let mut peer = peer(&[Turn::AnswerAndLeave]).await;
    let wire = to(&peer);
    assert_eq!(whole(&wire).await.unwrap(), "onetwo");
    peer.closed.recv().await.unwrap();
    assert_eq!(whole(&wire).await.unwrap(), "onetwo");
    assert_eq!(peer.connections.load(Ordering::Relaxed), 2);
    peer.requests.recv().await.unwrap();
    peer.requests.recv().await.unwrap();
    assert!(peer.requests.try_recv().is_err(), "each was sent once");
}

#[tokio::test]
async fn what_may_have_been_read_is_not_sent_twice() {
    let mut peer = peer(&[Turn::Answer, Turn::Leave]).await;
    let wire = to(&peer);
    assert_eq!(whole(&wire).await.unwrap(), "onetwo");
    assert_eq!(whole(&wire).await.unwrap_err().kind(), TransportKind::Reset);
    assert_eq!(peer.connections.load(Ordering::Relaxed), 1);
    peer.requests.recv().await.unwrap();
    peer.requests.recv().await.unwrap();
    assert!(peer.requests.try_recv().is_err());
    assert_eq!(whole(&wire).await.unwrap(), "onetwo");
}

#[tokio::test]
async fn an_answer_that_is_given_up_takes_its_connection_along() {
    let mut peer = peer(&[]).await;
    let wire = to(&peer);
    let mut answer = post(&wire).await.unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "one");
    drop(answer);
    peer.closed.recv().await.unwrap();
    assert_eq!(whole(&wire).await.unwrap(), "onetwo");
    assert_eq!(peer.connections.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn what_waits_too_long_is_closed() {
    let mut peer = peer(&[]).await;
    let wire = to(&peer);
    whole(&wire).await.unwrap();
    later(54).await;
    wire.sweep();
    whole(&wire).await.unwrap();
    assert_eq!(peer.connections.load(Ordering::Relaxed), 1);
    later(56).await;
    wire.sweep();
    peer.closed.recv().await.unwrap();
    whole(&wire).await.unwrap();
    assert_eq!(peer.connections.load(Ordering::Relaxed), 2);
    // Also where nobody sweeps.
    later(56).await;
    whole(&wire).await.unwrap();
    assert_eq!(peer.connections.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn nonsense_is_told_from_silence() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let wire = wire(&format!("http://{address}"), &UpstreamConfig::default(), Clock::system());
    let answer = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read(&mut stream).await.unwrap();
        stream.write_all(b"no HTTP at all\r\n\r\n").await.unwrap();
        stream
    };
    let (error, _stream) = tokio::join!(post(&wire), answer);
    assert_eq!(error.err().unwrap().kind(), TransportKind::Protocol);
    drop(listener);
    assert_eq!(post(&wire).await.err().unwrap().kind(), TransportKind::Connect);
}

/// Lets so many seconds pass at once; sockets and a paused clock do not go together for longer.
async fn later(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

fn through(http: &str, https: &str, no_proxy: Option<&str>) -> UpstreamConfig {
    let mut config = UpstreamConfig::default();
    let url = |text: &str| (!text.is_empty()).then(|| text.into());
    config.proxy.http = url(http);
    config.proxy.https = url(https);
    config.proxy.no_proxy = no_proxy.map(str::to_owned);
    config
}

#[tokio::test]
async fn a_proxy_of_plain_requests_is_told_the_whole_target() {
    let mut proxy = peer(&[]).await;
    let config = through(&format!("http://user:pass@{}", proxy.address), "", Some("127.0.0.1"));
    let behind = wire("http://upstream.invalid:8080", &config, Clock::system());
    assert_eq!(whole(&behind).await.unwrap(), "onetwo");
    let request = proxy.requests.recv().await.unwrap();
    assert!(
        request.starts_with("POST http://upstream.invalid:8080/v1internal:x?alt=sse HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(request.contains("\r\nhost: upstream.invalid:8080\r\n"), "{request}");
    assert!(request.contains("\r\nproxy-authorization: Basic dXNlcjpwYXNz\r\n"), "{request}");

    // Not for what is excepted.
    let mut direct = peer(&[]).await;
    let wire = wire(&format!("http://{}", direct.address), &config, Clock::system());
    assert_eq!(whole(&wire).await.unwrap(), "onetwo");
    let request = direct.requests.recv().await.unwrap();
    assert!(request.starts_with("POST /v1internal") && !request.contains("proxy-authorization"), "{request}");
}

#[tokio::test]
async fn a_tunnel_is_asked_for_where_the_endpoint_wants_tls() {
    let mut proxy = peer(&[Turn::Leave]).await;
    let config = through("", &format!("http://user:pass@{}", proxy.address), None);
    let wire = wire("https://upstream.invalid", &config, Clock::system());
    assert_eq!(post(&wire).await.err().unwrap().kind(), TransportKind::Connect);
    let request = proxy.requests.recv().await.unwrap();
    assert!(request.starts_with("CONNECT upstream.invalid:443 HTTP/1.1\r\n"), "{request}");
    assert!(request.to_lowercase().contains("\r\nproxy-authorization: basic dxnlcjpwyxnz\r\n"), "{request}");
}

#[test]
fn a_proxy_that_is_no_address_is_named_without_its_secret() {
    let config = through("", "http://user:hunter2@[bad", None);
    let trust = Trust::new(&config).unwrap();
    let error = Wire::new(&config, &trust, &[], Clock::system()).err().unwrap();
    assert!(matches!(error, HttpError::BadProxy { variable: "HTTPS_PROXY" }));
    assert!(!error.to_string().contains("hunter2"));
}
