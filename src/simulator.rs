//! A strict stand-in for Google's services: Cloud Code and OAuth.
//!
//! It is independent of the gateway's own types, so that a misunderstanding there cannot hide here.
//! It refuses what the real service would refuse, answers as an agent would, and misbehaves as a
//! [`Scenario`] says. It is for tests, benches and trying out; releases do not contain it.
//!
//! ```text
//! request -> token -> strict checks -> rules -> account's standing -> limits -> brain -> delivery
//! ```

mod answer;
mod brain;
mod cloud_code;
mod control;
mod delivery;
mod failure;
mod ledger;
mod model;
mod oauth;
mod recorder;
mod rules;
mod scenario;
mod signature;
pub mod validate;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::body::{Body, Bytes};
use axum::routing::{get, post};
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::clock::Clock;

pub use failure::Fault;
pub use recorder::{Counts, Event, Outcome, Recorded};
pub use scenario::{
    Account, Action, Delivery, Drip, Fixed, Mode, ModelOffer, Rule, Scenario, ScenarioError, Standing, When,
};
pub use validate::Refusal;

/// The listener a request came to.
#[derive(Clone, Copy)]
struct Endpoint(usize);

/// Marks an answer that must not be sent: the connection is closed instead.
#[derive(Clone)]
struct HangUp;

/// A scenario at work; replaced as a whole.
struct Stage {
    scenario: Scenario,
    ledger: ledger::Ledger,
    rules: rules::Rules,
    prefixes: Mutex<HashMap<(usize, String), VecDeque<String>>>,
    fixed: HashMap<String, Ready>,
}

/// An answer rendered when the scenario was loaded.
struct Ready {
    stream: VecDeque<delivery::Step>,
    whole: Bytes,
}

struct World {
    clock: Clock,
    stage: ArcSwap<Stage>,
    recorder: Arc<recorder::Recorder>,
}

impl Stage {
    fn new(scenario: Scenario, clock: &Clock) -> Self {
        let fixed = scenario.fixed.iter().map(|(model, fixed)| {
            let answer = answer::Answer::fixed(model, *fixed);
            let stream = delivery::events(&answer.chunks(), None, &Action::default(), fixed.delivery);
            (model.clone(), Ready { stream, whole: Bytes::from(answer.whole()) })
        });
        Self {
            ledger: ledger::Ledger::new(&scenario, clock.clone()),
            rules: rules::Rules::new(&scenario.rules),
            prefixes: Mutex::default(),
            fixed: fixed.collect(),
            scenario,
        }
    }
}

impl World {
    fn load(&self, scenario: Scenario) {
        self.stage.store(Arc::new(Stage::new(scenario, &self.clock)));
    }
}

/// A running simulator; it stops when dropped.
pub struct Simulator {
    world: Arc<World>,
    addresses: Vec<SocketAddr>,
    tasks: JoinSet<()>,
}

impl Simulator {
    /// Starts on free ports of the loopback interface.
    pub async fn start(scenario: Scenario) -> io::Result<Self> {
        Self::start_at(scenario, Clock::system(), (IpAddr::V4(Ipv4Addr::LOCALHOST), 0).into()).await
    }

    /// Starts with a given clock; the first endpoint listens on `first`, the others on free ports.
    pub async fn start_at(scenario: Scenario, clock: Clock, first: SocketAddr) -> io::Result<Self> {
        let endpoints = scenario.endpoints.max(1);
        let world = Arc::new(World {
            stage: ArcSwap::from_pointee(Stage::new(scenario, &clock)),
            recorder: recorder::Recorder::new(clock.clone()),
            clock,
        });
        let router = Router::new()
            .route("/auth", get(oauth::authorize))
            .route("/token", post(oauth::token))
            .route("/userinfo", get(oauth::userinfo))
            .merge(control::routes())
            .fallback(cloud_code::handle)
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Arc::clone(&world));
        let mut tasks = JoinSet::new();
        let mut addresses = Vec::with_capacity(endpoints);
        for endpoint in 0..endpoints {
            let port = if endpoint == 0 { first.port() } else { 0 };
            let listener = TcpListener::bind((first.ip(), port)).await?;
            addresses.push(listener.local_addr()?);
            tasks.spawn(accept(listener, router.clone().layer(Extension(Endpoint(endpoint)))));
        }
        Ok(Self { world, addresses, tasks })
    }

    /// `http://127.0.0.1:<port>` of the first endpoint.
    #[must_use]
    pub fn base_url(&self) -> String {
        self.endpoint_urls().swap_remove(0)
    }

    /// The base URLs of all endpoints, in the order of their indices.
    #[must_use]
    pub fn endpoint_urls(&self) -> Vec<String> {
        self.addresses.iter().map(|address| format!("http://{address}")).collect()
    }

    /// The accounts as the reference's `accounts.json`, for import.
    #[must_use]
    pub fn accounts_json(&self) -> Value {
        self.world.stage.load().ledger.accounts_json()
    }

    /// A valid access token of an account.
    #[must_use]
    pub fn access_token(&self, email: &str) -> Option<String> {
        let stage = self.world.stage.load();
        let account = stage.ledger.by_email(email)?;
        Some(stage.ledger.issue(account).0)
    }

    /// Replaces the scenario; what was received is kept.
    pub fn load(&self, scenario: Scenario) {
        self.world.load(scenario);
    }

    /// Adds a rule behind the others.
    pub fn add_fault(&self, when: When, then: Action) {
        self.world.stage.load().rules.push(Rule { when, then });
    }

    /// Removes all rules.
    pub fn clear_faults(&self) {
        self.world.stage.load().rules.clear();
    }

    /// Makes all access tokens void.
    pub fn expire_tokens(&self) {
        self.world.stage.load().ledger.expire_tokens();
    }

    /// What was received, oldest first.
    #[must_use]
    pub fn recorded(&self) -> Vec<Recorded> {
        self.world.recorder.all()
    }

    /// Why requests were refused, oldest first.
    #[must_use]
    pub fn refusals(&self) -> Vec<Refusal> {
        self.recorded().into_iter().filter_map(|one| one.refusal).collect()
    }

    /// How many requests came, ended, were closed by the client.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.world.recorder.counts()
    }

    /// Forgets what was received.
    pub fn forget(&self) {
        self.world.recorder.reset();
    }

    /// Waits until `event` has happened `at_least` times; false when `within` passes before.
    pub async fn wait_for(&self, event: Event, at_least: u64, within: Duration) -> bool {
        tokio::time::timeout(within, self.world.recorder.reached(event, at_least)).await.is_ok()
    }

    /// Closes all listeners and connections.
    pub async fn shutdown(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn accept(listener: TcpListener, router: Router) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, router.clone()));
                }
                // Out of file descriptors, or the peer was quicker: the next one may do.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, router: Router) {
    // Without it small events wait for the peer's acknowledgement; a socket that refuses is served all the same.
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let router = router.clone();
        async move {
            let response = match router.oneshot(request.map(Body::new)).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            match response.extensions().get::<HangUp>() {
                Some(_) => Err(io::Error::other("hung up by the scenario")),
                None => Ok::<_, io::Error>(response),
            }
        }
    });
    // The client's disconnect and the scenario's cut both end here; neither is an error of ours.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

#[cfg(test)]
mod tests;
