//! Where this gateway's feed of events and logs is kept: with the store, so that replicas share it.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::Config;
use crate::store::feed::redis::{FeedWriter, RedisFeed, RedisFeedSize};
use crate::store::feed::ring::{Ring, RingSize};
use crate::store::feed::{Dropped, Feed};
use crate::store::ident::ReplicaId;
use crate::store::keys::Keys;
use crate::telemetry::metrics::Metrics;

/// The feed, and what has to run for it to be written.
pub(super) fn open(
    config: &Config,
    keys: &Keys,
    writer: &ReplicaId,
    clock: &Clock,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<(Arc<dyn Feed>, Option<FeedWriter>)> {
    let metrics = Arc::clone(metrics);
    let dropped: Dropped = Arc::new(move |topic, count| {
        metrics.feed_dropped.with_label_values(&[topic.as_str()]).inc_by(count);
    });
    let Some(redis) = &config.store.redis else {
        return Ok((Arc::new(Ring::new(RingSize::default(), clock, dropped)), None));
    };
    let size = RedisFeedSize::default();
    let (feed, writer) = RedisFeed::new(redis, keys.clone(), writer.clone(), clock.clone(), size, dropped)?;
    Ok((Arc::new(feed), Some(writer)))
}
