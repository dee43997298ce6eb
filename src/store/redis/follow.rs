//! Events, and the watch over an idle connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::{broadcast, mpsc};

use super::check;
use super::link::Link;
use crate::store::host::{Event, StoreError};
use crate::store::script::Script;

/// How often an idle connection is tried.
const PING: Duration = Duration::from_secs(3);
/// Pause between attempts to subscribe.
const PAUSE: Duration = Duration::from_millis(500);

/// What is followed, and where it goes.
pub(super) struct Subscription {
    pub(super) channel: String,
    pub(super) scripts: Vec<&'static Script>,
    pub(super) pushes: mpsc::UnboundedReceiver<PushInfo>,
    pub(super) events: broadcast::Sender<Event>,
    /// The server that was found fit.
    pub(super) checked: Arc<str>,
}

/// Passes events on until it is dropped. After every new connection scripts are loaded and subscribers told that
/// they may have missed something.
pub(super) async fn follow(link: Arc<Link>, mut subscription: Subscription) {
    let mut pings = tokio::time::interval(PING);
    pings.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The subscription of the start itself is confirmed by a push, too.
    let mut confirmed = false;
    loop {
        tokio::select! {
            push = subscription.pushes.recv() => {
                let Some(push) = push else { return };
                match push.kind {
                    PushKind::Message => subscription.forward(push),
                    PushKind::Subscribe if confirmed => subscription.begin_again(&link).await,
                    PushKind::Subscribe => confirmed = true,
                    PushKind::Disconnection => link.doubt(),
                    _ => {}
                }
            }
            () = link.was_replaced() => {
                while link.subscribe(&subscription.channel).await.is_err() {
                    tokio::time::sleep(PAUSE).await;
                }
            }
            // An answer shows that the connection lives; silence is noted by the link.
            _ = pings.tick() => drop(link.command(&redis::cmd("PING")).await),
        }
    }
}

impl Subscription {
    fn forward(&self, push: PushInfo) {
        let mut data = push.data.into_iter();
        let (Some(Value::BulkString(channel)), Some(Value::BulkString(payload))) = (data.next(), data.next())
        else {
            return;
        };
        let Ok(channel) = String::from_utf8(channel) else { return };
        // Nobody listening is no fault.
        let _ = self.events.send(Event::Message { channel, payload: Bytes::from(payload) });
    }

    async fn begin_again(&mut self, link: &Link) {
        if let Err(error) = check::load(link, &self.scripts).await {
            // The calls load what they miss.
            tracing::debug!(%error, "scripts were not loaded");
        }
        let address = link.address();
        tracing::info!(address = &*address, "connected to Redis again");
        if std::mem::replace(&mut self.checked, Arc::clone(&address)) != address
            && let Err(error @ StoreError::Unsuitable { .. }) = check::check(link).await
        {
            // It is where it is: to stop would not bring it back.
            tracing::error!(%error, "the pool has moved to where it is not safe");
        }
        let _ = self.events.send(Event::Gap);
    }
}
