//! A pool as it is in the middle of a day: every account has a token and fresh quotas, and was used.

use std::sync::Arc;
use std::time::Duration;

use antigravity_proxy::clock::Clock;
use antigravity_proxy::config::{RedisConfig, SelectionConfig, Strategy};
use antigravity_proxy::store::Store;
use antigravity_proxy::store::ident::{AccountId, OwnerId, Source};
use antigravity_proxy::store::keys::Keys;
use antigravity_proxy::store::ops::accounts::PutAccount;
use antigravity_proxy::store::ops::models::ModelQuota;
use antigravity_proxy::store::ops::tokens::Refresh;
use antigravity_proxy::store::redis::RedisHost;
use antigravity_proxy::store::registry;
use anyhow::Result;

pub(crate) const MODEL: &str = "claude-sonnet-4-6";
/// The key of the records, which the yardstick reads.
pub(crate) const HOT: &str = "agp:v1:{bench}:hot";

/// The pool at `url`, and the connection under it.
pub(crate) async fn open(url: &str, strategy: Strategy) -> Result<(Store, Arc<RedisHost>)> {
    let keys = Keys::new("bench")?;
    let config = RedisConfig::parse(url).ok_or_else(|| anyhow::anyhow!("{url} is no address of a Redis"))?;
    let host = Arc::new(RedisHost::connect(&config, keys.channel(), registry::ALL, Clock::system()).await?);
    let selection = SelectionConfig { strategy, ..SelectionConfig::default() };
    Ok((Store::new(host.clone(), keys, &selection), host))
}

/// Adds so many accounts.
pub(crate) fn fill(url: &str, accounts: usize) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (store, _) = open(url, Strategy::Hybrid).await?;
        let owner = OwnerId::new("bench")?;
        for n in 0..accounts {
            let id = AccountId::new(&format!("{n:032x}"))?;
            let email = format!("bench{n}@example.com");
            let put = PutAccount {
                project: Some("bench-project"),
                ..PutAccount::new(
                    &id,
                    &email,
                    Source::OAuth,
                    "sealed",
                    "6f1c2a34-0d2b-4c57-9a51-7d6f0b8e91231700000000000",
                )
            };
            store.put_account(&put).await?;
            if let Refresh::Granted { credential, .. } =
                store.begin_refresh(&id, &owner, Duration::from_secs(20)).await?
            {
                let token = "t".repeat(320);
                store.finish_refresh(&id, &owner, credential, Duration::from_hours(1), &token).await?;
            }
            let share = f64::from(u32::try_from(n % 90)?) / 100.0 + 0.1;
            let quota =
                ModelQuota { model: MODEL.to_owned(), fraction: Some(share), reset: None, told: true };
            store.put_quota(&id, &[quota]).await?;
        }
        Ok(())
    })
}
