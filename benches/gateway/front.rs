//! What stands before the simulator where the upstream speaks TLS: a proxy that knows CONNECT only, and shows one
//! certificate for whatever name is asked for. Gateway and reference share it, and its work is nobody's.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

const ROLE: &str = "ANTIGRAVITY_BENCH_FRONT";

/// What a front is to do.
#[derive(Serialize, Deserialize)]
pub(crate) struct Front {
    /// Where the bytes within TLS go.
    pub(crate) upstream: SocketAddr,
    /// What is shown, and its key (PEM).
    pub(crate) identity: (PathBuf, PathBuf),
    /// Whether HTTP/2 is offered, before HTTP/1.1.
    pub(crate) http2: bool,
}

impl Front {
    /// This process's task, when it is to be the front.
    #[expect(clippy::disallowed_methods, reason = "a bench's own switch between its roles")]
    pub(crate) fn role() -> Option<Self> {
        serde_json::from_str(&std::env::var(ROLE).ok()?).ok()
    }

    /// Makes a child a front with this task.
    pub(crate) fn command(&self) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.env(ROLE, serde_json::to_string(self)?);
        Ok(command)
    }

    /// Serves until the process is ended; prints its address as one JSON line first.
    #[expect(clippy::print_stdout, reason = "the parent reads the address from standard output")]
    pub(crate) fn run(self) -> Result<()> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (certificate, key) = self.identity;
        let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
        let offered: &[&[u8]] = if self.http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
        config.alpn_protocols = offered.iter().map(|protocol| protocol.to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            println!("{{\"url\":\"http://{}\"}}", listener.local_addr()?);
            std::io::stdout().flush()?;
            let tunnels = TaskTracker::new();
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                tunnels.spawn(serve(stream, acceptor.clone(), self.upstream, tunnels.clone()));
            }
        })
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, upstream: SocketAddr, tunnels: TaskTracker) {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut answer = Response::new(Empty::<Bytes>::new());
        if request.method() == Method::CONNECT {
            let acceptor = acceptor.clone();
            // A client that goes away ends its tunnel.
            tunnels.spawn(async move { drop(tunnel(request, acceptor, upstream).await) });
        } else {
            *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        }
        std::future::ready(Ok::<_, std::convert::Infallible>(answer))
    });
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await);
}

/// Takes TLS off whatever comes through the tunnel.
async fn tunnel(request: Request<Incoming>, acceptor: TlsAcceptor, upstream: SocketAddr) -> Result<()> {
    let client = hyper::upgrade::on(request).await?;
    let mut client = acceptor.accept(TokioIo::new(client)).await?;
    let mut server = TcpStream::connect(upstream).await?;
    server.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
