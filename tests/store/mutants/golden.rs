//! Histories as the scripts tell them now: every reply, every event, and at the end every key.

use std::sync::{Arc, Mutex};

use antigravity_proxy::clock::Clock;
use antigravity_proxy::store::embedded::{EmbeddedHost, Options};
use antigravity_proxy::store::host::{Call, Event, Reply, ScriptHost, StoreError};
use antigravity_proxy::store::script::Script;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::broadcast;

use crate::harness::SCRIPTS;

/// Instructions that a script may run: many times what any needs here.
const INSTRUCTIONS: u64 = 3_000_000;

/// One history.
pub(super) struct Golden {
    pub(super) name: String,
    begun: i64,
    told: Vec<Told>,
    dump: String,
}

struct Told {
    /// The store's own clock.
    at: i64,
    call: Call,
    reply: Reply,
    events: Vec<Event>,
}

/// Takes down what is told to a store in memory.
pub(super) struct Scribe {
    host: EmbeddedHost,
    clock: Clock,
    begun: i64,
    told: Mutex<Vec<Told>>,
}

impl Scribe {
    /// Over an empty store whose clock starts at `begun`, ms since the epoch.
    pub(super) fn new(begun: i64) -> Arc<Self> {
        let clock = Clock::manual(begun);
        let host = EmbeddedHost::in_memory(clock.clone(), &SCRIPTS).unwrap();
        Arc::new(Self { host, clock, begun, told: Mutex::default() })
    }

    /// The store's clock.
    pub(super) fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// What was told up to now.
    pub(super) fn golden(&self, name: &str) -> Golden {
        let told = std::mem::take(&mut *self.told.lock().unwrap());
        Golden { name: name.to_owned(), begun: self.begun, told, dump: self.host.dump().unwrap() }
    }
}

impl ScriptHost for Scribe {
    fn eval(&self, batch: Vec<Call>) -> BoxFuture<'_, Result<Vec<Reply>, StoreError>> {
        Box::pin(async move {
            let mut replies = Vec::new();
            for call in batch {
                let mut events = self.host.subscribe();
                let reply = self.host.eval(vec![call.clone()]).await?.remove(0);
                let events = published(&mut events);
                let told = Told { at: self.clock.epoch_ms(), call, reply: reply.clone(), events };
                self.told.lock().unwrap().push(told);
                replies.push(reply);
            }
            Ok(replies)
        })
    }

    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.host.subscribe()
    }
}

fn published(events: &mut broadcast::Receiver<Event>) -> Vec<Event> {
    std::iter::from_fn(|| events.try_recv().ok()).collect()
}

impl Golden {
    /// How many calls.
    pub(super) fn len(&self) -> usize {
        self.told.len()
    }

    /// Whether it calls the script.
    pub(super) fn calls(&self, script: &str) -> bool {
        self.told.iter().any(|told| told.call.script.name == script)
    }

    /// Whether scripts of which those in `changed` are others would tell the same.
    pub(super) fn told_by(&self, changed: &[&'static Script]) -> bool {
        let clock = Clock::manual(self.begun);
        let options = Options { max_instructions: INSTRUCTIONS, ..Options::default() };
        let Ok(host) = EmbeddedHost::in_memory_with(clock.clone(), &[], &options) else { return false };
        let mut events = host.subscribe();
        for told in &self.told {
            clock.advance_ms(told.at - clock.epoch_ms());
            let mut call = told.call.clone();
            if let Some(script) = changed.iter().find(|script| script.name == call.script.name) {
                call.script = script;
            }
            // A store in memory answers at once.
            let Some(Ok(replies)) = host.eval(vec![call]).now_or_never() else { return false };
            if replies[0] != told.reply || published(&mut events) != told.events {
                return false;
            }
        }
        host.dump().is_ok_and(|dump| dump == self.dump)
    }
}
