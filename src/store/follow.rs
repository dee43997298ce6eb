//! Following something that all gateways of a pool share, and that the store counts the changes of.
//!
//! A change is noticed by its event, or by the next look where an event is lost. A look that knows the generation it saw
//! last costs next to nothing; after a gap in the events the store may be another one, whose generations say nothing
//! about those of the old one: then all is read, until that has succeeded.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Interval, MissedTickBehavior};

use super::Store;
use super::host::{Event, StoreError};
use super::ops::PoolEvent;

/// Longest time until a change is noticed without its event; 2 s are promised, also by a store that is slow to answer.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What changes in a pool, as it comes.
#[derive(Debug)]
pub struct PoolEvents {
    events: Receiver<Event>,
    channel: Arc<str>,
}

impl PoolEvents {
    /// From now on.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        Self { events: store.subscribe(), channel: store.keys().channel().into() }
    }

    /// The next one; [`PoolEvent::Gap`] where some were missed. Never when there will be no more. Nothing is lost when
    /// it is dropped before.
    pub async fn next(&mut self) -> PoolEvent {
        loop {
            match self.events.recv().await {
                Ok(event) => {
                    if let Some(event) = PoolEvent::parse(&self.channel, &event) {
                        return event;
                    }
                }
                Err(RecvError::Lagged(_)) => return PoolEvent::Gap,
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

/// Says when to look again, and how.
#[derive(Debug)]
pub struct Follower {
    events: Receiver<Event>,
    channel: Arc<str>,
    /// What tells of a change.
    news: PoolEvent,
    ticks: Interval,
    /// Whether there will be more events.
    heard: bool,
    whole: bool,
}

impl Follower {
    /// Follows what `news` tells of; the first look is due at once.
    #[must_use]
    pub fn new(store: &Store, news: PoolEvent) -> Self {
        let mut ticks = tokio::time::interval(LOOK_AGAIN);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let channel = store.keys().channel().into();
        Self { events: store.subscribe(), channel, news, ticks, heard: true, whole: false }
    }

    /// Returns when it is time for a look. Nothing is lost when it is dropped before.
    pub async fn due(&mut self) {
        loop {
            let gap = tokio::select! {
                _ = self.ticks.tick() => false,
                event = self.events.recv(), if self.heard => match event {
                    Ok(event) => match PoolEvent::parse(&self.channel, &event) {
                        Some(PoolEvent::Gap) => true,
                        Some(event) if event == self.news => false,
                        _ => continue,
                    },
                    Err(RecvError::Lagged(_)) => true,
                    Err(RecvError::Closed) => {
                        self.heard = false;
                        continue;
                    }
                },
            };
            self.whole |= gap;
            return;
        }
    }

    /// Looks by `look`, which is told whether to read everything, whatever generation is known.
    ///
    /// # Errors
    ///
    /// Those of `look`.
    pub async fn look<F>(&mut self, look: impl FnOnce(bool) -> F) -> Result<(), StoreError>
    where
        F: Future<Output = Result<(), StoreError>>,
    {
        look(self.whole).await?;
        self.whole = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::sync::Mutex;

    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;
    use tokio::sync::broadcast;

    use super::*;
    use crate::clock::Clock;
    use crate::config::SelectionConfig;
    use crate::store::host::{Call, Reply, ScriptHost};
    use crate::store::keys::Keys;

    /// A host that only sends events, until it is silenced.
    struct Events(Mutex<Option<broadcast::Sender<Event>>>);

    impl ScriptHost for Events {
        fn eval(&self, _: Vec<Call>) -> BoxFuture<'_, Result<Vec<Reply>, StoreError>> {
            ready(Ok(Vec::new())).boxed()
        }

        fn subscribe(&self) -> Receiver<Event> {
            self.0.lock().unwrap().as_ref().unwrap().subscribe()
        }
    }

    /// How long until a look was due, ms, and whether it reads all.
    async fn next(follower: &mut Follower, answers: bool) -> (u128, bool) {
        let begun = Clock::system().instant();
        follower.due().await;
        let mut told = None;
        let answer = if answers { Ok(()) } else { Err(StoreError::Unavailable { reason: "test".into() }) };
        let looked = follower.look(|whole| {
            told = Some(whole);
            ready(answer)
        });
        assert_eq!(looked.await.is_ok(), answers);
        ((Clock::system().instant() - begun).as_millis(), told.unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn what_follows_a_gap_is_read_whole_until_that_has_succeeded() {
        let (sender, _) = broadcast::channel(2);
        let host = Arc::new(Events(Mutex::new(Some(sender.clone()))));
        let keys = Keys::new("test").unwrap();
        let channel = keys.channel();
        let store = Store::new(Arc::clone(&host) as _, keys, &SelectionConfig::default());
        let mut follower = Follower::new(&store, PoolEvent::Settings);
        let tell = |kind: &str| {
            let payload = format!("{kind} x1 9").into_bytes().into();
            sender.send(Event::Message { channel: channel.clone(), payload }).unwrap();
        };
        assert_eq!(next(&mut follower, true).await, (0, false), "at once");
        assert_eq!(next(&mut follower, true).await, (1000, false), "without an event");
        tell("account");
        tell("settings");
        assert_eq!(next(&mut follower, true).await, (0, false));
        sender.send(Event::Gap).unwrap();
        assert_eq!(next(&mut follower, false).await, (0, true));
        tell("settings");
        assert_eq!(next(&mut follower, false).await, (0, true), "still");
        assert_eq!(next(&mut follower, true).await, (1000, true), "still");
        assert_eq!(next(&mut follower, true).await, (1000, false));
        // More than it can hold.
        for _ in 0..3 {
            tell("account");
        }
        assert_eq!(next(&mut follower, true).await, (0, true));
        // Nobody sends events any more.
        host.0.lock().unwrap().take();
        drop(sender);
        assert_eq!(next(&mut follower, true).await, (1000, false));
    }
}
