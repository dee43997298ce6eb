use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use http::HeaderMap;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::{Client, ClientError, Method, Pace, UpstreamCall};
use crate::clock::Clock;
use crate::cloudcode::{Failure, FailureClass, TransportKind};
use crate::config::UpstreamConfig;
use crate::google::model::ModelId;

struct Server {
    base: String,
    _task: AbortOnDropHandle<()>,
}

/// Serves `answer` for every request on a free port until dropped.
#[expect(clippy::disallowed_methods, reason = "the test's own server, ended with its handle")]
async fn serve<F, Fut>(answer: F) -> Server
where
    F: Fn(Request) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Response> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer);
    let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    Server { base, _task: AbortOnDropHandle::new(task) }
}

fn config(server: &Server) -> UpstreamConfig {
    UpstreamConfig { endpoints: vec![server.base.clone()], ..UpstreamConfig::default() }
}

fn client(config: &UpstreamConfig) -> Client {
    Client::new(config, Clock::manual(1_795_435_200_000)).unwrap()
}

async fn call(client: &Client, method: Method, model: &str) -> Result<super::UpstreamResponse, Failure> {
    let model = ModelId::new(model);
    let token = SecretString::from("tok");
    let body = [Bytes::from_static(b"{\"a\":"), Bytes::from_static(b"1}")];
    client
        .send(&UpstreamCall {
            endpoint: 0,
            method,
            model: &model,
            body: &body,
            token: &token,
            session_id: "sess",
        })
        .await
}

fn transport(kind: TransportKind) -> FailureClass {
    FailureClass::Transport { kind }
}

#[tokio::test]
async fn sends_exactly_the_documented_request() {
    let seen = Arc::new(Mutex::new(Vec::<(String, HeaderMap, Bytes)>::new()));
    let record = Arc::clone(&seen);
    let server = serve(move |request: Request| {
        let record = Arc::clone(&record);
        async move {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, 1024).await.unwrap();
            record.lock().unwrap().push((parts.uri.to_string(), parts.headers, body));
            "ok".into_response()
        }
    })
    .await;
    let client = client(&config(&server));
    for (method, model) in [
        (Method::StreamGenerate, "claude-opus-4-6-thinking"),
        (Method::Generate, "claude-sonnet-4-6"),
        (Method::CountTokens, "gemini-3-flash"),
    ] {
        let answer = call(&client, method, model).await.unwrap();
        assert_eq!(answer.collect(10).await.unwrap(), "ok");
    }
    let expected = |accept: &str| {
        vec![
            ("accept", accept.to_owned()),
            ("accept-encoding", "gzip".into()),
            ("authorization", "Bearer tok".into()),
            ("content-length", "7".into()),
            ("content-type", "application/json".into()),
            ("host", server.base.trim_start_matches("http://").trim_end_matches('/').into()),
            ("user-agent", "antigravity/2.0.3 linux/x64".into()),
            ("x-client-name", "antigravity".into()),
            ("x-client-version", "1.110.0".into()),
            ("x-goog-api-client", "gl-node/18.18.2 fire/0.8.6 grpc/1.10.x".into()),
            ("x-machine-session-id", "sess".into()),
        ]
    };
    let mut streaming = expected("text/event-stream");
    streaming.insert(2, ("anthropic-beta", "interleaved-thinking-2025-05-14".into()));
    let seen = seen.lock().unwrap();
    for ((uri, headers, body), (path, expected)) in seen.iter().zip([
        ("/v1internal:streamGenerateContent?alt=sse", streaming),
        ("/v1internal:generateContent", expected("*/*")),
        ("/v1internal:countTokens", expected("*/*")),
    ]) {
        assert_eq!(uri, path);
        assert_eq!(body, "{\"a\":1}");
        let mut headers: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap().to_owned())).collect();
        headers.sort_unstable();
        assert_eq!(headers, expected);
    }
    assert_eq!(seen.len(), 3);
}

#[tokio::test]
async fn an_error_answer_is_classified() {
    let server = serve(|_| async {
        let body = r#"{"error":{"code":429,"message":"slow","details":[{"reason":"RATE_LIMIT_EXCEEDED"}]}}"#;
        (http::StatusCode::TOO_MANY_REQUESTS, [("retry-after", "7")], body).into_response()
    })
    .await;
    let failure = call(&client(&config(&server)), Method::Generate, "m").await.err().unwrap();
    assert_eq!((failure.status, failure.reset), (Some(429), Some(Duration::from_secs(7))));
    assert_eq!(failure.message.as_deref(), Some("slow"));
}

/// Reports on its channel when the server lets go of the answer.
struct Gone(Option<oneshot::Sender<()>>);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = self.0.take().unwrap().send(());
    }
}

#[tokio::test]
async fn dropping_the_answer_closes_the_call_at_the_server() {
    let (gone, seen) = oneshot::channel();
    let gone = Arc::new(Mutex::new(Some(gone)));
    let server = serve(move |_| {
        let guard = Gone(gone.lock().unwrap().take());
        async move {
            let first = futures_util::stream::once(async { Ok::<_, Infallible>("first") });
            let never = futures_util::stream::pending().map(move |item| {
                let _ = &guard;
                item
            });
            Body::from_stream(first.chain(never)).into_response()
        }
    })
    .await;
    let mut answer = call(&client(&config(&server)), Method::StreamGenerate, "m").await.unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "first");
    drop(answer);
    tokio::time::timeout(Duration::from_secs(10), seen).await.unwrap().unwrap();
}

#[tokio::test]
async fn silence_before_headers_and_inside_the_body_is_bounded() {
    let server = serve(|request: Request| async move {
        if request.uri().path().ends_with("countTokens") {
            std::future::pending::<()>().await;
        }
        let first = futures_util::stream::once(async { Ok::<_, Infallible>("first") });
        Body::from_stream(first.chain(futures_util::stream::pending())).into_response()
    })
    .await;
    let config = UpstreamConfig { header_timeout: Duration::from_millis(50), ..config(&server) };
    let failure = call(&client(&config), Method::CountTokens, "m").await.err().unwrap();
    assert_eq!(failure.class, transport(TransportKind::Timeout));

    let config = UpstreamConfig {
        header_timeout: Duration::from_secs(30),
        idle_timeout: Duration::from_millis(50),
        ..config
    };
    let mut answer = call(&client(&config), Method::StreamGenerate, "m").await.unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "first");
    assert_eq!(answer.chunk().await.unwrap_err().class, transport(TransportKind::Timeout));

    let config = UpstreamConfig { idle_timeout: Duration::from_mins(1), ..config };
    let answer = call(&client(&config), Method::StreamGenerate, "m").await.unwrap();
    let mut answer = answer.silent_for(Duration::from_millis(50));
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "first");
    assert_eq!(answer.chunk().await.unwrap_err().class, transport(TransportKind::Timeout), "the shorter one");
}

#[tokio::test(start_paused = true)]
async fn calls_are_preceded_by_the_pause_of_the_moment() {
    let config = UpstreamConfig { endpoints: vec!["http://one.test".into()], ..UpstreamConfig::default() };
    let pace = Pace::default();
    let said = |_| async { Ok(http::Response::new(reqwest::Body::from("x")).into()) }.boxed();
    let client = Client::paced(&config, pace.clone(), Clock::manual(0)).unwrap().scripted(Arc::new(said));
    let took = async || {
        let begun = Clock::system().instant();
        call(&client, Method::Generate, "m").await.map(drop).unwrap();
        Clock::system().instant() - begun
    };
    assert_eq!(took().await, Duration::ZERO);
    for pause in [Duration::from_millis(200), Duration::from_secs(5), Duration::ZERO] {
        pace.set(pause);
        let waited = took().await;
        assert!((pause..pause + Duration::from_millis(5)).contains(&waited), "{waited:?} for {pause:?}");
    }
    let throttled = UpstreamConfig { throttled: true, ..config };
    assert_eq!(
        (throttled.pause(), UpstreamConfig::default().pause()),
        (Duration::from_millis(200), Duration::ZERO)
    );
}

#[tokio::test]
async fn a_cut_answer_is_a_reset_and_an_oversized_one_a_protocol_failure() {
    let (send, receive) = mpsc::channel::<Result<&str, std::io::Error>>(2);
    let receive = Arc::new(Mutex::new(Some(receive)));
    let server = serve(move |request: Request| {
        let receive = Arc::clone(&receive);
        async move {
            if request.uri().path().ends_with("countTokens") {
                return "twelve bytes".into_response();
            }
            let receive = receive.lock().unwrap().take().unwrap();
            let chunks = futures_util::stream::unfold(receive, |mut receive| async {
                let item = receive.recv().await?;
                Some((item, receive))
            });
            Body::from_stream(chunks).into_response()
        }
    })
    .await;
    let client = client(&config(&server));
    send.send(Ok("first")).await.unwrap();
    let mut answer = call(&client, Method::StreamGenerate, "m").await.unwrap();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "first");
    send.send(Err(std::io::Error::other("cut"))).await.unwrap();
    assert_eq!(answer.chunk().await.unwrap_err().class, transport(TransportKind::Reset));
    let answer = call(&client, Method::CountTokens, "m").await.unwrap();
    assert_eq!(answer.collect(11).await.unwrap_err().class, transport(TransportKind::Protocol));
}

#[tokio::test]
async fn compressed_answers_are_decoded() {
    // gzip of "hello".
    const HELLO: [u8; 25] = [
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0, 0x86, 0xa6, 0x10, 0x36, 5,
        0, 0, 0,
    ];
    let server =
        serve(|_| async { ([("content-encoding", "gzip")], HELLO.as_slice()).into_response() }).await;
    let answer = call(&client(&config(&server)), Method::StreamGenerate, "m").await.unwrap();
    assert_eq!(answer.collect(100).await.unwrap(), "hello");
}

#[tokio::test]
async fn nobody_listening_is_a_connect_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let config = UpstreamConfig { endpoints: vec![base], ..UpstreamConfig::default() };
    let failure = call(&client(&config), Method::Generate, "m").await.err().unwrap();
    assert_eq!(failure.class, transport(TransportKind::Connect));
}

#[test]
fn settings_are_checked() {
    let new = |config: UpstreamConfig| Client::new(&config, Clock::system()).err().unwrap();
    let none = UpstreamConfig { endpoints: vec![], ..UpstreamConfig::default() };
    assert!(matches!(new(none), ClientError::NoEndpoints));
    let odd = UpstreamConfig { endpoints: vec!["ftp://x".into()], ..UpstreamConfig::default() };
    assert!(matches!(new(odd), ClientError::BadEndpoint { .. }));
    let header = UpstreamConfig { client_name: "a\nb".into(), ..UpstreamConfig::default() };
    assert!(matches!(new(header), ClientError::BadHeader { setting: "upstream.clientName" }));
}

#[tokio::test]
async fn models_and_project_use_every_endpoint() {
    let server = serve(|request: Request| async move {
        let bearer = request.headers()["authorization"].clone();
        assert_eq!(bearer, "Bearer tok");
        match request.uri().path() {
            "/down/v1internal:fetchAvailableModels" => http::StatusCode::BAD_GATEWAY.into_response(),
            "/up/v1internal:fetchAvailableModels" => {
                r#"{"models":{"gemini-3-flash":{"displayName":"Flash","quotaInfo":{"resetTime":"2026-11-24T00:00:00Z"}},
                    "claude-x":{"quotaInfo":{"remainingFraction":0.5}},"tab_flash":{},"claude-y":{}}}"#
                    .into_response()
            }
            "/up/v1internal:loadCodeAssist" => {
                r#"{"currentTier":{"id":"free-tier"},"allowedTiers":[{"id":"t","isDefault":true}]}"#.into_response()
            }
            "/up/v1internal:onboardUser" => {
                r#"{"done":true,"response":{"cloudaicompanionProject":{"id":"made"}}}"#.into_response()
            }
            _ => http::StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    })
    .await;
    let config = UpstreamConfig {
        endpoints: vec![format!("{}down", server.base), format!("{}up", server.base)],
        ..UpstreamConfig::default()
    };
    let client = client(&config);
    let token = SecretString::from("tok");
    let models = crate::cloudcode::models::fetch(&client, &token, Some("p")).await.unwrap();
    let brief: Vec<_> =
        models.iter().map(|model| (model.id.as_str(), model.has_quota, model.remaining_fraction)).collect();
    assert_eq!(
        brief,
        [("claude-x", true, Some(0.5)), ("claude-y", false, None), ("gemini-3-flash", true, Some(0.0))]
    );
    let project = crate::cloudcode::project::discover(&client, &token, None).await.unwrap();
    assert_eq!((project.id.as_deref(), project.managed), (Some("made"), true));
    assert_eq!(project.tier, crate::cloudcode::project::Tier::Free);
}
