//! A past for the demo, which has none: simulator builds only.

use futures_util::{TryStreamExt as _, stream};
use serde::Deserialize;

use super::Closed;
use crate::clock::Clock;
use crate::config::Config;
use crate::store::ident::LeaseId;
use crate::store::ops::usage::{CountRequest, StatusClass, UsageEntry};

/// Calls under way at a time.
const AT_ONCE: usize = 32;

/// A request that nobody made.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pretended {
    /// When it ended, ms since the epoch.
    at: i64,
    /// The upstream model.
    model: String,
    /// How it ended, by the name in the counters.
    status: String,
    /// Id of a client key.
    key: String,
    #[serde(default)]
    input_tokens: u64,
    #[serde(default)]
    output_tokens: u64,
    #[serde(default)]
    cache_read_tokens: u64,
    #[serde(default)]
    thinking_tokens: u64,
    /// From its arrival to its end.
    latency_ms: u64,
}

/// Counts `requests` as if they had been made; how many.
///
/// # Errors
///
/// A status that there is not, or the store.
pub async fn pretend(config: &Config, requests: Vec<Pretended>) -> anyhow::Result<usize> {
    let closed = Closed::new(config, &Clock::system()).await?;
    let store = &closed.store;
    let counted = stream::iter(requests.into_iter().map(Ok)).map_ok(|request: Pretended| async move {
        let id = LeaseId::new(&uuid::Uuid::now_v7().simple().to_string())?;
        let status = StatusClass::ALL.into_iter().find(|class| class.as_str() == request.status);
        let status = status.ok_or_else(|| anyhow::anyhow!("there is no status {:?}", request.status))?;
        let usage = UsageEntry {
            model: None,
            status,
            client_key: &request.key,
            input: request.input_tokens,
            output: request.output_tokens,
            cache_read: request.cache_read_tokens,
            thinking: request.thinking_tokens,
            latency: std::time::Duration::from_millis(request.latency_ms),
        };
        let count = CountRequest { id: &id, model: &request.model, ended_at_ms: request.at, usage };
        anyhow::Ok(usize::from(store.count_request(&count).await?))
    });
    counted.try_buffer_unordered(AT_ONCE).try_fold(0, |sum, one| async move { Ok(sum + one) }).await
}
