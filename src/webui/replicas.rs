//! `GET /api/replicas`: who serves the pool, and with which version.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::server::answer::Answer;
use crate::server::error::ApiError;
use crate::server::gateway::ReplicaView;
use crate::server::state::AppState;

/// Who serves the pool. `versions` and `scriptsEqual` tell whether a rollout is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReplicaList {
    /// All that are alive, by id.
    replicas: Vec<ReplicaView>,
    /// The versions of their programs.
    versions: BTreeSet<String>,
    /// Whether all follow the same rules.
    scripts_equal: bool,
}

/// The replicas that are alive.
#[utoipa::path(
    get,
    path = "/api/replicas",
    operation_id = "listReplicas",
    tag = "status",
    responses((status = 200, description = "The replicas", body = Answer<ReplicaList>))
)]
pub(crate) async fn list(State(state): State<Arc<AppState>>) -> Result<Answer<ReplicaList>, ApiError> {
    Ok(Answer::new(listed(state.gateway.replicas().await?)))
}

fn listed(replicas: Vec<ReplicaView>) -> ReplicaList {
    let versions = replicas.iter().map(|replica| replica.version.clone()).collect();
    let scripts: BTreeSet<_> = replicas.iter().map(|replica| &replica.scripts).collect();
    ReplicaList { versions, scripts_equal: scripts.len() <= 1, replicas }
}

#[cfg(test)]
mod tests {
    use crate::server::gateway::Gateway as _;
    use crate::server::tests::fake::Fake;

    use super::{Answer, listed};

    #[tokio::test]
    async fn a_rollout_shows() {
        let replicas = Fake::default().replicas().await.unwrap();
        let both = Answer::new(listed(replicas.clone())).into_value();
        assert_eq!(
            (&both["status"], &both["scriptsEqual"], &both["versions"]),
            (&"ok".into(), &false.into(), &serde_json::json!(["1.2.3"]))
        );
        let first = serde_json::json!({
            "id": "r1", "host": "h", "version": "1.2.3", "scripts": "aa", "startedAt": 1000, "uptimeMs": 500,
            "inFlight": 2, "settingsGeneration": 4, "state": "serving", "lastSeenMs": 20, "self": true,
        });
        assert_eq!(both["replicas"][0], first);
        assert!(listed(replicas[..1].to_vec()).scripts_equal);
    }
}
