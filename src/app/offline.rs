//! Account and store commands on a data directory that no gateway uses.

use std::io::Write;

use serde_json::Value;

use crate::config::Config;

/// Imports accounts.
pub async fn import(_config: &Config, _document: Value) -> anyhow::Result<Value> {
    absent().await
}

/// Lists accounts.
pub async fn list(_config: &Config) -> anyhow::Result<Value> {
    absent().await
}

/// Removes an account.
pub async fn remove(_config: &Config, _email: &str) -> anyhow::Result<Value> {
    absent().await
}

/// Writes the whole store.
pub async fn export(_config: &Config, _out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    absent().await
}

async fn absent<T>() -> anyhow::Result<T> {
    std::future::ready(Err(anyhow::anyhow!("the store is not part of this build"))).await
}
