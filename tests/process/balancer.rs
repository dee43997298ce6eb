//! What a load balancer does: asks each gateway's `/readyz` now and then and sends to those that said yes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::gateway::{Gateway, until};
use crate::http;

/// Chooses among ready gateways, one after the other.
pub(crate) struct Balancer {
    backends: Arc<[Backend]>,
    _polling: JoinSet<()>,
}

struct Backend {
    url: String,
    ready: AtomicBool,
    polls: AtomicUsize,
}

impl Balancer {
    /// In front of `gateways`, each asked every `interval`.
    pub(crate) fn new(gateways: &[&Gateway], interval: Duration) -> Self {
        let backend = |gateway: &&Gateway| Backend {
            url: gateway.url.clone(),
            ready: AtomicBool::new(true),
            polls: AtomicUsize::new(0),
        };
        let backends: Arc<[Backend]> = gateways.iter().map(backend).collect();
        let mut polling = JoinSet::new();
        for at in 0..backends.len() {
            let backends = Arc::clone(&backends);
            polling.spawn(async move {
                let backend = &backends[at];
                let probe = http::request("GET", &format!("{}/readyz", backend.url), &[], b"");
                loop {
                    let answer = http::exchange(http::split(&backend.url).0, &probe).await;
                    backend.ready.store(answer.is_some_and(|answer| answer.status == 200), Ordering::SeqCst);
                    backend.polls.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(interval).await;
                }
            });
        }
        Self { backends, _polling: polling }
    }

    /// Where the next request goes; for several clients at once.
    pub(crate) fn route(&self) -> impl Fn() -> String + Clone + Send + 'static {
        let (backends, turn) = (Arc::clone(&self.backends), Arc::new(AtomicUsize::new(0)));
        move || {
            let ready: Vec<_> =
                backends.iter().filter(|backend| backend.ready.load(Ordering::SeqCst)).collect();
            assert!(!ready.is_empty(), "no gateway is ready");
            ready[turn.fetch_add(1, Ordering::Relaxed) % ready.len()].url.clone()
        }
    }

    /// Waits until `gateway` has just been asked: the next question is one interval away.
    pub(crate) async fn just_asked(&self, gateway: &Gateway) {
        let backend = self.backend(gateway);
        let before = backend.polls.load(Ordering::SeqCst);
        until("the balancer asks", async || backend.polls.load(Ordering::SeqCst) > before).await;
    }

    /// Whether requests are sent to `gateway`.
    pub(crate) fn sends_to(&self, gateway: &Gateway) -> bool {
        self.backend(gateway).ready.load(Ordering::SeqCst)
    }

    fn backend(&self, gateway: &Gateway) -> &Backend {
        self.backends.iter().find(|backend| backend.url == gateway.url).unwrap()
    }
}
