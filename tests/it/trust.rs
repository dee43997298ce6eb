//! Whose certificates the upstream may show, and how calls of models get to it.

use std::sync::{Arc, Mutex, OnceLock};

use antigravity_proxy::cloudcode::http;
use antigravity_proxy::config::UpstreamConfig;
use antigravity_proxy::simulator::Scenario;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use crate::support::{GEMINI, TestGateway};
use crate::tls::Authority;

#[tokio::test]
async fn a_private_authority_is_trusted_when_it_is_named() {
    let authority = Authority::new();
    let site = authority.site();
    let config = UpstreamConfig { extra_roots: Some(authority.root()), ..UpstreamConfig::default() };
    let trust = http::Trust::new(&config).unwrap();
    for _ in 0..2 {
        let client = http::trusting(&config, &trust).unwrap();
        let answer = client.get(&site.url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let told = answer.text().await.unwrap();
        assert!(told.contains("TLSv1.3"), "{told}");
    }
    let stranger = http::client(&UpstreamConfig::default()).unwrap();
    let refused = stranger.get(&site.url).send().await.unwrap_err();
    assert!(refused.is_connect(), "{refused:?}");
}

/// A port before another server, with TLS.
struct Front {
    port: u16,
    /// Where the other server listens, `127.0.0.1:<port>`.
    target: Arc<OnceLock<String>>,
    connections: Arc<Mutex<usize>>,
    _task: AbortOnDropHandle<()>,
}

impl Front {
    #[expect(clippy::disallowed_methods, reason = "ended with its handle")]
    async fn start(authority: &Authority) -> Self {
        let (certificate, key) = authority.identity();
        let chain = CertificateDer::pem_file_iter(certificate).unwrap().map(Result::unwrap).collect();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (target, connections) = (Arc::new(OnceLock::<String>::new()), Arc::new(Mutex::new(0)));
        let (to, count) = (Arc::clone(&target), Arc::clone(&connections));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, to, count) = (acceptor.clone(), Arc::clone(&to), Arc::clone(&count));
                tokio::spawn(async move {
                    let Ok(mut near) = acceptor.accept(stream).await else { return };
                    *count.lock().unwrap() += 1;
                    let mut far = TcpStream::connect(to.get().unwrap()).await.unwrap();
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Self { port, target, connections, _task: AbortOnDropHandle::new(task) }
    }
}

/// A proxy that opens tunnels (RFC 9110 §9.3.6), always to the same port, and keeps what it was asked.
struct Proxy {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    _task: AbortOnDropHandle<()>,
}

impl Proxy {
    #[expect(clippy::disallowed_methods, reason = "ended with its handle")]
    async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://someone:secret@{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heads = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let heads = Arc::clone(&heads);
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(near.read_u8().await.unwrap());
                    }
                    heads.lock().unwrap().push(String::from_utf8(head).unwrap());
                    near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                    let mut far = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Self { url, asked, _task: AbortOnDropHandle::new(task) }
    }
}

#[tokio::test]
async fn models_are_called_over_tls_also_through_a_tunnel() {
    let authority = Authority::new();
    for tunnel in [false, true] {
        let front = Front::start(&authority).await;
        let proxy = Proxy::start(front.port).await;
        let gateway = TestGateway::start(Scenario::default(), |config| {
            let listens = config.upstream.endpoints[0].trim_start_matches("http://").to_owned();
            let _ = front.target.set(listens);
            config.upstream.endpoints = vec![format!("https://localhost:{}", front.port)];
            config.upstream.extra_roots = Some(authority.root());
            if tunnel {
                config.upstream.proxy.https = Some(proxy.url.clone().into());
            }
        })
        .await;
        for stream in [true, false, true] {
            let message = json!({"role": "user", "content": "hello"});
            let body = json!({"model": GEMINI, "max_tokens": 64, "stream": stream, "messages": [message]});
            let answer = gateway.client.send(&body).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        assert_eq!(gateway.simulator.refusals().len(), 0);
        gateway.shutdown().await;
        assert!(*front.connections.lock().unwrap() > 0);
        let asked = proxy.asked.lock().unwrap().clone();
        assert_eq!(asked.is_empty(), !tunnel);
        let wanted = format!("CONNECT localhost:{} HTTP/1.1\r\n", front.port);
        assert!(asked.iter().all(|head| head.starts_with(&wanted)), "{asked:?}");
        // Of someone:secret.
        let credentials = "proxy-authorization: Basic c29tZW9uZTpzZWNyZXQ=\r\n";
        let shown = |head: &String| head.to_lowercase().contains(&credentials.to_lowercase());
        assert!(asked.iter().all(shown), "{asked:?}");
    }
}
