//! Clients that keep asking.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use antigravity_proxy::clock::Clock;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::http;

/// Clients that ask one request after the other, every second one as a stream, until told to stop.
pub(crate) struct Load {
    stop: CancellationToken,
    clients: JoinSet<()>,
    seen: Arc<Mutex<Seen>>,
}

/// What the clients saw.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) answers: Vec<Answered>,
    /// Everything that was no whole answer with status 200.
    pub(crate) failures: Vec<String>,
}

/// A whole answer.
pub(crate) struct Answered {
    pub(crate) url: String,
    pub(crate) request: String,
    pub(crate) begun: Instant,
}

impl Load {
    /// `clients` clients; `route` says where each request goes.
    pub(crate) fn start(
        clients: usize,
        text: &'static str,
        route: impl Fn() -> String + Clone + Send + 'static,
    ) -> Self {
        let (stop, seen) = (CancellationToken::new(), Arc::new(Mutex::new(Seen::default())));
        let mut working = JoinSet::new();
        for client in 0..clients {
            let (stop, seen, route) = (stop.clone(), Arc::clone(&seen), route.clone());
            working.spawn(async move {
                for number in client.. {
                    if stop.is_cancelled() {
                        return;
                    }
                    let url = route();
                    let begun = Clock::system().instant();
                    let outcome = ask(&url, text, number % 2 == 1).await;
                    let mut seen = seen.lock().unwrap();
                    match outcome {
                        Ok(request) => seen.answers.push(Answered { url, request, begun }),
                        Err(failure) => seen.failures.push(format!("{url}: {failure}")),
                    }
                }
            });
        }
        Self { stop, clients: working, seen }
    }

    /// How many requests were answered so far.
    pub(crate) fn answered(&self) -> usize {
        self.seen.lock().unwrap().answers.len()
    }

    /// Lets every client finish what it has begun.
    pub(crate) async fn finish(mut self) -> Seen {
        self.stop.cancel();
        while let Some(client) = self.clients.join_next().await {
            client.unwrap();
        }
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

impl Seen {
    /// Nothing but whole answers, and some of them.
    pub(crate) fn assert_whole(&self) {
        let first: Vec<_> = self.failures.iter().take(5).collect();
        assert!(self.failures.is_empty(), "{} requests failed: {first:#?}", self.failures.len());
        assert!(!self.answers.is_empty(), "nothing was asked");
    }

    /// The ids of the requests that were answered.
    pub(crate) fn requests(&self) -> BTreeSet<String> {
        self.answers.iter().map(|answered| answered.request.clone()).collect()
    }
}

/// The request's id when its answer came whole.
async fn ask(url: &str, text: &str, stream: bool) -> Result<String, String> {
    let body = http::message(text, stream).to_string();
    let headers = [("content-type", "application/json")];
    let request = http::request("POST", &format!("{url}/v1/messages"), &headers, body.as_bytes());
    let answer = http::exchange(http::split(url).0, &request).await.ok_or("no answer")?;
    let said = answer.text();
    let ended = if stream { said.contains("event: message_stop") } else { said.contains("end_turn") };
    if answer.status == 200 && answer.whole && ended && !said.contains("event: error") {
        Ok(answer.headers["request-id"].clone())
    } else {
        Err(format!("{} {said}", answer.status))
    }
}
