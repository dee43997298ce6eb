//! `GET /api/replicas`: who serves the pool, and with which version.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use crate::server::error::ApiError;
use crate::server::gateway::ReplicaView;
use crate::server::json;
use crate::server::state::AppState;

/// All that are alive, by id.
pub(crate) async fn list(State(state): State<Arc<AppState>>) -> Result<Response, ApiError> {
    Ok(json::value(&listed(&state.gateway.replicas().await?)))
}

/// `versions` and `scriptsEqual` tell whether a rollout is under way.
fn listed(replicas: &[ReplicaView]) -> Value {
    let versions: BTreeSet<_> = replicas.iter().map(|replica| &replica.version).collect();
    let scripts: BTreeSet<_> = replicas.iter().map(|replica| &replica.scripts).collect();
    json!({
        "status": "ok",
        "replicas": replicas,
        "versions": versions,
        "scriptsEqual": scripts.len() <= 1,
    })
}

#[cfg(test)]
mod tests {
    use crate::server::gateway::Gateway as _;
    use crate::server::tests::fake::Fake;

    use super::listed;

    #[tokio::test]
    async fn a_rollout_shows() {
        let replicas = Fake::default().replicas().await.unwrap();
        let both = listed(&replicas);
        assert_eq!(
            (&both["scriptsEqual"], &both["versions"]),
            (&false.into(), &serde_json::json!(["1.2.3"]))
        );
        let first = serde_json::json!({
            "id": "r1", "host": "h", "version": "1.2.3", "scripts": "aa", "startedAt": 1000, "uptimeMs": 500,
            "inFlight": 2, "settingsGeneration": 4, "state": "serving", "lastSeenMs": 20, "self": true,
        });
        assert_eq!(both["replicas"][0], first);
        assert_eq!(listed(&replicas[..1])["scriptsEqual"], true);
    }
}
