//! An offered load: a request begins when the schedule says so, whether or not those before it are over, and its time
//! counts from there. So a target that falls behind cannot hide it by being asked less.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::line::float;
use crate::load::{Load, now};

/// How long answers may take that are not over when the schedule is.
const PATIENCE: Duration = Duration::from_secs(30);

/// Requests that take turns, with connections that stay open in between.
pub(crate) struct Offer(Vec<Kind>);

#[derive(Clone)]
struct Kind {
    load: Load,
    idle: Arc<Mutex<Vec<SendRequest<Full<Bytes>>>>>,
}

/// What the target made of it.
pub(crate) struct Offered {
    pub(crate) requests: u64,
    /// From when each was due to the first bytes of its answer's body.
    pub(crate) first_byte: Vec<Duration>,
    /// From when each was due to the end of its answer.
    pub(crate) total: Vec<Duration>,
}

impl Offer {
    pub(crate) fn new(loads: impl IntoIterator<Item = Load>) -> Self {
        Self(loads.into_iter().map(|load| Kind { load, idle: Arc::default() }).collect())
    }

    /// Sends `per_second` requests, evenly spaced, for `duration`, and waits for the last answer.
    pub(crate) async fn run(&self, per_second: f64, duration: Duration) -> Result<Offered> {
        let mut due = schedule(per_second, duration);
        let mut tasks = JoinSet::new();
        let mut offered = Offered { requests: 0, first_byte: Vec::new(), total: Vec::new() };
        let mut kinds = self.0.iter().cycle();
        while let Some(at) = due.recv().await {
            let kind = kinds.next().context("nothing to send")?.clone();
            tasks.spawn(async move { kind.send(at).await });
            while let Some(done) = tasks.try_join_next() {
                offered.add(done??);
            }
        }
        let rest = async {
            while let Some(done) = tasks.join_next().await {
                offered.add(done??);
            }
            anyhow::Ok(())
        };
        timeout(PATIENCE, rest).await.context("answers do not end")??;
        ensure!(offered.requests > 0, "nothing was sent");
        Ok(offered)
    }
}

impl Offered {
    fn add(&mut self, (first, total): (Duration, Duration)) {
        self.requests += 1;
        self.first_byte.push(first);
        self.total.push(total);
    }
}

impl Kind {
    async fn send(self, due: Instant) -> Result<(Duration, Duration)> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let idle = match idle {
            Some(mut sender) => sender.ready().await.is_ok().then_some(sender),
            None => None,
        };
        let mut sender = match idle {
            Some(sender) => sender,
            None => self.load.connect().await?,
        };
        let mut body = self.load.send(&mut sender).await?;
        let mut first = None;
        while let Some(frame) = body.frame().await {
            frame?;
            first.get_or_insert_with(|| due.elapsed());
        }
        let total = due.elapsed();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        Ok((first.context("an answer without a body")?, total))
    }
}

/// When each request is due. A thread of its own keeps the time: the runtime's timers know milliseconds only.
fn schedule(per_second: f64, duration: Duration) -> mpsc::UnboundedReceiver<Instant> {
    let (due, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let begun = now();
        for n in 0_u64.. {
            let offset = Duration::from_secs_f64(float(n) / per_second);
            if offset >= duration {
                break;
            }
            let at = begun + offset;
            std::thread::sleep(at.saturating_duration_since(now()));
            if due.send(at).is_err() {
                break;
            }
        }
    });
    receiver
}
